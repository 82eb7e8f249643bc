"""Queries to the library, and their hits as the API answers them."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from cachetools import LRUCache

from otomatch.audio.waveform import Waveform
from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import SoundLibrary
from otomatch.library.records import Hit, Sound
from otomatch.web.catalogue import Catalogue, CatalogueKeeper, shown_folder
from otomatch.web.problems import Problem
from otomatch.web.schemas import Query, SearchResponse, SoundHit


@dataclass(frozen=True, slots=True)
class Filters:
    """What the hits must fulfil.

    Attributes:
        without: what they are not to be like.
        folder: the folder they lie in or below.
        min_duration: seconds.
        max_duration: seconds.
        k: their number, at most.
    """

    without: str | None
    folder: str | None
    min_duration: float | None
    max_duration: float | None
    k: int

    def __post_init__(self) -> None:
        low, high = self.min_duration, self.max_duration
        if low is not None and high is not None and low > high:
            raise InvalidInputError(
                f"min_duration ({low:g} s) is longer than max_duration ({high:g} s); exchange them"
            )

    def arguments(self) -> dict[str, Any]:
        """As the library takes them."""
        given = {
            "without": self.without,
            "folder": self.folder,
            "min_duration": self.min_duration,
            "max_duration": self.max_duration,
        }
        return {"k": self.k, **{name: v for name, v in given.items() if v is not None}}


class Searches:
    """Searches a library, and remembers what was found until the library changes.

    Args:
        library: what is searched.
        catalogues: what it holds as a whole.
        size: number of queries that are remembered.
    """

    def __init__(self, library: SoundLibrary, catalogues: CatalogueKeeper, size: int) -> None:
        self._library, self._catalogues = library, catalogues
        self._found: LRUCache[Hashable, list[SoundHit]] = LRUCache(size)
        self._lock = Lock()

    def text(self, text: str, filters: Filters) -> SearchResponse:
        """Sounds like a description."""
        query = Query(text=text, like=None, without=filters.without)
        return self._answer(
            query,
            ("text", text, filters),
            lambda: self._library.search(text, **filters.arguments()),
        )

    def similar(self, sound: Sound, start: float | None, filters: Filters) -> SearchResponse:
        """Sounds like one of the library."""
        query = Query(text=None, like=Path(sound.path).name, without=filters.without)
        return self._answer(
            query,
            ("similar", sound.id, start, filters),
            lambda: self._similar(sound.id, start, filters),
        )

    def _similar(self, id: str, start: float | None, filters: Filters) -> list[Hit]:  # noqa: A002
        try:
            return self._library.similar(id, start, **filters.arguments())
        except LibraryError:  # it was removed a moment ago
            raise _unknown(id) from None

    def audio(
        self, name: str, waveform: Waveform, rate: int, text: str | None, filters: Filters
    ) -> SearchResponse:
        """Sounds like one from outside, and like a description if there is one."""
        query = Query(text=text, like=name, without=filters.without)
        return self._answer(
            query,
            None,
            lambda: self._library.search(text, audio=(waveform, rate), **filters.arguments()),
        )

    def sound(self, id: str) -> Sound:  # noqa: A002
        """One sound.

        Raises:
            Problem: 404, the library has none with this id.
        """
        known = self._catalogues.current().known.get(id)
        if known is not None:
            return known
        try:
            return self._library.sound(id)  # perhaps it has just been added
        except (LibraryError, InvalidInputError):
            raise _unknown(id) from None

    def _answer(
        self, query: Query, key: Hashable, search: Callable[[], list[Hit]]
    ) -> SearchResponse:
        began = time.perf_counter()
        catalogue = self._catalogues.current()
        key = None if key is None else (self._library.version, key)
        with self._lock:
            hits = None if key is None else self._found.get(key)
        if hits is None:
            hits = [_sound_hit(hit, catalogue) for hit in search()]
            if key is not None:
                with self._lock:
                    self._found[key] = hits
        seconds = round(time.perf_counter() - began, 6)
        return SearchResponse(query=query, hits=hits, seconds=seconds, total=catalogue.sounds)


def _unknown(id: str) -> Problem:  # noqa: A002
    return Problem(404, f"the library has no sound {id[:40]!r} (any more); search again")


def _sound_hit(hit: Hit, catalogue: Catalogue) -> SoundHit:
    path, sound = Path(hit.path), catalogue.known.get(hit.id)
    return SoundHit(
        name=path.name,
        # A sound that was added in this very moment is not in the catalogue yet.
        folder=path.parent.name if sound is None else shown_folder(sound),
        **hit.to_dict(),
    )
