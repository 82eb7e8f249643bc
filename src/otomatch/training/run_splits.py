"""Choice of the clips that a run trains on, validates on and is measured on."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError, MissingDatasetError
from otomatch.training.mismatch.table import PAIRS_FILE
from otomatch.training.sections import DataConfig

_SPLITS = {"train", "val", "test"}


@dataclass(frozen=True)
class RunSplits:
    """Clips of a run.

    Attributes:
        dataset: The data set as opened.
        train: Training clips.
        val: Validation clips.
        test: Data set that the best model is measured on: the split "test" if there is one, else
            the validation clips.
        skipped: Rows and files that cannot be used, and why.
        fingerprint: Digest of everything that the choice depends on.
    """

    dataset: CaptionDataset
    train: tuple[Clip, ...]
    val: tuple[Clip, ...]
    test: CaptionDataset
    skipped: tuple[Skipped, ...]
    fingerprint: str


def open_splits(data: DataConfig, seed: int) -> RunSplits:
    """Open the data sets of a run, and choose its training, validation and test clips.

    Without rows of the split "val" and without a data set to validate on, a random share of the
    training clips is held out for validation. Clips without captions are left out.

    Raises:
        MissingDatasetError: No data set is given.
        DatasetError: A data set cannot be opened, has splits of other names, or has fewer training
            clips than requested.
    """
    if not data.path:
        raise MissingDatasetError("no data set to train on; expected the folder of one")
    dataset = open_dataset(data.path)
    _check_split_names(dataset)
    skipped, fingerprint = dataset.skipped, dataset.fingerprint
    clips = [clip for clip in dataset.clips if clip.captions]
    train = [clip for clip in clips if clip.split in (None, "train")]
    val = [clip for clip in clips if clip.split == "val"]
    if data.val:
        separate = open_dataset(data.val)
        val = [clip for clip in separate.clips if clip.captions]
        skipped, fingerprint = skipped + separate.skipped, fingerprint + separate.fingerprint
    if not val and len(train) > 1:
        train, val = _hold_out(train, data.val_share, seed)
    train = _first_of_random_order(train, data, seed)
    if data.pairs:
        fingerprint += _content_hash(Path(data.pairs))
    test = _test_set(dataset, tuple(val))
    return RunSplits(dataset, tuple(train), tuple(val), test, skipped, fingerprint)


def _check_split_names(dataset: CaptionDataset) -> None:
    unknown = sorted(set(dataset.splits) - _SPLITS)
    if unknown:
        raise DatasetError(
            f"{dataset.name}: has the splits {', '.join(unknown)} in captions.csv; "
            "expected train, val, test or blank"
        )


def _hold_out(clips: list[Clip], share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    order = np.random.default_rng([seed, 4]).permutation(len(clips))
    held = set(order[: max(1, round(share * len(clips)))].tolist())
    train = [clip for row, clip in enumerate(clips) if row not in held]
    return train, [clips[row] for row in sorted(held)]


def _first_of_random_order(clips: list[Clip], data: DataConfig, seed: int) -> list[Clip]:
    """Return the requested number of clips, so that a smaller number is a subset of a larger."""
    if data.clips is None:
        return clips
    if data.clips > len(clips):
        raise DatasetError(
            f"{data.path}: {data.clips} training clips were requested, but there are "
            f"{len(clips)}; request fewer, or all"
        )
    order = np.random.default_rng([seed, 0, 6]).permutation(len(clips))
    return [clips[row] for row in sorted(order[: data.clips].tolist())]


def _content_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); expected the {PAIRS_FILE} of a run that "
            "estimates pair weights"
        ) from error


def _test_set(dataset: CaptionDataset, val: tuple[Clip, ...]) -> CaptionDataset:
    if "test" in dataset.splits:
        return dataset.select("test")
    name = f"the validation clips of {dataset.name}"
    return replace(dataset, name=name, clips=val, skipped=())
