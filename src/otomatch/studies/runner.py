"""Works through the grid of a study, cell by cell, and gathers what is known of it."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from otomatch.config import Config, load_config
from otomatch.datasets import open_dataset
from otomatch.errors import ConfigError
from otomatch.studies import output
from otomatch.studies.about import describe
from otomatch.studies.cells import (
    ERROR,
    RUN,
    Cell,
    check_shared,
    make_cell,
    read_measurement,
    try_lock,
    write,
)
from otomatch.studies.data import DRAWS, QUICK_DRAWS, StudyData, prepare_data
from otomatch.studies.extra import measure_extra, read_extra
from otomatch.studies.grids import BASE, QUICK, QUICK_SCENES, Study
from otomatch.studies.results import Failure, Outcome, Results

SEEDS = 3
_WAIT_SECONDS = 2.0
_WRITE_SECONDS = 600.0


@dataclass(frozen=True)
class Settings:
    """How a study is run.

    Attributes:
        data: data sets, see `otomatch.studies.data`; a study of transfer takes two.
        out: folder of all studies, which share their cells.
        seeds: trainings of every arm, with the seeds 0, 1, ...
        quick: a glimpse: fewer arms, scenes, test sets and epochs.
        config: TOML file that every run starts from; None for `BASE`.
        overrides: of every run's configuration.
        zeroshot: labelled clips to classify, in place of those that come with the data.
        retry: try failed cells again.
        command: what the user typed, for the record.
    """

    data: Sequence[str]
    out: Path
    seeds: int = SEEDS
    quick: bool = False
    config: Path | None = None
    overrides: Sequence[str] = ()
    zeroshot: str | None = None
    retry: bool = False
    command: str = ""

    def folder(self, study: Study) -> Path:
        """Where what a study says is written."""
        return self.out / (f"{study.name}-quick" if self.quick else study.name)


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
    folder, about = settings.folder(study), describe(settings.command, settings.data, data)

    def gather() -> Results:
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
    finally:
        results = gather()
    return results


def plan_cells(study: Study, settings: Settings, data: StudyData) -> list[Cell]:
    """The cells of a grid, one seed after the other."""
    fingerprints = {path: open_dataset(path).fingerprint for path in data.training.values()}
    cells: list[Cell] = []
    for seed in range(settings.seeds):
        made: dict[str, Cell] = {}
        for arm in study.grid(settings.quick, tuple(data.training)):
            after = None if arm.after is None else made[arm.after]
            path = data.path(arm.data)
            config = _configuration(settings, arm.overrides, path, seed, after)
            made[arm.label] = make_cell(
                arm,
                seed,
                config,
                fingerprints[path],
                settings.out.resolve() / "cells",
                data.tests,
                after,
            )
        cells += made.values()
    return cells


def _configuration(
    settings: Settings, overrides: Iterable[str], path: str, seed: int, after: Cell | None
) -> Config:
    given = [f"data.path={json.dumps(path, ensure_ascii=False)}", f"run.seed={seed}"]
    if after is not None:
        pairs = str(after.folder / RUN / "pairs.csv")
        given.append(f"data.pairs={json.dumps(pairs, ensure_ascii=False)}")
    base = BASE if settings.config is None else ()
    quick = QUICK if settings.quick else ()
    return load_config(settings.config, [*base, *quick, *settings.overrides, *overrides, *given])


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
    if cell.after is not None and not cell.after.done:
        if cell.after.error is None:
            return False  # its turn comes later
        write(cell.folder / ERROR, f"it needs {cell.after.arm.label!r}, which failed")
        return True
    lock = try_lock(cell)
    if lock is None:
        return False
    with lock:
        if cell.done or cell.error is not None:  # another process was faster
            return True
        console.rule(_title(cell, cells))
        cell.work(quiet=console.quiet)
        if cell.error is not None:
            first = cell.error.splitlines()[0]
            console.print(f"failed: {first}", style="red", markup=False, soft_wrap=True)
    return True


def _title(cell: Cell, cells: Sequence[Cell]) -> str:
    done = sum(other.done or other.error is not None for other in cells)
    return f"{done + 1} of {len(cells)}: {cell.arm.label}, seed {cell.seed}"


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
    log, costs = cell.log(), cell.cost()
    common = {**costs, **_of_log(log)}
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

    return {
        "train_seconds": sum(row["seconds"] for row in log),
        "epoch_seconds": mean("seconds"),
        "iterations": mean("sinkhorn_iterations"),
        "converged": mean("converged"),
        "clean_share": log[-1].get("clean_share", math.nan),
        "final_loss": log[-1]["loss"],
    }
