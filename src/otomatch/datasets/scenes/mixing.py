"""Mix the waveforms of scenes: one sound alone, one after another, or one over another.

Waveforms are mono float32, shape (samples,), at `RATE`. The level of a sound is the RMS of its
active frames in dB relative to full scale, where frames are 10 ms long and active if within 20 dB
of the loudest one: silence between barks does not make a dog quieter. All randomness comes from the
generator that is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otomatch.audio.waveform import Waveform

RATE = 32000
"""Sample rate of scenes in Hz."""

LEVEL = -20.0
"""Level of foreground sounds in dB, before the gain of the scene."""

BACKGROUND = (-12.0, -6.0)
"""Range of the level of background sounds in dB relative to the foreground."""

PEAK = 0.95
"""Largest peak of a scene, relative to full scale."""

_FRAME = RATE // 100
_EDGE = -40.0  # dB below the loudest frame where a sound begins and ends
_ACTIVE = -20.0  # dB below the loudest frame where a frame counts as active
_FADE_IN = RATE // 250  # 4 ms: keeps the attack of a drum
_FADE_OUT = RATE // 25


@dataclass(frozen=True, slots=True)
class Layer:
    """One sound of a scene.

    Attributes:
        waveform: Waveform of the whole scene with only this sound, at its final level, shape
            (samples,).
        start: Start of the sound in seconds from the beginning of the scene.
        end: End of the sound in seconds from the beginning of the scene.
        level: Level of the sound in dB relative to full scale.
    """

    waveform: Waveform
    start: float
    end: float
    level: float


def frame_levels(waveform: Waveform) -> npt.NDArray[np.float64]:
    """Return the RMS of each 10 ms in dB relative to full scale, shape (frames,); at least -200."""
    padded = np.pad(waveform, (0, -len(waveform) % _FRAME)).reshape(-1, _FRAME)
    power = np.square(padded, dtype=np.float64).mean(axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20)))


def level(waveform: Waveform) -> float:
    """Return the RMS of the active frames in dB relative to full scale."""
    frames = frame_levels(waveform)
    active = frames[frames > frames.max() + _ACTIVE]
    return float(10 * np.log10(np.mean(10 ** (active / 10))))


def trim(waveform: Waveform) -> Waveform:
    """Cut silence off both ends; a waveform that is below -80 dB throughout becomes empty."""
    frames = frame_levels(waveform)
    if frames.size == 0 or frames.max() < -80:
        return waveform[:0]
    loud = np.flatnonzero(frames > frames.max() + _EDGE)
    return waveform[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


def mix(
    kind: str, sounds: Sequence[Waveform], samples: int, rng: np.random.Generator
) -> list[Layer]:
    """Return the layers of a scene; their sum is the scene.

    Args:
        kind: ``single`` (one sound), ``sequence`` (the first, then the second) or ``overlap`` (the
            first over the second).
        sounds: Trimmed waveforms, shape (samples,) each.
        samples: Length of the scene in samples.
        rng: Random generator for positions, levels and repetitions.
    """
    if kind == "single":
        return single(sounds[0], samples, rng)
    first, second = sounds
    return (sequence if kind == "sequence" else overlap)(first, second, samples, rng)


def single(sound: Waveform, samples: int, rng: np.random.Generator) -> list[Layer]:
    """Return the layer of a scene with one sound, see `mix`."""
    return _balanced([_place(sound, 0, samples, samples, rng)], [0.0], rng)


def sequence(
    first: Waveform, second: Waveform, samples: int, rng: np.random.Generator
) -> list[Layer]:
    """Return the layers of a scene with one sound after another, without overlap, see `mix`."""
    middle = rng.uniform(0.42, 0.58) * samples
    gap = rng.uniform(0.0, 0.05) * samples
    ends, starts = int(middle - gap / 2), int(middle + gap / 2)
    layers = [
        _place(first, 0, ends, samples, rng),
        _place(second, starts, samples, samples, rng),
    ]
    return _balanced(layers, [rng.uniform(-2.0, 2.0), rng.uniform(-2.0, 2.0)], rng)


def overlap(
    front: Waveform, behind: Waveform, samples: int, rng: np.random.Generator
) -> list[Layer]:
    """Return the layers of a scene with one sound over another, see `mix`.

    The second sound is 6 to 12 dB quieter and lasts for the whole scene.
    """
    layers = [
        _place(front, 0, samples, samples, rng),
        _place(behind, 0, samples, samples, rng, fill=True),
    ]
    return _balanced(layers, [0.0, rng.uniform(*BACKGROUND)], rng)


def _place(
    sound: Waveform,
    first: int,
    last: int,
    samples: int,
    rng: np.random.Generator,
    fill: bool = False,
) -> Layer:
    """Place a sound between two samples, cutting a long one and perhaps repeating a short one."""
    room = last - first
    if len(sound) > room:
        copies = [(first, _excerpt(sound, room, rng))]
    elif fill or (len(sound) < 0.6 * room and rng.random() < 0.5):
        copies = _copies(sound, first, last, rng, fill)
    else:
        copies = [(first + int(rng.integers(room - len(sound) + 1)), sound)]
    out = np.zeros(samples, dtype=np.float32)
    for start, copy in copies:
        out[start : start + len(copy)] = fade(copy)
    end = copies[-1][0] + len(copies[-1][1])
    return Layer(out, copies[0][0] / RATE, end / RATE, level(out))


def _copies(
    sound: Waveform, first: int, last: int, rng: np.random.Generator, fill: bool
) -> list[tuple[int, Waveform]]:
    """Return copies with pauses between; ``fill`` adds a last one that is cut at the end."""
    copies, start = [], first
    while start + len(sound) <= last:
        copies.append((start, sound))
        start += len(sound) + int(rng.uniform(0.05, 0.4) * RATE)
    if fill and last - start > 2 * _FADE_OUT:
        copies.append((start, sound[: last - start]))
    return copies


def _excerpt(sound: Waveform, samples: int, rng: np.random.Generator) -> Waveform:
    """Return a random excerpt with at least half the energy of the loudest one."""
    energy = np.concatenate([[0.0], np.cumsum(10 ** (frame_levels(sound) / 10))])
    frames = samples // _FRAME
    held = energy[frames:] - energy[:-frames]
    starts = np.flatnonzero(held >= 0.5 * held.max()) * _FRAME
    start = min(int(rng.choice(starts)), len(sound) - samples)
    return sound[start : start + samples]


def fade(sound: Waveform) -> Waveform:
    """Return a copy with a short fade-in (4 ms) and fade-out (40 ms)."""
    sound = sound.copy()
    rise, fall = min(_FADE_IN, len(sound) // 2), min(_FADE_OUT, len(sound) // 2)
    sound[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    sound[len(sound) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return sound


def _balanced(layers: list[Layer], gains: list[float], rng: np.random.Generator) -> list[Layer]:
    """Bring each layer to LEVEL + gain, then apply a common gain that prevents clipping."""
    common = LEVEL + rng.uniform(-6.0, 0.0)
    targets = [common + gain for gain in gains]
    scaled = [
        layer.waveform * np.float32(10 ** ((target - layer.level) / 20))
        for layer, target in zip(layers, targets, strict=True)
    ]
    peak = float(np.abs(np.sum(scaled, axis=0)).max())
    cut = min(1.0, PEAK / peak)
    return [
        Layer(
            waveform * np.float32(cut), layer.start, layer.end, target + 20 * float(np.log10(cut))
        )
        for waveform, layer, target in zip(scaled, layers, targets, strict=True)
    ]
