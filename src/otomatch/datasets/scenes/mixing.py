"""Waveforms of scenes: one sound, one after another, or one over another.

Waveforms are mono float32, shape (samples,). The level of a sound is the RMS of its active frames,
those within 20 dB of its loudest 10 ms, in dB relative to full scale: silence between barks does
not make a dog quieter. All randomness comes from the generator passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otomatch.audio.waveform import Waveform

RATE = 32000
LEVEL = -20.0  # of a foreground sound, before the scene's own gain
BACKGROUND = (-12.0, -6.0)  # dB below the foreground
PEAK = 0.95

_FRAME = RATE // 100
_EDGE = -40.0  # dB below the loudest frame where a sound begins and ends
_ACTIVE = -20.0
_FADE_IN = RATE // 250  # 4 ms: keeps the attack of a drum
_FADE_OUT = RATE // 25


@dataclass(frozen=True, slots=True)
class Layer:
    """One sound of a scene.

    Attributes:
        waveform: the sound in its place, silent elsewhere, at its final level, (samples,).
        start: seconds from the scene's beginning to the sound's.
        end: seconds to the sound's end.
        level: dB relative to full scale.
    """

    waveform: Waveform
    start: float
    end: float
    level: float


def frame_levels(waveform: Waveform) -> npt.NDArray[np.float64]:
    """RMS of each 10 ms, (frames,), in dB relative to full scale; -200 for digital silence."""
    padded = np.pad(waveform, (0, -len(waveform) % _FRAME)).reshape(-1, _FRAME)
    power = np.square(padded, dtype=np.float64).mean(axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20)))


def level(waveform: Waveform) -> float:
    """RMS of the active frames in dB relative to full scale."""
    frames = frame_levels(waveform)
    active = frames[frames > frames.max() + _ACTIVE]
    return float(10 * np.log10(np.mean(10 ** (active / 10))))


def trim(waveform: Waveform) -> Waveform:
    """Cut the silence off both ends; an all but silent waveform (below -80 dB) becomes empty."""
    frames = frame_levels(waveform)
    if frames.size == 0 or frames.max() < -80:
        return waveform[:0]
    loud = np.flatnonzero(frames > frames.max() + _EDGE)
    return waveform[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


def mix(
    kind: str, sounds: Sequence[Waveform], samples: int, rng: np.random.Generator
) -> list[Layer]:
    """The layers of a scene of ``samples``; their sum is the scene.

    Args:
        kind: ``single`` (one sound), ``sequence`` or ``overlap`` (two).
        sounds: trimmed waveforms in the order of their role.
        samples: length of the scene.
        rng: decides places, levels and repetitions.
    """
    if kind == "single":
        return single(sounds[0], samples, rng)
    first, second = sounds
    return (sequence if kind == "sequence" else overlap)(first, second, samples, rng)


def single(sound: Waveform, samples: int, rng: np.random.Generator) -> list[Layer]:
    """The sound alone in a scene of ``samples``."""
    return _balanced([_place(sound, 0, samples, samples, rng)], [0.0], rng)


def sequence(
    first: Waveform, second: Waveform, samples: int, rng: np.random.Generator
) -> list[Layer]:
    """The first sound, then the second; each has its own part, and the parts do not overlap."""
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
    """The first sound over the second, which is 6 to 12 dB quieter and lasts the whole scene."""
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
    """Put a sound between two samples: cut if too long, repeated (maybe) if short."""
    room = last - first
    if len(sound) > room:
        copies = [(first, _excerpt(sound, room, rng))]
    elif fill or (len(sound) < 0.6 * room and rng.random() < 0.5):
        copies = _copies(sound, first, last, rng, fill)
    else:
        copies = [(first + int(rng.integers(room - len(sound) + 1)), sound)]
    out = np.zeros(samples, dtype=np.float32)
    for start, copy in copies:
        out[start : start + len(copy)] = faded(copy)
    end = copies[-1][0] + len(copies[-1][1])
    return Layer(out, copies[0][0] / RATE, end / RATE, level(out))


def _copies(
    sound: Waveform, first: int, last: int, rng: np.random.Generator, fill: bool
) -> list[tuple[int, Waveform]]:
    """As many copies as fit, with pauses; ``fill`` cuts the last one to end with the room."""
    copies, start = [], first
    while start + len(sound) <= last:
        copies.append((start, sound))
        start += len(sound) + int(rng.uniform(0.05, 0.4) * RATE)
    if fill and last - start > 2 * _FADE_OUT:
        copies.append((start, sound[: last - start]))
    return copies


def _excerpt(sound: Waveform, samples: int, rng: np.random.Generator) -> Waveform:
    """A random stretch that holds at least half the energy of the best one."""
    energy = np.concatenate([[0.0], np.cumsum(10 ** (frame_levels(sound) / 10))])
    frames = samples // _FRAME
    held = energy[frames:] - energy[:-frames]
    starts = np.flatnonzero(held >= 0.5 * held.max()) * _FRAME
    start = min(int(rng.choice(starts)), len(sound) - samples)
    return sound[start : start + samples]


def faded(sound: Waveform) -> Waveform:
    """A copy with a short fade in (4 ms) and out (40 ms)."""
    sound = sound.copy()
    rise, fall = min(_FADE_IN, len(sound) // 2), min(_FADE_OUT, len(sound) // 2)
    sound[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    sound[len(sound) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return sound


def _balanced(layers: list[Layer], gains: list[float], rng: np.random.Generator) -> list[Layer]:
    """Bring each layer to LEVEL + gain, then all of them to a common gain that does not clip."""
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
