"""Read tables of labelled recordings: ESC-10, ESC-50, and folders made like them.

A folder has ``esc10.csv`` or ``labels.csv`` (``file_name,fold,label``) or ``meta/esc50.csv``
(``filename,fold,target,category,...``), and the recordings in the folder itself or in ``audio/``.
``fold`` may be blank or missing.
"""

import csv
from pathlib import Path

from otomatch.datasets.caption_table import ClipRow
from otomatch.errors import DatasetError

LABEL_TABLES = ("esc10.csv", "labels.csv", "meta/esc50.csv", "esc50.csv")
"""Relative paths at which a table of labels is looked for, in this order."""


def find_table(root: Path) -> Path:
    """Return the path of the table of labels in a folder.

    Raises:
        DatasetError: The folder has no table of labels.
    """
    table = next((root / name for name in LABEL_TABLES if (root / name).is_file()), None)
    if table is None:
        tables = ", ".join(LABEL_TABLES)
        raise DatasetError(
            f"{root}: no table of labels; expected one of {tables} with the columns file_name, "
            "fold and label"
        )
    return table


def read_labels(table: Path) -> list[ClipRow]:
    """Read the rows of a table of labels, with spaces for underscores in class names.

    Raises:
        DatasetError: The table is malformed, or has two numbers (column ``target``) for one class.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            file_column = _column(table, names, "file_name", "filename")
            label_column = _column(table, names, "label", "category")
            rows, numbers = [], dict[str, str]()
            for fields in reader:
                if any(isinstance(value, str) and value.strip() for value in fields.values()):
                    values = (fields[file_column], fields[label_column])
                    row = _row(table, fields, values, reader.line_num)
                    _check_target(table, row, fields.get("target"), numbers)
                    rows.append(row)
            return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{table}: not a CSV file in UTF-8 ({error}); save it as CSV in UTF-8"
        ) from error


def labels_by_name(root: Path) -> dict[str, str]:
    """Return the label of each file name in the table of a labelled folder.

    Raises:
        DatasetError: The folder has no table of labels, or the table is malformed or empty.
    """
    table = find_table(root)
    rows = read_labels(table)
    if not rows:
        raise DatasetError(f"{table}: lists no recordings; add a row for each file")
    return {row.names[-1]: row.label or "" for row in rows}


def _column(table: Path, names: list[str], *wanted: str) -> str:
    for name in wanted:
        if name in names:
            return name
    raise DatasetError(
        f"{table}, line 1: no column {' or '.join(wanted)}; found {names}; rename one"
    )


def _row(
    table: Path, fields: dict[str, str], values: tuple[str | None, str | None], line: int
) -> ClipRow:
    name, label = ((value or "").strip() for value in values)
    label = " ".join(label.replace("_", " ").split())
    if not name or not label:
        raise DatasetError(f"{table}, line {line}: expected a file name and a label, got {fields}")
    return ClipRow(
        names=(f"audio/{name}", name),
        line=line,
        split=None,
        label=label,
        fold=_fold(table, fields.get("fold"), line),
        start=None,
        end=None,
    )


def _check_target(table: Path, row: ClipRow, target: str | None, numbers: dict[str, str]) -> None:
    """Check that each class has one number; ``numbers`` has the number of each class so far."""
    if target is None or row.label is None:
        return
    known = numbers.setdefault(row.label, target)
    if known != target:
        raise DatasetError(
            f"{table}, line {row.line}: the class {row.label} has the target {target}, but "
            f"{known} before; correct one of them"
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
