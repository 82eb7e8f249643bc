"""A new library: its windows, its copy of the model, its empty table."""

import math
import shutil
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import torch

from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import store as stores
from otomatch.library.store import Store, local
from otomatch.models.audio_text_model import AudioTextModel

MODEL = "model"
"""Folder of the library's copy of its model."""
_WINDOW = 5.0  # seconds; measured, see docs/library.md
_OVERLAPPING = 50  # windows that may hold the same instant; more tell nothing new


class ExistsAlreadyError(LibraryError):
    """There is a library where one should be made."""


def make(
    uri: str | Path,
    name: str | Path,
    model: AudioTextModel,
    window: float | None,
    hop: float | None,
) -> Store:
    """Make an empty library; see `SoundLibrary.create`.

    Args:
        uri: where.
        name: folder or name of the model.
        model: the model itself.
        window: seconds, None for the default.
        hop: seconds, None for the default.

    Raises:
        ExistsAlreadyError: there is one.
        LibraryError: the folder holds something else, or cannot be written.
        InvalidInputError: window or hop is out of range.
    """
    window, hop = lengths(model, window, hop)
    folder = local(uri)
    _check_free(uri, folder)
    with stores.explaining(uri):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with nullcontext() if folder is None else stores.lock(folder):
            _check_free(uri, folder)  # another process may have been faster
            about = {
                "fingerprint": model.fingerprint,
                "model": _keep(name, folder),
                "name": str(name),
                "window": window,
                "hop": hop,
                "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
            size = model.whiten(torch.zeros(1, model.settings["dim"])).shape[1]
            return Store.create(uri, size, about)


def _check_free(uri: str | Path, folder: Path | None) -> None:
    if stores.exists(uri):
        raise ExistsAlreadyError(f"{uri} exists already; open it, or choose another folder")
    # The table comes last: a model and a lock alone are what an interrupted call leaves.
    if folder is not None and folder.exists():
        if not folder.is_dir():
            raise LibraryError(f"{uri} is a file; choose another name for the library's folder")
        if any(entry.name not in (MODEL, stores.LOCK) for entry in folder.iterdir()):
            raise LibraryError(f"{uri} holds something else; choose another folder")


def _keep(name: str | Path, folder: Path | None) -> str:
    """Where the library finds its model: its own copy, where both are folders."""
    source = Path(name)
    if not source.is_dir():
        return str(name)
    if folder is None:
        return str(source.resolve())
    shutil.rmtree(folder / MODEL, ignore_errors=True)
    shutil.copytree(source, folder / MODEL)
    return MODEL


def lengths(model: AudioTextModel, window: float | None, hop: float | None) -> tuple[float, float]:
    """Checked lengths of window and hop, seconds.

    Raises:
        InvalidInputError: one is out of range, or not what the model takes.
    """
    longest = float(model.settings["window_seconds"])
    only = model.audio_encoder.window_seconds
    window = (only or min(longest, _WINDOW)) if window is None else window
    if not (math.isfinite(window) and 0 < window <= longest):
        raise InvalidInputError(
            f"a window must be longer than 0 and at most {longest:g} s, what the model takes, "
            f"got {window:g}"
        )
    if only not in (None, window):
        raise InvalidInputError(
            f"this model takes windows of exactly {longest:g} s, got {window:g}; leave --window out"
        )
    hop = window / 2 if hop is None else hop
    least = window / _OVERLAPPING
    if not least * (1 - 1e-9) <= hop <= window:  # no for NaN
        raise InvalidInputError(
            f"the hop must be at least a fiftieth of a window ({least:g} s) and at most a window "
            f"({window:g} s), got {hop:g}"
        )
    return window, hop
