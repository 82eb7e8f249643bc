"""The table of a library in LanceDB: one row for each window of each sound file.

A write is atomic: a reader, or the next call after a kill, sees all of it or nothing.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from filelock import FileLock
from lancedb.index import IvfFlat

from otomatch.errors import InvalidInputError, LibraryError, OtomatchError

TABLE = "sounds"
FORMAT = "otomatch-library/2"
_METADATA = b"otomatch"
LOCK = "write.lock"
INDEX_FROM = 50_000
"""Windows from which on a vector index is worth its keep; below, search compares with all."""
# A reader may be in the middle of a query when a newer version appears.
_KEPT_SECONDS = 60.0
_MANY = 500  # paths in one SQL condition


@dataclass(frozen=True, slots=True)
class Stored:
    """What the library knows of a file, but for its vectors.

    Attributes:
        path: the file, absolute.
        root: the folder under which it was indexed.
        stamp: size and time of change when it was read.
        digest: hash of its bytes.
        label: its class, if known.
        caption: a description, if known.
    """

    path: str
    root: str
    stamp: str
    digest: str
    label: str | None
    caption: str | None


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
                f"{uri}: has the format {self.about.get('format')}, of another version of otomatch "
                f"(this one reads {FORMAT}); index the sounds into a new library"
            )
        folder = local(uri)
        self._lock: Any = nullcontext() if folder is None else lock(folder)
        self._thread_lock = threading.RLock()

    @classmethod
    def create(cls, uri: str | Path, size: int, about: dict[str, Any]) -> "Store":
        """Make an empty table that keeps ``about`` beside it."""
        metadata = {_METADATA: json.dumps({"format": FORMAT, **about}).encode()}
        with explaining(uri):
            table = connect(uri).create_table(TABLE, schema=schema(size).with_metadata(metadata))
        return cls(str(uri), table)

    @classmethod
    def open(cls, uri: str | Path) -> "Store":
        """Open the table that is there."""
        with reading(uri):
            return cls(str(uri), connect(uri).open_table(TABLE))

    def __len__(self) -> int:
        """Number of windows."""
        return self.count()

    def count(self, where: str | None = None) -> int:
        """Number of windows that fulfil an SQL condition."""
        with reading(self.uri):
            return int(self.table.count_rows(where))

    @property
    def version(self) -> int:
        """A number that changes with every write."""
        with reading(self.uri):
            return int(self.table.version)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held by one process and thread at a time, around reading what is there and writing.

        Raises:
            LibraryError: the library cannot be written.
        """
        with self._thread_lock, explaining(self.uri), self._lock:
            yield

    def rows(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Some columns (None: all) of all rows, or of those that fulfil an SQL condition."""
        with reading(self.uri):
            query = self.table.search()
            if where is not None:
                query = query.where(where)
            return query.select(list(columns or self.table.schema.names)).limit(None).to_arrow()

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows, a part at a time."""
        with reading(self.uri):
            yield from self.table.search().select(list(columns)).limit(None).to_batches()

    def files(self) -> dict[str, Stored]:
        """All files, by path."""
        table = self.rows(Stored.__slots__, "start = 0")
        columns = (table[name].to_pylist() for name in Stored.__slots__)
        return {row[0]: Stored(*row) for row in zip(*columns, strict=True)}

    def windows(self, paths: Iterable[str]) -> dict[str, pa.Table]:
        """All rows of some files, by path, in order."""
        found = [self.rows(where=condition) for condition in _among("path", paths)]
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
        """Store the windows of some files, each complete, at once.

        Args:
            rows: of files that are new, or whose path is among those that are replaced.
            replaced: paths whose other rows go in the same moment.
        """
        merge = (
            self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        )
        paths = ", ".join(map(quoted, dict.fromkeys(replaced)))
        if paths:  # a changed file may have fewer windows than before
            merge = merge.when_not_matched_by_source_delete(f"path IN ({paths})")
        merge.execute(rows)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove all rows of some files."""
        for condition in _among("path", paths):
            self.table.delete(condition)

    def tidy(self) -> None:
        """Join what many small writes left, drop old versions, keep the vector index up to date.

        A version stays for a minute after a newer one replaced it, for those who still read it.
        """
        if len(self) >= INDEX_FROM and not self._vector_index():
            self.table.create_index("vector", config=IvfFlat(distance_type="l2"))
        before = self.version
        self.table.optimize(cleanup_older_than=_unread(self.table.list_versions()))
        if self.version != before and self.table.list_indices():
            # What an index took in is joined to it by a second pass; the next run then changes
            # nothing where there is nothing new.
            self.table.optimize()

    def _vector_index(self) -> bool:
        return any(index.columns == ["vector"] for index in self.table.list_indices())

    def size(self) -> int | None:
        """Bytes on disk, with the model's copy; None for a library that lies elsewhere."""
        folder = local(self.uri)
        if folder is None:
            return None
        return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())

    def updated(self) -> datetime:
        """When it was last written."""
        with reading(self.uri):
            latest: datetime = self.table.list_versions()[-1]["timestamp"]
            return latest.astimezone()


def _unread(versions: Sequence[dict[str, Any]]) -> timedelta:
    """Age beyond which versions have been replaced for so long that nobody reads them."""
    now = datetime.now()
    replaced = [now - version["timestamp"] for version in versions]
    old = [age for age in replaced if age.total_seconds() > _KEPT_SECONDS]
    # The youngest of the old ones was the latest until a minute ago or less.
    return min(old, default=timedelta(seconds=_KEPT_SECONDS)) + timedelta(milliseconds=1)


def _among(column: str, values: Iterable[str]) -> Iterator[str]:
    """SQL conditions that together hold for rows with any of the values."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), _MANY):
        yield f"{column} IN ({', '.join(map(quoted, distinct[start : start + _MANY]))})"


_OF_LANCE = re.compile(
    r"\blance|^(arrow|external|io|object.store|runtime) error|os error \d|^Table .* was not found",
    re.IGNORECASE,
)


@contextmanager
def reading(uri: str | Path) -> Iterator[None]:
    """Make what goes wrong where a library is read a `LibraryError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OtomatchError) or not _is_lances(error):
            raise
        raise LibraryError(
            f"{uri}: cannot be read ({_cause(error)}); if it is damaged, index the sounds into a "
            "new library"
        ) from error


def _is_lances(error: Exception) -> bool:
    """Whether LanceDB raised it, which has no class of its own for its errors."""
    return isinstance(error, OSError) or _OF_LANCE.search(str(error)) is not None


@contextmanager
def explaining(uri: str | Path) -> Iterator[None]:
    """Make what goes wrong while a library is written a `LibraryError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_lances(error):
            raise  # of a model, say
        raise LibraryError(f"{uri}: cannot be written ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    text = str(error).strip()
    if "os error 28" in text or "No space left" in text:
        return "the disk is full; free some space and run it again"
    if any(f"{kind} {number}" in text for kind in ("os error", "Errno") for number in (13, 30)):
        return "it is read-only; allow writing to its folder, or copy it elsewhere"
    # LanceDB ends with the place in its own source.
    said = re.sub(r",? /\S+\.rs:\d+:\d+.*", "", text.partition("\n")[0])
    return said[:300] or type(error).__name__


def lock(folder: Path) -> FileLock:
    """What the one process that writes holds; it ends with the process, however that ends."""
    return FileLock(folder / LOCK)


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
    """A string in SQL.

    Raises:
        InvalidInputError: it holds what no text can hold.
    """
    return "'" + checked_text(text).replace("'", "''") + "'"


def checked_text(text: str) -> str:
    """A text, checked to be one: without zero bytes, and valid Unicode.

    Raises:
        InvalidInputError: it is not.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInputError(f"{text!r} is no text; leave out what is not Unicode")
    return text
