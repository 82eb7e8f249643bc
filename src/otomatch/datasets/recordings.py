"""Folders of labelled recordings: the ESC-10 and ESC-50 layouts, and any folder made like them.

A folder holds a table, either ``esc10.csv`` or ``labels.csv`` (``file_name,fold,label``) or
``meta/esc50.csv`` (``filename,fold,target,category,...``), and the recordings beside it or in
``audio/``. ``fold`` may be missing or blank where no folds are asked for.
"""

import csv
from collections.abc import Collection
from functools import partial
from pathlib import Path

from otomatch import audio
from otomatch.datasets.mixing import RATE
from otomatch.datasets.sounds import Sound
from otomatch.errors import DatasetError

TABLES = ("esc10.csv", "labels.csv", "meta/esc50.csv", "esc50.csv")


def recordings(root: str | Path, folds: Collection[int] | None = None) -> list[Sound]:
    """The recordings of a labelled folder, in the order of their names.

    Args:
        root: the folder.
        folds: the folds to keep; None for all.

    Raises:
        DatasetError: no table is found, it is malformed, or none of its rows is in the folds.
    """
    root = Path(root)
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise DatasetError(
            f"{root}: no table of labels; expected one of {', '.join(TABLES)} with the columns "
            "file_name, fold and label"
        )
    sounds = _read(table, root)
    kept = [s for s in sounds if folds is None or s.fold in folds]
    if not kept:
        present = sorted({s.fold for s in sounds if isinstance(s.fold, int)})
        raise DatasetError(f"{table}: no recording in folds {folds}; the table has {present}")
    return sorted(kept, key=lambda sound: sound.name)


def _read(table: Path, root: Path) -> list[Sound]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            file_column = _column(table, names, "file_name", "filename")
            label_column = _column(table, names, "label", "category")
            return [
                _sound(table, root, row, (row[file_column], row[label_column]), reader.line_num)
                for row in reader
                if any(isinstance(value, str) and value.strip() for value in row.values())
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table}: not a UTF-8 CSV file ({error}); save it as one") from error


def _column(table: Path, names: list[str], *wanted: str) -> str:
    for name in wanted:
        if name in names:
            return name
    raise DatasetError(f"{table}, line 1: no column {' or '.join(wanted)}; found {names}")


def _sound(
    table: Path, root: Path, row: dict[str, str], values: tuple[str | None, str | None], line: int
) -> Sound:
    name, label = ((value or "").strip() for value in values)
    label = " ".join(label.replace("_", " ").split())
    if not name or not label:
        raise DatasetError(f"{table}, line {line}: needs a file name and a label, got {row}")
    path = next((p for p in (root / "audio" / name, root / name) if p.is_file()), root / name)
    stat = path.stat() if path.is_file() else None
    return Sound(
        label=label,
        name=name,
        load=partial(audio.load, path, RATE),
        stamp=f"{stat.st_size}" if stat else "missing",
        fold=_fold(table, row.get("fold"), line),
    )


def _fold(table: Path, text: str | None, line: int) -> int | None:
    if text is None or not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        raise DatasetError(
            f"{table}, line {line}: fold is {text!r}; expected a whole number"
        ) from None
