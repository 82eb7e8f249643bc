"""Folders that one test process makes and all of them read, under pytest-xdist and without it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(
    factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]
) -> Path:
    """Return a folder of the whole test run, filled by the first process that asks for it.

    Args:
        factory: pytest's `tmp_path_factory`.
        name: name of the folder, unique in the run.
        write: fills the folder that it is given.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            folder.mkdir()
            write(folder)
            done.touch()
    return folder
