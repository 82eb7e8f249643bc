"""From a study and its settings to cells: every arm, every seed, as a resolved configuration."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from otomatch.datasets import open_dataset
from otomatch.errors import ConfigError
from otomatch.studies.cells import RUN, Cell, make_cell
from otomatch.studies.data import StudyData
from otomatch.studies.grids import BASE, QUICK, QUICK_SCENES, Given, Study
from otomatch.studies.results import Arm
from otomatch.training.config import Config, load_config

SEEDS = 3
_OURS = ("run.seed", "data.path", "data.pairs")


@dataclass(frozen=True)
class Settings:
    """How a study is run.

    Attributes:
        data: data sets, see `otomatch.studies.data`; a study of transfer takes two.
        out: folder of all studies, which share their cells.
        seeds: trainings of every arm, with the seeds 0, 1, ...
        quick: a glimpse: fewer arms, clips, test sets and epochs.
        config: TOML file that every run starts from; None for `BASE`.
        overrides: of every run's configuration, before an arm's own.
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


def base_config(settings: Settings, clips: int | None = None) -> Config:
    """The configuration that arms change.

    Args:
        settings: of the study.
        clips: training clips that there are, if they are known.

    Raises:
        ConfigError: it is not valid, or names what a study chooses itself.
    """
    for override in settings.overrides:
        field = override.partition("=")[0].strip()
        if field in _OURS:
            raise ConfigError(f"--set {override}: a study chooses {field} itself; leave it out")
    return load_config(settings.config, _shared(settings, clips))


def _shared(settings: Settings, clips: int | None) -> list[str]:
    """The overrides of every run."""
    other = any(o.partition("=")[0].strip() == "audio.encoder" for o in settings.overrides)
    base = [] if settings.config is not None or other else [*BASE]
    if settings.quick:
        base += QUICK
        if clips is not None and clips > QUICK_SCENES:
            base.append(f"data.clips={QUICK_SCENES}")
    return [*base, *settings.overrides]


def plan_cells(study: Study, settings: Settings, data: StudyData) -> list[Cell]:
    """The cells of a grid, one seed after the other.

    Raises:
        ConfigError: the configuration of an arm, which it names, is not valid, or no arm suits so
            few clips.
        DatasetError: the data to validate on cannot be opened.
    """
    clips = data.clips(base_config(settings).data.val_share)
    base = base_config(settings, clips)
    val = open_dataset(base.data.val).fingerprint if base.data.val else ""
    stamps = {path: open_dataset(path).fingerprint + val for path in data.training.values()}
    grid = study.arms(Given(settings.quick, base, clips, tuple(data.training)))
    if not grid:
        raise ConfigError(f"{study.name} has no setting for {clips} training clips; it needs more")
    cells: list[Cell] = []
    for seed in range(settings.seeds):
        made: dict[str, Cell] = {}
        for arm in grid:
            after = None if arm.after is None else made[arm.after]
            path = data.path(arm.data)
            config = _configuration(arm, _shared(settings, clips), settings, path, seed, after)
            folder = settings.out.resolve() / "cells"
            made[arm.label] = make_cell(arm, seed, config, stamps[path], folder, data.tests, after)
        cells += made.values()
    return cells


def _configuration(
    arm: Arm,
    shared: Iterable[str],
    settings: Settings,
    path: str,
    seed: int,
    after: Cell | None,
) -> Config:
    given = [f"data.path={json.dumps(path, ensure_ascii=False)}", f"run.seed={seed}"]
    if after is not None:
        pairs = str(after.folder / RUN / "pairs.csv")
        given.append(f"data.pairs={json.dumps(pairs, ensure_ascii=False)}")
    try:
        return load_config(settings.config, [*shared, *arm.overrides, *given])
    except ConfigError as error:
        raise ConfigError(f"{arm.label}: {error}") from error
