"""Cells: one training run each, kept in a folder named after its inputs.

A cell's folder holds ``config.toml``, ``run/`` (the training run), ``cost.json`` once it is
trained, and a measurement for every test set in ``measured/``. If training failed it holds
``error.txt``; if a measurement failed, an error file beside the measurement. The folder's name is a
hash of the configuration, the fingerprint of the data and the cell it depends on, so that studies
share runs and a changed grid reruns only the changed cells. A process holds the cell's lock while
it works on it; the operating system releases the lock when the process ends, however it ends.
"""

import csv
import hashlib
import json
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

from otomatch.errors import OccupiedFolderError
from otomatch.files import write_text
from otomatch.studies.catalogue.definition import Arm
from otomatch.studies.data import TestSet
from otomatch.studies.measurement import MEASUREMENT_VERSION, Measurement
from otomatch.training.config import Config, dump_toml

CONFIG, TESTS, ERROR, COST, RUN = "config.toml", "tests.json", "error.txt", "cost.json", "run"
BUSY = 75
"""Exit status of a worker that found another process at work on its cell."""
TRAINING_VERSION = 2
"""Training version. Bump it when the same configuration would train a different model, or when
configuration fields are renamed: cells are then trained again."""


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
        arm: Arm of the grid.
        seed: Seed of the run.
        config: Resolved configuration of the run.
        key: Name of the folder, 20 hex digits.
        folder: Folder of the cell.
        tests: Test sets that the model is measured on.
        after: Cell whose pairs.csv this one trains with, if any.
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
        """Error of the training or of a measurement; None if there is none."""
        failed = [self.folder / ERROR, *map(error_of, self.measured.values())]
        return next((p.read_text(encoding="utf-8") for p in failed if p.is_file()), None)

    @property
    def done(self) -> bool:
        """True if the cell is trained and measured on every test set."""
        return (self.folder / COST).is_file() and not self.unmeasured

    @cached_property
    def measured(self) -> dict[str, Path]:
        """Path of the measurement on each test set, by the set's name."""
        version = str(MEASUREMENT_VERSION)
        return {
            test.name: self.folder
            / "measured"
            / f"{test.name}-{_digest(version, test.fingerprint)}.json"
            for test in self.tests
        }

    @property
    def unmeasured(self) -> list[TestSet]:
        """Test sets that the cell has not been measured on yet."""
        return [test for test in self.tests if not self.measured[test.name].is_file()]

    def lock(self) -> FileLock:
        """Return the lock that a process holds while it works on the cell; it does not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "lock", timeout=0)

    def work(self, quiet: bool) -> bool:
        """Train and measure the cell in a separate process, or record its error.

        Args:
            quiet: True to show no progress.

        Returns:
            False if a process of an earlier, killed runner is still at work on the cell.

        Raises:
            KeyboardInterrupt: If the process was interrupted.
        """
        write_text(self.folder / CONFIG, dump_toml(self.config))
        tests = [
            {**asdict(test), "measured": str(self.measured[test.name])} for test in self.unmeasured
        ]
        write_text(self.folder / TESTS, json.dumps(tests))
        # -P: do not import modules from the working directory.
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
            self.fail(f"its process exited with status {code}")
        return code != BUSY

    def fail(self, error: str) -> None:
        """Record an error of the training."""
        write_text(self.folder / ERROR, error)

    def forget_error(self) -> None:
        """Remove recorded errors, so that the cell is tried again."""
        for path in (self.folder / ERROR, *map(error_of, self.measured.values())):
            path.unlink(missing_ok=True)

    def cost(self) -> dict[str, float | str]:
        """Return the sizes, peak memory, machine and versions of the run."""
        found: dict[str, float | str] = json.loads((self.folder / COST).read_text(encoding="utf-8"))
        return found

    def log(self) -> list[dict[str, float]]:
        """Return the rows of the run's log.csv."""
        with (self.folder / RUN / "log.csv").open(encoding="utf-8", newline="") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def error_of(measured: Path) -> Path:
    """Return the path of the error file of a measurement."""
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
    """Make a cell and compute its key.

    Paths in the configuration do not enter the key, since data are identified by their fingerprint.

    Args:
        arm: Arm of the grid.
        seed: Seed of the run.
        config: Configuration of the run, with all overrides.
        fingerprint: Fingerprint of the training and validation data.
        cells: Folder of all cells.
        tests: Test sets to measure the model on.
        after: Cell whose pairs.csv this one trains with, if any.
    """
    data = config.data.model_copy(update={"path": "", "val": "", "pairs": ""})
    settings = config.model_copy(update={"data": data}).model_dump_json()
    version = str(TRAINING_VERSION)
    key = _digest(version, settings, fingerprint, "" if after is None else after.key)
    return Cell(arm, seed, config, key, cells / key, tuple(tests), after)


def save_measurement(path: Path, found: Measurement) -> None:
    """Write a measurement atomically."""
    by_clip = {
        name: [round(float(v), 4) for v in values] for name, values in found.per_clip.items()
    }
    text = {"version": MEASUREMENT_VERSION, "values": found.values, "per_clip": by_clip}
    write_text(path, json.dumps(text))


def read_measurement(path: Path) -> Measurement:
    """Read a measurement written by `save_measurement`."""
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    per_clip = {name: np.array(values, np.float64) for name, values in found["per_clip"].items()}
    return Measurement(found["values"], per_clip)


def try_lock(cell: Cell) -> FileLock | None:
    """Acquire a cell's lock; return None if another process holds it."""
    lock = cell.lock()
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def check_shared(folder: Path) -> None:
    """Check that a folder holds studies, or is empty or missing.

    Raises:
        OccupiedFolderError: If it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "cells").is_dir():
        raise OccupiedFolderError(
            f"{folder} is not empty and holds no studies; expected a folder of studies or an empty "
            "one; choose another output folder"
        )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
