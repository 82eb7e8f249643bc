"""Compute log-mel spectrograms of waveforms.

Spectrograms are in decibels relative to a power of 1, shape (..., frames, mels). A waveform has the
same spectrogram alone and in a batch, but for rounding.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_BLOCK_FRAMES = 4096


def _slaney_mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = hertz * 3 / 200
    log = 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4)
    return np.where(hertz < 1000, linear, log)


def _slaney_hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def mel_filterbank(
    sample_rate: int, n_fft: int, mels: int, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return Slaney's triangular mel filters, shape (mels, n_fft // 2 + 1).

    Equal to ``librosa.filters.mel`` with ``htk=False`` and ``norm="slaney"``: every band has unit
    area.

    Args:
        sample_rate: Sample rate in Hz.
        n_fft: Transform length in samples.
        mels: Number of bands.
        low: Lower edge of the lowest band in Hz.
        high: Upper edge of the highest band in Hz.
    """
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    lowest, highest = _slaney_mel(np.array([low, high], dtype=np.float64))
    edges = _slaney_hertz(np.linspace(lowest, highest, mels + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters: npt.NDArray[np.float64] = triangles * (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters


@dataclass(frozen=True, slots=True)
class LogMelConfig:
    """Settings of `LogMel`; the defaults are those of the PANNs networks.

    Attributes:
        sample_rate: Sample rate in Hz.
        n_fft: Length of the Hann window and of the transform in samples.
        hop: Samples between the starts of consecutive frames.
        mels: Number of mel bands.
        low: Lower edge of the lowest band in Hz.
        high: Upper edge of the highest band in Hz.
    """

    sample_rate: int = 32000
    n_fft: int = 1024
    hop: int = 320
    mels: int = 64
    low: float = 50.0
    high: float = 14000.0


class LogMel(nn.Module):
    """Log-mel spectrogram: 10 log10(max(band power, 1e-10)), centred frames, reflect padding.

    Args:
        config: Settings; None for those of the PANNs networks.
        dtype: Floating-point type of input, computation and output. In float32, rounding errors of
            a loud pure tone show in bands that should be silent.

    Shape:
        - waveform: (..., samples); padded with silence if shorter than one transform
        - output: (..., samples // hop + 1, mels), in dB
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self, config: LogMelConfig | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.config = config or LogMelConfig()
        c = self.config
        filters = mel_filterbank(c.sample_rate, c.n_fft, c.mels, c.low, c.high)
        window = torch.hann_window(c.n_fft, dtype=dtype)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).to(dtype), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the spectrograms of waveforms of equal length."""
        c = self.config
        if waveform.shape[-1] < c.n_fft:
            waveform = nn.functional.pad(waveform, (0, c.n_fft - waveform.shape[-1]))
        flat = waveform.reshape(-1, waveform.shape[-1])
        padded = nn.functional.pad(flat, (c.n_fft // 2, c.n_fft // 2), mode="reflect")
        frames = waveform.shape[-1] // c.hop + 1
        # Blocks of frames bound the memory of the complex spectrum, even for an hour of sound.
        blocks = [
            self._decibels(padded[:, first * c.hop : (last - 1) * c.hop + c.n_fft])
            for first in range(0, frames, _BLOCK_FRAMES)
            for last in [min(first + _BLOCK_FRAMES, frames)]
        ]
        return torch.cat(blocks, dim=1).reshape(*waveform.shape[:-1], frames, c.mels)

    def _decibels(self, padded: Tensor) -> Tensor:
        c = self.config
        spectrum = torch.stft(
            padded, c.n_fft, c.hop, window=self.window, center=False, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return 10 * torch.log10((self.filters @ power).clamp_min(1e-10)).transpose(1, 2)
