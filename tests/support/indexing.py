"""Indexing in separate processes, with many small writes, that can be killed at any moment."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.killing import context, wait

__all__ = ["kill_after", "start", "wait"]


def start(library: Path, *folders: Path) -> tuple[Any, Any]:
    """Start indexing; return the process, and an event that it sets when it begins."""
    begun = context.Event()
    process = context.Process(target=_index, args=(library, folders, begun))
    process.start()
    return process, begun


def kill_after(started: tuple[Any, Any], seconds: float) -> int:
    """Kill a process some seconds after it began to index; return its exit code."""
    process, begun = started
    assert begun.wait(180)
    time.sleep(seconds)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    return wait(process)


def _index(library: Path, folders: tuple[Path, ...], begun: Any) -> None:
    import torch

    from otomatch.library import SoundLibrary
    from otomatch.library.indexing import embedding, writing

    torch.set_num_threads(1)
    embedding._BATCH, writing._WRITE_WINDOWS, writing._WRITES_BETWEEN_OPTIMIZE = 4, 1, 7
    opened = SoundLibrary.open(library)
    assert opened._model.references is not None  # loads the model, too
    begun.set()
    opened.index(folders)
