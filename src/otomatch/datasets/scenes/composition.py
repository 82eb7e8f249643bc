"""Captioned scenes composed from labelled sounds: one alone, one after or over another.

`compose` writes a data set folder: ``audio/*.flac`` (32 kHz, mono, 16 bits: half the size of WAV
for one more millisecond of decoding), ``captions.csv`` with five captions per clip, ``scenes.csv``
with the truth about each scene, and ``scenes.json`` with the settings. ``captions.csv`` comes last,
so a folder that was interrupted does not open. The same source, settings and seed give the same
bytes, whatever the number of workers.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from otomatch.datasets.base import CaptionDataset, Clip
from otomatch.datasets.caption_table import write_table
from otomatch.datasets.folder import CAPTIONS_TABLE, open_folder, write_captions
from otomatch.datasets.scenes import mixing, rendered
from otomatch.datasets.scenes.phrases import scene_captions
from otomatch.datasets.scenes.recipes import (
    PairRule,
    Recipe,
    any_pair,
    every_recipe,
    random_recipes,
)
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.datasets.scenes.sounds import SourceSound, Stem, StemBank, load_stems
from otomatch.errors import DatasetError, InvalidInputError

TRUTH_TABLE = "scenes.csv"
SETTINGS_FILE = "scenes.json"
_FORMAT = 1
_TRUTH_COLUMNS = ["file_name", "kind"] + [
    f"{which}_{what}"
    for which in ("first", "second")
    for what in ("label", "source", "start", "end", "level_db")
]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What decides the bytes of a scenes folder.

    Attributes:
        source: hash of the sounds: names, labels and stamps.
        clips: number of scenes, None for every combination once.
        seconds: length of a scene.
        seed: of all random choices.
        captions_per_clip: at least one; five or more suit evaluation as the field does it.
    """

    source: str
    clips: int | None = 3000
    seconds: float = 5.0
    seed: int = 0
    captions_per_clip: int = 5

    def __post_init__(self) -> None:
        if self.clips is not None and self.clips < 1:
            raise InvalidInputError(f"the number of clips must be at least 1, got {self.clips}")
        if not 1.0 <= self.seconds <= 600.0:
            raise InvalidInputError(f"a scene lasts 1 to 600 seconds, got {self.seconds}")
        if self.seed < 0:
            raise InvalidInputError(f"the seed must not be negative, got {self.seed}")
        if not 1 <= self.captions_per_clip <= 12:
            raise InvalidInputError(
                f"captions per clip must be 1 to 12, got {self.captions_per_clip}"
            )


def compose(
    source: str | Path,
    out: str | Path,
    *,
    clips: int = 3000,
    exhaustive: bool = False,
    seconds: float = 5.0,
    seed: int = 0,
    folds: Collection[int] | None = None,
    split: str | None = None,
    captions_per_clip: int = 5,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CaptionDataset:
    """Compose a data set folder of captioned scenes.

    Args:
        source: a folder of labelled recordings (see `datasets.scenes.recordings`), or ``midi``
            for rendered instruments, percussion and effects.
        out: the folder to write; it must be absent or empty. A folder that these same settings
            made is opened as it is, or made anew where it was interrupted.
        clips: number of scenes.
        exhaustive: every combination of classes once, instead of ``clips``.
        seconds: length of each scene, 1 to 600.
        seed: of all random choices, 0 or more.
        folds: folds of the recordings to use; None for all.
        split: ``train`` or ``test``, for ``midi``: pitches, rhythms and pairs of classes differ.
        captions_per_clip: 1 to 12, all different.
        workers: threads; None for two (one where there is one core). Does not change the result.
        progress: called with (scenes done, scenes in all).

    Returns:
        The data set, opened; ``skipped`` lists the sounds that could not be used.

    Raises:
        DatasetError: the source is unusable, or ``out`` holds something else.
        MissingDependencyError: ``midi`` needs packages that are not installed.
        InvalidInputError: a setting is out of range.
    """
    sounds, allowed = _source(source, folds, split)
    return compose_sounds(
        sounds,
        out,
        clips=None if exhaustive else clips,
        seconds=seconds,
        seed=seed,
        captions_per_clip=captions_per_clip,
        allowed=allowed,
        workers=workers,
        progress=progress,
    )


def compose_sounds(
    sounds: Sequence[SourceSound],
    out: str | Path,
    *,
    clips: int | None = 3000,
    seconds: float = 5.0,
    seed: int = 0,
    captions_per_clip: int = 5,
    allowed: PairRule = any_pair,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CaptionDataset:
    """`compose` for sounds from anywhere; ``clips=None`` is the exhaustive mode.

    ``allowed`` says which two classes may meet in a scene.
    """
    out = Path(out)
    settings = SceneSettings(_identity(sounds, allowed), clips, seconds, seed, captions_per_clip)
    if _complete(out, settings):
        return open_folder(out)
    workers = min(2, os.cpu_count() or 1) if workers is None else workers
    pool = load_stems(sounds, workers)
    out.mkdir(parents=True, exist_ok=True)
    (out / SETTINGS_FILE).write_text(_dump(settings), encoding="utf-8")
    (out / "audio").mkdir(exist_ok=True)
    recipes = _recipes(pool, settings, allowed)
    scenes = _write_scenes(out, recipes, pool, settings, workers, progress)
    write_table(out / TRUTH_TABLE, _TRUTH_COLUMNS, [truth for _, truth in scenes])
    write_captions(out, [clip for clip, _ in scenes])
    return replace(open_folder(out), skipped=pool.skipped)


def _source(
    source: str | Path, folds: Collection[int] | None, split: str | None
) -> tuple[list[SourceSound], PairRule]:
    if str(source) != "midi":
        if split is not None:
            raise InvalidInputError(f"split={split!r} is for midi; recordings are split by folds")
        return find_recordings(source, folds), any_pair
    if folds is not None:
        raise InvalidInputError("folds are for recordings; midi has the splits train and test")
    return rendered.rendered_sounds(split or "train"), rendered.pair_rule(split or "train")


def _identity(sounds: Sequence[SourceSound], allowed: PairRule) -> str:
    labels = sorted({sound.label for sound in sounds})
    pairs = [(a, b) for a in labels for b in labels if a != b and allowed(a, b)]
    described = [(s.label, s.name, s.stamp, str(s.fold)) for s in sounds]
    return hashlib.sha256(json.dumps([described, pairs]).encode()).hexdigest()


def _dump(settings: SceneSettings) -> str:
    return json.dumps({"format": _FORMAT, **asdict(settings)}, indent=2) + "\n"


def _complete(out: Path, settings: SceneSettings) -> bool:
    """Whether the folder is finished; refuses one that holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    file = out / SETTINGS_FILE
    if not file.is_file():
        raise DatasetError(f"{out} exists and is not a folder of scenes; choose another folder")
    if file.read_text(encoding="utf-8") != _dump(settings):
        raise DatasetError(
            f"{out} holds scenes made from other sounds or with other settings (see {SETTINGS_FILE} "
            "in it); remove it or choose another folder"
        )
    return (out / CAPTIONS_TABLE).is_file()


def _recipes(pool: StemBank, settings: SceneSettings, allowed: PairRule) -> list[Recipe]:
    labels = list(pool.stems)
    if settings.clips is None:
        return every_recipe(labels, allowed)
    rng = np.random.default_rng([settings.seed, 0, 2])
    return random_recipes(labels, settings.clips, rng, allowed)


def _write_scenes(
    out: Path,
    recipes: list[Recipe],
    pool: StemBank,
    settings: SceneSettings,
    workers: int,
    progress: Progress | None,
) -> list[tuple[Clip, list[object]]]:
    write = partial(_write_scene, out=out, pool=pool, settings=settings)
    scenes = []
    with ThreadPoolExecutor(workers) as executor:
        for scene in executor.map(write, range(len(recipes)), recipes):
            scenes.append(scene)
            if progress is not None:
                progress(len(scenes), len(recipes))
    return scenes


def _write_scene(
    index: int, recipe: Recipe, out: Path, pool: StemBank, settings: SceneSettings
) -> tuple[Clip, list[object]]:
    """Write one scene's audio; its clip and its row of truth. Depends on (seed, index) alone."""
    rng = np.random.default_rng([settings.seed, index, 0])
    stems = [_choice(pool.stems[label], rng) for label in recipe.labels]
    samples = round(settings.seconds * mixing.RATE)
    layers = mixing.mix(recipe.kind, [stem.waveform for stem in stems], samples, rng)
    path = out / "audio" / f"{index:06d}.flac"
    waveform = np.sum([layer.waveform for layer in layers], axis=0)
    soundfile.write(path, waveform, mixing.RATE, subtype="PCM_16", format="FLAC")
    # A stream of its own, so that another word in the vocabulary changes no audio.
    words = scene_captions(
        recipe.kind,
        recipe.labels,
        np.random.default_rng([settings.seed, index, 1]),
        settings.captions_per_clip,
    )
    name = path.relative_to(out).as_posix()
    truth: list[object] = [name, recipe.kind]
    for stem, layer in zip(stems, layers, strict=True):
        times = (round(layer.start, 3), round(layer.end, 3))
        truth += [stem.label, stem.name, *times, round(layer.level, 2)]
    return Clip(path, words, name, label=recipe.label), truth


def _choice(stems: Sequence[Stem], rng: np.random.Generator) -> Stem:
    return stems[int(rng.integers(len(stems)))]
