"""Vectors that are there already: of files that moved, were copied, touched or described anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from otomatch.library.indexing.planning import differs
from otomatch.library.indexing.reading import Same
from otomatch.library.indexing.reports import Tally
from otomatch.library.indexing.rows import renamed_rows
from otomatch.library.indexing.walking import SoundFile
from otomatch.library.store import Store, Stored


class Reuse:
    """Gives files the rows of others with the same bytes.

    Args:
        store: the library's table.
        gone: what is there no longer, by path; a file with such bytes has moved.

    Attributes:
        moved: paths that files have moved from.
    """

    def __init__(self, store: Store, gone: Mapping[str, Stored]) -> None:
        self._store, self._gone = store, gone
        self.moved: set[str] = set()

    def settle(
        self, found: Sequence[tuple[SoundFile, Same]], tally: Tally
    ) -> list[tuple[SoundFile, Same]]:
        """Store rows for files; returns those whose bytes are not in the library.

        Args:
            found: the files, with their stamps and digests.
            tally: where they are counted.
        """
        with self._store.writing():
            now = self._store.files()
            sources = _by_digest(now, {same.digest for _, same in found})
            chosen: dict[Path, str] = {}
            for sound, same in found:
                source = self._source(str(sound.path), sources.get(same.digest, []))
                if source is not None:
                    chosen[sound.path] = source
            settled = [entry for entry in found if entry[0].path in chosen]
            if settled:
                stored = self._store.windows(chosen.values())
                rows = [
                    renamed_rows(stored[chosen[sound.path]], sound, same.stamp)
                    for sound, same in settled
                ]
                paths = [str(sound.path) for sound, _ in settled]
                replaced = [path for path in (*paths, *self.moved) if path in now]
                self._store.write(pa.concat_tables(rows), replaced)
        for sound, _ in settled:
            self._count(sound, chosen[sound.path], now, tally)
        return [entry for entry in found if entry[0].path not in chosen]

    def _source(self, path: str, sources: Sequence[str]) -> str | None:
        """Whose rows a file gets: its own, those of one that is gone, or those of a copy."""
        if path in sources:
            return path
        for source in sources:
            if source in self._gone and source not in self.moved:
                self.moved.add(source)
                return source
        return next((source for source in sources if source not in self.moved), None)

    def _count(
        self, sound: SoundFile, source: str, now: Mapping[str, Stored], tally: Tally
    ) -> None:
        path = str(sound.path)
        if source == path:
            anew = differs(sound, now[path])
            tally.changed += anew
            tally.unchanged += not anew
        elif source in self.moved:
            tally.moved += 1
        else:
            tally.changed += path in now
            tally.added += path not in now


def _by_digest(now: Mapping[str, Stored], digests: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, stored in now.items():
        if stored.digest in digests:
            found.setdefault(stored.digest, []).append(path)
    return found
