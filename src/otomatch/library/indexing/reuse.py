"""Reuse of stored vectors for files that were moved, copied, touched or described differently."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from otomatch.library.columns import StoredFile
from otomatch.library.indexing.planning import description_differs
from otomatch.library.indexing.progress import Tally
from otomatch.library.indexing.reading import KnownContent
from otomatch.library.indexing.rows import reassigned_rows
from otomatch.library.records import SoundFile
from otomatch.library.store import Store

_FULL = 500  # files

Known = tuple[SoundFile, KnownContent]


class RowReuse:
    """Files whose content is known, which get the rows of stored files with the same bytes.

    Args:
        store: Table of the library.
        gone: Stored files that no longer exist, by path; a file with the same bytes was moved.
        tally: Counts of the run.

    Attributes:
        moved: Paths that files were moved from.
        pending: Files that have not been stored yet.
    """

    def __init__(self, store: Store, gone: Mapping[str, StoredFile], tally: Tally) -> None:
        self._store, self._gone, self._tally = store, gone, tally
        self.moved: set[str] = set()
        self.pending: list[Known] = []

    @property
    def is_full(self) -> bool:
        """True if enough files are pending for a write."""
        return len(self.pending) >= _FULL

    def settle(self) -> list[Known]:
        """Store the pending files; return those whose content is not in the library."""
        found, self.pending = self.pending, []
        if not found:
            return []
        with self._store.writing():
            stored = self._store.files()
            sources = self._choose_sources(found, stored)
            settled = [(sound, content) for sound, content in found if sound.path in sources]
            if settled:
                self._write(settled, sources, stored)
        for sound, _ in settled:
            self._count(sound, sources[sound.path], stored)
        return [entry for entry in found if entry[0].path not in sources]

    def _choose_sources(
        self, found: Sequence[Known], stored: Mapping[str, StoredFile]
    ) -> dict[Path, str]:
        """Return the path of the stored file whose rows each file gets, if there is one."""
        by_digest = _paths_by_digest(stored, {content.digest for _, content in found})
        sources: dict[Path, str] = {}
        for sound, content in found:
            source = self._source(str(sound.path), by_digest.get(content.digest, []))
            if source is not None:
                sources[sound.path] = source
        return sources

    def _source(self, path: str, candidates: Sequence[str]) -> str | None:
        """Choose the file itself, else one that no longer exists, else a copy."""
        if path in candidates:
            return path
        for candidate in candidates:
            if candidate in self._gone and candidate not in self.moved:
                self.moved.add(candidate)
                return candidate
        return next((source for source in candidates if source not in self.moved), None)

    def _write(
        self,
        settled: Sequence[Known],
        sources: Mapping[Path, str],
        stored: Mapping[str, StoredFile],
    ) -> None:
        rows = self._store.rows_by_path(sources.values())
        reassigned = [
            reassigned_rows(rows[sources[sound.path]], sound, content.stamp)
            for sound, content in settled
        ]
        paths = [str(sound.path) for sound, _ in settled]
        replaced = [path for path in (*paths, *self.moved) if path in stored]
        self._store.write(pa.concat_tables(reassigned), replaced)

    def _count(self, sound: SoundFile, source: str, stored: Mapping[str, StoredFile]) -> None:
        path = str(sound.path)
        if source == path:
            changed = description_differs(sound, stored[path])
            self._tally.changed += changed
            self._tally.unchanged += not changed
        elif source in self.moved:
            self._tally.moved += 1
        else:
            self._tally.changed += path in stored
            self._tally.added += path not in stored


def _paths_by_digest(stored: Mapping[str, StoredFile], digests: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, file in stored.items():
        if file.digest in digests:
            found.setdefault(file.digest, []).append(path)
    return found
