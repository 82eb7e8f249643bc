"""Compose captioned scenes of labelled sounds: one alone, one after another, or one over another.

`compose` writes a data set folder:

- ``audio/*.flac``: scenes at 32 kHz, mono, 16 bits (half the size of WAV, and decoding takes only a
  millisecond longer).
- ``captions.csv``: five captions per scene. It is written last, so that an interrupted folder does
  not open.
- ``scenes.csv``: the sounds of each scene, with their times and levels.
- ``scenes.json``: the settings.

The same source, settings and seed give the same bytes, whatever the number of workers. Composing
into a folder with the same sounds and settings opens it if it is complete, and composes it again if
it was interrupted.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from otomatch.datasets.base import CaptionDataset, Clip
from otomatch.datasets.caption_table import write_table
from otomatch.datasets.folder import open_folder, write_captions
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
from otomatch.datasets.scenes.settings import SETTINGS_FILE, SceneSettings, is_complete
from otomatch.datasets.scenes.sounds import SourceSound, Stem, StemBank, load_stems
from otomatch.errors import InvalidInputError
from otomatch.files import write_text

TRUTH_TABLE = "scenes.csv"
"""Table with the sounds of each scene, their times in seconds and their levels in dB."""

_TRUTH_COLUMNS = ["file_name", "kind"] + [
    f"{which}_{what}"
    for which in ("first", "second")
    for what in ("label", "source", "start", "end", "level_db")
]

Progress = Callable[[int, int], None]
"""Function that is called with the number of scenes written and the number of all scenes."""


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
        source: Folder of labelled recordings (see `otomatch.datasets.label_table`), or ``midi`` for
            rendered instruments, drums and effects.
        out: Folder to write; absent, empty, or composed of the same sounds with the same settings.
        clips: Number of scenes.
        exhaustive: Compose every combination of classes once, instead of ``clips`` scenes.
        seconds: Length of each scene in seconds, 1 to 600.
        seed: Random seed, 0 or more.
        folds: Folds of the recordings to use; None for all.
        split: Split of ``midi``, ``train`` or ``test``; None for ``train``, or for recordings.
        captions_per_clip: Number of distinct captions per scene, 1 to 12.
        workers: Number of threads, which does not change the result; None for at most two.
        progress: Called with the number of scenes written and the number of all scenes.

    Returns:
        The opened data set. Its ``skipped`` lists the sounds that cannot be used.

    Raises:
        DatasetError: The source cannot be used, or ``out`` holds something else.
        MissingDependencyError: The packages that render ``midi`` are not installed.
        InvalidInputError: A setting is out of range.
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
    """Compose scenes of any sounds, as `compose` does.

    Args:
        sounds: Labelled sounds, with unique names.
        out: See `compose`.
        clips: Number of scenes; None for every combination of classes once.
        seconds: See `compose`.
        seed: See `compose`.
        captions_per_clip: See `compose`.
        allowed: Function that returns True if two classes may occur in one scene.
        workers: See `compose`.
        progress: See `compose`.

    Returns:
        The opened data set. Its ``skipped`` lists the sounds that cannot be used.

    Raises:
        DatasetError: No sound can be used, or ``out`` holds something else.
        InvalidInputError: A setting is out of range.
    """
    out = Path(out)
    settings = SceneSettings(_identity(sounds, allowed), clips, seconds, seed, captions_per_clip)
    if is_complete(out, settings):
        return open_folder(out)
    workers = min(2, os.cpu_count() or 1) if workers is None else workers
    bank = load_stems(sounds, workers)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / SETTINGS_FILE, settings.to_json())
    (out / "audio").mkdir(exist_ok=True)
    recipes = _recipes(bank, settings, allowed)
    scenes = _write_scenes(out, recipes, bank, settings, workers, progress)
    write_table(out / TRUTH_TABLE, _TRUTH_COLUMNS, [truth for _, truth in scenes])
    write_captions(out, [clip for clip, _ in scenes])
    return replace(open_folder(out), skipped=bank.skipped)


def _source(
    source: str | Path, folds: Collection[int] | None, split: str | None
) -> tuple[list[SourceSound], PairRule]:
    if str(source) != "midi":
        if split is not None:
            raise InvalidInputError(
                f"the split {split!r} is for midi; recordings are split by folds"
            )
        return find_recordings(source, folds), any_pair
    if folds is not None:
        raise InvalidInputError("folds are for recordings; midi has the splits train and test")
    return rendered.rendered_sounds(split or "train"), rendered.pair_rule(split or "train")


def _identity(sounds: Sequence[SourceSound], allowed: PairRule) -> str:
    labels = sorted({sound.label for sound in sounds})
    pairs = [(a, b) for a in labels for b in labels if a != b and allowed(a, b)]
    described = [(s.label, s.name, s.stamp, str(s.fold)) for s in sounds]
    return hashlib.sha256(json.dumps([described, pairs]).encode()).hexdigest()


def _recipes(bank: StemBank, settings: SceneSettings, allowed: PairRule) -> list[Recipe]:
    labels = list(bank.stems)
    if settings.clips is None:
        return every_recipe(labels, allowed)
    rng = np.random.default_rng([settings.seed, 0, 2])
    return random_recipes(labels, settings.clips, rng, allowed)


def _write_scenes(
    out: Path,
    recipes: list[Recipe],
    bank: StemBank,
    settings: SceneSettings,
    workers: int,
    progress: Progress | None,
) -> list[tuple[Clip, list[object]]]:
    write = partial(_write_scene, out=out, bank=bank, settings=settings)
    scenes = []
    with ThreadPoolExecutor(workers) as executor:
        for scene in executor.map(write, range(len(recipes)), recipes):
            scenes.append(scene)
            if progress is not None:
                progress(len(scenes), len(recipes))
    return scenes


def _write_scene(
    index: int, recipe: Recipe, out: Path, bank: StemBank, settings: SceneSettings
) -> tuple[Clip, list[object]]:
    """Write the audio of a scene, and return its clip and its row of `TRUTH_TABLE`.

    The result depends on the seed and the index only.
    """
    rng = np.random.default_rng([settings.seed, index, 0])
    stems = [_choice(bank.stems[label], rng) for label in recipe.labels]
    samples = round(settings.seconds * mixing.RATE)
    layers = mixing.mix(recipe.kind, [stem.waveform for stem in stems], samples, rng)
    path = out / "audio" / f"{index:06d}.flac"
    waveform = np.sum([layer.waveform for layer in layers], axis=0)
    soundfile.write(path, waveform, mixing.RATE, subtype="PCM_16", format="FLAC")
    # A separate random stream, so that changes in the vocabulary do not change the audio.
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
