"""Full-text search in file names, folder names, tags, labels and captions.

Queries are plain words; no character has a special meaning. See `table_indexes` for how text is
split into words.
"""

import unicodedata

from lancedb.query import FullTextOperator, MatchQuery

from otomatch.errors import LibraryError
from otomatch.library.store import Store
from otomatch.library.table_indexes import WORDS_COLUMN, refresh_word_index, word_index

_MAX_QUERY_WORDS = 64


def ensure_word_index(store: Store) -> bool:
    """Return True if words can be searched, after creating the word index if there is none.

    Without the index, LanceDB would split words differently and match stop words.
    """
    if word_index(store) is not None:
        return True
    if not len(store):
        return False
    try:
        with store.writing():
            refresh_word_index(store)
    except LibraryError:  # for example on a read-only disk
        return False
    return True


def match_words(
    store: Store, text: str, where: str | None, limit: int, match_all: bool = False
) -> dict[str, float]:
    """Return the BM25 scores of files that contain words of a text.

    Call `ensure_word_index` first.

    Args:
        store: Table of the library.
        text: Words to look for.
        where: Condition in SQL that files must satisfy, or None.
        limit: Maximum number of files.
        match_all: Only return files that contain all words.

    Returns:
        Scores by file id; higher is better.
    """
    words = " ".join(unicodedata.normalize("NFC", text).split()[:_MAX_QUERY_WORDS])
    operator = FullTextOperator.AND if match_all else FullTextOperator.OR
    match = MatchQuery(words, WORDS_COLUMN, operator=operator)
    query = store.table.search(match, query_type="fts")
    if where is not None:
        query = query.where(where, prefilter=True)
    found = query.select(["file_id", "_score"]).limit(limit).to_arrow()
    pairs = zip(found["file_id"].to_pylist(), found["_score"].to_pylist(), strict=True)
    return {id_: score for id_, score in pairs if score > 0}
