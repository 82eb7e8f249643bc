"""Everything that the routes share: library, pools, caches, decoder and a temporary folder."""

import asyncio
import logging
import os
import shutil
import stat
import tempfile
import time
import weakref
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from otomatch.library import SoundLibrary
from otomatch.web.catalogue import CatalogueKeeper
from otomatch.web.conversion import Conversions
from otomatch.web.limits import Limits
from otomatch.web.map_keeper import MapKeeper
from otomatch.web.media import Media
from otomatch.web.pools import BoundedPool
from otomatch.web.schemas import Health
from otomatch.web.searches import Searches
from otomatch.web.uploads import Decoder, Receiver

_PREFIX, _LOCK = "otomatch-serve-", "lock"
_MIN_AGE_SECONDS = 60.0

_LOGGER = logging.getLogger(__name__)


class Services:
    """Everything that one server works with.

    Args:
        library: Library to serve.
        limits: Limits of the server.
    """

    def __init__(self, library: SoundLibrary, limits: Limits) -> None:
        self.library, self.limits = library, limits
        delete_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # readable by this user only
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._lock.acquire()
        self._delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        converted, received = folder / "converted", folder / "received"
        converted.mkdir()
        received.mkdir()
        self.table = BoundedPool("library", limits.table_workers, limits.table_queue)
        self.model = BoundedPool("searches", limits.model_workers, limits.model_queue)
        heavy = BoundedPool("sounds and spectrograms", limits.media_workers, limits.media_queue)
        # A single process decodes; waiting for it must not take a thread from the searches.
        self.decoding = BoundedPool("decoding", 1, limits.uploads)
        self.catalogues = CatalogueKeeper(library)
        self.searches = Searches(library, self.catalogues, limits.queries)
        conversions = Conversions(converted, limits.converted_bytes)
        self.media = Media(self.table, heavy, conversions, limits.spectrogram_bytes)
        self.receiver, self.decoder = Receiver(received, limits), Decoder(limits)
        self.map = MapKeeper(library, _folder(library))
        self._closed = False
        self._pools = (self.table, self.model, self.decoding, heavy)

    def health(self, version: str) -> Health:
        """Return the totals of the library and the given version of otomatch."""
        now = self.catalogues.current()
        return Health(
            version=version,
            library=Path(self.library.uri).name,
            sounds=now.sounds,
            windows=now.windows,
            seconds=now.seconds,
            model=self._model_name,
        )

    @cached_property
    def _model_name(self) -> str:
        return self.library.info().model  # slow: info() also measures the library's size on disk

    async def warm(self) -> None:
        """Start everything that the first request would otherwise wait for."""
        # The first search of a process takes seconds, later ones take milliseconds.
        results = await asyncio.gather(
            asyncio.to_thread(self.library.search, "a sound", k=1),
            asyncio.to_thread(self.decoder.worker.warm),
            return_exceptions=True,
        )
        for error in results:
            if isinstance(error, Exception) and not self._closed:
                _LOGGER.warning("the first requests may fail: %s", error)

    def close(self) -> None:
        """Stop all work and delete the temporary folder."""
        self._closed = True
        for pool in self._pools:
            pool.close()
        self.decoder.worker.close()
        self.map.close()
        self._delete()
        self._lock.release()


def delete_abandoned() -> None:
    """Delete the temporary folders of this user's killed servers, whose locks are free."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, Timeout):
            about, own = folder.lstat(), (folder / _LOCK).lstat()
            private = stat.S_ISDIR(about.st_mode) and stat.S_ISREG(own.st_mode)
            # A younger server may not have taken its lock yet.
            old = time.time() - own.st_mtime > _MIN_AGE_SECONDS
            if private and about.st_uid == os.getuid() and old:
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _folder(library: SoundLibrary) -> Path | None:
    return None if "://" in library.uri else Path(library.uri)
