"""The process that trains and measures one cell: ``python -m otomatch.studies.worker FOLDER``.

A process of its own, so that its peak memory is that of the run, and so that whatever ends it ends
nothing else.
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

from otomatch.models.audio_text_model import AudioTextModel
from otomatch.studies.about import machine, versions
from otomatch.studies.cells import (
    BUSY,
    CONFIG,
    COST,
    ERROR,
    RUN,
    TESTS,
    error_of,
    save_measurement,
    write,
)
from otomatch.studies.data import TestSet
from otomatch.studies.measure import Measuring
from otomatch.studies.resources import resident_megabytes
from otomatch.training.config import Config, dump_toml, load_config
from otomatch.training.trainer import TrainingResult, train


def main(folder: Path, quiet: bool) -> int:
    """Work on the cell in ``folder``; returns the status to end with."""
    try:
        with FileLock(folder / "worker.lock", timeout=0):
            return work(folder, quiet)
    except Timeout:
        return BUSY
    except KeyboardInterrupt:
        return 130


def work(folder: Path, quiet: bool) -> int:
    """Train, unless that is done, and measure what is left to measure.

    An error is written to the cell's ``error.txt``, or beside the measurement that failed.
    """
    if not (folder / COST).is_file() and not _guarded(
        lambda: _train(folder, quiet), folder / ERROR
    ):
        return 1
    measure = Measuring(AudioTextModel.from_pretrained(folder / RUN / "model"))
    measured = True
    for test in json.loads((folder / TESTS).read_text(encoding="utf-8")):
        path = Path(test.pop("measured"))
        step = partial(_measure, measure, TestSet(**test), path)
        measured &= _guarded(step, error_of(path))
    return 0 if measured else 1


def _measure(measure: Measuring, test: TestSet, path: Path) -> None:
    save_measurement(path, measure(test))


def _guarded(step: Callable[[], None], error_file: Path) -> bool:
    """Whether a step succeeded; whatever goes wrong is written down, and the grid goes on."""
    try:
        step()
    except Exception as error:
        write(error_file, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
        return False
    return True


def _train(folder: Path, quiet: bool) -> None:
    config, run = load_config(folder / CONFIG), folder / RUN
    resumed = (run / CONFIG).is_file()
    if resumed:  # its key says that it is the same but for where the data lie
        write(run / CONFIG, dump_toml(config))
    result = train(config, run, progress=not quiet)
    write(folder / COST, json.dumps(_cost(config, result, resumed)))
    shutil.rmtree(run / "checkpoint")  # as large as three models, and of no use any more


def _cost(config: Config, result: TrainingResult, resumed: bool) -> dict[str, float | str]:
    """Sizes of the model, the peak memory of this process, and on what it was trained."""
    model = AudioTextModel.from_pretrained(result.model)
    return {
        "parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad)),
        "metric_parameters": float(_metric_parameters(config)),
        "peak_mb": math.nan if resumed else _peak_megabytes(),
        "best_epoch": float(result.best_epoch),
        "epochs": float(result.epochs),
        "steps": float(result.steps),
        "machine": machine(),
        "versions": versions(),
    }


def _peak_megabytes() -> float:
    """The most memory that this process held; nan where the system (not Linux) does not say."""
    try:
        return resident_megabytes("VmHWM")
    except (OSError, LookupError):
        return math.nan


def _metric_parameters(config: Config) -> int:
    """Degrees of freedom of M; of L^T L those of L but for rotations."""
    dim, ground = config.model.dim, config.ground
    rank = min(getattr(ground, "rank", dim), dim)
    free = {"identity": 0, "diagonal": dim}
    return free.get(ground.name, rank * dim - rank * (rank - 1) // 2)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--quiet" in sys.argv))
