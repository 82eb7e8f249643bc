"""All that the routes share: the library, threads, caches, the decoder, a private folder."""

import asyncio
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
from otomatch.web.pools import Pool
from otomatch.web.problems import LOGGER
from otomatch.web.schemas import Health
from otomatch.web.searches import Searches
from otomatch.web.uploads import Decoder, Receiver

_PREFIX, _LOCK = "otomatch-serve-", "lock"
_YOUNG = 60.0  # seconds


class Services:
    """What one server works with.

    Args:
        library: what is served.
        limits: bounds of the server.
    """

    def __init__(self, library: SoundLibrary, limits: Limits) -> None:
        self.library, self.limits = library, limits
        delete_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # for this user only
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._lock.acquire()
        self._delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        converted, received = folder / "converted", folder / "received"
        converted.mkdir()
        received.mkdir()
        self.table = Pool("the library", limits.table_workers, limits.table_queue)
        self.model = Pool("searches", limits.model_workers, limits.model_queue)
        heavy = Pool("sounds and pictures", limits.media_workers, limits.media_queue)
        # One process decodes one after the other; who waits for it must not hold up searches.
        self.decoding = Pool("decoding", 1, limits.uploads)
        self.catalogues = CatalogueKeeper(library)
        self.searches = Searches(library, self.catalogues, limits.queries)
        conversions = Conversions(converted, limits.converted_bytes)
        self.media = Media(self.table, heavy, conversions, limits.picture_bytes)
        self.receiver, self.decoder = Receiver(received, limits), Decoder(limits)
        self.map = MapKeeper(library, _folder(library))
        self._closed = False
        self._pools = (self.table, self.model, self.decoding, heavy)

    def health(self, version: str) -> Health:
        """What the library holds; ``version`` is that of otomatch."""
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
        return self.library.info().model  # which also measures the library on disk

    async def warm(self) -> None:
        """Start what the first request would else wait for."""
        # The first search of a process takes seconds, the later ones milliseconds.
        results = await asyncio.gather(
            asyncio.to_thread(self.library.search, "a sound", k=1),
            asyncio.to_thread(self.decoder.worker.warm),
            return_exceptions=True,
        )
        for error in results:
            if isinstance(error, Exception) and not self._closed:
                LOGGER.warning("the first requests may fail: %s", error)

    def close(self) -> None:
        """End all work, and delete what was kept on disk."""
        self._closed = True
        for pool in self._pools:
            pool.close()
        self.decoder.worker.close()
        self.map.close()
        self._delete()
        self._lock.release()


def delete_abandoned() -> None:
    """Delete the folders of servers of this user that were killed: nobody holds their locks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, Timeout):
            about, own = folder.lstat(), (folder / _LOCK).lstat()
            private = stat.S_ISDIR(about.st_mode) and stat.S_ISREG(own.st_mode)
            # One that is younger may not have taken its lock yet.
            if private and about.st_uid == os.getuid() and time.time() - own.st_mtime > _YOUNG:
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _folder(library: SoundLibrary) -> Path | None:
    return None if "://" in library.uri else Path(library.uri)
