"""The table of a library in LanceDB: one row for each window of each sound file.

A write is atomic: a reader, or the next call after a kill, sees all of it or nothing.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from filelock import FileLock

from otomatch.errors import LibraryError

TABLE = "sounds"
FORMAT = "otomatch-library/2"
_METADATA = b"otomatch"
_LOCK = "write.lock"


def schema(size: int) -> pa.Schema:
    """Columns of the table, for vectors of ``size`` numbers."""
    text, seconds = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("file_id", text, nullable=False),
            pa.field("path", text, nullable=False),
            pa.field("root", text, nullable=False),
            pa.field("stamp", text, nullable=False),
            pa.field("digest", text, nullable=False),
            pa.field("start", seconds, nullable=False),
            pa.field("end", seconds, nullable=False),
            pa.field("duration", seconds, nullable=False),
            pa.field("label", text),
            pa.field("caption", text),
            pa.field("tags", text),
            pa.field("words", text),
            pa.field("ref_mean", pa.float32(), nullable=False),
            pa.field("ref_std", pa.float32(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), size), nullable=False),
        ]
    )


class Store:
    """The table, open for reading and writing from several threads and processes."""

    def __init__(self, uri: str, table: Any) -> None:
        self.uri, self.table = uri, table
        metadata = (table.schema.metadata or {}).get(_METADATA)
        if metadata is None:
            raise LibraryError(f"{uri}: holds a table that otomatch did not make")
        self.about: dict[str, Any] = json.loads(metadata)
        if self.about.get("format") != FORMAT:
            raise LibraryError(
                f"{uri}: was made by another version of otomatch; index the sounds into a new one"
            )
        folder = local(uri)
        self._lock: Any = nullcontext() if folder is None else FileLock(folder / _LOCK)
        self._thread_lock = threading.RLock()

    @classmethod
    def create(cls, uri: str | Path, size: int, about: dict[str, Any]) -> "Store":
        """Make an empty table that keeps ``about`` beside it."""
        metadata = {_METADATA: json.dumps({"format": FORMAT, **about}).encode()}
        table = connect(uri).create_table(TABLE, schema=schema(size).with_metadata(metadata))
        return cls(str(uri), table)

    @classmethod
    def open(cls, uri: str | Path) -> "Store":
        """Open the table that is there."""
        return cls(str(uri), connect(uri).open_table(TABLE))

    def __len__(self) -> int:
        """Number of windows."""
        return int(self.table.count_rows())

    @property
    def version(self) -> int:
        """A number that changes with every write."""
        return int(self.table.version)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held by one process and thread at a time, around reading what is there and writing."""
        with self._thread_lock, self._lock:
            yield

    def rows(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """Some columns of all rows, or of those that fulfil an SQL condition."""
        query = self.table.search()
        if where is not None:
            query = query.where(where)
        return query.select(list(columns)).limit(None).to_arrow()

    def stamps(self) -> dict[str, str]:
        """Stamp of every file, by path."""
        table = self.rows(["path", "stamp"])
        return dict(zip(table["path"].to_pylist(), table["stamp"].to_pylist(), strict=True))

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store the windows of some files, each complete, in place of all that is there of them."""
        batch = pa.Table.from_pylist(list(rows), schema=self.table.schema)
        paths = ", ".join(quoted(path) for path in dict.fromkeys(row["path"] for row in rows))
        merge = (
            self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        )
        # A changed file may have fewer windows than before.
        merge.when_not_matched_by_source_delete(f"path IN ({paths})").execute(batch)

    def delete(self, where: str) -> None:
        """Remove the rows that fulfil an SQL condition."""
        self.table.delete(where)


def exists(uri: str | Path) -> bool:
    """Whether there is a library."""
    folder = local(uri)
    if folder is not None:
        return (folder / f"{TABLE}.lance").is_dir()
    try:
        connect(uri).open_table(TABLE)
    except ValueError:  # what LanceDB raises for a table that is not there
        return False
    return True


def connect(uri: str | Path) -> Any:
    """A connection whose every call sees what other processes have written meanwhile."""
    return lancedb.connect(str(uri), read_consistency_interval=timedelta(0))


def local(uri: str | Path) -> Path | None:
    """The folder of a library, None if it lies elsewhere."""
    return None if "://" in str(uri) else Path(uri)


def quoted(text: str) -> str:
    """A string in SQL."""
    return "'" + text.replace("'", "''") + "'"
