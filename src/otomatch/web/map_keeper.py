"""Compute the map of a library in the background and keep it in the library's folder."""

import asyncio
import hashlib
import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from otomatch.errors import OtomatchError
from otomatch.files import write_text
from otomatch.library import SoundLibrary
from otomatch.library.contents import mean_vectors
from otomatch.library.records import Sound
from otomatch.web.map_layout import TARGET
from otomatch.web.schemas import MapCluster, MapPoint, SoundMap
from otomatch.web.worker import WorkerCrashError, WorkerProcess

_FILE = "map.json"
_FORMAT = 2
_MAX_SECONDS = 3600.0
_PAUSE_SECONDS = 20.0  # between two maps of a library that keeps changing, or two failures

_LOGGER = logging.getLogger(__name__)


class MapKeeper:
    """Cache of a library's map that computes a new one whenever the library has changed.

    Args:
        library: Library to map.
        folder: Folder to keep the map in; None to keep it in memory only.
        pause: Minimum time between the starts of two computations, in seconds.
    """

    def __init__(
        self, library: SoundLibrary, folder: Path | None, pause: float = _PAUSE_SECONDS
    ) -> None:
        self._library, self._pause = library, pause
        self._file = None if folder is None else folder / _FILE
        self._worker: WorkerProcess | None = None
        self._closed = False
        self._version: int | None = None
        self._digest = ""
        self._map = SoundMap(state="computing", points=[], clusters=[])
        self._task: asyncio.Task[None] | None = None
        self._began = -float("inf")

    def current(self, version: int) -> SoundMap:
        """Return the map, and start a new one if the library has changed since it was computed.

        Must be called from the event loop.

        Args:
            version: Current version of the library's table.
        """
        running = self._task is not None and not self._task.done()
        rested = time.monotonic() - self._began >= self._pause
        if version != self._version and rested and not running:
            self._began = time.monotonic()
            self._task = asyncio.create_task(self._renew(version))
            running = True
        if running or (version != self._version and self._map.state == "ready"):
            return self._map.model_copy(update={"state": "computing"})
        return self._map

    async def _renew(self, version: int) -> None:
        try:
            self._map = await asyncio.to_thread(self._made)
            self._version = version
        except Exception as error:
            if self._closed:
                return
            expected = isinstance(error, OtomatchError | OSError)
            _LOGGER.warning(
                "the map of the library could not be computed: %s",
                error,
                exc_info=None if expected else error,
            )
            self._map = SoundMap(state="failed", points=[], clusters=[])

    def _made(self) -> SoundMap:
        """Return the map of the library as it is now, from memory or disk if it is there."""
        sounds, vectors = mean_vectors(self._library.store)
        if not sounds:
            return SoundMap(state="empty", points=[], clusters=[])
        texts = [_text(sound) for sound in sounds]
        # The ids are part of the digest because moving a folder changes nothing else.
        about = repr((_FORMAT, [sound.id for sound in sounds], texts)).encode()
        digest = hashlib.sha256(vectors.tobytes() + about).hexdigest()
        if digest == self._digest and self._map.state == "ready":
            return self._map
        found = self._read(digest)
        if found is None:
            found = self._computed(sounds, {"vectors": vectors, "texts": texts})
            self._write(digest, found)
        self._digest = digest
        return found

    def _computed(self, sounds: list[Sound], job: dict[str, Any]) -> SoundMap:
        # The process ends after each map because t-SNE takes hundreds of megabytes.
        self._worker = WorkerProcess(TARGET, niceness=10)
        try:
            if self._closed:
                raise WorkerCrashError("no map is computed because the server is stopping")
            found, _ = self._worker.call(job, _MAX_SECONDS)
        finally:
            self._worker.close()
        clusters, labels = found["clusters"], found["labels"]
        points = [
            MapPoint(id=sound.id, name=Path(sound.path).name, x=x, y=y, cluster=cluster)
            for sound, (x, y), cluster in zip(sounds, found["places"], clusters, strict=True)
        ]
        sizes = [
            MapCluster(id=number, label=label, size=clusters.count(number))
            for number, label in enumerate(labels)
        ]
        return SoundMap(state="ready", points=points, clusters=sizes)

    def _read(self, digest: str) -> SoundMap | None:
        with suppress(OSError, ValueError, KeyError, TypeError, ValidationError):
            if self._file is not None:
                kept = json.loads(self._file.read_text(encoding="utf-8"))
                if kept["digest"] == digest:
                    return SoundMap.model_validate(kept["map"])
        return None

    def _write(self, digest: str, found: SoundMap) -> None:
        # A library that was deleted meanwhile is not created again for its map.
        if self._file is None or not self._file.parent.is_dir():
            return
        kept = json.dumps({"digest": digest, "map": found.model_dump()}, ensure_ascii=False)
        try:
            write_text(self._file, kept)
        except OSError as error:  # the library may be read-only
            _LOGGER.info("the map is not saved: %s", error)

    def close(self) -> None:
        """Stop a computation that is in progress."""
        self._closed = True
        if self._worker is not None:
            self._worker.close()


def _text(sound: Sound) -> str:
    """Join all words known of a sound, including its folders below the indexed one."""
    path = Path(sound.path)
    below = path.relative_to(sound.root) if path.is_relative_to(sound.root) else Path(path.name)
    parts = (*below.parent.parts, path.stem, sound.tags, sound.label, sound.caption)
    return " ".join(part for part in parts if part)
