"""Sounds that scenes are composed of, before and after decoding."""

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
    """Labelled sound that is not yet decoded or rendered.

    Attributes:
        label: Class name.
        name: Name that is unique in the source and written to the record of a scene.
        load: Function that returns the waveform at `mixing.RATE`, or raises AudioError.
        stamp: Text that changes with the sound, such as the size of its file.
        fold: Fold or split of the sound; None if it has none.
    """

    label: str
    name: str
    load: Callable[[], Waveform] = field(repr=False, compare=False)
    stamp: str = ""
    fold: int | str | None = None


@dataclass(frozen=True, slots=True)
class Stem:
    """Decoded sound without silence at its ends, in 16 bits to fit thousands into memory.

    Attributes:
        label: Class name.
        name: Name of the source sound.
        samples: Samples with a peak of 32767, shape (samples,).
    """

    label: str
    name: str
    samples: npt.NDArray[np.int16] = field(repr=False, compare=False)

    @property
    def waveform(self) -> Waveform:
        """Waveform, mono float32, shape (samples,), with a peak close to 1."""
        return self.samples.astype(np.float32) / np.float32(32767)


@dataclass(frozen=True, slots=True)
class StemBank:
    """All usable sounds of a source.

    Attributes:
        stems: Stems of each label, sorted by label.
        skipped: Sounds that cannot be used.
    """

    stems: dict[str, list[Stem]]
    skipped: tuple[Skipped, ...]


def load_stems(sounds: Sequence[SourceSound], workers: int = 1) -> StemBank:
    """Decode or render every sound once; skip and list those that are broken or silent.

    Args:
        sounds: Sounds to load.
        workers: Number of threads.

    Raises:
        DatasetError: No sound can be used.
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
