"""Planning: the cells of a study, one for every arm and seed, with resolved configurations."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from otomatch.datasets import open_dataset
from otomatch.errors import ConfigError
from otomatch.studies.catalogue.definition import Arm, GridInputs, Study
from otomatch.studies.catalogue.recipes import BASE, QUICK, QUICK_SCENES
from otomatch.studies.cells import RUN, Cell, make_cell
from otomatch.studies.data import StudyData
from otomatch.training.config import Config, load_config

SEEDS = 3
_RESERVED = ("run.seed", "data.path", "data.pairs")
"""Configuration fields that a study sets itself."""


@dataclass(frozen=True)
class StudySettings:
    """Settings of one run of a study.

    Attributes:
        data: Data sets, see `otomatch.studies.data`; the transfer study takes two.
        out: Folder of all studies, which share their cells.
        seeds: Number of trainings of every arm, with the seeds 0, 1, ...
        quick: True for fewer arms, clips, test sets and epochs, to see the output quickly.
        config: TOML file that every run starts from; None for `BASE`.
        overrides: Changes to the configuration of every run, before those of an arm.
        zeroshot: Labelled clips to classify, instead of those of the data sets.
        retry: True to try failed cells again.
        command: Command as the user typed it, for the record.
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
        """Return the output folder of a study."""
        return self.out / (f"{study.name}-quick" if self.quick else study.name)


def base_config(settings: StudySettings, clips: int | None = None) -> Config:
    """Return the configuration that arms change.

    Args:
        settings: Settings of the study.
        clips: Number of training clips available, if known.

    Raises:
        ConfigError: If it is invalid, or overrides a field that a study sets itself.
    """
    for override in settings.overrides:
        field = override.partition("=")[0].strip()
        if field in _RESERVED:
            raise ConfigError(
                f"the override {override} is not allowed: a study sets {field} itself; leave it out"
            )
    return load_config(settings.config, _shared_overrides(settings, clips))


def plan_cells(study: Study, settings: StudySettings, data: StudyData) -> list[Cell]:
    """Return the cells of a study, one seed after the other.

    Raises:
        ConfigError: If the configuration of an arm is invalid (the message names the arm), or no
            arm suits the number of clips.
        DatasetError: If the validation data cannot be opened.
    """
    clips = data.clips(base_config(settings).data.val_share)
    base = base_config(settings, clips)
    val = open_dataset(base.data.val).fingerprint if base.data.val else ""
    fingerprints = {path: open_dataset(path).fingerprint + val for path in data.training.values()}
    grid = study.arms(GridInputs(settings.quick, base, clips, tuple(data.training)))
    if not grid:
        raise ConfigError(
            f"the study {study.name} has no setting for {clips} training clips; it needs more"
        )
    folder = settings.out.resolve() / "cells"
    cells: list[Cell] = []
    for seed in range(settings.seeds):
        made: dict[str, Cell] = {}
        for arm in grid:
            after = None if arm.after is None else made[arm.after]
            path = data.path(arm.data)
            config = _arm_config(arm, settings, clips, path, seed, after)
            fingerprint = fingerprints[path]
            made[arm.label] = make_cell(arm, seed, config, fingerprint, folder, data.tests, after)
        cells += made.values()
    return cells


def _shared_overrides(settings: StudySettings, clips: int | None) -> list[str]:
    other = any(o.partition("=")[0].strip() == "audio.encoder" for o in settings.overrides)
    base = [] if settings.config is not None or other else [*BASE]
    if settings.quick:
        base += QUICK
        if clips is not None and clips > QUICK_SCENES:
            base.append(f"data.clips={QUICK_SCENES}")
    return [*base, *settings.overrides]


def _arm_config(
    arm: Arm, settings: StudySettings, clips: int, path: str, seed: int, after: Cell | None
) -> Config:
    own = [f"data.path={json.dumps(path, ensure_ascii=False)}", f"run.seed={seed}"]
    if after is not None:
        pairs = str(after.folder / RUN / "pairs.csv")
        own.append(f"data.pairs={json.dumps(pairs, ensure_ascii=False)}")
    overrides: Iterable[str] = (*_shared_overrides(settings, clips), *arm.overrides, *own)
    try:
        return load_config(settings.config, list(overrides))
    except ConfigError as error:
        raise ConfigError(f"{arm.label}: {error}") from error
