"""The course of a sound in time and frequency, to tell whether two files hold the same one."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import fftconvolve

from otomatch import audio
from otomatch.audio.log_mel import LogMel, LogMelConfig

Frames = npt.NDArray[np.float32]

RATE = 16000  # every copy keeps what lies below its half
SECONDS = 120.0
"""A file is known by so many seconds of it; two that differ only later are taken for the same."""

BANDS = 32

LEAST_OVERLAP = 0.7
"""Share of the longer of two sounds that the shorter must cover."""

_FRAMES = LogMelConfig(sample_rate=RATE, n_fft=1024, hop=160, mels=BANDS, low=100.0, high=7000.0)
_RANGE = 50.0  # dB below the loudest band and frame; lower is what encoders add and leave out
_STEADY = 1.5  # dB


def fingerprint(path: str | Path) -> Frames:
    """Log-mel frames of a file without the silence around it, (frames, `BANDS`), dB.

    Raises:
        AudioError: the file cannot be read.
    """
    waveform = audio.load(path, RATE, 0.0, SECONDS)
    with torch.no_grad():
        frames: Frames = _log_mel()(torch.from_numpy(waveform)).numpy()
    floor = frames.max() - _RANGE
    loud = np.flatnonzero(frames.max(axis=1) > floor)
    kept: Frames = np.maximum(frames[loud[0] : loud[-1] + 1], floor)
    return kept


def mean_spectrum(frames: Frames) -> Frames:
    """Mean over time of a fingerprint, whatever its level, (`BANDS`,), dB."""
    mean = frames.mean(axis=0)
    spectrum: Frames = mean - mean.mean()
    return spectrum


def correlation(a: Frames, b: Frames) -> float:
    """Correlation of two fingerprints at the offset where it is highest, 0 to 1.

    It does not depend on level. Of offsets that leave less than `LEAST_OVERLAP` it is 0. Two steady
    sounds, which have no course, are compared by their spectra.
    """
    if len(a) < len(b):
        a, b = b, a
    needed = int(np.ceil(LEAST_OVERLAP * len(a)))
    if len(b) < needed:
        return 0.0
    if max(a.std(axis=0).mean(), b.std(axis=0).mean()) < _STEADY:
        return _spectral(a, b)
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    product = fftconvolve(x, y[::-1], axes=0).sum(axis=1)
    offsets = np.arange(len(product)) - (len(b) - 1)  # of b within a
    start, stop = np.maximum(offsets, 0), np.minimum(offsets + len(b), len(a))
    energy = _energy(x, start, stop) * _energy(y, start - offsets, stop - offsets)
    allowed = (stop - start >= needed) & (energy > 0)
    if not allowed.any():
        return 0.0
    best = np.flatnonzero(allowed)[(product[allowed] / np.sqrt(energy[allowed])).argmax()]
    first, last = start[best], stop[best]
    return _alike(a[first:last], b[first - offsets[best] : last - offsets[best]])


def _alike(a: Frames, b: Frames) -> float:
    """Correlation of what two sounds share, its own means and range alone being counted."""
    a, b = (np.maximum(part - part.max(), -_RANGE) for part in (a, b))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    energy = float(np.square(a).sum()) * float(np.square(b).sum())
    return float(np.clip((a * b).sum() / np.sqrt(energy), 0, 1)) if energy > 0 else 0.0


def _energy(
    frames: Frames, start: npt.NDArray[np.int_], stop: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    total = np.concatenate([[0.0], np.square(frames, dtype=np.float64).sum(axis=1).cumsum()])
    energy: npt.NDArray[np.float64] = total[stop] - total[start]
    return energy


def _spectral(a: Frames, b: Frames) -> float:
    """Likeness of mean spectra, whatever their levels: 1 less a tenth for each dB between them."""
    apart = mean_spectrum(a) - mean_spectrum(b)
    return float(np.clip(1 - np.abs(apart - np.median(apart)).max() / 10, 0, 1))


@cache
def _log_mel() -> LogMel:
    return LogMel(_FRAMES)
