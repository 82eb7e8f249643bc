"""The map of a library: computed aside, kept beside the table, made anew when that has changed."""

import asyncio
import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from otomatch.errors import OtomatchError
from otomatch.library import SoundLibrary
from otomatch.library.records import Sound
from otomatch.web.problems import LOGGER
from otomatch.web.schemas import MapCluster, MapPoint, SoundMap
from otomatch.web.sound_map import TARGET
from otomatch.web.worker import WorkerCrashError, WorkerProcess

_FILE = "map.json"
_FORMAT = 2
_MOST_SECONDS = 3600.0
_PAUSE = 20.0  # seconds between two maps of a library that goes on changing, or two failures


class MapKeeper:
    """Keeps the map of a library; `current` is called from the event loop.

    Args:
        library: what is mapped.
        folder: where the map is kept; None for nowhere.
        pause: seconds between the beginnings of two computations.
    """

    def __init__(self, library: SoundLibrary, folder: Path | None, pause: float = _PAUSE) -> None:
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
        """The map; if the table has another version by now, a new one is begun.

        Args:
            version: of the library's table.
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
            foreseen = isinstance(error, OtomatchError | OSError)
            LOGGER.warning(
                "the map of the library could not be made: %s",
                error,
                exc_info=None if foreseen else error,
            )
            self._map = SoundMap(state="failed", points=[], clusters=[])

    def _made(self) -> SoundMap:
        """The map of the library as it is; computed unless it is known, here or on disk."""
        sounds, vectors = self._library.file_vectors()
        if not sounds:
            return SoundMap(state="empty", points=[], clusters=[])
        texts = [_text(sound) for sound in sounds]
        # The ids, too: a folder that is moved gives its sounds new ones, and nothing else.
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
        # Ended after each map: t-SNE takes hundreds of megabytes.
        self._worker = WorkerProcess(TARGET, niceness=10)
        try:
            if self._closed:
                raise WorkerCrashError("the server is stopping")
            found, _ = self._worker.call(job, _MOST_SECONDS)
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
        if self._file is None:
            return
        kept = json.dumps({"digest": digest, "map": found.model_dump()}, ensure_ascii=False)
        try:
            handle, part = tempfile.mkstemp(prefix=f"{_FILE}.", dir=self._file.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(kept)
                os.replace(part, self._file)
            finally:
                Path(part).unlink(missing_ok=True)
        except OSError as error:  # a library that can only be read
            LOGGER.info("the map is not kept: %s", error)

    def close(self) -> None:
        """End a computation that is under way."""
        self._closed = True
        if self._worker is not None:
            self._worker.close()


def _text(sound: Sound) -> str:
    """What is known of a sound in words; what its folders below the indexed one are called, too."""
    path = Path(sound.path)
    below = path.relative_to(sound.root) if path.is_relative_to(sound.root) else Path(path.name)
    parts = (*below.parent.parts, path.stem, sound.tags, sound.label, sound.caption)
    return " ".join(part for part in parts if part)
