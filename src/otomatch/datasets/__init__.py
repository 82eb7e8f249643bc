"""Data sets: clips with captions, opened from folders of many layouts, or composed."""

from collections.abc import Callable
from pathlib import Path

from otomatch.datasets.audiocaps import AUDIOCAPS
from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.clotho import CLOTHO
from otomatch.datasets.esc50 import open_esc50, recognises_esc50
from otomatch.datasets.folder import CAPTIONS_TABLE, open_folder, write_captions
from otomatch.errors import DatasetError

__all__ = [
    "DATASETS",
    "CaptionDataset",
    "absolute_reference",
    "layout_name",
    "open_dataset",
    "write_captions",
]

# One loader per layout: each takes the root folder.
DATASETS: dict[str, Callable[[Path], CaptionDataset]] = {
    "audiocaps": AUDIOCAPS.open,
    "clotho": CLOTHO.open,
    "esc-50": open_esc50,
    "folder": open_folder,
}
_RECOGNISES: dict[str, Callable[[Path], bool]] = {
    "audiocaps": AUDIOCAPS.recognises,
    "clotho": CLOTHO.recognises,
    "esc-50": recognises_esc50,
}


def open_dataset(
    name_or_path: str | Path, root: str | Path | None = None, split: str | None = None
) -> CaptionDataset:
    """Open a data set by its folder, or by the name of a known layout and its folder.

    ``open_dataset("clotho", root="data/clotho")`` and ``open_dataset("clotho:data/clotho")`` are
    the same; whatever takes the folder of a data set takes ``NAME:FOLDER`` too. A folder without
    ``captions.csv`` is opened as the one known layout that its tables have.

    Args:
        name_or_path: a folder with ``captions.csv`` (or that file), a folder in a known layout, a
            key of `DATASETS`, or such a key, a colon and a folder.
        root: where the named data set lies; only with a name.
        split: keep this split only.

    Raises:
        DatasetError: no such folder, name or split, or the folder's content is unusable.
    """
    if root is None:
        name, folder = _parse(name_or_path)
    else:
        name, folder = layout_name(str(name_or_path)), Path(root).expanduser()
    dataset = _open_folder(folder) if name is None else _open_named(name, folder)
    return dataset if split is None else dataset.select(split)


def absolute_reference(reference: str | Path) -> str:
    """What `open_dataset` takes, with the folder made absolute."""
    name, folder = _parse(reference)
    return str(folder.resolve()) if name is None else f"{name}:{folder.resolve()}"


def layout_name(text: str) -> str:
    """The key of `DATASETS` that is meant, however it is spelt: ESC-50, esc50, AudioCaps.

    Raises:
        DatasetError: there is none.
    """
    name = _SPELT.get(_plain(text))
    if name is None:
        raise DatasetError(f"unknown data set {text!r}; names: {', '.join(DATASETS)}")
    return name


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


_SPELT = {_plain(name): name for name in DATASETS}


def _parse(reference: str | Path) -> tuple[str | None, Path]:
    """The name, if there is one, and the folder of a reference."""
    name, colon, folder = str(reference).partition(":")
    if not colon or _plain(name) not in _SPELT or Path(reference).exists():
        return None, Path(reference).expanduser()
    return layout_name(name), Path(folder).expanduser()


def _open_named(name: str, root: Path) -> CaptionDataset:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; it should hold the data set {name}")
    return DATASETS[name](root)


def _open_folder(path: Path) -> CaptionDataset:
    if path.name == CAPTIONS_TABLE and path.is_file():
        return open_folder(path.parent)
    if not path.is_dir():
        raise DatasetError(
            f"{path} is a data set's name: give its folder as root, or write {path}:FOLDER"
            if _plain(str(path)) in _SPELT
            else f"no folder {path}, and no data set of that name; names: {', '.join(DATASETS)}"
        )
    if (path / CAPTIONS_TABLE).is_file():
        return open_folder(path)
    fitting = [name for name, recognises in _RECOGNISES.items() if recognises(path)]
    if len(fitting) > 1:
        raise DatasetError(
            f"{path}: its tables may be those of {' and of '.join(fitting)}; say which it is: "
            f"{' or '.join(f'{name}:{path}' for name in fitting)}"
        )
    return DATASETS[fitting[0]](path) if fitting else open_folder(path)
