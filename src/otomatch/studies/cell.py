"""The process that trains and measures one cell: ``python -m otomatch.studies.cell FOLDER``.

A process of its own, so that its peak memory is that of the run, and so that whatever ends it ends
nothing else.
"""

import json
import math
import sys
import traceback
from pathlib import Path

from otomatch.config import Config, load_config
from otomatch.model import AudioTextModel
from otomatch.studies.cells import CONFIG, COST, ERROR, RUN, TESTS, save_measurement, write
from otomatch.studies.data import TestSet
from otomatch.studies.measure import measure
from otomatch.train import TrainingResult, train


def main(folder: Path, quiet: bool) -> int:
    """Work on the cell in ``folder``; an error is written to its ``error.txt``."""
    try:
        work(folder, quiet)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # whatever it is, the grid goes on
        write(folder / ERROR, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
        return 1
    return 0


def work(folder: Path, quiet: bool) -> None:
    """Train, unless that is done, and measure what is left to measure.

    Raises:
        OtomatchError: whatever `train` and `measure` raise.
    """
    if not (folder / COST).is_file():
        config = load_config(folder / CONFIG)
        result = train(config, folder / RUN, progress=not quiet)
        write(folder / COST, json.dumps(_cost(config, result)))
    model = AudioTextModel.from_pretrained(folder / RUN / "model")
    for test in json.loads((folder / TESTS).read_text(encoding="utf-8")):
        path = Path(test.pop("measured"))
        save_measurement(path, measure(model, TestSet(**test)))


def _cost(config: Config, result: TrainingResult) -> dict[str, float]:
    """Sizes of the model, and the peak memory of this process."""
    model = AudioTextModel.from_pretrained(result.model)
    return {
        "parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad)),
        "metric_parameters": float(_metric_parameters(config)),
        "peak_mb": _peak_megabytes(),
        "best_epoch": float(result.best_epoch),
        "epochs": float(result.epochs),
        "steps": float(result.steps),
    }


def _peak_megabytes() -> float:
    """The most memory that this process held; nan on Windows, which does not say."""
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _metric_parameters(config: Config) -> int:
    """Degrees of freedom of M."""
    dim, ground = config.model.dim, config.ground
    sizes = {"identity": 0, "diagonal": dim, "full": dim * (dim + 1) // 2}
    return sizes.get(ground.name, getattr(ground, "rank", 0) * dim)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--quiet" in sys.argv))
