"""Files for other programs: the table as Parquet or CSV, and the list of skipped files."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError, LibraryError, OtomatchError
from otomatch.files import replacing
from otomatch.library.store import Store

SKIPPED_LIST = "skipped.csv"
"""Name of the list of skipped files in a library's folder."""

_WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {
    ".parquet": pa_parquet.ParquetWriter,
    ".csv": pa_csv.CSVWriter,
}


@contextmanager
def output_file(path: Path, error_class: type[OtomatchError] = LibraryError) -> Iterator[Path]:
    """Replace a file, in a folder that exists, with what is written to a temporary path.

    Yields:
        Path to write to: a temporary file, or ``path`` itself if it is a device or a pipe.

    Raises:
        OtomatchError: The file cannot be written; the class is ``error_class``.
    """
    try:
        path = path.resolve()  # a symbolic link stays, and its target is replaced
        if not path.parent.is_dir():  # replacing() would create a mistyped folder
            raise FileNotFoundError(2, f"there is no folder {path.parent}")
        if path.exists() and not path.is_file():
            yield path
        else:
            with replacing(path) as partial:
                yield partial
    except OSError as error:
        raise error_class(f"{path}: cannot be written ({error.strerror or error})") from error


def export_table(store: Store, path: Path) -> int:
    """Write one row for each window to a Parquet or CSV file; CSV has no vectors.

    An existing file is replaced once everything is written.

    Returns:
        Number of rows.

    Raises:
        InvalidInputError: The file name does not end in .parquet or .csv.
        LibraryError: The file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in _WRITERS:
        raise InvalidInputError(f"{path}: expected a file name that ends in .parquet or .csv")
    whole = store.table.schema
    columns = [name for name in whole.names if kind != ".csv" or name != "vector"]
    schema = pa.schema([whole.field(name) for name in columns], metadata=whole.metadata)
    count = 0
    with output_file(path) as partial, _WRITERS[kind](partial, schema) as writer:
        for batch in store.batches(columns):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write skipped files as CSV with the columns ``file`` and ``reason``.

    Raises:
        LibraryError: The file cannot be written.
    """
    with output_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "reason"))
        writer.writerows((entry.name, entry.reason) for entry in skipped)
