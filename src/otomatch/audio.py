"""Sound files to mono waveforms at a given rate, and waveforms to log-mel spectrograms.

Conventions: waveforms are mono float32, shape (samples,); log-mel spectrograms are in decibels
relative to a power of 1, shape (..., frames, mels). Nothing here is random: the same file always
gives the same numbers, alone or in a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from torch import Tensor, nn

from otomatch.decoders import CONTAINER_SUFFIXES as CONTAINER_SUFFIXES
from otomatch.decoders import open_stream, undecodable
from otomatch.errors import AudioError, InvalidInputError

Waveform = npt.NDArray[np.float32]

SOUNDFILE_SUFFIXES = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64"}
    | {".wav"}
)
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | CONTAINER_SUFFIXES

_BLOCK_FRAMES = 4096
_LOUDEST = 1e9  # times full scale; beyond is no sound, and its power would overflow


def decode(
    path: str | Path, start: float | None = None, end: float | None = None
) -> tuple[Waveform, int]:
    """Read a sound file as mono (the mean of its channels) at its own rate.

    Args:
        path: any file that libsndfile reads; aac, m4a, mp4 and webm with the extra ``codecs``.
        start: seconds to begin at; None for the beginning.
        end: seconds to end at; None for the end of the file.

    Returns:
        The waveform, shape (samples,), and its sample rate in Hz.

    Raises:
        AudioError: the file is missing, not decodable, empty or holds non-finite samples.
    """
    found = list(_blocks(Path(path), start, end))
    waveforms, rates = zip(*found, strict=True)
    return (waveforms[0] if len(found) == 1 else np.concatenate(waveforms)), rates[0]


def stream(path: str | Path, rate: int) -> Iterator[Waveform]:
    """Read a sound file as mono at ``rate`` Hz in blocks, which together are what `load` gives.

    However long the file is, no more of it than a block is in memory.

    Yields:
        Stretches of the waveform, none of them empty, shape (samples,).

    Raises:
        AudioError: as for `decode`, where the reading comes to it.
    """
    resampler: Any = None
    for block, native in _blocks(Path(path)):
        if native == rate:
            yield block
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(native, rate, 1, dtype="float32", quality="HQ")
        if (part := resampler.resample_chunk(block)).size:
            yield part
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if rest.size:
            yield rest


def duration(path: str | Path) -> tuple[float, int]:
    """Length in seconds and sample rate in Hz of a sound file, from its header where it has one.

    Raises:
        AudioError: as for `decode`, as far as the header shows it.
    """
    path = Path(path)
    if path.suffix.lower() in CONTAINER_SUFFIXES:  # recordings of a browser do not say their length
        waveform, rate = decode(path)
        return waveform.size / rate, rate
    try:
        about = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: {undecodable(error)}; replace or remove it") from error
    if about.frames == 0:
        raise AudioError(f"{path}: holds no audio samples; replace or remove it")
    return about.frames / about.samplerate, int(about.samplerate)


def load(
    path: str | Path, rate: int, start: float | None = None, end: float | None = None
) -> Waveform:
    """Read a sound file as mono at ``rate`` Hz; arguments and errors as for `decode`."""
    waveform, native = decode(path, start, end)
    return resample(waveform, native, rate)


def resample(waveform: Waveform, rate: int, target: int) -> Waveform:
    """Resample a waveform (samples,) from ``rate`` to ``target`` Hz (soxr, high quality)."""
    for hertz in (rate, target):
        if not isinstance(hertz, int | float | np.number) or not 0 < hertz < np.inf:
            raise InvalidInputError(f"a sample rate must be a positive number of Hz, got {hertz!r}")
    if rate == target:
        return waveform
    return np.asarray(soxr.resample(waveform, rate, target, quality="HQ"), dtype=np.float32)


def as_mono(waveform: npt.ArrayLike | Tensor) -> Waveform:
    """Check an in-memory waveform, (samples,) or (channels, samples), and mix it to mono.

    Raises:
        AudioError: it is empty, of another shape or of whole numbers, or holds NaN or infinite
            samples.
    """
    array = np.asarray(waveform.detach().cpu() if isinstance(waveform, Tensor) else waveform)
    if array.dtype.kind != "f":
        raise AudioError(
            f"a waveform has floating-point samples within -1 and 1, got {array.dtype}; "
            "divide 16-bit samples by 32768"
        )
    if array.ndim not in (1, 2) or (array.ndim == 2 and 0 < array.shape[1] < array.shape[0]):
        raise AudioError(
            f"a waveform has shape (samples,) or (channels, samples), got {array.shape}; "
            "transpose (samples, channels)"
        )
    mono = array if array.ndim == 1 else array.mean(axis=0)
    if mono.size == 0:
        raise AudioError("the waveform holds no samples")
    if not _is_sound(mono):
        raise AudioError(
            f"the waveform holds samples that are NaN, infinite or beyond {_LOUDEST:g}"
        )
    return np.ascontiguousarray(mono, dtype=np.float32)


def _is_sound(waveform: npt.NDArray[Any]) -> bool:
    return bool(waveform.max() <= _LOUDEST and waveform.min() >= -_LOUDEST)  # no for NaN


def _blocks(
    path: Path, start: float | None = None, end: float | None = None
) -> Iterator[tuple[Waveform, int]]:
    """Checked stretches of a file as mono, each with the file's rate; at least one."""
    empty = True
    with open_stream(path, start, end) as sound:
        for channels in sound.blocks:
            block = channels.mean(axis=1, dtype=np.float32)
            if not _is_sound(block):
                raise AudioError(
                    f"{path}: holds samples that are NaN, infinite or beyond {_LOUDEST:g}; "
                    "write it again, or remove it"
                )
            empty = False
            yield block, sound.rate
    if empty:
        span = "" if start is None and end is None else f" between {start} and {end} s"
        raise AudioError(f"{path}: holds no audio samples{span}; replace or remove it")


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
