"""Files written to the table once all their windows are embedded, many in each write."""

import time
from collections.abc import Mapping

import pyarrow as pa

from otomatch.library.columns import StoredFile
from otomatch.library.indexing.embedding import WindowEmbedder
from otomatch.library.indexing.progress import Tally
from otomatch.library.indexing.reading import CompleteFile, ContentClaims
from otomatch.library.indexing.rows import new_rows
from otomatch.library.library_model import LibraryModel
from otomatch.library.records import SoundFile
from otomatch.library.store import Store
from otomatch.library.table_indexes import optimize

_WRITE_WINDOWS = 512
_WRITE_SECONDS = 5.0
_WRITES_BETWEEN_OPTIMIZE = 200


class FileWriter:
    """Files that have been read completely and wait to be written.

    Args:
        store: Table of the library.
        model: Model of the library.
        embedder: Windows of the files.
        tally: Counts of the run.

    Attributes:
        claims: Contents that need not be read again.
    """

    def __init__(
        self, store: Store, model: LibraryModel, embedder: WindowEmbedder, tally: Tally
    ) -> None:
        self._store, self._model, self._embedder, self._tally = store, model, embedder, tally
        self._stored: Mapping[str, StoredFile] = store.files()
        self.claims = ContentClaims({stored.digest for stored in self._stored.values()})
        self._complete: list[tuple[SoundFile, CompleteFile]] = []
        self._last_write, self._writes = time.monotonic(), 0

    def stored_file(self, sound: SoundFile) -> StoredFile | None:
        """Return what the library contained of a file when it was last looked up."""
        return self._stored.get(str(sound.path))

    def look_up(self) -> None:
        """Look up what the library contains.

        Raises:
            LibraryError: The library cannot be written.
        """
        with self._store.writing():
            self._stored = self._store.files()

    def add(self, sound: SoundFile, complete: CompleteFile) -> None:
        """Add a file that has been read completely."""
        self._complete.append((sound, complete))

    def is_due(self, others_waiting: bool) -> bool:
        """Return True if it is time to write.

        Args:
            others_waiting: True if files wait that are not written here.
        """
        windows = sum(self._embedder.count(sound.path) for sound, _ in self._complete)
        late = time.monotonic() - self._last_write > _WRITE_SECONDS
        return windows >= _WRITE_WINDOWS or (late and (bool(self._complete) or others_waiting))

    def write(self) -> None:
        """Write the files whose windows are all embedded, unless another run just did."""
        waiting = self._embedder.waiting()
        ready = [entry for entry in self._complete if entry[0].path not in waiting]
        self._complete = [entry for entry in self._complete if entry[0].path in waiting]
        self._last_write = time.monotonic()
        if not ready:
            return
        with self._store.writing():
            self._stored = self._store.files()
            fresh = [entry for entry in ready if not self._is_stored(*entry)]
            if fresh:
                paths = [str(sound.path) for sound, _ in fresh]
                rows = pa.concat_tables([self._rows(*entry) for entry in fresh])
                self._store.write(rows, [path for path in paths if path in self._stored])
            self._writes += 1
            if self._writes % _WRITES_BETWEEN_OPTIMIZE == 0:
                optimize(self._store)
        for sound, _ in ready:
            self._embedder.forget(sound.path)
        changed = sum(str(sound.path) in self._stored for sound, _ in fresh)
        self._tally.changed += changed
        self._tally.added += len(fresh) - changed
        self._tally.unchanged += len(ready) - len(fresh)
        self.claims.digests |= {stored.digest for stored in self._stored.values()}
        self.claims.digests |= {complete.digest for _, complete in fresh}

    def _is_stored(self, sound: SoundFile, complete: CompleteFile) -> bool:
        stored = self.stored_file(sound)
        return stored is not None and (stored.stamp, stored.digest) == complete[:2]

    def _rows(self, sound: SoundFile, complete: CompleteFile) -> pa.Table:
        windows = self._embedder.windows(sound.path)
        schema, references = self._store.table.schema, self._model.references
        return new_rows(sound, *complete, windows.spans, windows.stacked(), references, schema)
