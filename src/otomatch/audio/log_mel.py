"""Waveforms to log-mel spectrograms."""

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
    """Slaney's triangular mel filters with unit area per band, shape (mels, n_fft // 2 + 1)."""
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
    """Settings of `LogMel`. The defaults are those of the PANNs networks.

    Attributes:
        sample_rate: Hz.
        n_fft: window (Hann) and transform length in samples.
        hop: samples between frames.
        mels: number of bands.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz.
    """

    sample_rate: int = 32000
    n_fft: int = 1024
    hop: int = 320
    mels: int = 64
    low: float = 50.0
    high: float = 14000.0


class LogMel(nn.Module):
    """Log-mel spectrogram: 10 log10(max(power in band, 1e-10)), centred frames, reflect padding.

    Args:
        config: its settings.
        dtype: what it computes in, and takes and gives. In float32 the rounding of a loud pure
            tone is heard in the bands that should be silent.

    Shape:
        - waveform: (..., samples); shorter than one transform is padded with silence
        - output: (..., samples // hop + 1, mels), dB
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
        """Spectrogram of waveforms of one length, see the class."""
        c = self.config
        if waveform.shape[-1] < c.n_fft:
            waveform = nn.functional.pad(waveform, (0, c.n_fft - waveform.shape[-1]))
        flat = waveform.reshape(-1, waveform.shape[-1])
        padded = nn.functional.pad(flat, (c.n_fft // 2, c.n_fft // 2), mode="reflect")
        frames = waveform.shape[-1] // c.hop + 1
        # In blocks of frames, so that an hour of sound never needs its whole spectrum at once.
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
