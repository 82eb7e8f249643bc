"""Table of a library in LanceDB.

Writes are atomic: another reader, or the next run after a kill, sees all of a write or none of it.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from otomatch.errors import LibraryError
from otomatch.library.columns import StoredFile, table_schema
from otomatch.library.connection import (
    TABLE,
    connect,
    local_folder,
    read_errors,
    write_errors,
    write_lock,
)
from otomatch.library.sql import any_of, quote

FORMAT = "otomatch-library/2"
_METADATA_KEY = b"otomatch"


class Store:
    """Table of a library, open for reading and writing by several threads and processes.

    Attributes:
        uri: Folder or LanceDB URI of the library.
        table: Table of LanceDB.
        metadata: Settings saved with the table: ``fingerprint``, ``model``, ``name``, ``window``,
            ``hop`` and ``created``.
    """

    def __init__(self, uri: str, table: Any) -> None:
        self.uri, self.table = uri, table
        saved = (table.schema.metadata or {}).get(_METADATA_KEY)
        if saved is None:
            raise LibraryError(f"{uri}: its table was not made by otomatch; use another folder")
        self.metadata: dict[str, Any] = json.loads(saved)
        if self.metadata.get("format") != FORMAT:
            raise LibraryError(
                f"{uri}: has the format {self.metadata.get('format')}, but this version of "
                f"otomatch reads {FORMAT}; index the sounds into a new library"
            )
        folder = local_folder(uri)
        self._lock: Any = nullcontext() if folder is None else write_lock(folder)
        self._thread_lock = threading.RLock()

    @classmethod
    def create(cls, uri: str | Path, dim: int, metadata: dict[str, Any]) -> "Store":
        """Create an empty table for vectors of ``dim`` numbers."""
        saved = {_METADATA_KEY: json.dumps({"format": FORMAT, **metadata}).encode()}
        schema = table_schema(dim).with_metadata(saved)
        with write_errors(uri):
            table = connect(uri).create_table(TABLE, schema=schema)
        return cls(str(uri), table)

    @classmethod
    def open(cls, uri: str | Path) -> "Store":
        """Open the table of an existing library."""
        with read_errors(uri):
            return cls(str(uri), connect(uri).open_table(TABLE))

    def __len__(self) -> int:
        """Return the number of windows."""
        return self.count()

    def count(self, where: str | None = None) -> int:
        """Return the number of windows that satisfy a condition in SQL."""
        with read_errors(self.uri):
            return int(self.table.count_rows(where))

    @property
    def version(self) -> int:
        """Number that changes with every write, by any process."""
        with read_errors(self.uri):
            return int(self.table.version)

    def updated(self) -> datetime:
        """Return the time of the last write."""
        with read_errors(self.uri):
            latest: datetime = self.table.list_versions()[-1]["timestamp"]
            return latest.astimezone()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock, which one thread of one process has at a time.

        Hold it from reading what is stored until writing what follows from that.

        Raises:
            LibraryError: The library cannot be written.
        """
        with self._thread_lock, write_errors(self.uri), self._lock:
            yield

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Return rows of the table, in no particular order.

        Args:
            columns: Names of the columns; None for all.
            where: Condition in SQL; None for all rows.
        """
        with read_errors(self.uri):
            query = self.table.search()
            if where is not None:
                query = query.where(where)
            return query.select(list(columns or self.table.schema.names)).limit(None).to_arrow()

    def file_rows(self, id: str, columns: Sequence[str]) -> pa.Table:  # noqa: A002
        """Return the rows of the file with an id.

        Raises:
            LibraryError: The library has no file with this id.
        """
        found = self.rows(columns, f"file_id = {quote(id)}")
        if not len(found):
            raise LibraryError(f"{self.uri}: has no sound with the id {id!r}")
        return found

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of all rows in batches."""
        with read_errors(self.uri):
            yield from self.table.search().select(list(columns)).limit(None).to_batches()

    def files(self) -> dict[str, StoredFile]:
        """Return the state of all files by path."""
        table = self.rows(StoredFile.__slots__, "start = 0")
        columns = (table[name].to_pylist() for name in StoredFile.__slots__)
        return {row[0]: StoredFile(*row) for row in zip(*columns, strict=True)}

    def rows_by_path(self, paths: Iterable[str]) -> dict[str, pa.Table]:
        """Return all rows of some files by path, each file's in order of time."""
        found = [self.rows(where=condition) for condition in any_of("path", paths)]
        if not found:
            return {}
        rows = pa.concat_tables(found).sort_by([("path", "ascending"), ("start", "ascending")])
        order = rows["path"].to_pylist()
        counts = [(path, len(list(same))) for path, same in groupby(order)]
        starts = accumulate((count for _, count in counts), initial=0)
        return {
            path: rows.slice(start, count)
            for (path, count), start in zip(counts, starts, strict=False)
        }

    def write(self, rows: pa.Table, replaced: Iterable[str] = ()) -> None:
        """Store all rows of some files in one atomic write.

        Args:
            rows: Rows of files that are new or among ``replaced``.
            replaced: Paths of files whose other rows are deleted in the same write.
        """
        merge = (
            self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        )
        paths = ", ".join(map(quote, dict.fromkeys(replaced)))
        if paths:  # a changed file may have fewer windows than before
            merge = merge.when_not_matched_by_source_delete(f"path IN ({paths})")
        merge.execute(rows)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete all rows of some files."""
        for condition in any_of("path", paths):
            self.table.delete(condition)
