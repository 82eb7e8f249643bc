"""`SoundLibrary`: a library as its users see it."""

import math
import shutil
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import store as stores
from otomatch.library.files import SoundFile
from otomatch.library.filters import Filters
from otomatch.library.indexing import AddReport, Indexer
from otomatch.library.relevance import Backgrounds, reference_descriptions
from otomatch.library.searching import Query, Term, search
from otomatch.library.store import Store, quoted
from otomatch.model import AudioInput, AudioTextModel
from otomatch.types import Hit, Sound

_MODEL = "model"


class SoundLibrary:
    """Sounds that can be searched by a description or by a sound; see `create` and `open`."""

    def __init__(self, store: Store, device: str = "cpu") -> None:
        self.uri, self._store, self._device = store.uri, store, device
        # Tokenizers are not made for several threads, and the model loads only once.
        self._embedding = threading.RLock()
        self._background: Backgrounds | None = None

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
            window: seconds of the windows into which long files are cut; None for the longest
                that the model takes.
            hop: seconds between the beginnings of neighbouring windows; None for half a window.

        Raises:
            LibraryError: there is a library already, or the folder holds something else.
            ModelError: there is no such model.
            InvalidInputError: window or hop is out of range.
        """
        loaded = AudioTextModel.from_pretrained(model, device)
        window, hop = _lengths(loaded, window, hop)
        folder, source = stores.local(uri), Path(model)
        if stores.exists(uri):
            raise LibraryError(f"{uri} exists already; open it, or choose another folder")
        if folder is not None and folder.exists():
            # The table comes last: a model alone is what an interrupted call leaves.
            if any(entry.name != _MODEL for entry in folder.iterdir()):
                raise LibraryError(f"{uri} holds something else; choose another folder")
            shutil.rmtree(folder / _MODEL, ignore_errors=True)
        name = str(model)
        if folder is not None and source.is_dir():
            shutil.copytree(source, folder / _MODEL)
            model = _MODEL
        elif source.is_dir():
            model = source.resolve()
        about = {
            "fingerprint": loaded.fingerprint, "model": str(model), "name": name,
            "window": window, "hop": hop,
        }  # fmt: skip
        size = loaded.whiten(torch.zeros(1, loaded.settings["dim"])).shape[1]
        library = cls(Store.create(uri, size, about), device)
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
        place = folder / name if folder is not None and name == _MODEL else name
        model = AudioTextModel.from_pretrained(place, self._device)
        self._check(model)
        return model

    @cached_property
    def _references(self) -> Tensor:
        return self.model.whiten(self.model.embed_text(reference_descriptions()))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._store)

    @property
    def version(self) -> int:
        """A number that changes whenever something is added or removed, by whomever."""
        return self._store.version

    def add(self, sounds: Iterable[SoundFile | str | Path], progress: bool = False) -> AddReport:
        """Add files, embedding only those that are new or have changed.

        What is written stays written: an interrupted call loses at most the files in hand, and
        the next one goes on. Files that cannot be read are skipped and listed.

        Args:
            sounds: files, or `SoundFile` values with what is known of them.
            progress: show a progress bar.
        """
        return Indexer(self._store, self.model, self._references).add(sounds, progress)

    def sounds(self) -> list[Sound]:
        """All files, sorted by path."""
        return _sounds(self._store.rows(_SOUND_COLUMNS))

    def sound(self, id: str) -> Sound:  # noqa: A002
        """One file by its id.

        Raises:
            LibraryError: the library has none with this id.
        """
        found = _sounds(self._store.rows(_SOUND_COLUMNS, f"file_id = {quoted(id)}"))
        if not found:
            raise LibraryError(f"{self.uri}: holds no sound with the id {id!r}")
        return found[0]

    def file_vectors(self) -> tuple[list[Sound], npt.NDArray[np.float32]]:
        """All files, sorted by path, and the mean whitened vector of each, shape (n, D)."""
        table = self._store.rows([*_SOUND_COLUMNS, "vector"])
        sounds = _sounds(table)
        place = {sound.id: row for row, sound in enumerate(sounds)}
        rows = np.array([place[id_] for id_ in table["file_id"].to_pylist()], dtype=int)
        column = table["vector"].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(table), column.type.list_size)
        total = np.zeros((len(sounds), vectors.shape[1]), np.float32)
        np.add.at(total, rows, vectors)
        counts = np.array([sound.windows for sound in sounds], np.float32)[:, None]
        return sounds, (total / counts).astype(np.float32)

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
        """The k files that fit a description, a sound, or both, best first, each once.

        May be called from several threads at once.

        Args:
            text: the description.
            audio: the sound: a path, or (waveform, sample rate).
            without: descriptions of what the sound should not be like.
            folder: only files in this folder or below it: a path, or the name of an indexed folder
                or of one below it.
            min_duration: only files of at least so many seconds.
            max_duration: only files of at most so many seconds.
            k: number of hits, at least 1.
            hybrid: whether words of the text found in names, folders and tags count too; None for
                yes where there is a text.

        Raises:
            InvalidInputError: there is neither text nor sound, a text is blank, a number is out of
                range, or there is no such folder.
            AudioError: the sound cannot be read.
        """
        _check_number_of_hits(k)
        if text is None and audio is None:
            raise InvalidInputError("give a text or a sound to look for, or both")
        if hybrid and text is None:
            raise InvalidInputError("a hybrid search needs a text; leave hybrid out")
        filters = _filters(folder, min_duration, max_duration)
        unwanted = _texts(without)
        if text is not None and not text.strip():
            raise InvalidInputError("the query is blank; describe a sound")
        terms = [] if text is None else self._text_terms([text])
        if audio is not None:
            terms.append(self._sound_term(audio))
        query = Query(
            terms,
            self._text_terms(unwanted),
            text if hybrid is not False else None,
            unwanted,
            filters,
        )
        return search(self._store, query, k, self._backgrounds.current())

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
        """The k other files that are most like a file of the library.

        Args:
            id: of the file.
            start: seconds; the window of the file that is compared is the one that begins nearest.
                None for the mean of its windows.
            without: as for `search`.
            folder: as for `search`.
            min_duration: as for `search`.
            max_duration: as for `search`.
            k: number of hits, at least 1.

        Raises:
            LibraryError: the library has none with this id.
            InvalidInputError: as for `search`.
        """
        _check_number_of_hits(k)
        filters = _filters(folder, min_duration, max_duration, exclude=id)
        rows = self._store.rows(["start", "vector"], f"file_id = {quoted(id)}").to_pylist()
        if not rows:
            raise LibraryError(f"{self.uri}: holds no sound with the id {id!r}")
        if start is not None:
            if not math.isfinite(start):
                raise InvalidInputError(f"start must be a number of seconds, got {start}")
            rows = [min(rows, key=lambda row: abs(row["start"] - start))]
        vector = torch.tensor([row["vector"] for row in rows]).mean(dim=0)
        unwanted = self._text_terms(_texts(without))
        query = Query([Term(vector, is_sound=True)], unwanted, filters=filters)
        return search(self._store, query, k, self._backgrounds.current())

    def _text_terms(self, texts: Sequence[str]) -> list[Term]:
        if not texts:
            return []
        with self._embedding:
            vectors = self.model.whiten(self.model.embed_text(texts))
        return [Term(vector) for vector in vectors]

    def _sound_term(self, sound: AudioInput) -> Term:
        with self._embedding:
            vector = self.model.whiten(self.model.embed_audio([sound]))[0]
        return Term(vector, is_sound=True)

    @property
    def _backgrounds(self) -> Backgrounds:
        with self._embedding:
            if self._background is None:
                self._background = Backgrounds(self._store, self._references)
            return self._background

    def _check(self, model: AudioTextModel) -> None:
        made_with = self._store.about["fingerprint"]
        if model.fingerprint != made_with:
            raise LibraryError(
                f"{self.uri} was made with another model (fingerprint "
                f"{made_with[:12]}, this one has {model.fingerprint[:12]}); "
                "use that model, or index the sounds into a new library"
            )


def open_or_create(uri: str | Path, model: str | Path | None, device: str = "cpu") -> SoundLibrary:
    """Open a library, checking that it was made with the model given, or make it.

    Raises:
        LibraryError: there is no library and no model is given, or it belongs to another model.
        ModelError: there is no such model.
    """
    if stores.exists(uri):
        loaded = None if model is None else AudioTextModel.from_pretrained(model, device)
        return SoundLibrary.open(uri, loaded, device)
    if model is None:
        raise LibraryError(f"{uri}: no library yet; give the model to make it with (--model)")
    return SoundLibrary.create(uri, model, device)


_SOUND_COLUMNS = ("file_id", "path", "root", "duration", "label", "caption", "tags")


def _sounds(table: pa.Table) -> list[Sound]:
    counts: dict[str, int] = {}
    first: dict[str, dict[str, Any]] = {}
    for row in table.select(_SOUND_COLUMNS).to_pylist():
        counts[row["file_id"]] = counts.get(row["file_id"], 0) + 1
        first.setdefault(row["file_id"], row)
    found = [Sound(id=row.pop("file_id"), windows=counts[id_], **row) for id_, row in first.items()]
    return sorted(found, key=lambda sound: sound.path)


def _check_number_of_hits(k: int) -> None:
    if k < 1:
        raise InvalidInputError(f"k must be at least 1, got {k}")


def _texts(without: str | Sequence[str] | None) -> list[str]:
    """Descriptions of what is not wanted, checked."""
    texts = [] if without is None else [without] if isinstance(without, str) else list(without)
    if not all(text.strip() for text in texts):
        raise InvalidInputError("what is not wanted is blank; describe it, or leave it out")
    return texts


def _filters(
    folder: str | Path | None,
    min_duration: float | None,
    max_duration: float | None,
    exclude: str | None = None,
) -> Filters:
    return Filters(None if folder is None else str(folder), min_duration, max_duration, exclude)


def _lengths(model: AudioTextModel, window: float | None, hop: float | None) -> tuple[float, float]:
    """Checked lengths of window and hop, seconds."""
    longest = float(model.settings["window_seconds"])
    window = longest if window is None else window
    if not (math.isfinite(window) and 0 < window <= longest):
        raise InvalidInputError(
            f"a window must be longer than 0 and at most {longest:g} s, what the model takes, "
            f"got {window:g}"
        )
    hop = window / 2 if hop is None else hop
    if not (math.isfinite(hop) and 0 < hop <= window):
        raise InvalidInputError(
            f"the hop must be longer than 0 and at most a window ({window:g} s), got {hop:g}"
        )
    return window, hop
