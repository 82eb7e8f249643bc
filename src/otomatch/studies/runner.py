"""Works through the grid of a study, cell by cell, and gathers what is known of it."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from otomatch.errors import ConfigError, RunError
from otomatch.studies import output
from otomatch.studies.about import describe
from otomatch.studies.cells import Cell, check_shared, read_measurement, try_lock, write
from otomatch.studies.data import DRAWS, QUICK_DRAWS, StudyData, prepare_data
from otomatch.studies.extra import measure_extra, read_extra
from otomatch.studies.grids import QUICK_SCENES, Study
from otomatch.studies.planning import Settings, plan_cells
from otomatch.studies.results import Failure, Outcome, Results

_WAIT_SECONDS = 2.0
_WRITE_SECONDS = 600.0
_DATA = "data.json"


def run_study(study: Study, settings: Settings, console: Console) -> Results:
    """Run a study, or go on with it; several processes may do so at once.

    Args:
        study: one of `otomatch.studies.grids.STUDIES`.
        settings: how.
        console: where progress is shown.

    Returns:
        What came of it; the same lies in the folder of the study's name below ``settings.out``.

    Raises:
        ConfigError: an arm's configuration is not valid, or there are too few data sets.
        DatasetError: the data cannot be opened or composed.
        RunError: the folder holds something else.
        KeyboardInterrupt: it was interrupted; what is done is kept, and written.
    """
    if len(settings.data) != study.domains:
        raise ConfigError(
            f"the study {study.name} takes {study.domains} data set(s), got {len(settings.data)}: "
            f"{', '.join(settings.data)}"
        )
    check_shared(settings.out)
    (settings.out / "cells").mkdir(parents=True, exist_ok=True)
    data = prepare_data(
        settings.data,
        settings.out / "data",
        scenes=QUICK_SCENES if settings.quick else study.scenes,
        draws=QUICK_DRAWS if settings.quick else DRAWS,
        zeroshot=settings.zeroshot,
        console=console,
    )
    cells = plan_cells(study, settings, data)
    if settings.retry:
        for cell in cells:
            cell.forget_error()
    folder = settings.folder(study)
    _claim(folder, data)

    def gather() -> Results:
        costs = [cell.cost() for cell in cells if cell.done]
        about = describe(settings.command, settings.data, data, costs)
        found = gather_results(study, cells, about, folder)
        output.write(found, folder)
        return found

    written = time.monotonic()
    try:
        for _ in _worked(cells, console):
            if time.monotonic() - written > _WRITE_SECONDS:
                gather()
                written = time.monotonic()
        if study.extra:
            measure_extra(folder, cells, console)
    except KeyboardInterrupt:
        gather()
        raise
    return gather()


def _claim(folder: Path, data: StudyData) -> None:
    """Keep what one study says apart from what it says of other data.

    Raises:
        RunError: the folder holds the study of other data.
    """
    path, own = folder / _DATA, json.dumps({"data": list(data.training)})
    if path.is_file() and path.read_text(encoding="utf-8") != own:
        raise RunError(
            f"{folder} holds this study of other data ({path.read_text(encoding='utf-8')}); "
            "choose another --out"
        )
    write(path, own)


def _worked(cells: Sequence[Cell], console: Console) -> Iterable[Cell]:
    """Work on every cell that is not done, and yield it; wait for those of other processes."""
    waits = False
    while True:
        open_cells = [cell for cell in cells if not cell.done and cell.error is None]
        if not open_cells:
            return
        worked = False
        for cell in open_cells:
            if _work_on(cell, cells, console):
                worked = True
                yield cell
        if not worked:
            if not waits:
                console.print("Waiting for cells that another process works on ...")
            waits = True
            time.sleep(_WAIT_SECONDS)


def _work_on(cell: Cell, cells: Sequence[Cell], console: Console) -> bool:
    """Whether there was anything to do here for this cell."""
    source = cell.after
    if source is not None and not source.done and source.error is None:
        return False  # its turn comes later
    lock = try_lock(cell)
    if lock is None:
        return False
    with lock:
        if cell.done or cell.error is not None:  # another process was faster
            return True
        if source is not None and not source.done:
            cell.fail(f"it needs {source.arm.label!r}, which failed")
            return True
        console.rule(_title(cell, cells))
        if not cell.work(quiet=console.quiet):
            return False
        if cell.error is not None:
            first = cell.error.splitlines()[0]
            console.print(f"failed: {first}", style="red", markup=False, soft_wrap=True)
    return True


def _title(cell: Cell, cells: Sequence[Cell]) -> str:
    """Which cell it is, and how long it and those after it take one process, by those before."""
    done = [other for other in cells if other.done]
    ended = len(done) + sum(other.error is not None for other in cells if not other.done)
    text = f"{ended + 1} of {len(cells)}: {cell.arm.label}, seed {cell.seed}"
    if not done:
        return text
    each = sum(sum(row["seconds"] for row in other.log()) for other in done) / len(done)
    return f"{text} (all: about {math.ceil(each * (len(cells) - ended) / 60)} min left)"


def gather_results(
    study: Study, cells: Sequence[Cell], about: Mapping[str, str], folder: Path
) -> Results:
    """What is known of a grid, done or not.

    Args:
        study: whose grid it is.
        cells: of the grid.
        about: on what it was run.
        folder: of the study, which may hold tables beside the grid.
    """
    outcomes = [outcome for cell in cells if cell.done for outcome in _outcomes(cell)]
    failures = [
        Failure(cell.arm, cell.seed, cell.error)
        for cell in cells
        if not cell.done and cell.error is not None
    ]
    return Results(
        study.name,
        study.question,
        tuple(outcomes),
        tuple(failures),
        len(cells),
        about,
        read_extra(folder),
    )


def _outcomes(cell: Cell) -> list[Outcome]:
    log = cell.log()
    sizes = {name: value for name, value in cell.cost().items() if isinstance(value, float)}
    common = {**sizes, **_of_log(log)}
    found = []
    for test in cell.tests:
        measured = read_measurement(cell.measured[test.name])
        values = {**measured.values, **common}
        found.append(Outcome(cell.arm, cell.seed, test.name, values, measured.per_clip, log))
    return found


def _of_log(log: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Time, and how the solver fared over the run."""

    def mean(name: str) -> float:
        values = [row[name] for row in log if name in row]
        return sum(values) / len(values) if values else math.nan

    training = [row["seconds"] - row.get("validation_seconds", 0.0) for row in log]
    return {
        "train_seconds": sum(training),
        "epoch_seconds": sum(training) / len(training),
        "iterations": mean("sinkhorn_iterations"),
        "converged": mean("converged"),
        "clean_share": log[-1].get("clean_share", math.nan),
        "final_loss": log[-1]["loss"],
    }
