"""Read sound files as mono waveforms at a given sample rate.

Waveforms are mono float32, shape (samples,), with full scale at -1 and 1. Nothing here is random:
the same file always gives the same samples.
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
from otomatch.errors import AudioError, positive

Waveform = npt.NDArray[np.float32]
_LOUDEST = 1e9  # times full scale; the power of anything louder would overflow


def decode(
    path: str | Path, start: float | None = None, end: float | None = None
) -> tuple[Waveform, int]:
    """Read a sound file as mono (the mean of its channels) at its own sample rate.

    Args:
        path: Any file that libsndfile reads; aac, m4a, mp4 and webm with the extra ``codecs``.
        start: Start of the span in seconds; None for the beginning of the file.
        end: End of the span in seconds; None for the end of the file.

    Returns:
        The waveform, shape (samples,), and its sample rate in Hz.

    Raises:
        MissingDecoderError: The decoder for this kind of file is not installed.
        AudioError: The file is missing, empty, cannot be decoded, has no samples in the span, or
            has samples that are not finite.
    """
    found = list(_blocks(Path(path), start, end))
    waveforms, rates = zip(*found, strict=True)
    return (waveforms[0] if len(found) == 1 else np.concatenate(waveforms)), rates[0]


def stream(path: str | Path, rate: int) -> Iterator[Waveform]:
    """Read a sound file as mono at ``rate`` Hz, one block at a time.

    The blocks joined equal the result of `load`. Only one block is in memory at a time.

    Yields:
        Consecutive parts of the waveform, none empty, shape (samples,).

    Raises:
        AudioError: As for `decode`, when reading reaches the damage.
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
    """Return the length in seconds and the sample rate in Hz of a sound file.

    Reads only the header where the format has one; other files are decoded.

    Raises:
        AudioError: As for `decode`, as far as the header shows it.
    """
    path = Path(path)
    if path.suffix.lower() in CONTAINER_SUFFIXES:  # browsers' recordings have no length
        waveform, rate = decode(path)
        return waveform.size / rate, rate
    try:
        about = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: {failure_reason(error)}; replace or remove it") from error
    if about.frames == 0:
        raise AudioError(f"{path}: has no audio samples; replace or remove it")
    return about.frames / about.samplerate, int(about.samplerate)


def load(
    path: str | Path, rate: int, start: float | None = None, end: float | None = None
) -> Waveform:
    """Read a sound file as mono at ``rate`` Hz; arguments and errors are those of `decode`."""
    waveform, native = decode(path, start, end)
    return resample(waveform, native, rate)


def resample(waveform: Waveform, rate: int, target: int) -> Waveform:
    """Resample a waveform, shape (samples,), from ``rate`` to ``target`` Hz (soxr, high quality).

    Raises:
        InvalidInputError: A sample rate is not a positive finite number.
    """
    positive("the sample rate in Hz", rate)
    positive("the target sample rate in Hz", target)
    if rate == target:
        return waveform
    return np.asarray(soxr.resample(waveform, rate, target, quality="HQ"), dtype=np.float32)


def as_mono(waveform: npt.ArrayLike | Tensor) -> Waveform:
    """Check a waveform in memory and mix it to mono float32, shape (samples,).

    Args:
        waveform: Floating-point samples, shape (samples,) or (channels, samples).

    Raises:
        AudioError: The waveform is empty, has another shape, has integer samples, or has samples
            that are NaN, infinite or far beyond full scale.
    """
    array = np.asarray(waveform.detach().cpu() if isinstance(waveform, Tensor) else waveform)
    if array.dtype.kind != "f":
        raise AudioError(
            f"a waveform needs floating-point samples between -1 and 1, got {array.dtype}; "
            "divide 16-bit samples by 32768"
        )
    if array.ndim not in (1, 2) or (array.ndim == 2 and 0 < array.shape[1] < array.shape[0]):
        raise AudioError(
            f"a waveform needs the shape (samples,) or (channels, samples), got {array.shape}; "
            "transpose (samples, channels)"
        )
    mono = array if array.ndim == 1 else array.mean(axis=0)
    if mono.size == 0:
        raise AudioError("the waveform has no samples")
    if not _is_sound(mono):
        raise AudioError(f"the waveform has samples that are NaN, infinite or beyond {_LOUDEST:g}")
    return np.ascontiguousarray(mono, dtype=np.float32)


def _is_sound(waveform: npt.NDArray[Any]) -> bool:
    return bool(waveform.max() <= _LOUDEST and waveform.min() >= -_LOUDEST)  # False for NaN


def _blocks(
    path: Path, start: float | None = None, end: float | None = None
) -> Iterator[tuple[Waveform, int]]:
    """Yield the checked mono blocks of a file, at least one, each with the sample rate."""
    empty = True
    with open_stream(path, start, end) as sound:
        for channels in sound.blocks:
            block = channels.mean(axis=1, dtype=np.float32)
            if not _is_sound(block):
                raise AudioError(
                    f"{path}: has samples that are NaN, infinite or beyond {_LOUDEST:g}; "
                    "export it again, or remove it"
                )
            empty = False
            yield block, sound.rate
    if empty:
        span = "" if start is None and end is None else f" between {start} and {end} s"
        raise AudioError(f"{path}: has no audio samples{span}; replace or remove it")
