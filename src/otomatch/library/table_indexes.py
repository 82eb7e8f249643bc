"""Upkeep of a library's table: vector index, word index, and compaction.

The word index of LanceDB on the column ``words`` splits text by ICU's dictionaries, so that
languages without spaces work; it folds case and accents and stems English words.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

from lancedb.index import FTS, IvfFlat

from otomatch.library.store import Store

VECTOR_INDEX_WINDOWS = 50_000
"""Minimum number of windows for a vector index; smaller tables are searched exhaustively."""

WORDS_COLUMN = "words"

# A reader may still be using a version for some time after it was replaced.
_KEPT_SECONDS = 60.0


def optimize(store: Store) -> None:
    """Merge small fragments, delete old versions, and keep the vector index up to date.

    A version is kept for a minute after it was replaced, for readers that still use it. Hold
    `Store.writing` meanwhile.
    """
    table = store.table
    if len(store) >= VECTOR_INDEX_WINDOWS and not _has_vector_index(table):
        table.create_index("vector", config=IvfFlat(distance_type="l2"))
    before = store.version
    table.optimize(cleanup_older_than=_unread_age(table.list_versions()))
    if store.version != before and table.list_indices():
        # The second pass merges the new rows into the indexes. Without it, the next call would
        # write a version even if nothing had changed.
        table.optimize()


def _has_vector_index(table: Any) -> bool:
    return any(index.columns == ["vector"] for index in table.list_indices())


def _unread_age(versions: Sequence[dict[str, Any]]) -> timedelta:
    """Return the age of versions that were replaced too long ago to be in use."""
    now = datetime.now()
    ages = [now - version["timestamp"] for version in versions]
    old = [age for age in ages if age.total_seconds() > _KEPT_SECONDS]
    # The youngest of the old versions may have been the latest one until just now.
    return min(old, default=timedelta(seconds=_KEPT_SECONDS)) + timedelta(milliseconds=1)


def stop_words() -> list[str]:
    """Return stems that do not help in a search: function words, and words like "sound".

    LanceDB's own list for the ICU tokenizer contains the stop words of all languages. Among them
    are "dog" and "cat", which are stop words in Danish and in Romanian.
    """
    text = (resources.files("otomatch.library") / "stop_words.txt").read_text(encoding="utf-8")
    return text.split()


def word_index(store: Store) -> Any:
    """Return the word index as this version of otomatch creates it, or None."""
    for index in store.table.list_indices():
        if index.columns == [WORDS_COLUMN]:
            details = index.index_details or {}
            if sorted(details.get("custom_stop_words") or ()) == sorted(stop_words()):
                return index
    return None


def refresh_word_index(store: Store) -> None:
    """Create the word index, or add the rows written since to it.

    Without this, searches still find those rows, but more slowly. Hold `Store.writing` meanwhile.
    """
    if not len(store):
        return
    index = word_index(store)
    if index is None:
        config = FTS(base_tokenizer="icu/split", custom_stop_words=stop_words())
        store.table.create_index(WORDS_COLUMN, config=config, replace=True)
    elif index.num_unindexed_rows:
        store.table.optimize()
