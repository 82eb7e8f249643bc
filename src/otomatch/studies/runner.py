"""Runner: works through the cells of a study and gathers their results."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from otomatch.errors import ConfigError, OccupiedFolderError
from otomatch.files import write_text
from otomatch.studies.catalogue.definition import Study
from otomatch.studies.catalogue.recipes import QUICK_SCENES
from otomatch.studies.cells import Cell, check_shared, read_measurement, try_lock
from otomatch.studies.data import DRAWS, QUICK_DRAWS, StudyData, prepare_study_data
from otomatch.studies.extra_tables import measure_extra, read_extra
from otomatch.studies.output import write_results
from otomatch.studies.planning import StudySettings, plan_cells
from otomatch.studies.provenance import describe_study
from otomatch.studies.results import Failure, Outcome, Results

_WAIT_SECONDS = 2.0
_WRITE_SECONDS = 600.0
_DATA = "data.json"


def run_study(study: Study, settings: StudySettings, console: Console) -> Results:
    """Run a study or continue it; several processes may share the work.

    Args:
        study: Study to run, for example one of `otomatch.studies.catalogue.STUDIES`.
        settings: Settings of the study.
        console: Console that shows the progress.

    Returns:
        The results, which are also written to the study's folder below ``settings.out``.

    Raises:
        ConfigError: If an arm's configuration is invalid, or the number of data sets is wrong.
        DatasetError: If the data cannot be opened or composed.
        OccupiedFolderError: If the output folder holds something else.
        KeyboardInterrupt: If the study was interrupted; finished work is kept and written.
    """
    if len(settings.data) != study.domains:
        raise ConfigError(
            f"the study {study.name} takes {study.domains} data set(s), got {len(settings.data)}: "
            f"{', '.join(settings.data)}"
        )
    check_shared(settings.out)
    (settings.out / "cells").mkdir(parents=True, exist_ok=True)
    data = _prepare(study, settings, console)
    cells = plan_cells(study, settings, data)
    if settings.retry:
        for cell in cells:
            cell.forget_error()
    folder = settings.folder(study)
    _claim(folder, data)
    try:
        for _ in _every(_WRITE_SECONDS, _worked(cells, console)):
            _write(study, settings, data, cells)
        if study.extra:
            measure_extra(study.extra, folder, cells, console)
    except KeyboardInterrupt:
        _write(study, settings, data, cells)
        raise
    return _write(study, settings, data, cells)


def gather_results(
    study: Study, cells: Sequence[Cell], provenance: Mapping[str, str], folder: Path
) -> Results:
    """Gather the results of a study, complete or not.

    Args:
        study: Study that was run.
        cells: Cells of its grid.
        provenance: Description of how it was run.
        folder: Folder of the study, which may hold extra tables.
    """
    outcomes = [outcome for cell in cells if cell.done for outcome in _outcomes(cell)]
    failures = [
        Failure(cell.arm, cell.seed, cell.error)
        for cell in cells
        if not cell.done and cell.error is not None
    ]
    extra = read_extra(folder)
    return Results(study, tuple(outcomes), tuple(failures), len(cells), provenance, extra)


def _prepare(study: Study, settings: StudySettings, console: Console) -> StudyData:
    return prepare_study_data(
        settings.data,
        settings.out / "data",
        scenes=QUICK_SCENES if settings.quick else study.scenes,
        draws=QUICK_DRAWS if settings.quick else DRAWS,
        zeroshot=settings.zeroshot,
        console=console,
    )


def _claim(folder: Path, data: StudyData) -> None:
    """Record the names of the data sets, so that results of different data are not mixed.

    Raises:
        OccupiedFolderError: If the folder holds results of other data.
    """
    path, own = folder / _DATA, json.dumps({"data": list(data.training)})
    if path.is_file() and (found := path.read_text(encoding="utf-8")) != own:
        raise OccupiedFolderError(
            f"{folder} holds this study of other data ({found}), expected {own}; choose another "
            "output folder"
        )
    write_text(path, own)


def _write(
    study: Study, settings: StudySettings, data: StudyData, cells: Sequence[Cell]
) -> Results:
    """Gather the results so far and write them to the study's folder."""
    folder, costs = settings.folder(study), [cell.cost() for cell in cells if cell.done]
    provenance = describe_study(settings.command, settings.data, data, costs)
    found = gather_results(study, cells, provenance, folder)
    write_results(found, folder)
    return found


def _every(seconds: float, steps: Iterable[Cell]) -> Iterable[Cell]:
    """Yield the steps at which at least ``seconds`` have passed since the last one yielded."""
    last = time.monotonic()
    for step in steps:
        if time.monotonic() - last > seconds:
            yield step
            last = time.monotonic()


def _worked(cells: Sequence[Cell], console: Console) -> Iterable[Cell]:
    """Work on all unfinished cells, yielding each, and wait for those of other processes."""
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
                console.print("Waiting for cells of another process ...")
            waits = True
            time.sleep(_WAIT_SECONDS)


def _work_on(cell: Cell, cells: Sequence[Cell], console: Console) -> bool:
    """Work on a cell; return False if another process has it or it depends on an open cell."""
    source = cell.after
    if source is not None and not source.done and source.error is None:
        return False
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
    """Return the number and name of a cell and the estimated time left for one process."""
    done = [other for other in cells if other.done]
    ended = len(done) + sum(other.error is not None for other in cells if not other.done)
    text = f"{ended + 1} of {len(cells)}: {cell.arm.label}, seed {cell.seed}"
    if not done:
        return text
    each = sum(sum(row["seconds"] for row in other.log()) for other in done) / len(done)
    return f"{text} (all: about {math.ceil(each * (len(cells) - ended) / 60)} min left)"


def _outcomes(cell: Cell) -> list[Outcome]:
    log = cell.log()
    sizes = {name: value for name, value in cell.cost().items() if isinstance(value, float)}
    common = {**sizes, **_log_metrics(log)}
    found = []
    for test in cell.tests:
        measured = read_measurement(cell.measured[test.name])
        values = {**measured.values, **common}
        found.append(Outcome(cell.arm, cell.seed, test.name, values, measured.per_clip, log))
    return found


def _log_metrics(log: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return training times and the solver's means over the run."""

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
