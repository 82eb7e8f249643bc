"""Queries: terms -> candidates -> scored, merged by file, fused with full text -> hits.

The candidates are the windows nearest to any of the terms looked for, as many whatever k is, so
that more hits never change the first ones; each is then scored exactly against every term. Where
they hold too few files, the next nearest follow after them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from otomatch.library import fulltext
from otomatch.library.filters import Filters
from otomatch.library.fusion import competition_ranks, fuse
from otomatch.library.relevance import FIT_COLUMNS, Background, Windows, relevance, windows_of
from otomatch.library.store import Store, quoted
from otomatch.types import Hit

_HIT_COLUMNS = ("file_id", "path", "start", "end", "duration", "label", "caption", "tags")
_COLUMNS = (*_HIT_COLUMNS, *FIT_COLUMNS)
_CANDIDATES = 1000
_TEXT_CANDIDATES = 200
_PROBES = 64  # partitions of a vector index that are read
_TEXT_WEIGHT = 1.0
_WITHOUT_FROM, _WITHOUT_WEIGHT = 0.0, 1.0


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query.

    Attributes:
        vector: whitened, (D,).
        is_sound: whether it is a sound; else it is a description.
    """

    vector: Tensor
    is_sound: bool = False


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        terms: all of them are looked for; at least one.
        without: none of them is wanted.
        words: text that names and tags may match; None to search by sound alone.
        not_words: texts that they had better not match.
        filters: which files are searched at all.
    """

    terms: Sequence[Term]
    without: Sequence[Term] = ()
    words: str | None = None
    not_words: Sequence[str] = ()
    filters: Filters = field(default_factory=Filters)


def search(store: Store, query: Query, k: int, background: Background) -> list[Hit]:
    """The k best files, best first, each once, at its best window."""
    where = query.filters.sql(store)
    named = _named(store, query, where)
    extra = [_windows_of_files(store, named)] if named else []
    hits: dict[str, Hit] = {}
    limit, total = _CANDIDATES, len(store)
    while True:
        pool = [_nearest(store, term.vector, limit, where) for term in query.terms]
        found = _best_by_file(pa.concat_tables(pool + extra), query, background)
        for hit in _fused(found, named):
            hits.setdefault(hit.id, hit)
        if len(hits) >= k or limit >= total:
            return list(hits.values())[:k]
        limit, named, extra = 4 * limit, {}, []


def _nearest(store: Store, vector: Tensor, limit: int, where: str | None) -> pa.Table:
    """The windows nearest to a term."""
    query = store.table.search(vector.numpy(), vector_column_name="vector").distance_type("l2")
    if where is not None:
        query = query.where(where, prefilter=True)
    # Without _distance, every query logs a warning.
    found = query.nprobes(_PROBES).select([*_COLUMNS, "_distance"]).limit(limit).to_arrow()
    return found.drop_columns("_distance")


def _named(store: Store, query: Query, where: str | None) -> dict[str, int]:
    """Ranks, by id, of the files whose words match the query's and none of the unwanted."""
    if query.words is None:
        return {}
    scores = fulltext.matches(store, query.words, where, _TEXT_CANDIDATES)
    for unwanted in query.not_words if scores else ():
        for id_ in fulltext.matches(store, unwanted, _one_of(scores), len(scores)):
            scores.pop(id_, None)
    return competition_ranks(scores)


def _windows_of_files(store: Store, ids: Iterable[str]) -> pa.Table:
    return store.rows(_COLUMNS, _one_of(ids))


def _one_of(ids: Iterable[str]) -> str:
    return f"file_id IN ({', '.join(map(quoted, ids))})"


def _best_by_file(table: pa.Table, query: Query, background: Background) -> list[Hit]:
    """Each file of some windows once, at its best window, best first."""
    if not len(table):
        return []
    windows = windows_of(table)
    scores = _scores(query, windows, background)
    # Ties by path and time: the order of the rows says nothing.
    keys = pa.table({"score": -scores.numpy(), "path": table["path"], "start": table["start"]})
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    ids = table["file_id"].to_pylist()
    best: dict[str, int] = {}
    for row in order.to_pylist():
        best.setdefault(ids[row], row)
    rows = list(best.values())
    distances = torch.linalg.vector_norm(windows.vectors[rows] - query.terms[0].vector, dim=1)
    measured = zip(distances.tolist(), relevance(scores[rows]).tolist(), strict=True)
    shown = table.select(_HIT_COLUMNS).take(rows).to_pylist()
    return [
        Hit(id=values.pop("file_id"), distance=distance, relevance=share, **values)
        for values, (distance, share) in zip(shown, measured, strict=True)
    ]


def _scores(query: Query, windows: Windows, background: Background) -> Tensor:
    """Fit of each window to the whole query, (n,)."""

    def fit(term: Term) -> Tensor:
        measure = background.sound_fit if term.is_sound else background.text_fit
        return measure(term.vector, windows)

    total = torch.stack([fit(term) for term in query.terms]).mean(dim=0)
    for term in query.without:
        # What fits no better than chance is not what is unwanted.
        total = total - _WITHOUT_WEIGHT * (fit(term) - _WITHOUT_FROM).clamp_min(0)
    return total


def _fused(hits: list[Hit], named: dict[str, int]) -> list[Hit]:
    """Hits in the order of both rankings, best first."""
    if not named:
        return hits
    by_sound = {hit.id: rank for rank, hit in enumerate(hits, 1)}
    scores = fuse([by_sound, named], [1.0, _TEXT_WEIGHT])
    return sorted(hits, key=lambda hit: (-scores[hit.id], by_sound[hit.id]))
