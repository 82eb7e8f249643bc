"""Columns of a library's table, and what is read from its rows.

The table has one row for each window of each file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from otomatch.library.records import Sound

SOUND_COLUMNS = ("file_id", "path", "root", "duration", "label", "caption", "tags")
"""Columns that `sounds_from_rows` needs."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """State of a file when it was last indexed.

    Attributes:
        path: Absolute path.
        root: Folder that was indexed.
        stamp: Size and modification time.
        digest: Hash of the file's bytes.
        label: Class of the sound, or None.
        caption: Description of the sound, or None.
    """

    path: str
    root: str
    stamp: str
    digest: str
    label: str | None
    caption: str | None


def table_schema(dim: int) -> pa.Schema:
    """Return the schema of the table, for vectors of ``dim`` numbers."""
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
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def sounds_from_rows(rows: pa.Table) -> list[Sound]:
    """Return the files of all their rows, which have `SOUND_COLUMNS`, sorted by path."""
    counts: dict[str, int] = {}
    first: dict[str, dict[str, Any]] = {}
    for row in rows.select(SOUND_COLUMNS).to_pylist():
        counts[row["file_id"]] = counts.get(row["file_id"], 0) + 1
        first.setdefault(row["file_id"], row)
    found = [Sound(id=row.pop("file_id"), windows=counts[id_], **row) for id_, row in first.items()]
    return sorted(found, key=lambda sound: sound.path)


def vectors_from_rows(rows: pa.Table) -> npt.NDArray[np.float32]:
    """Return the vectors of rows as a read-only array of shape (n, D)."""
    column = rows["vector"].combine_chunks()
    vectors: npt.NDArray[np.float32] = column.flatten().to_numpy()
    return vectors.reshape(len(rows), column.type.list_size)
