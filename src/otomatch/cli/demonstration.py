"""The demonstration: render sounds, train a model, evaluate it, index and search a library."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from otomatch.cli.tables import hits_table
from otomatch.datasets import CaptionDataset
from otomatch.datasets.scenes.composition import compose
from otomatch.evaluation.evaluator import evaluate
from otomatch.evaluation.tables import retrieval_table
from otomatch.library import SoundLibrary, open_or_create
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.training.config import Config, load_config
from otomatch.training.trainer import train

TRAIN_CLIPS, TEST_CLIPS = 2000, 200
QUERIES = (
    "a trumpet plays",
    "waves wash ashore",
    "a cymbal crash, then a helicopter",
    "an acoustic guitar with a choir singing quietly behind it",
)


def run_demo(
    folder: Path,
    console: Console,
    clips: tuple[int, int] = (TRAIN_CLIPS, TEST_CLIPS),
    overrides: Sequence[str] = (),
) -> SoundLibrary:
    """Compose, train, evaluate, index and search in ``folder``; parts that exist are reused.

    Args:
        folder: Folder for everything that is made.
        console: Console to print tables on.
        clips: Numbers of training and test scenes.
        overrides: Overrides of the configuration, see `load_config`.

    Returns:
        Library of the test scenes.

    Raises:
        MissingDependencyError: The packages that render sounds are not installed.
        DatasetError: The folder holds another data set.
        RunError: The folder holds another run.
        LibraryError: The folder holds another library.
    """
    started = time.monotonic()
    console.rule("1. Render captioned scenes")
    test = _render(folder, clips, console)
    console.rule("2. Train with optimal transport")
    result = train(_config(folder / "train", overrides), folder / "run")
    console.rule("3. Evaluate on scenes whose pitches, rhythms and pairings are new")
    report = evaluate(AudioTextModel.from_pretrained(result.model), test, progress=True)
    console.print(retrieval_table(report, "rendered test scenes", chance=True))
    console.rule("4. Search the test scenes by describing them, by sound alone")
    library = open_or_create(folder / "library", result.model)
    library.index(folder / "test", progress=True)
    _search(library, console)
    console.print(_next_steps(folder, time.monotonic() - started), soft_wrap=True, highlight=False)
    return library


def _config(data: Path, overrides: Sequence[str]) -> Config:
    place = json.dumps(str(data.resolve()), ensure_ascii=False)
    return load_config(overrides=[f"data.path={place}", *overrides])


def _render(folder: Path, sizes: tuple[int, int], console: Console) -> CaptionDataset:
    """Render both halves of the scenes and return the test half."""
    for split, clips in zip(("train", "test"), sizes, strict=True):
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"Composing {clips} {split} scenes", total=clips)
            dataset = compose(
                "midi",
                folder / split,
                split=split,
                clips=clips,
                progress=partial(_advance, bar, task),
            )
        console.print(f"{split}: {len(dataset)} scenes, {len(dataset.captions)} captions")
    return dataset


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _search(library: SoundLibrary, console: Console) -> None:
    for query in QUERIES:
        hits = library.search(query, k=3, hybrid=False)
        short = [replace(hit, path=Path(hit.path).name) for hit in hits]
        console.print(hits_table(short, query))


def _next_steps(folder: Path, seconds: float) -> str:
    command = Path(sys.argv[0])
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    return f"""
Done in {seconds:.0f} s; everything is in {folder}/. What to type next:

  {command} serve {folder}/library --open
  {command} search {folder}/library "hand claps while waves wash ashore"
  {command} index ~/my-sounds --model {folder}/run/model --library my-library
  {command} compose midi scenes --clips 3000 && {command} train --data scenes --run my-run
  {command} train --show-config --run my-run
"""
