"""Queries: descriptions and sounds to look for, and conditions on the files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.library.library_model import LibraryModel
from otomatch.library.search.filters import SearchFilters
from otomatch.library.sql import check_text
from otomatch.library.store import Store
from otomatch.models.windowing import AudioInput


@dataclass(frozen=True, slots=True)
class Term:
    """Part of a query.

    Attributes:
        vector: Whitened vector, (D,).
        is_sound: True for a sound, False for a description.
    """

    vector: Tensor
    is_sound: bool = False


@dataclass(frozen=True)
class SearchQuery:
    """Query to a library.

    Attributes:
        terms: Terms that must all apply, at least one.
        without: Terms of which none should apply.
        words: Text to look up in names, tags, labels and captions; None to search by sound alone.
        unwanted_words: Texts whose words cancel a match of ``words``.
        filters: Conditions on the files.
    """

    terms: Sequence[Term]
    without: Sequence[Term] = ()
    words: str | None = None
    unwanted_words: Sequence[str] = ()
    filters: SearchFilters = field(default_factory=SearchFilters)


def embed_query(
    model: LibraryModel,
    text: str | None,
    audio: AudioInput | None,
    without: str | Sequence[str] | None,
    filters: SearchFilters,
    hybrid: bool | None,
) -> SearchQuery:
    """Return the query for a description, a sound, or both; see `SoundLibrary.search`.

    Raises:
        InvalidInputError: There is neither text nor sound, or a text is blank or not valid.
        AudioError: The sound cannot be read.
    """
    if text is None and audio is None:
        raise InvalidInputError("the query is empty; give a text, a sound, or both")
    if hybrid and text is None:
        raise InvalidInputError("a hybrid search needs a text; give one, or omit hybrid")
    unwanted = _unwanted_texts(without)
    if text is not None and not check_text(text).strip():
        raise InvalidInputError("the query is blank; describe a sound")
    terms = [] if text is None else _text_terms(model, [text])
    if audio is not None:
        terms.append(Term(model.embed_sound(audio), is_sound=True))
    words = None if hybrid is False else text
    return SearchQuery(terms, _text_terms(model, unwanted), words, unwanted, filters)


def similarity_query(
    store: Store,
    model: LibraryModel,
    id: str,  # noqa: A002
    start: float | None,
    without: str | Sequence[str] | None,
    filters: SearchFilters,
) -> SearchQuery:
    """Return the query for sounds like a file of the library; see `SoundLibrary.similar`.

    Raises:
        LibraryError: The library has no file with this id.
        InvalidInputError: ``start`` is not finite, or a text is blank or not valid.
    """
    rows = store.file_rows(id, ["start", "vector"]).to_pylist()
    if start is not None:
        if not math.isfinite(start):
            raise InvalidInputError(f"start is {start}; expected a finite number of seconds")
        rows = [min(rows, key=lambda row: abs(row["start"] - start))]
    vector = torch.tensor([row["vector"] for row in rows]).mean(dim=0)
    unwanted = _text_terms(model, _unwanted_texts(without))
    return SearchQuery([Term(vector, is_sound=True)], unwanted, filters=filters)


def _text_terms(model: LibraryModel, texts: Sequence[str]) -> list[Term]:
    return [Term(vector) for vector in model.embed_texts(texts)] if texts else []


def _unwanted_texts(without: str | Sequence[str] | None) -> list[str]:
    texts = [] if without is None else [without] if isinstance(without, str) else list(without)
    if not all(check_text(text).strip() for text in texts):
        raise InvalidInputError("a description of unwanted sounds is blank; describe or omit them")
    return texts
