"""Data sets of captioned clips: open folders in several layouts, and write ``captions.csv``."""

from collections.abc import Callable
from pathlib import Path

from otomatch.datasets.audiocaps import AUDIOCAPS
from otomatch.datasets.base import CaptionDataset, Clip, Skipped
from otomatch.datasets.clotho import CLOTHO
from otomatch.datasets.esc50 import open_esc50, recognises_esc50
from otomatch.datasets.folder import CAPTIONS_TABLE, open_folder, write_captions
from otomatch.errors import DatasetError

__all__ = [
    "DATASETS",
    "CaptionDataset",
    "Clip",
    "Skipped",
    "absolute_reference",
    "layout_name",
    "open_dataset",
    "write_captions",
]

DATASETS: dict[str, Callable[[Path], CaptionDataset]] = {
    "audiocaps": AUDIOCAPS.open,
    "clotho": CLOTHO.open,
    "esc-50": open_esc50,
    "folder": open_folder,
}
"""Function that opens the root folder of a data set, by name of the layout."""

_RECOGNISES: dict[str, Callable[[Path], bool]] = {
    "audiocaps": AUDIOCAPS.recognises,
    "clotho": CLOTHO.recognises,
    "esc-50": recognises_esc50,
}


def open_dataset(
    name_or_path: str | Path, root: str | Path | None = None, split: str | None = None
) -> CaptionDataset:
    """Open a data set from its folder.

    ``open_dataset("clotho:data/clotho")`` is the same as
    ``open_dataset("clotho", root="data/clotho")``. If neither names the layout and the folder has
    no ``captions.csv``, the layout is recognised by its tables.

    Args:
        name_or_path: Data set folder, its ``captions.csv``, ``NAME:FOLDER``, or a name alone. Names
            are the keys of `DATASETS`, in any case and with or without hyphens.
        root: Folder of the data set, if ``name_or_path`` is a name alone.
        split: Split to select; None for all clips.

    Raises:
        DatasetError: The folder, name or split does not exist, several layouts fit the folder, or
            none of its clips can be used.
    """
    if root is None:
        name, folder = _parse(name_or_path)
    else:
        name, folder = layout_name(str(name_or_path)), Path(root).expanduser()
    dataset = _open_folder(folder) if name is None else _open_named(name, folder)
    return dataset if split is None else dataset.select(split)


def absolute_reference(reference: str | Path) -> str:
    """Return a reference to the same data set with an absolute folder.

    Args:
        reference: Folder or ``NAME:FOLDER``, as for `open_dataset`.
    """
    name, folder = _parse(reference)
    return str(folder.resolve()) if name is None else f"{name}:{folder.resolve()}"


def layout_name(text: str) -> str:
    """Return the key of `DATASETS` for a name in another spelling, such as ESC50 or AudioCaps.

    Raises:
        DatasetError: No data set has this name.
    """
    name = _SPELT.get(_plain(text))
    if name is None:
        raise DatasetError(f"unknown data set {text!r}; expected one of {', '.join(DATASETS)}")
    return name


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


_SPELT = {_plain(name): name for name in DATASETS}


def _parse(reference: str | Path) -> tuple[str | None, Path]:
    """Split a reference into the name, if it has one, and the folder."""
    name, colon, folder = str(reference).partition(":")
    if not colon or _plain(name) not in _SPELT or Path(reference).exists():
        return None, Path(reference).expanduser()
    return layout_name(name), Path(folder).expanduser()


def _open_named(name: str, root: Path) -> CaptionDataset:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected the folder of the data set {name}")
    return DATASETS[name](root)


def _open_folder(path: Path) -> CaptionDataset:
    if path.name == CAPTIONS_TABLE and path.is_file():
        return open_folder(path.parent)
    if not path.is_dir():
        raise DatasetError(
            f"{path} is the name of a data set; write {path}:FOLDER to say where it is"
            if _plain(str(path)) in _SPELT
            else f"no folder {path}, and no data set of that name; names: {', '.join(DATASETS)}"
        )
    if (path / CAPTIONS_TABLE).is_file():
        return open_folder(path)
    fitting = [name for name, recognises in _RECOGNISES.items() if recognises(path)]
    if len(fitting) > 1:
        raise DatasetError(
            f"{path}: the tables fit {' and '.join(fitting)}; write "
            f"{' or '.join(f'{name}:{path}' for name in fitting)}"
        )
    return DATASETS[fitting[0]](path) if fitting else open_folder(path)
