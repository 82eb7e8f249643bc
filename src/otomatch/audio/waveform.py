"""Sound files to mono waveforms at a given rate, and waveforms to log-mel spectrograms.

Conventions: waveforms are mono float32, shape (samples,); log-mel spectrograms are in decibels
relative to a power of 1, shape (..., frames, mels). Nothing here is random: the same file always
gives the same numbers, alone or in a batch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from torch import Tensor

from otomatch.audio.decoders import CONTAINER_SUFFIXES, failure_reason, open_stream
from otomatch.errors import AudioError, InvalidInputError

Waveform = npt.NDArray[np.float32]
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
        raise AudioError(f"{path}: {failure_reason(error)}; replace or remove it") from error
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
