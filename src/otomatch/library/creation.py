"""Creation of a library: lengths of its windows, copy of its model, empty table."""

import math
import shutil
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import torch

from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library.connection import (
    LOCK,
    library_exists,
    local_folder,
    write_errors,
    write_lock,
)
from otomatch.library.library_model import MODEL_FOLDER
from otomatch.library.store import Store
from otomatch.models.audio_text_model import AudioTextModel

_WINDOW_SECONDS = 5.0  # default; the measurements behind it are in docs/search.md
_MAX_OVERLAP = 50  # windows that contain the same instant


class LibraryExistsError(LibraryError):
    """There already is a library in the place for a new one."""


def create_store(
    uri: str | Path,
    name: str | Path,
    model: AudioTextModel,
    window: float | None,
    hop: float | None,
) -> Store:
    """Create an empty library; see `SoundLibrary.create`.

    Args:
        uri: Folder or LanceDB URI of the new library.
        name: Folder or name of the model.
        model: The model itself.
        window: Length of a window in seconds; None for the default.
        hop: Time between the starts of neighbouring windows in seconds; None for the default.

    Raises:
        LibraryExistsError: There already is a library.
        LibraryError: The folder contains something else, or it cannot be written.
        InvalidInputError: ``window`` or ``hop`` is out of range.
    """
    window, hop = _window_lengths(model, window, hop)
    folder = local_folder(uri)
    _check_free(uri, folder)
    with write_errors(uri):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with nullcontext() if folder is None else write_lock(folder):
            _check_free(uri, folder)  # another process may have been faster
            metadata = {
                "fingerprint": model.fingerprint,
                "model": _keep_model(name, folder),
                "name": str(name),
                "window": window,
                "hop": hop,
                "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
            dim = model.whiten(torch.zeros(1, model.settings["dim"])).shape[1]
            return Store.create(uri, dim, metadata)


def _check_free(uri: str | Path, folder: Path | None) -> None:
    if library_exists(uri):
        raise LibraryExistsError(f"{uri} already exists; open it, or choose another folder")
    # The table is created last: an interrupted call leaves only a model and a lock.
    if folder is not None and folder.exists():
        if not folder.is_dir():
            raise LibraryError(f"{uri} is a file; choose another name for the library's folder")
        if any(entry.name not in (MODEL_FOLDER, LOCK) for entry in folder.iterdir()):
            raise LibraryError(f"{uri} contains something else; choose another folder")


def _keep_model(name: str | Path, folder: Path | None) -> str:
    """Copy a model folder into the library's folder; return where the library finds the model."""
    source = Path(name)
    if not source.is_dir():
        return str(name)
    if folder is None:
        return str(source.resolve())
    shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
    shutil.copytree(source, folder / MODEL_FOLDER)
    return MODEL_FOLDER


def _window_lengths(
    model: AudioTextModel, window: float | None, hop: float | None
) -> tuple[float, float]:
    """Return the lengths of window and hop in seconds, checked against the model."""
    longest = float(model.settings["window_seconds"])
    only = model.audio_encoder.window_seconds
    window = (only or min(longest, _WINDOW_SECONDS)) if window is None else window
    if not (math.isfinite(window) and 0 < window <= longest):
        raise InvalidInputError(
            f"the window is {window:g} s long; expected more than 0 and at most {longest:g} s, the "
            "longest that the model takes"
        )
    if only not in (None, window):
        raise InvalidInputError(
            f"the window is {window:g} s long, but this model takes windows of exactly "
            f"{longest:g} s; leave out the length of the window"
        )
    hop = window / 2 if hop is None else hop
    shortest = window / _MAX_OVERLAP
    if not shortest * (1 - 1e-9) <= hop <= window:  # False for NaN
        raise InvalidInputError(
            f"the hop is {hop:g} s; expected at least a fiftieth of a window ({shortest:g} s) and "
            f"at most a window ({window:g} s)"
        )
    return window, hop
