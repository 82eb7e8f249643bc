"""Search the library, and answer repeated queries from memory."""

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
from otomatch.web import schemas
from otomatch.web.api_errors import ApiError
from otomatch.web.catalogue import Catalogue, CatalogueKeeper, folder_name


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options that all kinds of searches share.

    Attributes:
        without: Description of what the hits should not sound like.
        folder: Folder of the hits, directly or in subfolders.
        min_duration: Minimum length of a hit, in seconds.
        max_duration: Maximum length of a hit, in seconds.
        k: Maximum number of hits.

    Raises:
        InvalidInputError: ``min_duration`` is larger than ``max_duration``.
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
                f"min_duration ({low:g} s) is larger than max_duration ({high:g} s); swap them"
            )

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the library's searches."""
        given = {
            "without": self.without,
            "folder": self.folder,
            "min_duration": self.min_duration,
            "max_duration": self.max_duration,
        }
        return {"k": self.k, **{name: v for name, v in given.items() if v is not None}}


class Searches:
    """Search a library, and remember the hits until the library changes.

    Args:
        library: Library to search.
        catalogues: Catalogue of the library.
        size: Number of queries to remember.
    """

    def __init__(self, library: SoundLibrary, catalogues: CatalogueKeeper, size: int) -> None:
        self._library, self._catalogues = library, catalogues
        self._found: LRUCache[Hashable, list[schemas.SoundHit]] = LRUCache(size)
        self._lock = Lock()

    def text(self, text: str, options: SearchOptions) -> schemas.SearchResponse:
        """Search by a description."""
        query = schemas.Query(text=text, like=None, without=options.without)
        return self._answer(
            query,
            ("text", text, options),
            lambda: self._library.search(text, **options.arguments()),
        )

    def similar(
        self, sound: Sound, start: float | None, options: SearchOptions
    ) -> schemas.SearchResponse:
        """Search by a sound of the library, or by its window that starts at ``start`` seconds."""
        query = schemas.Query(text=None, like=Path(sound.path).name, without=options.without)
        return self._answer(
            query,
            ("similar", sound.id, start, options),
            lambda: self._similar(sound.id, start, options),
        )

    def _similar(self, id: str, start: float | None, options: SearchOptions) -> list[Hit]:  # noqa: A002
        try:
            return self._library.similar(id, start, **options.arguments())
        except LibraryError:  # removed a moment ago
            raise _unknown(id) from None

    def audio(
        self, name: str, waveform: Waveform, rate: int, text: str | None, options: SearchOptions
    ) -> schemas.SearchResponse:
        """Search by an uploaded sound, together with a description if ``text`` is not None."""
        query = schemas.Query(text=text, like=name, without=options.without)
        return self._answer(
            query,
            None,
            lambda: self._library.search(text, audio=(waveform, rate), **options.arguments()),
        )

    def sound(self, id: str) -> Sound:  # noqa: A002
        """Return the sound with an id.

        Raises:
            ApiError: 404 if the library has no such sound.
        """
        known = self._catalogues.current().known.get(id)
        if known is not None:
            return known
        try:
            return self._library.sound(id)  # it may have been added a moment ago
        except (LibraryError, InvalidInputError):
            raise _unknown(id) from None

    def _answer(
        self, query: schemas.Query, key: Hashable, search: Callable[[], list[Hit]]
    ) -> schemas.SearchResponse:
        began = time.perf_counter()
        catalogue = self._catalogues.current()
        key = None if key is None else (self._library.store.version, key)
        with self._lock:
            hits = None if key is None else self._found.get(key)
        if hits is None:
            hits = [_sound_hit(hit, catalogue) for hit in search()]
            if key is not None:
                with self._lock:
                    self._found[key] = hits
        seconds = round(time.perf_counter() - began, 6)
        return schemas.SearchResponse(
            query=query, hits=hits, seconds=seconds, total=catalogue.sounds
        )


def _unknown(id: str) -> ApiError:  # noqa: A002
    return ApiError(404, f"the library has no sound {id[:40]!r}, or no longer has it; search again")


def _sound_hit(hit: Hit, catalogue: Catalogue) -> schemas.SoundHit:
    path, sound = Path(hit.path), catalogue.known.get(hit.id)
    return schemas.SoundHit(
        name=path.name,
        # A sound that was added a moment ago may not be in the catalogue yet.
        folder=path.parent.name if sound is None else folder_name(sound),
        **hit.to_dict(),
    )
