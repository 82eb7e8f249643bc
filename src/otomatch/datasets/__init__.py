"""Data sets: clips with captions, opened from folders of many layouts, or composed."""

from collections.abc import Callable
from pathlib import Path

from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.folder import open_folder, write_captions
from otomatch.errors import DatasetError

__all__ = ["DATASETS", "CaptionDataset", "open_dataset", "write_captions"]

# One loader per layout: each takes the root folder.
DATASETS: dict[str, Callable[[Path], CaptionDataset]] = {"folder": open_folder}


def open_dataset(
    name_or_path: str | Path, root: str | Path | None = None, split: str | None = None
) -> CaptionDataset:
    """Open a data set by its folder, or by the name of a known layout and its folder.

    Args:
        name_or_path: a folder with ``captions.csv`` (or that file), or a key of `DATASETS`.
        root: where the named data set lies; only with a name.
        split: keep this split only.

    Raises:
        DatasetError: no such folder, name or split, or the folder's content is unusable.
    """
    dataset = _open(name_or_path, None if root is None else Path(root))
    return dataset if split is None else dataset.select(split)


def _open(name_or_path: str | Path, root: Path | None) -> CaptionDataset:
    path = Path(name_or_path)
    names = ", ".join(sorted(DATASETS))
    if root is None:
        if path.name == "captions.csv" and path.is_file():
            return open_folder(path.parent)
        if path.is_dir():
            return open_folder(path)
        known = (
            f"{name_or_path} is a data set's name: give its folder as root"
            if (str(name_or_path) in DATASETS)
            else f"no folder {name_or_path}, and no data set of that name; names: {names}"
        )
        raise DatasetError(known)
    if str(name_or_path) not in DATASETS:
        raise DatasetError(f"unknown data set {str(name_or_path)!r}; names: {names}")
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    return DATASETS[str(name_or_path)](root)
