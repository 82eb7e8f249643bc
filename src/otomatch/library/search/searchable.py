"""What can be asked of a library: search, similar sounds, duplicates."""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library.duplicates import SIMILARITY, DuplicateGroup, find_duplicates
from otomatch.library.indexing.rows import SOUND_COLUMNS, sounds_of
from otomatch.library.records import Hit
from otomatch.library.search.filters import Filters
from otomatch.library.search.query import Query, Term, search
from otomatch.library.search.relevance import Backgrounds, reference_descriptions
from otomatch.library.store import Store, checked_text, quoted
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.windowing import AudioInput


class Searchable(ABC):
    """The part of `SoundLibrary` that is asked; may be used from several threads at once."""

    def __init__(self, store: Store) -> None:
        self.uri, self._store = store.uri, store
        # Tokenizers are not made for several threads, and the model loads only once.
        self._embedding = threading.RLock()
        self._background: Backgrounds | None = None

    @property
    @abstractmethod
    def model(self) -> AudioTextModel:
        """The model that the library was made with."""

    @cached_property
    def _references(self) -> Tensor:
        return self.model.whiten(self.model.embed_text(reference_descriptions()))

    def search(
        self,
        text: str | None = None,
        *,
        audio: AudioInput | None = None,
        without: str | Sequence[str] | None = None,
        folder: str | Path | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
        k: int = 10,
        hybrid: bool | None = None,
    ) -> list[Hit]:
        """The k files that fit a description, a sound, or both, best first, each once.

        May be called from several threads at once.

        Args:
            text: the description.
            audio: the sound: a path, or (waveform, sample rate).
            without: descriptions of what the sound should not be like.
            folder: only files in this folder or below it: a path, or the name of an indexed folder
                or of one below it.
            min_duration: only files of at least so many seconds.
            max_duration: only files of at most so many seconds.
            k: number of hits, at least 1.
            hybrid: whether words of the text found in names, folders and tags count too; None for
                yes where there is a text.

        Raises:
            InvalidInputError: there is neither text nor sound, a text is blank, a number is out of
                range, or there is no such folder.
            AudioError: the sound cannot be read.
        """
        _check_number_of_hits(k)
        if text is None and audio is None:
            raise InvalidInputError("give a text or a sound to look for, or both")
        if hybrid and text is None:
            raise InvalidInputError("a hybrid search needs a text; leave hybrid out")
        filters = _filters(folder, min_duration, max_duration)
        unwanted = _texts(without)
        if text is not None and not checked_text(text).strip():
            raise InvalidInputError("the query is blank; describe a sound")
        terms = [] if text is None else self._text_terms([text])
        if audio is not None:
            terms.append(self._sound_term(audio))
        query = Query(
            terms,
            self._text_terms(unwanted),
            text if hybrid is not False else None,
            unwanted,
            filters,
        )
        return search(self._store, query, k, self._backgrounds.current())

    def similar(
        self,
        id: str,  # noqa: A002
        start: float | None = None,
        *,
        without: str | Sequence[str] | None = None,
        folder: str | Path | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
        k: int = 10,
    ) -> list[Hit]:
        """The k other files that are most like a file of the library.

        Args:
            id: of the file.
            start: seconds; the window of the file that is compared is the one that begins nearest.
                None for the mean of its windows.
            without: as for `search`.
            folder: as for `search`.
            min_duration: as for `search`.
            max_duration: as for `search`.
            k: number of hits, at least 1.

        Raises:
            LibraryError: the library has none with this id.
            InvalidInputError: as for `search`.
        """
        _check_number_of_hits(k)
        filters = _filters(folder, min_duration, max_duration, exclude=id)
        rows = self._store.rows(["start", "vector"], f"file_id = {quoted(id)}").to_pylist()
        if not rows:
            raise LibraryError(f"{self.uri}: holds no sound with the id {id!r}")
        if start is not None:
            if not math.isfinite(start):
                raise InvalidInputError(f"start must be a number of seconds, got {start}")
            rows = [min(rows, key=lambda row: abs(row["start"] - start))]
        vector = torch.tensor([row["vector"] for row in rows]).mean(dim=0)
        unwanted = self._text_terms(_texts(without))
        query = Query([Term(vector, is_sound=True)], unwanted, filters=filters)
        return search(self._store, query, k, self._backgrounds.current())

    def duplicates(
        self,
        folder: str | Path | None = None,
        similarity: float = SIMILARITY,
        progress: bool = False,
    ) -> list[DuplicateGroup]:
        """Groups of near-identical sounds: copies in other formats, levels, rates or lengths.

        Every file is decoded once or twice, and compared with its nearest neighbours only.

        Args:
            folder: compare only sounds in this folder or below it, as for `search`.
            similarity: how alike two must be, above 0 and at most 1.
            progress: show a progress bar.

        Returns:
            The largest groups first.

        Raises:
            InvalidInputError: ``similarity`` is out of range, or there is no such folder.
        """
        table = self._store.rows(
            [*SOUND_COLUMNS, "digest"], Filters(_path(folder)).sql(self._store)
        )
        digests = dict(zip(table["file_id"].to_pylist(), table["digest"].to_pylist(), strict=True))
        sounds = sounds_of(table)
        return find_duplicates(sounds, [digests[s.id] for s in sounds], similarity, progress)

    def _text_terms(self, texts: Sequence[str]) -> list[Term]:
        if not texts:
            return []
        with self._embedding:
            vectors = self.model.whiten(self.model.embed_text(texts))
        return [Term(vector) for vector in vectors]

    def _sound_term(self, sound: AudioInput) -> Term:
        with self._embedding:
            vector = self.model.whiten(self.model.embed_audio([sound]))[0]
        return Term(vector, is_sound=True)

    @property
    def _backgrounds(self) -> Backgrounds:
        with self._embedding:
            if self._background is None:
                self._background = Backgrounds(self._store, self._references)
            return self._background


def _check_number_of_hits(k: int) -> None:
    if k < 1:
        raise InvalidInputError(f"k must be at least 1, got {k}")


def _texts(without: str | Sequence[str] | None) -> list[str]:
    """Descriptions of what is not wanted, checked."""
    texts = [] if without is None else [without] if isinstance(without, str) else list(without)
    if not all(checked_text(text).strip() for text in texts):
        raise InvalidInputError("what is not wanted is blank; describe it, or leave it out")
    return texts


def _filters(
    folder: str | Path | None,
    min_duration: float | None,
    max_duration: float | None,
    exclude: str | None = None,
) -> Filters:
    return Filters(_path(folder), min_duration, max_duration, exclude)


def _path(folder: str | Path | None) -> str | None:
    return None if folder is None else str(folder)
