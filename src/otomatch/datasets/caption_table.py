"""Read and write the table of a data set folder; every error names the file and the line."""

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from otomatch.errors import DatasetError
from otomatch.files import replacing

OPTIONAL = ("split", "label", "fold", "start", "end")
_CAPTION = re.compile(r"caption(_(\d+))?")
_Value = TypeVar("_Value", str, int, float)


@dataclass(frozen=True, slots=True)
class Naming:
    """Way in which a table names the audio file of a row.

    Attributes:
        columns: Columns that the header must have.
        names: Function from the fields of a row to the relative paths that the file may have, the
            most likely first.
    """

    columns: tuple[str, ...]
    names: Callable[[Mapping[str, str]], tuple[str, ...]]


BY_FILE_NAME = Naming(("file_name",), lambda fields: (fields["file_name"],))


@dataclass(slots=True)
class ClipRow:
    """One clip of a table: all of its rows that have the same file and span.

    Attributes:
        names: Relative paths that the audio file may have, the most likely first.
        line: Line number of the first row.
        split: Name of the split, if any.
        label: Class name, if any.
        fold: Cross-validation fold, if any.
        start: Start of the span in seconds; None for the beginning of the file.
        end: End of the span in seconds; None for the end of the file.
        captions: Captions of all rows, in order.
    """

    names: tuple[str, ...]
    line: int
    split: str | None
    label: str | None
    fold: int | None
    start: float | None
    end: float | None
    captions: list[str] = field(default_factory=list)


def read_rows(
    table: Path, namings: Sequence[Naming] = (BY_FILE_NAME,), split: str | None = None
) -> list[ClipRow]:
    """Read the clips of a table of captions, in the order of their first rows.

    Args:
        table: CSV file in UTF-8 with a header.
        namings: Possible ways to name the audio files; the first whose columns exist is used.
        split: Split of all rows; None to read it from the column ``split``, if there is one.

    Raises:
        DatasetError: The table is not CSV in UTF-8, a column is missing, a value is not a number, a
            span does not end after its start, a row has too many fields, or rows contradict each
            other.
    """
    clips: dict[tuple[object, ...], ClipRow] = {}
    line = 1
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(filter(_filled, reader), [])]
            naming = _naming(table, names, namings)
            columns = _caption_columns(table, names)
            for values in filter(_filled, reader):
                line = reader.line_num
                fields = _fields(table, line, names, values)
                row = _row(table, line, fields, naming)
                row.split = split or row.split
                row = _merged(table, clips, row)
                row.captions += [fields[name] for name in columns if fields[name]]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table}: not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(
            f"{table}, after line {line}: not valid CSV ({error}); "
            "quote fields that contain quotes, commas or line breaks"
        ) from error
    return list(clips.values())


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Write a CSV file atomically, padding short rows with blanks, and return its path."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)
    return path


def column_names(table: Path) -> list[str]:
    """Return the column names of a table; empty if it is not a CSV file in UTF-8."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(filter(_filled, csv.reader(file)), [])]
    except (UnicodeDecodeError, csv.Error):
        return []


def _naming(table: Path, names: list[str], namings: Sequence[Naming]) -> Naming:
    for naming in namings:
        if set(naming.columns) <= set(names) and any(map(_CAPTION.fullmatch, names)):
            return naming
    wanted = " or ".join(f"{', '.join(naming.columns)} and caption" for naming in namings)
    raise DatasetError(
        f"{table}, line 1: needs the columns {wanted} (or caption_1 to caption_n), "
        f"found {', '.join(names) or 'nothing'}; add a header with these names"
    )


def _caption_columns(table: Path, names: list[str]) -> list[str]:
    numbered = {name: match for name in names if (match := _CAPTION.fullmatch(name))}
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise DatasetError(f"{table}, line 1: the column {repeated[0]} appears twice; rename one")
    return sorted(numbered, key=lambda name: int(numbered[name].group(2) or 0))


def _filled(values: list[str]) -> bool:
    return any(value.strip() for value in values)


def _fields(table: Path, line: int, names: list[str], values: list[str]) -> dict[str, str]:
    if _filled(values[len(names) :]):
        raise DatasetError(
            f"{table}, line {line}: {len(values)} fields where the header names {len(names)}; "
            'quote captions that contain a comma: "first one, then the other"'
        )
    return {
        name: text.strip() for name, text in zip_longest(names, values[: len(names)], fillvalue="")
    }


def _row(table: Path, line: int, fields: dict[str, str], naming: Naming) -> ClipRow:
    for column in naming.columns:
        if not fields[column]:
            raise DatasetError(
                f"{table}, line {line}: {column} is blank; name the file of this row"
            )
    start = _number(table, line, fields, "start", float)
    end = _number(table, line, fields, "end", float)
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise DatasetError(
            f"{table}, line {line}: spans {fields.get('start') or 0} to {fields.get('end')} s; "
            "expected seconds with 0 <= start < end"
        )
    return ClipRow(
        names=naming.names(fields),
        line=line,
        split=fields.get("split") or None,
        label=fields.get("label") or None,
        fold=_number(table, line, fields, "fold", int),
        start=start,
        end=end,
    )


def _number(
    table: Path, line: int, fields: dict[str, str], name: str, kind: type[_Value]
) -> _Value | None:
    text = fields.get(name)
    if not text:
        return None
    try:
        value = kind(text)
        if math.isfinite(float(value)):
            return value
    except ValueError:
        pass
    wanted = "a whole number" if kind is int else "a number of seconds"
    raise DatasetError(f"{table}, line {line}: {name} is {text!r}; expected {wanted} or a blank")


def _merged(table: Path, clips: dict[tuple[object, ...], ClipRow], row: ClipRow) -> ClipRow:
    """Merge a row into its clip so far, and return the clip; they must not contradict."""
    known = clips.setdefault((row.names, row.start, row.end), row)
    for name in ("split", "label", "fold"):
        old, new = getattr(known, name), getattr(row, name)
        if None not in (old, new) and old != new:
            raise DatasetError(
                f"{table}, line {row.line}: {row.names[0]} has the {name} {new!r}, but {old!r} in "
                f"line {known.line}; give each clip one {name}"
            )
        setattr(known, name, new if old is None else old)
    return known
