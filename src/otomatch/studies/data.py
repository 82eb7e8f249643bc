"""What a study trains on and is tested on: a data set, or scenes that it composes.

``scenes:FOLDER`` names a folder of labelled recordings, of which the last fold is held out, and
``scenes:midi`` rendered sounds: training scenes are composed from the one half and `DRAWS` test
sets from the other, each an independent draw of levels, orders and recordings.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import Progress

from otomatch.datasets import CaptionDataset, absolute, open_dataset
from otomatch.datasets.recordings import find_table, read_labels
from otomatch.datasets.scenes import TRUTH, compose
from otomatch.errors import DatasetError

DRAWS, QUICK_DRAWS = 5, 2
PREFIX = "scenes:"
_RENDERED_TEST_SCENES = 200


@dataclass(frozen=True)
class TestSet:
    """Clips with captions that no training saw, and labelled ones for zero-shot classification.

    Attributes:
        name: as rows.csv names it.
        path: what `open_dataset` opens.
        split: of it; None for all.
        labelled: labelled clips, as a path; None where there are none.
        fold: of the labelled clips; None for all.
        singles: take only scenes of a single sound from the labelled clips.
    """

    __test__ = False  # not a test, whatever pytest thinks

    name: str
    path: str
    split: str | None = None
    labelled: str | None = None
    fold: int | None = None
    singles: bool = False

    @cached_property
    def clips(self) -> CaptionDataset:
        """The clips with captions."""
        return open_dataset(self.path, split=self.split)

    @cached_property
    def zeroshot(self) -> CaptionDataset | None:
        """The labelled clips, if there are any."""
        if self.labelled is None:
            return None
        found = open_dataset(self.labelled)
        if self.split is not None and self.labelled == self.path:
            found = found.select(self.split)
        if self.fold is not None:
            found = found.in_folds([self.fold])
        return _singles(found) if self.singles else found

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any of the clips."""
        labelled = self.zeroshot
        return self.clips.fingerprint + ("" if labelled is None else labelled.fingerprint)


@dataclass(frozen=True)
class StudyData:
    """Where a study's data are.

    Attributes:
        training: path of the data set to train on, by domain; the first is the study's own.
        tests: what every model is measured on.
    """

    training: dict[str, str]
    tests: tuple[TestSet, ...]

    def path(self, domain: str) -> str:
        """What an arm trains on; '' is the first domain."""
        return self.training[domain or next(iter(self.training))]


def prepare_data(
    references: Sequence[str],
    folder: Path,
    *,
    scenes: int,
    draws: int,
    zeroshot: str | None,
    console: Console,
) -> StudyData:
    """Open the data, or compose them below ``folder``; what is there is reused.

    Args:
        references: data sets, each a folder, ``NAME:FOLDER``, ``scenes:FOLDER`` or
            ``scenes:midi``.
        folder: where scenes are composed.
        scenes: training scenes of each kind.
        draws: test sets of each kind of scenes.
        zeroshot: labelled clips to classify, in place of those that come with the data.
        console: shows the progress.

    Raises:
        DatasetError: one cannot be opened, or has nothing to train or to test on.
    """
    training: dict[str, str] = {}
    tests: list[TestSet] = []
    for reference in references:
        if reference.startswith(PREFIX):
            domain, path, found = _scenes(reference, folder, scenes, draws, console)
        else:
            domain, path, found = _published(reference)
        if domain in training:
            raise DatasetError(f"{reference}: is the second data set called {domain!r}")
        training[domain] = path
        tests += found
    if zeroshot is not None:
        place = absolute(zeroshot)
        tests = [replace(test, labelled=place, fold=None, singles=False) for test in tests]
    return StudyData(training, tuple(tests))


def _published(reference: str) -> tuple[str, str, list[TestSet]]:
    """A data set as it is: its split test, else val, is what models are measured on."""
    path = absolute(reference)
    dataset = open_dataset(path)
    split = next((name for name in ("test", "val") if name in dataset.splits), None)
    if split is None:
        raise DatasetError(
            f"{reference}: has no split test to measure on; add the column 'split' to captions.csv"
        )
    test = TestSet(f"{dataset.root.name}-{split}", path, split)
    if len(test.clips.labels) > 1:
        test = replace(test, labelled=path)
    return dataset.root.name, path, [test]


def _scenes(
    reference: str, folder: Path, scenes: int, draws: int, console: Console
) -> tuple[str, str, list[TestSet]]:
    source = reference.removeprefix(PREFIX)
    if source == "midi":
        domain = "rendered"
        halves: tuple[dict[str, object], dict[str, object]] = (
            {"split": "train"},
            {"split": "test", "clips": _RENDERED_TEST_SCENES},
        )
    else:
        domain, source = "recordings", str(Path(source).expanduser().resolve())
        held_out, others = _folds(source)
        halves = ({"folds": others}, {"folds": [held_out], "exhaustive": True})
    place = folder / domain
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock"):  # of two processes that share a study, one composes
        train = place / f"train-{scenes}"
        _compose(source, train, {**halves[0], "clips": scenes}, console)
        for draw in range(draws):
            _compose(source, place / f"test-{draw}", {**halves[1], "seed": draw}, console)
    tests = [
        TestSet(f"{domain}-{draw}", str((place / f"test-{draw}").resolve()))
        for draw in range(draws)
    ]
    if source == "midi":
        labelled = [replace(test, labelled=test.path, singles=True) for test in tests]
    else:
        labelled = [replace(test, labelled=source, fold=held_out) for test in tests]
    return domain, str(train.resolve()), labelled


def _compose(source: str, out: Path, settings: dict[str, object], console: Console) -> None:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"Composing {out.parent.name}/{out.name}", total=None)
        compose(
            source,
            out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **settings,  # type: ignore[arg-type]
        )


def _folds(source: str) -> tuple[int, list[int]]:
    """The fold to test on, and those to train on."""
    rows = read_labels(find_table(Path(source)))
    folds = sorted({row.fold for row in rows if row.fold is not None})
    if len(folds) < 2:
        raise DatasetError(
            f"{source}: has {len(folds)} folds in its table of labels, expected at least 2: one is "
            "held out to test on"
        )
    return folds[-1], folds[:-1]


def _singles(dataset: CaptionDataset) -> CaptionDataset:
    """The scenes of one sound alone; the label of each is the sound's."""
    with (dataset.root / TRUTH).open(encoding="utf-8", newline="") as file:
        single = {row["file_name"] for row in csv.DictReader(file) if row["kind"] == "single"}
    clips = tuple(clip for clip in dataset.clips if clip.id in single)
    return replace(dataset, name=f"{dataset.name} (single sounds)", clips=clips)
