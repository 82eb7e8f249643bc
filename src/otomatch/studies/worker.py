"""Process that trains and measures one cell: ``python -m otomatch.studies.worker FOLDER``.

A separate process makes its peak memory that of the run alone, and keeps a crash from ending the
study.
"""

import json
import math
import shutil
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from otomatch.files import write_text
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import trainable_parameters
from otomatch.studies.cells import (
    BUSY,
    CONFIG,
    COST,
    ERROR,
    RUN,
    TESTS,
    error_of,
    save_measurement,
)
from otomatch.studies.data import TestSet
from otomatch.studies.measurement import Measurer
from otomatch.studies.provenance import machine, versions
from otomatch.studies.resources import resident_megabytes
from otomatch.training.config import Config, dump_toml, load_config
from otomatch.training.trainer import TrainingResult, train


def main(folder: Path, quiet: bool) -> int:
    """Work on the cell in ``folder`` and return the exit status."""
    try:
        with FileLock(folder / "worker.lock", timeout=0):
            return work(folder, quiet)
    except Timeout:
        return BUSY
    except KeyboardInterrupt:
        return 130


def work(folder: Path, quiet: bool) -> int:
    """Train the cell unless it is trained, measure what is not measured, and return the status.

    An error is written to the cell's ``error.txt``, or beside the measurement that failed.
    """
    if not (folder / COST).is_file() and not _guarded(
        lambda: _train(folder, quiet), folder / ERROR
    ):
        return 1
    measurer = Measurer(AudioTextModel.from_pretrained(folder / RUN / "model"))
    measured = True
    for test in json.loads((folder / TESTS).read_text(encoding="utf-8")):
        path = Path(test.pop("measured"))
        step = partial(_measure, measurer, TestSet(**test), path)
        measured &= _guarded(step, error_of(path))
    return 0 if measured else 1


def _measure(measurer: Measurer, test: TestSet, path: Path) -> None:
    save_measurement(path, measurer.measure(test))


def _guarded(step: Callable[[], None], error_file: Path) -> bool:
    """Run a step, record its error if there is one, and return True if it succeeded."""
    try:
        step()
    except Exception as error:
        write_text(error_file, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
        return False
    return True


def _train(folder: Path, quiet: bool) -> None:
    config, run = load_config(folder / CONFIG), folder / RUN
    resumed = (run / CONFIG).is_file()
    if resumed:  # the cell's key guarantees that at most the paths of the data have changed
        write_text(run / CONFIG, dump_toml(config))
    result = train(config, run, progress=not quiet)
    write_text(folder / COST, json.dumps(_cost(config, result, resumed)))
    shutil.rmtree(run / "checkpoint")  # as large as three models, and no longer needed


def _cost(config: Config, result: TrainingResult, resumed: bool) -> dict[str, float | str]:
    """Return the model's sizes, this process's peak memory, the machine and the versions."""
    model = AudioTextModel.from_pretrained(result.model)
    return {
        "parameters": float(sum(p.numel() for p in trainable_parameters(model).values())),
        "metric_parameters": float(_metric_parameters(config)),
        "peak_mb": math.nan if resumed else _peak_megabytes(),
        "best_epoch": float(result.best_epoch),
        "epochs": float(result.epochs),
        "steps": float(result.steps),
        "machine": machine(),
        "versions": versions(),
    }


def _peak_megabytes() -> float:
    """Return the peak memory of this process in 2^20 bytes; nan on systems other than Linux."""
    try:
        return resident_megabytes("VmHWM")
    except (OSError, LookupError):
        return math.nan


def _metric_parameters(config: Config) -> int:
    """Return the degrees of freedom of M; for L^T L, those of L up to rotations."""
    dim, ground = config.model.dim, config.ground
    rank = min(getattr(ground, "rank", dim), dim)
    free = {"identity": 0, "diagonal": dim}
    return free.get(ground.name, rank * dim - rank * (rank - 1) // 2)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--quiet" in sys.argv))
