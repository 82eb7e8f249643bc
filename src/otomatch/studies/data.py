"""Training data and test sets of a study: existing data sets, or scenes composed for it.

``scenes:FOLDER`` names a folder of labelled recordings, whose last fold is held out, and
``scenes:midi`` rendered sounds. Training scenes are composed from the training part and `DRAWS`
test sets from the held-out part, each an independent draw of levels, orders and recordings.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import Progress

from otomatch.datasets import CaptionDataset, absolute_reference, open_dataset
from otomatch.datasets.folder import CAPTIONS_TABLE
from otomatch.datasets.label_table import find_table, read_labels
from otomatch.datasets.scenes.composition import TRUTH_TABLE, compose
from otomatch.errors import DatasetError

DRAWS, QUICK_DRAWS = 5, 2
PREFIX = "scenes:"
_TEST_SCENES = 200
"""Number of test scenes if there are too many combinations of two classes to use each once."""


@dataclass(frozen=True)
class TestSet:
    """Captioned clips held out of training, and labelled clips for zero-shot classification.

    Attributes:
        name: Name in rows.csv.
        path: Data set, as `open_dataset` takes it.
        split: Split to use; None for all clips.
        labelled: Data set of labelled clips, as `open_dataset` takes it, if there is one.
        fold: Fold of the labelled clips to use; None for all.
        singles: True to use only labelled scenes of a single sound.
    """

    __test__ = False  # pytest would collect it by its name

    name: str
    path: str
    split: str | None = None
    labelled: str | None = None
    fold: int | None = None
    singles: bool = False

    @cached_property
    def clips(self) -> CaptionDataset:
        """Captioned clips."""
        return open_dataset(self.path, split=self.split)

    @cached_property
    def zeroshot(self) -> CaptionDataset | None:
        """Labelled clips, if there are any.

        Raises:
            DatasetError: If there are fewer than two classes.
        """
        if self.labelled is None:
            return None
        found = open_dataset(self.labelled)
        if self.split is not None and self.labelled == self.path:
            found = found.select(self.split)
        if self.fold is not None:
            found = found.in_folds([self.fold])
        if self.singles:
            found = _singles(found)
        if len(found.labels) < 2:
            raise DatasetError(
                f"{found.name}: has {len(found.labels)} classes to choose from, expected at least "
                "two; add clips with other labels (column 'label')"
            )
        return replace(found, clips=tuple(c for c in found.clips if c.label is not None))

    @cached_property
    def fingerprint(self) -> str:
        """Digest that changes with any of the clips."""
        labelled = self.zeroshot
        return self.clips.fingerprint + ("" if labelled is None else labelled.fingerprint)


@dataclass(frozen=True)
class StudyData:
    """Data sets of a study.

    Attributes:
        training: Data sets to train on by domain, as `open_dataset` takes them; the first is the
            default.
        tests: Test sets that every model is measured on.
    """

    training: dict[str, str]
    tests: tuple[TestSet, ...]

    def path(self, domain: str) -> str:
        """Return the data set to train on in a domain; "" is the first domain."""
        return self.training[domain or next(iter(self.training))]

    def clips(self, val_share: float) -> int:
        """Return the number of training clips, the smallest of all domains.

        Args:
            val_share: Share of the clips to hold out for validation if there is no split val.
        """
        return min(
            _training_clips(open_dataset(path), val_share) for path in self.training.values()
        )


def prepare_study_data(
    references: Sequence[str],
    folder: Path,
    *,
    scenes: int,
    draws: int,
    zeroshot: str | None,
    console: Console,
) -> StudyData:
    """Open the data sets of a study, composing scenes that do not exist yet.

    Args:
        references: Data sets, each a folder, ``NAME:FOLDER``, ``scenes:FOLDER`` or
            ``scenes:midi``.
        folder: Folder to compose scenes in; scenes found there are reused.
        scenes: Number of training scenes of each kind.
        draws: Number of test sets of each kind of scenes.
        zeroshot: Labelled clips to classify, instead of those of the data sets.
        console: Console that shows the progress.

    Raises:
        DatasetError: If a data set cannot be opened, or has no clips to train or to test on.
    """
    training: dict[str, str] = {}
    tests: list[TestSet] = []
    for reference in references:
        if reference.startswith(PREFIX):
            domain, path, found = _scenes(reference, folder, scenes, draws, console)
        else:
            domain, path, found = _published(reference)
        if domain in training:
            raise DatasetError(
                f"{reference}: is the second data set called {domain!r}, expected different "
                "names; rename its folder"
            )
        training[domain] = path
        tests += found
    if zeroshot is not None:
        tests = [_with_labelled(test, absolute_reference(zeroshot)) for test in tests]
    for test in tests:
        _ = test.zeroshot  # report errors before hours of training
    return StudyData(training, tuple(tests))


def _with_labelled(test: TestSet, labelled: str) -> TestSet:
    """Return a test set with other labelled clips, keeping the held-out fold of the same folder."""
    own = None if test.labelled is None else open_dataset(test.labelled).root.resolve()
    if test.fold is not None and own == open_dataset(labelled).root.resolve():
        return test
    return replace(test, labelled=labelled, fold=None, singles=False)


def _published(reference: str) -> tuple[str, str, list[TestSet]]:
    """Open an existing data set, to be tested on its split "test"."""
    path = absolute_reference(reference)
    dataset = open_dataset(path)
    if "test" not in dataset.splits:  # the best epoch is chosen on val
        raise DatasetError(
            f"{reference}: has no split 'test' to measure on; add the column 'split' to "
            "captions.csv"
        )
    if _training_clips(dataset, 0.05) < 2:
        raise DatasetError(
            f"{reference}: has fewer than two captioned clips to train on; expected clips whose "
            "split is blank or 'train'"
        )
    test = TestSet(f"{dataset.root.name}-test", path, "test")
    if len(test.clips.labels) > 1:
        test = replace(test, labelled=path)
    return dataset.root.name, path, [test]


def _training_clips(dataset: CaptionDataset, val_share: float) -> int:
    clips = [clip for clip in dataset.clips if clip.captions and clip.split in (None, "train")]
    held_out = 0 if "val" in dataset.splits else max(1, round(val_share * len(clips)))
    return len(clips) - held_out


def _scenes(
    reference: str, folder: Path, scenes: int, draws: int, console: Console
) -> tuple[str, str, list[TestSet]]:
    source = reference.removeprefix(PREFIX)
    train: dict[str, object] = {"clips": scenes}
    if source == "midi":
        domain = "rendered"
        train["split"] = "train"
        test: dict[str, object] = {"split": "test", "clips": _TEST_SCENES}
    else:
        source = str(Path(source).expanduser().resolve())
        domain = Path(source).name
        held_out, others, combinations = _folds(source)
        train["folds"] = others
        every = (
            {"exhaustive": True} if combinations <= 2 * _TEST_SCENES else {"clips": _TEST_SCENES}
        )
        test = {"folds": [held_out], **every}
    place = folder / f"{domain}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / f"test-{draws - 1}" / CAPTIONS_TABLE).is_file():
        console.print(f"Composing scenes in {place}", highlight=False, soft_wrap=True)
    with FileLock(place / "lock"):  # one of the processes that share a study composes
        _compose(source, place / f"train-{scenes}", train, console)
        for draw in range(draws):
            _compose(source, place / f"test-{draw}", {**test, "seed": draw}, console)
    tests = [
        TestSet(f"{domain}-{draw}", str((place / f"test-{draw}").resolve()))
        for draw in range(draws)
    ]
    if source == "midi":
        labelled = [replace(test, labelled=test.path, singles=True) for test in tests]
    else:
        labelled = [replace(test, labelled=source, fold=held_out) for test in tests]
    return domain, str((place / f"train-{scenes}").resolve()), labelled


def _compose(source: str, out: Path, settings: dict[str, object], console: Console) -> None:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"Composing {out.parent.name}/{out.name}", total=None)
        compose(
            source,
            out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **settings,  # type: ignore[arg-type]
        )


def _folds(source: str) -> tuple[int, list[int], int]:
    """Return the test fold, the training folds, and the number of scenes of one or two classes."""
    rows = read_labels(find_table(Path(source)))
    folds = sorted({row.fold for row in rows if row.fold is not None})
    if len(folds) < 2:
        raise DatasetError(
            f"{source}: has {len(folds)} folds in its table of labels, expected at least 2; one is "
            "held out for testing"
        )
    labels = len({row.label for row in rows if row.fold == folds[-1]})
    return folds[-1], folds[:-1], labels + 2 * labels * (labels - 1)


def _singles(dataset: CaptionDataset) -> CaptionDataset:
    """Keep the scenes of a single sound; their label is that of the sound."""
    with (dataset.root / TRUTH_TABLE).open(encoding="utf-8", newline="") as file:
        single = {row["file_name"] for row in csv.DictReader(file) if row["kind"] == "single"}
    clips = tuple(clip for clip in dataset.clips if clip.id in single)
    return replace(dataset, name=f"{dataset.name} (single sounds)", clips=clips)
