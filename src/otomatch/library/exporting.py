"""A library's table as one file for other programs: Parquet with vectors, or CSV without."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library.store import Store

_Writer = Callable[[Path, pa.Schema], Any]
_WRITERS: dict[str, _Writer] = {
    ".parquet": pa_parquet.ParquetWriter,
    ".csv": pa_csv.CSVWriter,
}


def export(store: Store, path: Path) -> int:
    """Write a row for each window; returns how many. A file that is there is replaced at the end.

    Raises:
        InvalidInputError: the name ends neither in .parquet nor in .csv.
        LibraryError: the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in _WRITERS:
        raise InvalidInputError(f"{path}: give a name that ends in .parquet or .csv")
    columns = [name for name in store.table.schema.names if kind != ".csv" or name != "vector"]
    whole = store.table.schema
    schema = pa.schema([whole.field(name) for name in columns], metadata=whole.metadata)
    count = 0
    with _replacing(path) as partial, _WRITERS[kind](partial, schema) as writer:
        for batch in store.batches(columns):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise LibraryError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
