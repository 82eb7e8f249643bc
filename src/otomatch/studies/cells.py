"""Cells: one training run each, kept in a folder named by what decides it.

A cell's folder holds ``config.toml``, ``run/`` (the training run), ``cost.json`` once it is
trained, and a measurement for every test set in ``measured/``; where it failed, ``error.txt``, or a
file beside the measurement. Its name is a hash of the configuration, of the data's fingerprint and
of the cell it depends on, so that studies share runs and a changed grid reruns only what has
changed. A process works on a cell while it holds its lock, and so does the one that trains it: the
operating system takes locks from a process when it ends, however it ends.
"""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from otomatch.errors import RunError
from otomatch.studies.data import TestSet
from otomatch.studies.measure import VERSION, Measurement
from otomatch.studies.results import Arm
from otomatch.training.config import Config, dump_toml

CONFIG, TESTS, ERROR, COST, RUN = "config.toml", "tests.json", "error.txt", "cost.json", "run"
BUSY = 75
"""Status of a cell's process that found another one at work."""
TRAINING = 1
"""Of how runs are trained; raise it where the same configuration gives another model."""


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
        arm: the setting.
        seed: of the run.
        config: of the run, as resolved.
        key: 20 hex digits, its folder's name.
        folder: where it is kept.
        tests: what it is measured on.
        after: the cell whose pairs.csv it trains with.
    """

    arm: Arm
    seed: int
    config: Config
    key: str
    folder: Path
    tests: tuple[TestSet, ...]
    after: "Cell | None" = None

    @property
    def error(self) -> str | None:
        """Why it failed, in training or on one of these test sets, or None."""
        failed = [self.folder / ERROR, *map(error_of, self.measured.values())]
        return next((p.read_text(encoding="utf-8") for p in failed if p.is_file()), None)

    @property
    def done(self) -> bool:
        """Whether it is trained, and measured on every test set."""
        return (self.folder / COST).is_file() and not self.unmeasured

    @cached_property
    def measured(self) -> dict[str, Path]:
        """Where the measurement on each test set is kept, by the set's name."""
        return {
            test.name: self.folder
            / "measured"
            / f"{test.name}-{_digest(str(VERSION), test.fingerprint)}.json"
            for test in self.tests
        }

    @property
    def unmeasured(self) -> list[TestSet]:
        """The test sets it has not been measured on yet."""
        return [test for test in self.tests if not self.measured[test.name].is_file()]

    def lock(self) -> FileLock:
        """Held by whoever works on the cell; acquiring it waits for nobody."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "lock", timeout=0)

    def work(self, quiet: bool) -> bool:
        """Train and measure it in a process of its own, or record why that failed.

        Returns:
            Whether it could: not where the process of a runner that was killed still works on it.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        write(self.folder / CONFIG, dump_toml(self.config))
        tests = [
            {**asdict(test), "measured": str(self.measured[test.name])} for test in self.unmeasured
        ]
        write(self.folder / TESTS, json.dumps(tests))
        # -P: what lies in the working directory must not be imported.
        command = [sys.executable, "-P", "-m", "otomatch.studies.worker", str(self.folder)]
        code = subprocess.run(  # noqa: S603 - our own module
            [*command, *(["--quiet"] if quiet else [])], check=False
        ).returncode
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            self.fail(f"its process was ended by {name}{hint}")
        elif code not in (0, BUSY) and self.error is None:
            self.fail(f"its process ended with status {code}")
        return code != BUSY

    def fail(self, error: str) -> None:
        """Record why it cannot be trained."""
        write(self.folder / ERROR, error)

    def forget_error(self) -> None:
        """Have it tried again."""
        for path in (self.folder / ERROR, *map(error_of, self.measured.values())):
            path.unlink(missing_ok=True)

    def cost(self) -> dict[str, float | str]:
        """Memory and sizes of its run, and on what it was trained."""
        found: dict[str, float | str] = json.loads((self.folder / COST).read_text(encoding="utf-8"))
        return found

    def log(self) -> list[dict[str, float]]:
        """The rows of the run's log.csv."""
        with (self.folder / RUN / "log.csv").open(encoding="utf-8", newline="") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def error_of(measured: Path) -> Path:
    """Where it is written why a measurement failed."""
    return measured.with_suffix(".error.txt")


def make_cell(
    arm: Arm,
    seed: int,
    config: Config,
    fingerprint: str,
    cells: Path,
    tests: Sequence[TestSet],
    after: Cell | None,
) -> Cell:
    """A cell, with its key.

    The paths in its configuration do not count, for data are known by their fingerprint.

    Args:
        arm: the setting.
        seed: of the run.
        config: of the run, with all overrides.
        fingerprint: of the data it trains on, and of those it validates on.
        cells: folder of all cells.
        tests: what it is to be measured on.
        after: the cell whose pairs.csv it trains with.
    """
    data = config.data.model_copy(update={"path": "", "val": "", "pairs": ""})
    settings = config.model_copy(update={"data": data}).model_dump_json()
    key = _digest(str(TRAINING), settings, fingerprint, "" if after is None else after.key)
    return Cell(arm, seed, config, key, cells / key, tuple(tests), after)


def save_measurement(path: Path, found: Measurement) -> None:
    """Write a measurement, in one step."""
    by_clip = {
        name: [round(float(v), 4) for v in values] for name, values in found.per_clip.items()
    }
    write(path, json.dumps({"version": VERSION, "values": found.values, "per_clip": by_clip}))


def read_measurement(path: Path) -> Measurement:
    """Undo `save_measurement`."""
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    per_clip = {name: np.array(values, np.float64) for name, values in found["per_clip"].items()}
    return Measurement(found["values"], per_clip)


def write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def try_lock(cell: Cell) -> FileLock | None:
    """Its lock, held; None where another process works on it."""
    lock = cell.lock()
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def check_shared(folder: Path) -> None:
    """See that a study's folder is one, or can become one.

    Raises:
        RunError: it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "cells").is_dir():
        raise RunError(f"{folder} is not empty and holds no studies; choose another --out")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
