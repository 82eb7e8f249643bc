"""Queries: terms -> candidates -> scored, merged by file, fused with full text -> hits.

The candidates are the windows nearest to any of the terms looked for, as many whatever k is, so
that more hits never change the first ones; each is then scored exactly against every term. Where
they hold too few files, the next nearest follow after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from otomatch.library.records import Hit
from otomatch.library.search import fulltext
from otomatch.library.search.filters import Filters
from otomatch.library.search.fusion import competition_ranks, fuse
from otomatch.library.search.relevance import (
    FIT_COLUMNS,
    Background,
    Windows,
    log_probability,
    windows_of,
)
from otomatch.library.store import Store, quoted, reading

_HIT_COLUMNS = ("file_id", "path", "start", "end", "duration", "label", "caption", "tags")
_COLUMNS = (*_HIT_COLUMNS, *FIT_COLUMNS)
_CANDIDATES = 1000
_NAMED_CANDIDATES = 200
_MOST_NAMED = 2000
_PROBES = 40  # partitions of a vector index that are read
_NAMED_WEIGHTS = 0.3, 1.0  # of files that have some, and all, of the words; by sound: 1


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
    with reading(store.uri):
        return _search(store, query, k, background)


def _search(store: Store, query: Query, k: int, background: Background) -> list[Hit]:
    where = query.filters.sql(store)
    named = _named(store, query, where)
    extra = [_best_named(store, named)] if named[0] else []
    has_words = named[0]
    hits: dict[str, Hit] = {}
    limit, total = _CANDIDATES, len(store)
    while True:
        pool = [_nearest(store, term.vector, limit, where) for term in query.terms]
        found = _best_by_file(pa.concat_tables(pool + extra), query, background)
        for hit in _fused(found, named):
            hits.setdefault(hit.id, hit)
        if len(hits) >= k or limit >= total:
            best = list(hits.values())[:k]
            return [replace(hit, named=hit.id in has_words) for hit in best]
        limit, named, extra = 4 * limit, [{}, {}], []


def _nearest(store: Store, vector: Tensor, limit: int, where: str | None) -> pa.Table:
    """The windows nearest to a term."""
    query = store.table.search(vector.numpy(), vector_column_name="vector").distance_type("l2")
    if where is not None:
        query = query.where(where, prefilter=True)
    # With a vector index: enough of it for the nearest, and all of it where a filter leaves few.
    query = query.maximum_nprobes(0).minimum_nprobes(_PROBES)
    # Without _distance, every query logs a warning.
    found = query.select([*_COLUMNS, "_distance"]).limit(limit).to_arrow()
    return found.drop_columns("_distance")


def _named(store: Store, query: Query, where: str | None) -> list[dict[str, int]]:
    """Ranks, by id, of the files that have some, and all, of the query's words, none unwanted."""
    if query.words is None or not fulltext.available(store):
        return [{}, {}]
    some = fulltext.matches(store, query.words, where, _MOST_NAMED)
    every = fulltext.matches(store, query.words, where, _MOST_NAMED, every=True) if some else {}
    for unwanted in query.not_words if some else ():
        for id_ in fulltext.matches(store, unwanted, where, _MOST_NAMED):
            some.pop(id_, None)
            every.pop(id_, None)
    return [competition_ranks(some), competition_ranks(every)]


def _best_named(store: Store, named: Sequence[dict[str, int]]) -> pa.Table:
    """Windows of the files that the words fit best, which may sound like anything."""
    order = sorted(named[0], key=lambda id_: (id_ not in named[1], named[0][id_], id_))
    ids = ", ".join(map(quoted, order[:_NAMED_CANDIDATES]))
    return store.rows(_COLUMNS, f"file_id IN ({ids})")


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
    measured = zip(distances.tolist(), scores[rows].exp().tolist(), strict=True)
    shown = table.select(_HIT_COLUMNS).take(rows).to_pylist()
    return [
        Hit(id=values.pop("file_id"), distance=distance, relevance=share, **values)
        for values, (distance, share) in zip(shown, measured, strict=True)
    ]


def _scores(query: Query, windows: Windows, background: Background) -> Tensor:
    """Logarithm of each window's relevance to the whole query, (n,)."""

    def odds(term: Term) -> Tensor:
        measure = background.sound_odds if term.is_sound else background.text_odds
        return measure(term.vector, windows)

    applies = [odds(term) for term in query.terms] + [-odds(term) for term in query.without]
    return torch.stack([log_probability(part) for part in applies]).sum(dim=0)


def _fused(hits: list[Hit], named: Sequence[dict[str, int]]) -> list[Hit]:
    """Hits in the order of all rankings, best first."""
    by_sound = {hit.id: rank for rank, hit in enumerate(hits, 1)}
    scores = fuse([by_sound, *named], [1.0, *_NAMED_WEIGHTS])
    return sorted(hits, key=lambda hit: (-scores[hit.id], by_sound[hit.id]))
