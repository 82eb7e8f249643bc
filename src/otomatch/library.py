"""A searchable library of sounds: windows of files as vectors in LanceDB.

The vectors are whitened, so that the model's learned distance is plain Euclidean distance and any
vector index can serve it. A library is a LanceDB folder; it keeps a copy of its model (``model/``)
and the model's fingerprint, and refuses the vectors of another.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from otomatch.audio import AUDIO_SUFFIXES
from otomatch.datasets import open_dataset
from otomatch.datasets.folder import TABLE as CAPTIONS_TABLE
from otomatch.datasets.recordings import TABLES as LABEL_TABLES
from otomatch.datasets.recordings import recordings
from otomatch.errors import AudioError, InvalidInputError, LibraryError
from otomatch.model import AudioInput, AudioTextModel
from otomatch.types import Hit, Skipped
from otomatch.windows import Window

_TABLE = "sounds"
_METADATA = b"otomatch"
_MODEL = "model"
_CHUNK = 32
_COLUMNS = ("path", "start", "end", "label", "caption")


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file to add, with what is known of it.

    Attributes:
        path: the file.
        label: its class, if known.
        caption: a description, if known.
    """

    path: Path
    label: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `SoundLibrary.add` did.

    Attributes:
        added: files embedded, new or changed.
        unchanged: files that were there already.
        skipped: files that could not be read, and why.
    """

    added: int
    unchanged: int
    skipped: tuple[Skipped, ...]


def find_sounds(folder: str | Path, pattern: str = "*") -> list[SoundFile]:
    """All sound files below a folder whose names match a glob pattern, sorted by path.

    Captions and labels are taken from the folder's captions.csv or table of labels, if it has one.

    Raises:
        LibraryError: there is no such folder, or no sound file in it.
        DatasetError: the folder's table is malformed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LibraryError(f"{folder}: no such folder")
    paths = sorted(
        path.resolve()
        for path in folder.rglob(pattern)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not paths:
        raise LibraryError(
            f"{folder}: holds no sound file that matches {pattern!r} "
            f"(known endings: {' '.join(sorted(AUDIO_SUFFIXES))})"
        )
    captions, labels = _described(folder)
    return [SoundFile(p, labels.get(p), captions.get(p)) for p in dict.fromkeys(paths)]


def _described(folder: Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """What the folder's own tables know: captions and labels by path."""
    if (folder / CAPTIONS_TABLE).is_file():
        clips = open_dataset(folder).clips
        captions = {clip.path.resolve(): clip.captions[0] for clip in clips if clip.captions}
        return captions, {clip.path.resolve(): clip.label for clip in clips if clip.label}
    if any((folder / table).is_file() for table in LABEL_TABLES):
        names = {sound.name: sound.label for sound in recordings(folder)}
        places = [place for base in (folder, folder / "audio") for place in base.glob("*")]
        return {}, {p.resolve(): names[p.name] for p in places if p.name in names}
    return {}, {}


class SoundLibrary:
    """Sounds that can be searched by a description or by a sound; see `create` and `open`."""

    def __init__(self, uri: str, table: Any, device: str = "cpu") -> None:
        self.uri, self._table, self._device = uri, table, device
        metadata = (table.schema.metadata or {}).get(_METADATA)
        if metadata is None:
            raise LibraryError(f"{uri}: holds a table that otomatch did not make")
        self._about: dict[str, str] = json.loads(metadata)

    @classmethod
    def create(cls, uri: str | Path, model: str | Path, device: str = "cpu") -> "SoundLibrary":
        """Make an empty library for a model.

        Args:
            uri: a folder, absent or empty, or another place that LanceDB can write.
            model: folder or name of the model; a local library keeps a copy.
            device: where the model computes.

        Raises:
            LibraryError: there is a library already, or the folder holds something else.
            ModelError: there is no such model.
        """
        loaded = AudioTextModel.from_pretrained(model, device)
        folder, source = _local(uri), Path(model)
        if _exists(uri):
            raise LibraryError(f"{uri} exists already; open it, or choose another folder")
        if folder is not None and folder.exists():
            # The table comes last: a model alone is what an interrupted call leaves.
            if any(entry.name != _MODEL for entry in folder.iterdir()):
                raise LibraryError(f"{uri} holds something else; choose another folder")
            shutil.rmtree(folder / _MODEL, ignore_errors=True)
        if folder is not None and source.is_dir():
            shutil.copytree(source, folder / _MODEL)
            model = _MODEL
        elif source.is_dir():
            model = source.resolve()
        about = {"fingerprint": loaded.fingerprint, "model": str(model)}
        size = loaded.whiten(torch.zeros(1, loaded.settings["dim"])).shape[1]
        schema = _schema(size).with_metadata({_METADATA: json.dumps(about).encode()})
        library = cls(str(uri), _connect(uri).create_table(_TABLE, schema=schema))
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
        if not _exists(uri):
            raise LibraryError(
                f"{uri}: no library; make one with: otomatch index FOLDER --model MODEL "
                f"--library {uri}"
            )
        library = cls(str(uri), _connect(uri).open_table(_TABLE), device)
        if model is not None:
            library._check(model)
            library.__dict__["model"] = model
        return library

    @cached_property
    def model(self) -> AudioTextModel:
        """The model that the library was made with, loaded on first use."""
        folder, name = _local(self.uri), self._about["model"]
        place = folder / name if folder is not None and name == _MODEL else name
        model = AudioTextModel.from_pretrained(place, self._device)
        self._check(model)
        return model

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._table.count_rows())

    def add(self, sounds: Iterable[SoundFile | str | Path], progress: bool = False) -> AddReport:
        """Add files, embedding only those that are new or have changed.

        What is written stays written: an interrupted call loses at most the files in hand, and
        the next one goes on. Files that cannot be read are skipped and listed.

        Args:
            sounds: files, or `SoundFile` values with what is known of them.
            progress: show a progress bar.
        """
        files = (s if isinstance(s, SoundFile) else SoundFile(Path(s).resolve()) for s in sounds)
        wanted = list({file.path: file for file in files}.values())  # folders may overlap
        known = self._stamps()
        fresh = [s for s in wanted if known.get(str(s.path)) != _stamp(s.path)]
        skipped: list[Skipped] = []
        starts = range(0, len(fresh), _CHUNK)
        console = Console(stderr=True)
        for start in track(
            starts, "Indexing", console=console, disable=not (progress and console.is_terminal)
        ):
            skipped += self._write(fresh[start : start + _CHUNK])
        return AddReport(len(fresh) - len(skipped), len(wanted) - len(fresh), tuple(skipped))

    def search(
        self, text: str | None = None, *, audio: AudioInput | None = None, k: int = 10
    ) -> list[Hit]:
        """The k files nearest to a description or to a sound, best first, each once.

        Args:
            text: the description.
            audio: the sound: a path, or (waveform, sample rate).
            k: number of hits, at least 1.

        Raises:
            InvalidInputError: not exactly one query is given, it is blank, or k is below 1.
            AudioError: the sound cannot be read.
        """
        if k < 1:
            raise InvalidInputError(f"k must be at least 1, got {k}")
        if (text is None) == (audio is None):
            raise InvalidInputError("give either a text or a sound as the query")
        if text is not None and not text.strip():
            raise InvalidInputError("the query is blank; describe a sound")
        vector = self.model.embed_text([text]) if text else self.model.embed_audio([audio])  # type: ignore[list-item]
        return self._nearest(self.model.whiten(vector)[0], k)

    def _nearest(self, vector: Tensor, k: int) -> list[Hit]:
        wanted, total = 4 * k, len(self)
        while True:
            query = self._table.search(vector.numpy(), vector_column_name="vector")
            rows = query.distance_type("l2").select([*_COLUMNS, "_distance"]).limit(wanted)
            best: dict[str, Hit] = {}
            for row in rows.to_list():
                distance = max(0.0, row.pop("_distance")) ** 0.5  # LanceDB's l2 is squared
                best.setdefault(row["path"], Hit(**row, distance=distance))
            if len(best) >= k or wanted >= total:
                return list(best.values())[:k]
            wanted *= 4

    def _check(self, model: AudioTextModel) -> None:
        if model.fingerprint != self._about["fingerprint"]:
            raise LibraryError(
                f"{self.uri} was made with another model (fingerprint "
                f"{self._about['fingerprint'][:12]}, this one has {model.fingerprint[:12]}); "
                "use that model, or index the sounds into a new library"
            )

    def _stamps(self) -> dict[str, str]:
        table = self._table.search().select(["path", "stamp"]).limit(None).to_arrow()
        return dict(zip(table["path"].to_pylist(), table["stamp"].to_pylist(), strict=True))

    def _write(self, sounds: Sequence[SoundFile]) -> list[Skipped]:
        """Embed and store some files; returns those that could not be read."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = list(pool.map(self._windows, sounds))
        skipped = [entry for entry in loaded if isinstance(entry, Skipped)]
        pairs = [
            (sound, window)
            for sound, windows in zip(sounds, loaded, strict=True)
            if not isinstance(windows, Skipped)
            for window in windows
        ]
        if pairs:
            vectors = self.model.embed_features([window.features for _, window in pairs])
            self._store(pairs, self.model.whiten(vectors))
        return skipped

    def _windows(self, sound: SoundFile) -> list[Window] | Skipped:
        try:
            return self.model.sound_windows(sound.path)
        except AudioError as error:
            return Skipped(str(sound.path), str(error))

    def _store(self, pairs: Sequence[tuple[SoundFile, Window]], vectors: Tensor) -> None:
        rows = [
            {
                "id": hashlib.sha256(f"{sound.path}\0{window.start}".encode()).hexdigest(),
                "path": str(sound.path),
                "stamp": _stamp(sound.path),
                "start": window.start,
                "end": window.end,
                "duration": window.end - window.start,
                "label": sound.label,
                "caption": sound.caption,
                "vector": vector,
            }
            for (sound, window), vector in zip(pairs, vectors.numpy(), strict=True)
        ]
        batch = pa.Table.from_pylist(rows, schema=self._table.schema)
        merge = self._table.merge_insert("id").when_matched_update_all()
        merge.when_not_matched_insert_all().execute(batch)
        for path, stamp in {row["path"]: row["stamp"] for row in rows}.items():
            # A changed file may have fewer windows than before.
            self._table.delete(f"path = {_quoted(path)} AND stamp != {_quoted(stamp)}")


def open_or_create(uri: str | Path, model: str | Path | None, device: str = "cpu") -> SoundLibrary:
    """Open a library, checking that it was made with the model given, or make it.

    Raises:
        LibraryError: there is no library and no model is given, or it belongs to another model.
        ModelError: there is no such model.
    """
    if _exists(uri):
        loaded = None if model is None else AudioTextModel.from_pretrained(model, device)
        return SoundLibrary.open(uri, loaded, device)
    if model is None:
        raise LibraryError(f"{uri}: no library yet; give the model to make it with (--model)")
    return SoundLibrary.create(uri, model, device)


def _exists(uri: str | Path) -> bool:
    folder = _local(uri)
    if folder is not None:
        return (folder / f"{_TABLE}.lance").is_dir()
    try:
        _connect(uri).open_table(_TABLE)
    except ValueError:  # what LanceDB raises for a table that is not there
        return False
    return True


def _connect(uri: str | Path) -> Any:
    # Every call sees what other processes have written meanwhile.
    return lancedb.connect(str(uri), read_consistency_interval=timedelta(0))


def _schema(size: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("stamp", pa.string(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            pa.field("duration", pa.float64(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("caption", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), size), nullable=False),
        ]
    )


def _local(uri: str | Path) -> Path | None:
    return None if "://" in str(uri) else Path(uri)


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
