"""Indexing run: files are read in threads, embedded in batches, and stored whole.

What is stored stays: an interrupted or killed run loses only the files in progress, and the next
run continues from there.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from otomatch.audio.windows import Window
from otomatch.datasets.base import Skipped
from otomatch.library.columns import StoredFile
from otomatch.library.indexing.embedding import WindowEmbedder
from otomatch.library.indexing.planning import IndexPlan
from otomatch.library.indexing.progress import IndexProgress, Tally
from otomatch.library.indexing.reading import (
    CompleteFile,
    ContentClaims,
    FailedFile,
    FileReader,
    KnownContent,
    Message,
)
from otomatch.library.indexing.reuse import Known, RowReuse
from otomatch.library.indexing.writing import FileWriter
from otomatch.library.library_model import LibraryModel
from otomatch.library.records import SoundFile
from otomatch.library.store import Store
from otomatch.models.windowing import sound_windows

_THREADS = min(16, os.cpu_count() or 1)


class IndexRun:
    """One pass over the files of a plan.

    Args:
        store: Table of the library.
        model: Model of the library, loaded if a file has to be read.
        plan: Work to do.
        progress: Display of the progress.
        stop: Function that returns True once the run should stop.

    Attributes:
        tally: Counts of the run.
        skipped: Files that could not be read, with the reason.
    """

    def __init__(
        self,
        store: Store,
        model: LibraryModel,
        plan: IndexPlan,
        progress: IndexProgress,
        stop: Callable[[], bool],
    ) -> None:
        self._store, self._model, self._plan = store, model, plan
        self._progress, self._stop = progress, stop
        self.tally = Tally()
        self.skipped: list[Skipped] = []
        self._broken: list[str] = []
        self._embedder = WindowEmbedder(model, progress.embedded)
        self._writer = FileWriter(store, model, self._embedder, self.tally)
        self._reuse = RowReuse(store, plan.gone, self.tally)

    @property
    def moved(self) -> set[str]:
        """Paths that files were moved from."""
        return self._reuse.moved

    def update(self) -> None:
        """Store new and changed files, and rewrite those that are only described differently."""
        self._writer.look_up()  # fails here, before the work, if the library cannot be written
        for sound in self._plan.described:
            stored = self._writer.stored_file(sound)
            if stored is not None:
                self._reuse.pending.append((sound, KnownContent(stored.stamp, stored.digest)))
        unsettled = self._reuse.settle()
        unsettled += self._read(self._plan.read, self._writer.claims)
        if not self._stop():
            # Copies of files of this run. If the original turned out to be broken, the copies are
            # read after all.
            self._reuse.pending = unsettled
            self._read([sound for sound, _ in self._reuse.settle()], None)

    def remove(self, gone: Mapping[str, StoredFile]) -> None:
        """Remove files that no longer exist, and files whose content is no longer a sound."""
        with self._store.writing():
            stored = self._store.files()
            removed = [
                path
                for path, before in gone.items()
                if path not in self.moved and _is_unchanged(path, before, stored)
            ]
            removed += [path for path in self._broken if path in stored]
            self._store.delete(removed)
        self.tally.removed += len(removed)

    def _read(self, sounds: Sequence[SoundFile], claims: ContentClaims | None) -> list[Known]:
        """Read, embed and store files; return those whose content is not in the library yet."""
        unsettled: list[Known] = []
        if not sounds:
            return unsettled
        self._progress.expect(len(sounds))
        _ = self._model.references  # loads the model now, not while the library is locked
        with FileReader(sounds, self._windows, claims, _THREADS) as reader:
            try:
                for message in reader:
                    if self._stop():
                        break
                    if message is not None:
                        self._receive(*message)
                    if self._embedder.is_full:
                        self._embedder.embed()
                    if self._reuse.is_full or self._writer.is_due(bool(self._reuse.pending)):
                        self._embedder.embed()
                        self._writer.write()
                        unsettled += self._reuse.settle() if self._reuse.is_full else []
                if not self._stop():
                    self._embedder.embed()
            finally:  # complete files are kept, whatever happens
                self._writer.write()
                unsettled += self._reuse.settle()
        return unsettled

    def _windows(self, path: Path) -> Iterator[Window]:
        window, hop = self._store.metadata["window"], self._store.metadata["hop"]
        return sound_windows(self._model.model, path, window, hop)

    def _receive(self, sound: SoundFile, message: Message) -> None:
        if isinstance(message, Window):
            self._embedder.add(sound, message)
            return
        self._progress.finished(skipped=isinstance(message, FailedFile))
        if isinstance(message, CompleteFile):
            self._writer.add(sound, message)
        elif isinstance(message, KnownContent):
            self._reuse.pending.append((sound, message))
        else:
            self._embedder.discard(sound)
            self.skipped.append(Skipped(str(sound.path), message.reason))
            if message.broken and self._writer.stored_file(sound) is not None:
                self._broken.append(str(sound.path))


def _is_unchanged(path: str, before: StoredFile, stored: Mapping[str, StoredFile]) -> bool:
    """Return True unless another run has removed the file or stored it again."""
    return path in stored and stored[path].stamp == before.stamp
