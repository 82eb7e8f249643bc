"""`SoundLibrary`: sounds that can be searched by a description or by another sound."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from otomatch.errors import MissingLibraryError, at_least
from otomatch.library.columns import SOUND_COLUMNS, sounds_from_rows
from otomatch.library.connection import library_exists
from otomatch.library.contents import all_sounds, library_info, sound_by_id
from otomatch.library.creation import create_store
from otomatch.library.duplicates import MIN_SIMILARITY, find_duplicates
from otomatch.library.exporting import export_table
from otomatch.library.indexing.indexer import add_files, index_folders, remove_files
from otomatch.library.library_model import LibraryModel
from otomatch.library.records import (
    AddReport,
    DuplicateGroup,
    Hit,
    IndexReport,
    LibraryInfo,
    Sound,
    SoundFile,
)
from otomatch.library.search.filters import SearchFilters
from otomatch.library.search.hits import find_hits
from otomatch.library.search.query import embed_query, similarity_query
from otomatch.library.search.relevance import BackgroundCache
from otomatch.library.store import Store
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.windowing import AudioInput


class SoundLibrary:
    """Sounds that can be searched by a description, by a sound, or by both.

    Make one with `create`, `open` or `open_or_create`. Several threads may search at once, also
    while another thread or process indexes.

    Attributes:
        uri: Folder or LanceDB URI of the library.
        store: Table of the library; ``store.version`` changes with every write.
    """

    def __init__(
        self, store: Store, device: str = "cpu", model: AudioTextModel | None = None
    ) -> None:
        self.uri, self.store = store.uri, store
        self._model = LibraryModel(store, device, model)
        self._background = BackgroundCache(store, lambda: self._model.references)

    @classmethod
    def create(
        cls,
        uri: str | Path,
        model: str | Path,
        device: str = "cpu",
        window: float | None = None,
        hop: float | None = None,
    ) -> "SoundLibrary":
        """Create an empty library for a model.

        Args:
            uri: New or empty folder, or a LanceDB URI.
            model: Folder or name of the model. A library in a folder keeps a copy of the folder.
            device: Device that the model runs on.
            window: Length of the windows of long files in seconds. None for 5 s, or for what the
                model allows or requires.
            hop: Time between the starts of neighbouring windows in seconds; None for half a window.

        Raises:
            LibraryError: There already is a library, or the folder contains something else.
            ModelError: There is no such model.
            InvalidInputError: ``window`` or ``hop`` is out of range.
        """
        loaded = AudioTextModel.from_pretrained(model, device)
        return cls(create_store(uri, model, loaded, window, hop), device, loaded)

    @classmethod
    def open(
        cls, uri: str | Path, model: AudioTextModel | None = None, device: str = "cpu"
    ) -> "SoundLibrary":
        """Open an existing library.

        Args:
            uri: Folder or LanceDB URI of the library.
            model: Model to use instead of the library's own copy; None for the copy.
            device: Device that the library's own copy runs on.

        Raises:
            MissingLibraryError: There is no library.
            LibraryError: The library was created with another model.
        """
        if not library_exists(uri):
            raise MissingLibraryError(
                f"{uri}: no library; check the name, or create a library with a model", str(uri)
            )
        return cls(Store.open(uri), device, model)

    @property
    def model(self) -> AudioTextModel:
        """Model that the library was created with, loaded on first use.

        Raises:
            LibraryError: The library's copy is missing, or is another model.
        """
        return self._model.model

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.store)

    def info(self) -> LibraryInfo:
        """Return a summary of what the library contains and how it was created."""
        return library_info(self.store)

    def sounds(self) -> list[Sound]:
        """Return all files, sorted by path."""
        return all_sounds(self.store)

    def sound(self, id: str) -> Sound:  # noqa: A002
        """Return a file by its id.

        Raises:
            LibraryError: The library has no file with this id.
        """
        return sound_by_id(self.store, id)

    def add(
        self,
        sounds: Iterable[SoundFile | str | Path] | SoundFile | str | Path,
        progress: bool = False,
    ) -> AddReport:
        """Add files; only new and changed files are embedded.

        Files are stored as the call proceeds. If it is interrupted, it loses only the files in
        progress, and the next call continues from there. Files that cannot be read are skipped and
        reported; what the library has stored of them stays.

        Args:
            sounds: Path or `SoundFile` record with what is known about a file, or many of these.
            progress: Show a progress bar.

        Raises:
            LibraryError: The library cannot be written.
        """
        return add_files(self.store, self._model, sounds, progress)

    def index(
        self,
        folders: str | Path | Sequence[str | Path],
        pattern: str = "*",
        keep_deleted: bool = False,
        progress: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> IndexReport:
        """Bring the library up to date with the sounds below folders.

        New and changed files are embedded, moved and copied files keep their vectors, and files
        that no longer exist are removed. Hidden files and folders are left out, as are links that
        point out of the folder. Files are stored as the call proceeds. If it is interrupted, it
        loses only the files in progress, and the next call continues from there. Several processes
        may index at once.

        Args:
            folders: One or more folders, searched at any depth.
            pattern: Glob pattern for file names. Files that do not match are neither added nor
                removed.
            keep_deleted: Keep files that no longer exist.
            progress: Show a progress bar on standard error, or lines if that is not a terminal.
            stop: Function that is called often; once it returns True, the call stores what is
                complete and returns.

        Raises:
            LostFolderError: A folder is missing or empty, but the library has sounds from there;
                they stay in the library.
            LibraryError: A folder is missing or has no sounds, or the library cannot be written.
            DatasetError: The table of captions in a folder is malformed.
            InvalidInputError: The pattern is empty, or a folder's name contains a NUL character.
        """
        if isinstance(folders, str | Path):
            folders = [folders]
        return index_folders(
            self.store, self._model, folders, pattern, keep_deleted, progress, stop
        )

    def remove(self, path: str | Path) -> int:
        """Remove a file, or all files below a folder, from the library; the files stay on disk.

        Returns:
            Number of files removed.

        Raises:
            InvalidInputError: The path contains a NUL character.
        """
        return remove_files(self.store, path)

    def export(self, path: str | Path) -> int:
        """Write one row for each window as .parquet or .csv; return the number of rows.

        CSV has no vectors.

        Raises:
            InvalidInputError: The file name has another extension.
            LibraryError: The file cannot be written.
        """
        return export_table(self.store, Path(path))

    def search(
        self,
        text: str | None = None,
        *,
        audio: AudioInput | None = None,
        without: str | Sequence[str] | None = None,
        folder: str | Path | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
        k: int = 10,
        hybrid: bool | None = None,
    ) -> list[Hit]:
        """Return the files that best match a description, a sound, or both, best first.

        Args:
            text: Description of the sound.
            audio: Sound to look for: a path, or a pair (waveform, sample rate in Hz).
            without: Descriptions of what the sound should not be like.
            folder: Only search this folder and those below it: a path, or the name of an indexed
                folder or of one below it.
            min_duration: Minimum duration of a file in seconds.
            max_duration: Maximum duration of a file in seconds.
            k: Number of hits, 1 or more.
            hybrid: True to also look up the words of ``text`` in names, folders, tags, labels and
                captions; None for True if there is a text.

        Raises:
            InvalidInputError: There is neither text nor sound, a text is blank, a number is out of
                range, or the library has no such folder.
            AudioError: The sound cannot be read.
        """
        at_least("k", k, 1)
        filters = SearchFilters(folder, min_duration, max_duration)
        query = embed_query(self._model, text, audio, without, filters, hybrid)
        return find_hits(self.store, query, k, self._background.current())

    def similar(
        self,
        id: str,  # noqa: A002
        start: float | None = None,
        *,
        without: str | Sequence[str] | None = None,
        folder: str | Path | None = None,
        min_duration: float | None = None,
        max_duration: float | None = None,
        k: int = 10,
    ) -> list[Hit]:
        """Return the files most similar to a file of the library, which is left out, best first.

        Args:
            id: Id of the file.
            start: Time in seconds; the window that starts nearest to it is compared. None for the
                mean of all windows.
            without: As for `search`.
            folder: As for `search`.
            min_duration: As for `search`.
            max_duration: As for `search`.
            k: Number of hits, 1 or more.

        Raises:
            LibraryError: The library has no file with this id.
            InvalidInputError: As for `search`, or ``start`` is not finite.
        """
        at_least("k", k, 1)
        filters = SearchFilters(folder, min_duration, max_duration, exclude=id)
        query = similarity_query(self.store, self._model, id, start, without, filters)
        return find_hits(self.store, query, k, self._background.current())

    def duplicates(
        self,
        folder: str | Path | None = None,
        similarity: float = MIN_SIMILARITY,
        progress: bool = False,
    ) -> list[DuplicateGroup]:
        """Return groups of near-identical sounds, the largest first.

        Copies may have other formats, sample rates, levels or lengths.

        Every file is decoded once or twice, and compared with its nearest neighbours only.

        Args:
            folder: Only compare sounds in this folder and those below it, as for `search`.
            similarity: Minimum similarity of two sounds that count as the same, above 0, at most 1.
            progress: Show a progress bar.

        Raises:
            InvalidInputError: ``similarity`` is out of range, or the library has no such folder.
        """
        where = SearchFilters(folder).sql(self.store)
        table = self.store.rows([*SOUND_COLUMNS, "digest"], where)
        digests = dict(zip(table["file_id"].to_pylist(), table["digest"].to_pylist(), strict=True))
        sounds = sounds_from_rows(table)
        return find_duplicates(sounds, [digests[s.id] for s in sounds], similarity, progress)
