"""Rows of the table: made from a file's windows, or reassigned from a file with the same bytes."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from torch import Tensor

from otomatch.library.indexing.identity import file_id, row_id
from otomatch.library.indexing.words import searchable_text
from otomatch.library.records import SoundFile
from otomatch.library.references import reference_statistics

Span = tuple[float, float]
"""Start and end of a window in seconds."""


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
    """Return the rows of a file.

    Args:
        sound: The file.
        stamp: Size and modification time of the file.
        digest: Hash of its bytes.
        tags: Text of its tags, or None.
        spans: Starts and ends of its windows in order; the last window ends with the file.
        vectors: Whitened vectors of its windows, (windows, D).
        references: Whitened reference descriptions, (m, D).
        schema: Schema of the table.
    """
    count = len(spans)
    starts = [start for start, _ in spans]
    mean, std = reference_statistics(vectors, references)
    dim = schema.field("vector").type.list_size
    columns = {
        **_columns_by_name(sound, stamp, tags, starts),
        "digest": [digest] * count,
        "tags": [tags] * count,
        "start": starts,
        "end": [end for _, end in spans],
        "duration": [spans[-1][1]] * count,
        "ref_mean": mean.numpy(),
        "ref_std": std.numpy(),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.numpy().ravel()), dim),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def reassigned_rows(rows: pa.Table, sound: SoundFile, stamp: str) -> pa.Table:
    """Return a copy of rows, reassigned to another file with the same bytes or to the same file.

    Args:
        rows: All rows of one file, in order of time.
        sound: File that the rows are reassigned to.
        stamp: Size and modification time of that file.
    """
    starts = rows["start"].to_pylist()
    columns = _columns_by_name(sound, stamp, rows["tags"][0].as_py(), starts)
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        column = rows.schema.field(name)
        rows = rows.set_column(index, column, pa.array(values, column.type))
    return rows


def _columns_by_name(
    sound: SoundFile, stamp: str, tags: str | None, starts: Sequence[float]
) -> dict[str, list[Any]]:
    """Return the columns that depend on a file's name, folder and description."""
    path, count = sound.path, len(starts)
    text = searchable_text(path, sound.folder, tags, sound.label, sound.caption)
    return {
        "id": [row_id(path, start) for start in starts],
        "file_id": [file_id(path)] * count,
        "path": [str(path)] * count,
        "root": [str(sound.folder)] * count,
        "stamp": [stamp] * count,
        "label": [sound.label] * count,
        "caption": [sound.caption] * count,
        # Once per file, so that a long file does not fill the full-text hits.
        "words": [text if row == 0 else None for row in range(count)],
    }
