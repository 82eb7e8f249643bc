"""Render General MIDI sounds: a labelled source of scenes that needs no recordings.

Twenty-four instruments, drums and effects play short motifs. Training and test share the classes
and nothing else:

- Notes: training plays even MIDI notes and test odd ones. All steps of a motif are even, so no note
  is in both. Drums are tuned by whole semitones for training and by half semitones for test.
- Rhythms: each split has its own.
- Pairs: two classes whose ranks add up to a multiple of four occur together in test scenes only.

The synthesiser is tinysoundfont; the sound font is the TimGM6mb.sf2 that comes with the package
pretty_midi. Neither is imported before a sound is rendered.
"""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from otomatch.audio.waveform import Waveform
from otomatch.datasets.scenes.mixing import RATE
from otomatch.datasets.scenes.recipes import PairRule
from otomatch.datasets.scenes.sounds import SourceSound
from otomatch.errors import InvalidInputError, MissingDependencyError

SPLITS = ("train", "test")
_TAIL = 1.0  # seconds for the last note to fade


@dataclass(frozen=True, slots=True)
class Instrument:
    """Class of rendered sounds.

    Attributes:
        label: Class name.
        program: General MIDI program, 0 to 127; for a drum, its key on the percussion channel.
        low: Lowest MIDI note at which a motif starts; None for a drum.
        high: Highest MIDI note at which a motif starts; None for a drum.
        pace: Factor by which rhythms are slowed down.
        melodic: True to play the notes of a motif, False to repeat its first note.
        times: Number of repetitions of the motif; 2 for sounds of a tenth of a second.
    """

    label: str
    program: int
    low: int | None = None
    high: int | None = None
    pace: float = 1.0
    melodic: bool = True
    times: int = 1


INSTRUMENTS = (
    Instrument("acoustic guitar", 25, 50, 70),
    Instrument("applause", 126, 48, 72, pace=1.6, melodic=False),
    Instrument("bass drum", 36, times=2),
    Instrument("bird", 123, 38, 58, melodic=False, times=2),
    Instrument("choir", 52, 50, 72, pace=1.2),
    Instrument("church organ", 19, 44, 68),
    Instrument("cowbell", 56, times=2),
    Instrument("cymbal", 49),
    Instrument("distorted guitar", 30, 42, 64),
    Instrument("flute", 73, 64, 86),
    Instrument("gunshot", 127, 48, 72, melodic=False),
    Instrument("hand claps", 39, times=2),
    Instrument("harp", 46, 52, 80),
    Instrument("helicopter", 125, 48, 72, pace=1.6, melodic=False),
    Instrument("hi-hat", 42, times=2),
    Instrument("piano", 0, 48, 76),
    Instrument("saxophone", 65, 67, 85),  # the font has no note 64
    Instrument("seashore", 122, 48, 70, pace=1.6, melodic=False),
    Instrument("slap bass", 36, 30, 50),
    Instrument("snare drum", 38, times=2),
    Instrument("telephone", 124, 36, 56, melodic=False, times=2),
    Instrument("trumpet", 56, 54, 76),
    Instrument("violin", 40, 58, 84),
    Instrument("xylophone", 12, 58, 84),
)

Rhythm = tuple[tuple[float, float, int], ...]
"""Notes of a motif: onset and duration in seconds, and an even number of semitones to add."""

RHYTHMS: dict[str, dict[str, Rhythm]] = {
    "train": {
        "long": ((0.0, 1.7, 0),),
        "two": ((0.0, 0.8, 0), (0.9, 0.8, 4)),
        "three": ((0.0, 0.4, 0), (0.5, 0.4, 2), (1.0, 0.8, 4)),
        "four": ((0.0, 0.3, 0), (0.4, 0.3, 4), (0.8, 0.3, 2), (1.2, 0.6, 0)),
        "dotted": ((0.0, 0.55, 4), (0.6, 0.15, 2), (0.8, 0.55, 0), (1.4, 0.3, -2)),
        "run": tuple((0.22 * i, 0.2, 2 * (i % 4)) for i in range(7)),
    },
    "test": {
        "lean": ((0.0, 1.2, 2), (1.3, 0.5, 0)),
        "skip": ((0.0, 0.2, 0), (0.3, 0.2, 6), (0.9, 0.9, 2)),
        "late": ((0.0, 0.25, 4), (0.65, 0.25, 0), (0.95, 0.25, 4), (1.55, 0.4, 2)),
        "turn": tuple((0.3 * i, 0.25, (4, 0, 2, 0, 4)[i]) for i in range(5)),
    },
}


def rendered_sounds(split: str) -> list[SourceSound]:
    """Return every motif of every class (class x pitch x rhythm), to be rendered when loaded.

    Args:
        split: ``train`` or ``test``.

    Raises:
        InvalidInputError: The split is unknown.
        MissingDependencyError: tinysoundfont or the sound font is not installed.
    """
    _check(split)
    font = _Font(_font_path())
    return [
        SourceSound(
            label=instrument.label,
            name=f"{instrument.label}/{pitch:g}/{name}",
            load=partial(font.render, instrument, pitch, rhythm),
            stamp=f"{instrument} {rhythm} {font.size}",
            fold=split,
        )
        for instrument in INSTRUMENTS
        for pitch in pitches(instrument, split)
        for name, rhythm in RHYTHMS[split].items()
    ]


def pitches(instrument: Instrument, split: str) -> list[float]:
    """Return the MIDI notes at which the motifs of an instrument start in a split.

    These are even notes for training and odd ones for test; the pitch of drums differs by whole
    semitones for training and by half semitones for test.
    """
    _check(split)
    test = split == "test"
    if instrument.low is None or instrument.high is None:
        steps = np.arange(-1.5, 2.0) if test else np.arange(-2.0, 3.0)
        return [float(instrument.program + step) for step in steps]
    notes = [n for n in range(instrument.low, instrument.high + 1) if n % 2 == test]
    rows = np.linspace(0, len(notes) - 1, 5 if test else 8).round().astype(int)
    return [float(notes[row]) for row in rows]


def pair_rule(split: str) -> PairRule:
    """Return the rule for pairs of classes: a quarter is for test, all others are for training."""
    _check(split)
    ranks = {instrument.label: rank for rank, instrument in enumerate(INSTRUMENTS)}

    def allowed(first: str, second: str) -> bool:
        return ((ranks[first] + ranks[second]) % 4 == 0) == (split == "test")

    return allowed


def _check(split: str) -> None:
    if split not in SPLITS:
        raise InvalidInputError(f"rendered sounds have the splits train and test, got {split!r}")


def _font_path() -> Path:
    # The font is beside the package's __init__; importing the package would import much more.
    spec = find_spec("pretty_midi")
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent
    if find_spec("tinysoundfont") is None or path is None or not (path / "TimGM6mb.sf2").is_file():
        raise MissingDependencyError(
            "rendered sounds need tinysoundfont and the sound font of pretty_midi; "
            "install them with: pip install --no-deps tinysoundfont pretty_midi"
        )
    return path / "TimGM6mb.sf2"


class _Font:
    """Synthesiser with a lazily loaded font; loading it takes as long as rendering a sound."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._lock = Lock()
        self._synth: Any = None
        self._id = 0

    def render(self, instrument: Instrument, pitch: float, rhythm: Rhythm) -> Waveform:
        """Render one motif, mono at `RATE`, until its last note has faded."""
        with self._lock:
            self._select(instrument)
            drum = instrument.low is None
            # The pitch wheel spans two semitones either way.
            self._synth.pitchbend(0, 8192 + round(4096 * (pitch - instrument.program) * drum))
            key = instrument.program if drum else round(pitch)
            return self._play(key, instrument, rhythm)

    def _select(self, instrument: Instrument) -> None:
        if self._synth is None:
            from tinysoundfont import Synth

            self._synth = Synth(samplerate=RATE, gain=0)
            self._id = self._synth.sfload(str(self.path))
        self._synth.sounds_off()
        self._generate(RATE // 10)  # let the release of the last sound fade
        drum = instrument.low is None
        program = 0 if drum else instrument.program
        self._synth.program_select(0, self._id, 128 if drum else 0, program, drum)

    def _play(self, key: int, instrument: Instrument, rhythm: Rhythm) -> Waveform:
        events = []
        length = max(onset + duration for onset, duration, _ in rhythm) + 0.1
        for turn in range(instrument.times):
            for onset, duration, step in rhythm:
                note = key + step if instrument.melodic and instrument.low is not None else key
                begin = (turn * length + onset) * instrument.pace
                events.append((begin, note, 100))
                events.append((begin + duration * instrument.pace, note, 0))
        parts, now = [], 0
        for time, note, velocity in sorted(events):
            parts.append(self._generate(round(time * RATE) - now))
            now = round(time * RATE)
            if velocity:
                self._synth.noteon(0, note, velocity)
            else:
                self._synth.noteoff(0, note)
        parts.append(self._generate(round(_TAIL * RATE)))
        return np.concatenate(parts)

    def _generate(self, samples: int) -> Waveform:
        if samples <= 0:
            return np.zeros(0, np.float32)
        stereo = np.frombuffer(self._synth.generate(samples), np.float32).reshape(-1, 2)
        mono: Waveform = stereo.mean(axis=1, dtype=np.float32)
        return mono
