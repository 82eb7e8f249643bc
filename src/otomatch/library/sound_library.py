"""`SoundLibrary`: a library as its users see it."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from otomatch.errors import LibraryError
from otomatch.library import store as stores
from otomatch.library.exporting import export
from otomatch.library.indexing.planning import below
from otomatch.library.indexing.reports import AddReport, IndexReport
from otomatch.library.indexing.rows import SOUND_COLUMNS, sounds_of
from otomatch.library.indexing.walking import SoundFile, check_name
from otomatch.library.indexing.writing import Indexer
from otomatch.library.making import MODEL, ExistsAlreadyError, make
from otomatch.library.records import LibraryInfo, Sound
from otomatch.library.search.searchable import Searchable
from otomatch.library.store import Store, quoted
from otomatch.models.audio_text_model import AudioTextModel


class SoundLibrary(Searchable):
    """Sounds that can be searched by a description or by a sound; see `create` and `open`."""

    def __init__(self, store: Store, device: str = "cpu") -> None:
        super().__init__(store)
        self._device = device

    @classmethod
    def create(
        cls,
        uri: str | Path,
        model: str | Path,
        device: str = "cpu",
        window: float | None = None,
        hop: float | None = None,
    ) -> "SoundLibrary":
        """Make an empty library for a model.

        Args:
            uri: a folder, absent or empty, or another place that LanceDB can write.
            model: folder or name of the model; a local library keeps a copy.
            device: where the model computes.
            window: seconds of the windows into which long files are cut; None for 5, or what the
                model takes if that is less, or is one length only (a CLAP's 10).
            hop: seconds between the beginnings of neighbouring windows; None for half a window.

        Raises:
            LibraryError: there is a library already, or the folder holds something else.
            ModelError: there is no such model.
            InvalidInputError: window or hop is out of range.
        """
        loaded = AudioTextModel.from_pretrained(model, device)
        library = cls(make(uri, model, loaded, window, hop), device)
        library.__dict__["model"] = loaded
        return library

    @classmethod
    def open(
        cls, uri: str | Path, model: AudioTextModel | None = None, device: str = "cpu"
    ) -> "SoundLibrary":
        """Open a library that exists.

        Args:
            uri: where it is.
            model: the model to query with, instead of the library's own copy.
            device: where the library's own copy computes.

        Raises:
            LibraryError: there is no library, or it was made with another model.
        """
        if not stores.exists(uri):
            raise LibraryError(
                f"{uri}: no library; make one with: otomatch index FOLDER --model MODEL "
                f"--library {uri}"
            )
        library = cls(Store.open(uri), device)
        if model is not None:
            library._check(model)
            library.__dict__["model"] = model
        return library

    @cached_property
    def model(self) -> AudioTextModel:
        """The model that the library was made with, loaded on first use."""
        folder, name = stores.local(self.uri), self._store.about["model"]
        place = folder / name if folder is not None and name == MODEL else name
        if isinstance(place, Path) and not place.is_dir():
            raise LibraryError(
                f"{self.uri}: its copy of the model ({MODEL}/) is missing; put it back, or index "
                "the sounds into a new library"
            )
        model = AudioTextModel.from_pretrained(place, self._device)
        self._check(model)
        return model

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._store)

    @property
    def version(self) -> int:
        """A number that changes whenever something is added or removed, by whomever."""
        return self._store.version

    def add(
        self,
        sounds: Iterable[SoundFile | str | Path] | SoundFile | str | Path,
        progress: bool = False,
    ) -> AddReport:
        """Add files, embedding only those that are new or have changed.

        What is written stays written: an interrupted call loses at most the files in hand, and
        the next one goes on. Files that cannot be read are skipped and listed; what the library has
        of them stays.

        Args:
            sounds: files, or `SoundFile` values with what is known of them; or one of these.
            progress: show a progress bar.
        """
        return self._indexer.add(sounds, progress)

    def index(
        self,
        folders: str | Path | Sequence[str | Path],
        pattern: str = "*",
        keep_deleted: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> IndexReport:
        """Bring the library up to date with the sounds below folders.

        New and changed files are embedded; those that moved or are copies keep their vectors; those
        that are gone are removed. Hidden files and folders are left out, and links that lead out of
        the folder. What is written stays written: an interrupted call loses at most the files in
        hand, and the next one goes on. Several calls may run at once, from several processes.

        Args:
            folders: one or more.
            pattern: only files whose names match this glob pattern; files that do not are neither
                added nor removed.
            keep_deleted: leave files that are gone in the library.
            progress: show a progress bar on standard error, or lines where that is no terminal.
            stop: asked often; once it says True, the call stores what it has and returns.

        Raises:
            LibraryError: a folder is missing or holds no sounds (those of it that the library has
                stay in it), or the library cannot be written.
            DatasetError: a folder's table of captions is malformed.
            InvalidInputError: the pattern is empty, or there is a NUL in a folder's name.
        """
        if isinstance(folders, str | Path):
            folders = [folders]
        return self._indexer.index(folders, pattern, keep_deleted, progress, stop)

    def remove(self, path: str | Path) -> int:
        """Remove a file, or everything below a folder, from the library; the files stay.

        Returns:
            How many files were removed.

        Raises:
            InvalidInputError: there is a NUL in the name.
        """
        check_name(path)
        places = {os.path.abspath(path), os.path.realpath(path)}  # a link has its own name, too
        with self._store.writing():
            doomed = [p for p in self._store.files() if any(below(p, place) for place in places)]
            self._store.delete(doomed)
        return len(doomed)

    def info(self) -> LibraryInfo:
        """What the library holds and what it was made with."""
        about, store = self._store.about, self._store
        table = store.rows(["root", "duration"], "start = 0")
        return LibraryInfo(
            sounds=len(table),
            windows=len(store),
            seconds=float(pc.sum(table["duration"]).as_py() or 0.0),
            roots=tuple(sorted(table["root"].unique().to_pylist())),
            model=about["name"],
            fingerprint=about["fingerprint"],
            window=about["window"],
            hop=about["hop"],
            bytes=store.size(),
            created=about["created"],
            updated=store.updated().isoformat(timespec="seconds"),
        )

    def export(self, path: str | Path) -> int:
        """Write the table as .parquet, or as .csv without the vectors; one row for each window.

        Returns:
            How many rows were written.

        Raises:
            InvalidInputError: the name ends otherwise.
            LibraryError: the file cannot be written.
        """
        return export(self._store, Path(path))

    @property
    def _indexer(self) -> Indexer:
        return Indexer(self._store, lambda: self.model, lambda: self._references)

    def sounds(self) -> list[Sound]:
        """All files, sorted by path."""
        return sounds_of(self._store.rows(SOUND_COLUMNS))

    def sound(self, id: str) -> Sound:  # noqa: A002
        """One file by its id.

        Raises:
            LibraryError: the library has none with this id.
        """
        found = sounds_of(self._store.rows(SOUND_COLUMNS, f"file_id = {quoted(id)}"))
        if not found:
            raise LibraryError(f"{self.uri}: holds no sound with the id {id!r}")
        return found[0]

    def file_vectors(self) -> tuple[list[Sound], npt.NDArray[np.float32]]:
        """All files, sorted by path, and the mean whitened vector of each, shape (n, D)."""
        table = self._store.rows([*SOUND_COLUMNS, "vector"])
        sounds = sounds_of(table)
        place = {sound.id: row for row, sound in enumerate(sounds)}
        rows = np.array([place[id_] for id_ in table["file_id"].to_pylist()], dtype=int)
        column = table["vector"].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(table), column.type.list_size)
        total = np.zeros((len(sounds), vectors.shape[1]), np.float32)
        np.add.at(total, rows, vectors)
        counts = np.array([sound.windows for sound in sounds], np.float32)[:, None]
        return sounds, (total / counts).astype(np.float32)

    def check_windows(self, window: float | None = None, hop: float | None = None) -> None:
        """Check lengths in seconds against those of the library; None is not checked.

        Raises:
            LibraryError: they differ.
        """
        for name, wanted in (("window", window), ("hop", hop)):
            has = self._store.about[name]
            if wanted is not None and wanted != has:
                raise LibraryError(
                    f"{self.uri} was made with a {name} of {has:g} s, not {wanted:g}; leave "
                    f"--{name} out, or index the sounds into a new library"
                )

    def _check(self, model: AudioTextModel) -> None:
        made_with = self._store.about["fingerprint"]
        if model.fingerprint != made_with:
            raise LibraryError(
                f"{self.uri} was made with another model (fingerprint "
                f"{made_with[:12]}, this one has {model.fingerprint[:12]}); "
                "use that model, or index the sounds into a new library"
            )


def open_or_create(
    uri: str | Path,
    model: str | Path | None,
    device: str = "cpu",
    window: float | None = None,
    hop: float | None = None,
) -> SoundLibrary:
    """Open a library, checking that it was made with what is given, or make it.

    Args:
        uri: where it is, or will be.
        model: as for `SoundLibrary.create`; None for that of the library.
        device: where the model computes.
        window: as for `SoundLibrary.create`; None for that of the library.
        hop: as for `SoundLibrary.create`; None for that of the library.

    Raises:
        LibraryError: there is no library and no model is given, or it belongs to another model, or
            has other windows.
        ModelError: there is no such model.
        InvalidInputError: window or hop is out of range.
    """
    if not stores.exists(uri):
        if model is None:
            raise LibraryError(f"{uri}: no library yet; give the model to make it with (--model)")
        with suppress(ExistsAlreadyError):  # another process has just made it
            return SoundLibrary.create(uri, model, device, window, hop)
    loaded = None if model is None else AudioTextModel.from_pretrained(model, device)
    library = SoundLibrary.open(uri, loaded, device)
    library.check_windows(window, hop)
    return library
