"""Rows of the table: made of a file's windows, or of the rows of a file with the same bytes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from otomatch.library.indexing import walking as files
from otomatch.library.indexing.walking import SoundFile
from otomatch.library.indexing.words import words
from otomatch.library.records import Sound
from otomatch.library.search.relevance import reference_statistics

Span = tuple[float, float]
"""Start and end in seconds."""


def new_rows(
    sound: SoundFile,
    stamp: str,
    digest: str,
    tags: str | None,
    spans: Sequence[Span],
    vectors: Tensor,
    references: Tensor,
    schema: pa.Schema,
) -> pa.Table:
    """The rows of a file.

    Args:
        sound: the file.
        stamp: its size and time of change.
        digest: of its bytes.
        tags: what its tags say.
        spans: of its windows, in order; the last ends with it.
        vectors: of its windows, whitened, (windows, D).
        references: whitened reference descriptions, (m, D).
        schema: of the table.
    """
    count = len(spans)
    starts = [start for start, _ in spans]
    mean, std = reference_statistics(vectors, references)
    width = schema.field("vector").type.list_size
    columns = {
        **_named(sound, stamp, tags, starts),
        "digest": [digest] * count,
        "tags": [tags] * count,
        "start": starts,
        "end": [end for _, end in spans],
        "duration": [spans[-1][1]] * count,
        "ref_mean": mean.numpy(),
        "ref_std": std.numpy(),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.numpy().ravel()), width),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def renamed_rows(rows: pa.Table, sound: SoundFile, stamp: str) -> pa.Table:
    """Rows of another file with the same bytes, or of the same one, as those of a file.

    Args:
        rows: all rows of one file, in order.
        sound: the file whose they become.
        stamp: its size and time of change.
    """
    starts = rows["start"].to_pylist()
    columns = _named(sound, stamp, rows["tags"][0].as_py(), starts)
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        kind = rows.schema.field(name)
        rows = rows.set_column(place, kind, pa.array(values, kind.type))
    return rows


def _named(
    sound: SoundFile, stamp: str, tags: str | None, starts: Sequence[float]
) -> dict[str, list[Any]]:
    """The columns that depend on a file's name, place and description."""
    path, count = sound.path, len(starts)
    text = words(path, sound.folder, tags, sound.label, sound.caption)
    return {
        "id": [_row_id(path, start) for start in starts],
        "file_id": [files.file_id(path)] * count,
        "path": [str(path)] * count,
        "root": [str(sound.folder)] * count,
        "stamp": [stamp] * count,
        "label": [sound.label] * count,
        "caption": [sound.caption] * count,
        # Once for each file, so that a long one does not fill the full-text hits.
        "words": [text if place == 0 else None for place in range(count)],
    }


def _row_id(path: Path, start: float) -> str:
    return hashlib.sha256(f"{path}\0{start}".encode()).hexdigest()


SOUND_COLUMNS = ("file_id", "path", "root", "duration", "label", "caption", "tags")


def sounds_of(table: pa.Table) -> list[Sound]:
    """Files, sorted by path, from the rows of their windows with `SOUND_COLUMNS`."""
    counts: dict[str, int] = {}
    first: dict[str, dict[str, Any]] = {}
    for row in table.select(SOUND_COLUMNS).to_pylist():
        counts[row["file_id"]] = counts.get(row["file_id"], 0) + 1
        first.setdefault(row["file_id"], row)
    found = [Sound(id=row.pop("file_id"), windows=counts[id_], **row) for id_, row in first.items()]
    return sorted(found, key=lambda sound: sound.path)
