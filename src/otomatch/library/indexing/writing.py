"""Bringing a library up to date: files read in threads, embedded in batches, stored whole.

What is stored stays: an interrupted or killed run loses what is in hand, and the next one goes on.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from otomatch.audio.windows import Window
from otomatch.datasets.base import Skipped
from otomatch.library.indexing import planning
from otomatch.library.indexing.planning import Plan
from otomatch.library.indexing.progress import IndexProgress
from otomatch.library.indexing.reading import Claims, Failed, Item, Reader, Same, Whole
from otomatch.library.indexing.reports import AddReport, IndexReport, Tally
from otomatch.library.indexing.reuse import Reuse
from otomatch.library.indexing.rows import Span, new_rows
from otomatch.library.indexing.walking import SoundFile, check_name, list_sounds, readable
from otomatch.library.search import fulltext
from otomatch.library.store import Store, Stored, local
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.windowing import sound_windows

_BATCH = 64  # windows embedded at a time
_WRITE_WINDOWS = 512
_WRITE_SECONDS = 5.0
_REUSE = 500  # files
_TIDY_WRITES = 200
_THREADS = min(16, os.cpu_count() or 1)


@dataclass(slots=True)
class _Open:
    """A file of which windows have been embedded."""

    spans: list[Span] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)


class Indexer:
    """Embeds files with a model and stores their windows.

    Args:
        store: the library's table.
        model: gives its model, when it is needed.
        references: gives whitened reference descriptions, (m, D), when they are needed.
    """

    def __init__(
        self, store: Store, model: Callable[[], AudioTextModel], references: Callable[[], Tensor]
    ) -> None:
        self._store, self._model, self._references = store, model, references

    def add(
        self,
        sounds: Iterable[SoundFile | str | Path] | SoundFile | str | Path,
        progress: bool = False,
    ) -> AddReport:
        """See `SoundLibrary.add`."""
        if isinstance(sounds, SoundFile | str | Path):
            sounds = [sounds]
        given = list(map(_absolute, sounds))
        wanted = [sound for sound in given if not _unfit(sound.path)]
        skipped = [Skipped(readable(s.path), why) for s in given if (why := _unfit(s.path))]
        made = planning.plan(wanted, self._store.files(), walked=False)
        run = self._run(made, progress)
        run.tally.unchanged += made.unchanged
        added = run.tally.added + run.tally.changed
        return AddReport(added, run.tally.unchanged, _sorted([*skipped, *run.skipped]))

    def index(
        self,
        folders: Sequence[str | Path],
        pattern: str = "*",
        keep_deleted: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> IndexReport:
        """See `SoundLibrary.index`."""
        known, own = self._store.files(), local(self._store.uri)
        listings = []
        for folder in folders:
            check_name(folder)
            place = Path(folder).resolve()
            if not place.is_dir() and (count := planning.stored_below(place, known)):
                raise planning.lost(place, count, self._store.uri)
            listings.append(list_sounds(folder, pattern, own))
            planning.check_not_lost(listings[-1], known, pattern, self._store.uri)
        listings.sort(key=lambda listing: len(str(listing.root)), reverse=True)  # outermost last
        made = planning.plan((s for each in listings for s in each.sounds), known, walked=True)
        made.gone = planning.gone(listings, known, pattern)
        held = planning.emptied(listings, made.gone)
        deleted = {} if keep_deleted else _without(made.gone, held.values())
        run = self._run(made, progress, stop, deleted)
        t, left_out = run.tally, [entry for listing in listings for entry in listing.skipped]
        left_out += planning.kept(held, run.moved, self._store.uri)
        return IndexReport(
            t.added,
            t.changed,
            t.moved,
            t.removed,
            t.unchanged + made.unchanged,
            _sorted([*left_out, *run.skipped]),
            interrupted=stop(),
        )

    def _run(
        self,
        made: Plan,
        progress: bool,
        stop: Callable[[], bool] = lambda: False,
        deleted: dict[str, Stored] | None = None,
    ) -> "_Run":
        with IndexProgress(progress) as shown:
            run = _Run(self._store, self._model, self._references, made, shown, stop)
            run.update()
            if not stop():
                if deleted is not None:
                    run.remove(deleted)
                _finish(self._store)
        return run


def _finish(store: Store) -> None:
    """What follows when all is stored."""
    with store.writing():
        store.tidy()
        fulltext.refresh(store)


def _sorted(skipped: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Each file once, by name: threads finish in any order, and folders may overlap."""
    return tuple(sorted(dict.fromkeys(skipped), key=lambda entry: entry.name))


def _without(gone: Mapping[str, Stored], held: Iterable[set[str]]) -> dict[str, Stored]:
    left_out = set[str]().union(*held)
    return {path: stored for path, stored in gone.items() if path not in left_out}


def _as_before(path: str, old: Stored, now: Mapping[str, Stored]) -> bool:
    """Whether no other run has stored a file anew."""
    return path in now and now[path].stamp == old.stamp


def _absolute(sound: SoundFile | str | Path) -> SoundFile:
    """A file under the name that the library keeps, wherever it is opened."""
    if not isinstance(sound, SoundFile):
        return SoundFile(Path(os.path.realpath(sound) if "\0" not in str(sound) else sound))
    root = None if sound.root is None else Path(os.path.abspath(sound.root))
    return replace(sound, path=Path(os.path.abspath(sound.path)), root=root)


def _unfit(path: Path) -> str | None:
    """Why a name cannot be stored."""
    if "\0" in str(path):
        return "its name holds a NUL; check it"
    return None if readable(path) == str(path) else "its name is not valid Unicode; rename it"


class _Run:
    """One pass over the files that need something."""

    def __init__(
        self,
        store: Store,
        model: Callable[[], AudioTextModel],
        references: Callable[[], Tensor],
        made: Plan,
        progress: IndexProgress,
        stop: Callable[[], bool],
    ) -> None:
        self._store, self._load, self._references = store, model, references
        self._plan, self._progress, self._stop = made, progress, stop
        self._known = store.files()
        self._claims = Claims({stored.digest for stored in self._known.values()})
        self._open: dict[Path, _Open] = {}
        self._batch: list[tuple[SoundFile, Window]] = []
        self._whole: list[tuple[SoundFile, Whole]] = []
        self._same: list[tuple[SoundFile, Same]] = []
        self._reuse = Reuse(store, made.gone)
        self._broken: list[str] = []
        self._written, self._writes = time.monotonic(), 0
        self.tally = Tally()
        self.skipped: list[Skipped] = []

    def update(self) -> None:
        """Read, embed and store what is new or changed; rewrite what only has other words."""
        with self._store.writing():  # a library that cannot be written is known before the work
            self._known = self._store.files()
        for sound in self._plan.described:
            stored = self._known.get(str(sound.path))
            if stored is not None:
                self._same.append((sound, Same(stored.stamp, stored.digest)))
        later = self._settle()
        later += self._read(self._plan.read, self._claims)
        if not self._stop():
            # Copies of files of this run; those of files that turned out broken are read after all.
            self._same = later
            self._read([sound for sound, _ in self._settle()], None)

    @property
    def moved(self) -> set[str]:
        """Paths that files have moved from."""
        return self._reuse.moved

    def remove(self, gone: dict[str, Stored]) -> None:
        """Remove files that are gone, and those whose content is no sound any more."""
        with self._store.writing():
            now = self._store.files()
            doomed = [
                p for p, old in gone.items() if p not in self.moved and _as_before(p, old, now)
            ]
            doomed += [path for path in self._broken if path in now]
            self._store.delete(doomed)
        self.tally.removed += len(doomed)

    def _read(
        self, sounds: Sequence[SoundFile], claims: Claims | None
    ) -> list[tuple[SoundFile, Same]]:
        """Read files; returns those whose bytes are nowhere in the library as yet."""
        later: list[tuple[SoundFile, Same]] = []
        if not sounds:
            return later
        self._progress.expect(len(sounds))
        model, about = self._load(), self._store.about
        self._references()  # loaded here, not under the lock

        def windows(path: Path) -> Iterator[Window]:
            return sound_windows(model, path, about["window"], about["hop"])

        with Reader(sounds, windows, claims, _THREADS) as reader:
            try:
                for message in reader:
                    if self._stop():
                        break
                    if message is not None:
                        self._take(*message)
                    if len(self._batch) >= _BATCH:
                        self._embed()
                    if self._due():
                        self._embed()
                        self._write()
                        later += self._settle() if len(self._same) >= _REUSE else []
                if not self._stop():
                    self._embed()
            finally:  # what is whole is kept, whatever else happens
                self._write()
                later += self._settle()
        return later

    def _take(self, sound: SoundFile, item: Item) -> None:
        if isinstance(item, Window):
            self._batch.append((sound, item))
            return
        self._progress.finished(skipped=isinstance(item, Failed))
        if isinstance(item, Whole):
            self._whole.append((sound, item))
        elif isinstance(item, Same):
            self._same.append((sound, item))
        else:
            self._open.pop(sound.path, None)
            self._batch = [entry for entry in self._batch if entry[0] is not sound]
            self.skipped.append(Skipped(str(sound.path), item.reason))
            if item.broken and str(sound.path) in self._known:
                self._broken.append(str(sound.path))

    def _embed(self) -> None:
        """Embed the windows in hand."""
        batch = self._batch
        if not batch:
            return
        model = self._load()
        vectors = model.whiten(model.embed_features([window.features for _, window in batch]))
        seconds = 0.0
        for (sound, window), vector in zip(batch, vectors, strict=True):
            held = self._open.setdefault(sound.path, _Open())
            seconds += window.end - (held.spans[-1][1] if held.spans else 0.0)  # they overlap
            held.spans.append((window.start, window.end))
            held.vectors.append(vector)
        self._batch = []  # only now: a file is whole once none of its windows waits here
        self._progress.heard(seconds)

    def _due(self) -> bool:
        waiting = sum(len(self._open[s.path].spans) for s, _ in self._whole if s.path in self._open)
        late = time.monotonic() - self._written > _WRITE_SECONDS
        return (
            waiting >= _WRITE_WINDOWS
            or (late and bool(self._whole or self._same))
            or (len(self._same) >= _REUSE)
        )

    def _write(self) -> None:
        """Store the files of which all windows are embedded, unless another run just did."""
        waiting = {sound.path for sound, _ in self._batch}
        ready = [entry for entry in self._whole if entry[0].path not in waiting]
        self._whole = [entry for entry in self._whole if entry[0].path in waiting]
        self._written = time.monotonic()
        if not ready:
            return
        with self._store.writing():
            now = self._known = self._store.files()
            fresh = [entry for entry in ready if not self._is_stored(entry[0], entry[1])]
            if fresh:
                paths = [str(sound.path) for sound, _ in fresh]
                rows = pa.concat_tables([self._rows(*entry) for entry in fresh])
                self._store.write(rows, [path for path in paths if path in now])
            self._writes += 1
            if self._writes % _TIDY_WRITES == 0:
                self._store.tidy()
        for sound, _ in ready:
            del self._open[sound.path]
        changed = sum(str(sound.path) in now for sound, _ in fresh)
        self.tally.changed += changed
        self.tally.added += len(fresh) - changed
        self.tally.unchanged += len(ready) - len(fresh)
        self._claims.digests |= {stored.digest for stored in now.values()}
        self._claims.digests |= {whole.digest for _, whole in fresh}

    def _is_stored(self, sound: SoundFile, whole: Whole) -> bool:
        stored = self._known.get(str(sound.path))
        return stored is not None and (stored.stamp, stored.digest) == whole[:2]

    def _rows(self, sound: SoundFile, whole: Whole) -> pa.Table:
        held = self._open[sound.path]
        vectors, schema = torch.stack(held.vectors), self._store.table.schema
        return new_rows(sound, *whole, held.spans, vectors, self._references(), schema)

    def _settle(self) -> list[tuple[SoundFile, Same]]:
        """Give files whose bytes are stored the rows of those; returns the others."""
        found, self._same = self._same, []
        return self._reuse.settle(found, self.tally) if found else []
