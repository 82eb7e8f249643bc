"""The sounds that scenes are made of: where they come from, and the stems they become."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otomatch.audio.waveform import Waveform
from otomatch.datasets.base import Skipped
from otomatch.datasets.scenes import mixing
from otomatch.errors import AudioError, DatasetError


@dataclass(frozen=True, slots=True)
class SourceSound:
    """A labelled sound before it is decoded or rendered.

    Attributes:
        label: class name.
        name: unique among the sounds of a source; goes into the record of a scene.
        load: returns the waveform at `mixing.RATE`; raises AudioError where it cannot.
        stamp: changes when the sound does (size and time of a file, settings of a rendering).
        fold: fold or split the sound belongs to.
    """

    label: str
    name: str
    load: Callable[[], Waveform] = field(repr=False, compare=False)
    stamp: str = ""
    fold: int | str | None = None


@dataclass(frozen=True, slots=True)
class Stem:
    """A decoded sound without silence at its ends, in 16 bits to keep thousands in memory."""

    label: str
    name: str
    samples: npt.NDArray[np.int16] = field(repr=False, compare=False)

    @property
    def waveform(self) -> Waveform:
        """Mono float32, shape (samples,), peak close to 1."""
        return self.samples.astype(np.float32) / np.float32(32767)


@dataclass(frozen=True, slots=True)
class StemBank:
    """Stems by label (sorted), and the sounds that could not be used."""

    stems: dict[str, list[Stem]]
    skipped: tuple[Skipped, ...]


def load_stems(sounds: Sequence[SourceSound], workers: int = 1) -> StemBank:
    """Decode or render every sound once.

    A sound that cannot be decoded, or is silent, is skipped and listed.

    Raises:
        DatasetError: no sound is left.
    """
    with ThreadPoolExecutor(workers) as executor:
        loaded = list(executor.map(_stem, sounds))
    skipped = tuple(item for item in loaded if isinstance(item, Skipped))
    stems: dict[str, list[Stem]] = {}
    for stem in loaded:
        if isinstance(stem, Stem):
            stems.setdefault(stem.label, []).append(stem)
    if not stems:
        first = f"; the first: {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise DatasetError(f"none of {len(sounds)} sounds can be used{first}")
    return StemBank({label: stems[label] for label in sorted(stems)}, skipped)


def _stem(sound: SourceSound) -> Stem | Skipped:
    try:
        waveform = mixing.trim(sound.load())
    except AudioError as error:
        return Skipped(sound.name, str(error))
    if len(waveform) == 0:
        return Skipped(sound.name, "silent")
    scaled = waveform * (32767 / np.abs(waveform).max())
    return Stem(sound.label, sound.name, scaled.round().astype(np.int16))
