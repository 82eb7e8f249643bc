"""Spectral fingerprints of sound files, to tell whether two files contain the same sound."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import fftconvolve

from otomatch import audio
from otomatch.audio.log_mel import LogMel, LogMelConfig

Frames = npt.NDArray[np.float32]

RATE = 16000  # Hz; every copy keeps the frequencies below half of it
SECONDS = 120.0
"""Length of the part of a file that is compared; files that differ only later count as the same."""

BANDS = 32

MIN_OVERLAP = 0.7
"""Minimum share of the longer sound that the shorter one must cover."""

_FRAMES = LogMelConfig(sample_rate=RATE, n_fft=1024, hop=160, mels=BANDS, low=100.0, high=7000.0)
_RANGE = 50.0  # dB below the loudest band and frame; lossy encoders change what is quieter
_STEADY = 1.5  # dB; mean standard deviation over time of a steady sound


def spectral_fingerprint(path: str | Path) -> Frames:
    """Return the log-mel frames of a file without leading and trailing silence.

    Returns:
        Levels in dB, (frames, `BANDS`), 100 frames a second.

    Raises:
        AudioError: The file cannot be read.
    """
    waveform = audio.load(path, RATE, 0.0, SECONDS)
    with torch.no_grad():
        frames: Frames = _log_mel()(torch.from_numpy(waveform)).numpy()
    floor = frames.max() - _RANGE
    loud = np.flatnonzero(frames.max(axis=1) > floor)
    kept: Frames = np.maximum(frames[loud[0] : loud[-1] + 1], floor)
    return kept


def mean_spectrum(frames: Frames) -> Frames:
    """Return the mean of a fingerprint over time, (`BANDS`,), in dB relative to its own mean."""
    mean = frames.mean(axis=0)
    spectrum: Frames = mean - mean.mean()
    return spectrum


def correlation(a: Frames, b: Frames) -> float:
    """Return the highest correlation of two fingerprints over all offsets, 0 to 1.

    The level of the sounds does not matter. The correlation is 0 at offsets where the overlap is
    less than `MIN_OVERLAP`. Two steady sounds do not change over time, so their spectra are
    compared instead.
    """
    if len(a) < len(b):
        a, b = b, a
    needed = int(np.ceil(MIN_OVERLAP * len(a)))
    if len(b) < needed:
        return 0.0
    if max(a.std(axis=0).mean(), b.std(axis=0).mean()) < _STEADY:
        return _spectral_similarity(a, b)
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
    return _aligned_correlation(a[first:last], b[first - offsets[best] : last - offsets[best]])


def _aligned_correlation(a: Frames, b: Frames) -> float:
    """Correlate two aligned parts, whose means and range are taken over these parts alone."""
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


def _spectral_similarity(a: Frames, b: Frames) -> float:
    """Return 1 minus 0.1 for each dB of the largest difference of the mean spectra, at least 0."""
    difference = mean_spectrum(a) - mean_spectrum(b)
    return float(np.clip(1 - np.abs(difference - np.median(difference)).max() / 10, 0, 1))


@cache
def _log_mel() -> LogMel:
    return LogMel(_FRAMES)
