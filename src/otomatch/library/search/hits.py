"""Search: candidate windows, scored, grouped by file, and fused with full-text matches.

The candidates are the windows nearest to any of the query's terms. Their number does not depend on
the number of hits, so that asking for more hits never changes the first ones. Each candidate is
then scored exactly against every term. If the candidates belong to too few files, the next nearest
windows follow after them.
"""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from otomatch.library.connection import read_errors
from otomatch.library.records import Hit
from otomatch.library.search.fulltext import ensure_word_index, match_words
from otomatch.library.search.fusion import competition_ranks, fuse
from otomatch.library.search.query import SearchQuery, Term
from otomatch.library.search.relevance import (
    FIT_COLUMNS,
    Background,
    WindowBatch,
    batch_from_rows,
    log_probability,
)
from otomatch.library.sql import quote
from otomatch.library.store import Store

_HIT_COLUMNS = ("file_id", "path", "start", "end", "duration", "label", "caption", "tags")
_COLUMNS = (*_HIT_COLUMNS, *FIT_COLUMNS)
_CANDIDATES = 1000  # windows
_WORD_CANDIDATES = 200  # files
_MAX_WORD_MATCHES = 2000  # files
_PROBES = 40  # partitions of the vector index to read
_WORD_WEIGHTS = 0.3, 1.0  # of files with some words and with all words; the ranking by sound has 1


def find_hits(store: Store, query: SearchQuery, k: int, background: Background) -> list[Hit]:
    """Return the best ``k`` files, best first, each once at its best window."""
    with read_errors(store.uri):
        where = query.filters.sql(store)
        rankings = _word_rankings(store, query, where)
        named = rankings[0]
        extra = [_rows_of_best_matches(store, rankings)] if named else []
        hits: dict[str, Hit] = {}
        limit, total = _CANDIDATES, len(store)
        while True:
            pool = [_nearest_rows(store, term.vector, limit, where) for term in query.terms]
            found = _best_windows(pa.concat_tables(pool + extra), query, background)
            for hit in _fuse_hits(found, rankings):
                hits.setdefault(hit.id, hit)
            if len(hits) >= k or limit >= total:
                best = list(hits.values())[:k]
                return [replace(hit, named=hit.id in named) for hit in best]
            limit, rankings, extra = 4 * limit, [{}, {}], []


def _nearest_rows(store: Store, vector: Tensor, limit: int, where: str | None) -> pa.Table:
    query = store.table.search(vector.numpy(), vector_column_name="vector").distance_type("l2")
    if where is not None:
        query = query.where(where, prefilter=True)
    # With a vector index: read at least _PROBES partitions, and all if a filter leaves few rows.
    query = query.maximum_nprobes(0).minimum_nprobes(_PROBES)
    # LanceDB logs a warning for every query without _distance.
    found = query.select([*_COLUMNS, "_distance"]).limit(limit).to_arrow()
    return found.drop_columns("_distance")


def _word_rankings(store: Store, query: SearchQuery, where: str | None) -> list[dict[str, int]]:
    """Return ranks by file id: of files with some of the query's words, and with all of them."""
    if query.words is None or not ensure_word_index(store):
        return [{}, {}]
    limit = _MAX_WORD_MATCHES
    some = match_words(store, query.words, where, limit)
    every = match_words(store, query.words, where, limit, match_all=True) if some else {}
    for unwanted in query.unwanted_words if some else ():
        for id_ in match_words(store, unwanted, where, limit):
            some.pop(id_, None)
            every.pop(id_, None)
    return [competition_ranks(some), competition_ranks(every)]


def _rows_of_best_matches(store: Store, rankings: Sequence[dict[str, int]]) -> pa.Table:
    """Return all windows of the best full-text matches, which need not be candidates by sound."""
    some, every = rankings
    order = sorted(some, key=lambda id_: (id_ not in every, some[id_], id_))
    ids = ", ".join(map(quote, order[:_WORD_CANDIDATES]))
    return store.rows(_COLUMNS, f"file_id IN ({ids})")


def _best_windows(table: pa.Table, query: SearchQuery, background: Background) -> list[Hit]:
    """Return each file of some windows at its best window, best first."""
    if not len(table):
        return []
    windows = batch_from_rows(table)
    scores = _log_relevance(query, windows, background)
    # Ties are broken by path and time, since the rows come in no particular order.
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
        Hit(id=values.pop("file_id"), distance=distance, relevance=relevance, **values)
        for values, (distance, relevance) in zip(shown, measured, strict=True)
    ]


def _log_relevance(query: SearchQuery, windows: WindowBatch, background: Background) -> Tensor:
    """Return the logarithm of each window's relevance to the whole query, (n,)."""

    def odds(term: Term) -> Tensor:
        measure = background.sound_odds if term.is_sound else background.text_odds
        return measure(term.vector, windows)

    applies = [odds(term) for term in query.terms] + [-odds(term) for term in query.without]
    return torch.stack([log_probability(part) for part in applies]).sum(dim=0)


def _fuse_hits(hits: list[Hit], word_rankings: Sequence[dict[str, int]]) -> list[Hit]:
    by_sound = {hit.id: rank for rank, hit in enumerate(hits, 1)}
    scores = fuse([by_sound, *word_rankings], [1.0, *_WORD_WEIGHTS])
    return sorted(hits, key=lambda hit: (-scores[hit.id], by_sound[hit.id]))
