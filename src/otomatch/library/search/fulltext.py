"""Full-text search in what names, folders and tags say: an index of LanceDB on ``words``.

Words are cut by ICU's dictionaries, so that languages without spaces work; lower case, accents
folded, English stems. Queries are words and nothing else: no character in them is syntax.
"""

import unicodedata
from importlib import resources
from typing import Any

from lancedb.index import FTS
from lancedb.query import FullTextOperator, MatchQuery

from otomatch.errors import LibraryError
from otomatch.library.store import Store

_COLUMN = "words"
_MOST_WORDS = 64


def stop_words() -> list[str]:
    """Stems that are no use in a search: function words, and what is said of every sound.

    LanceDB's own list for the ICU tokenizer holds the stop words of all languages at once, and
    "dog" and "cat" are among them (in Danish and in Romanian).
    """
    text = (resources.files("otomatch.library") / "stop_words.txt").read_text(encoding="utf-8")
    return text.split()


def refresh(store: Store) -> None:
    """Make the index, or bring it up to date with the rows that were written since.

    Those are found all the same, only more slowly.
    """
    if not len(store):
        return
    index = _index(store)
    if index is None:
        config = FTS(base_tokenizer="icu/split", custom_stop_words=stop_words())
        store.table.create_index(_COLUMN, config=config, replace=True)
    elif index.num_unindexed_rows:
        store.table.optimize()


def available(store: Store) -> bool:
    """Whether words can be searched; a library that has no index yet is given one.

    Without one, LanceDB would cut words in another way, and match stop words.
    """
    if _index(store) is not None:
        return True
    if not len(store):
        return False
    try:
        with store.writing():
            refresh(store)
    except LibraryError:  # as on a disk that cannot be written
        return False
    return True


def matches(
    store: Store, text: str, where: str | None, limit: int, every: bool = False
) -> dict[str, float]:
    """Files whose words match some of a text's, by BM25; see `available` first.

    Args:
        store: the library's table.
        text: what is looked for.
        where: a condition in SQL that files must fulfil.
        limit: number of files at most.
        every: only those that have all words of the text.

    Returns:
        Scores by file id, higher is better.
    """
    words = " ".join(unicodedata.normalize("NFC", text).split()[:_MOST_WORDS])
    operator = FullTextOperator.AND if every else FullTextOperator.OR
    match = MatchQuery(words, _COLUMN, operator=operator)
    query = store.table.search(match, query_type="fts")
    if where is not None:
        query = query.where(where, prefilter=True)
    found = query.select(["file_id", "_score"]).limit(limit).to_arrow()
    pairs = zip(found["file_id"].to_pylist(), found["_score"].to_pylist(), strict=True)
    return {id_: score for id_, score in pairs if score > 0}


def _index(store: Store) -> Any:
    """The index on words as this version makes it, None if there is none."""
    for index in store.table.list_indices():
        if index.columns == [_COLUMN]:
            details = index.index_details or {}
            if sorted(details.get("custom_stop_words") or ()) == sorted(stop_words()):
                return index
    return None
