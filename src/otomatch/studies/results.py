"""Results of a study: scores of the trained arms, failures, and how the study was run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from otomatch.studies.catalogue.definition import Arm, Study

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """Scores of one trained arm on one test set.

    Attributes:
        arm: Arm that was trained.
        seed: Seed of the training run.
        test: Name of the test set.
        values: Metrics by name; nan for a metric that does not apply.
        per_clip: Arrays (clips,) whose mean is the metric of that name, in percent, for recalls
            and "zeroshot"; the latter may differ in length.
        curve: Rows of the run's log.csv.
    """

    arm: Arm
    seed: int
    test: str
    values: Mapping[str, float]
    per_clip: Mapping[str, Floats]
    curve: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        arm: Arm of the run.
        seed: Seed of the run.
        error: Error message, followed by its traceback.
    """

    arm: Arm
    seed: int
    error: str


@dataclass(frozen=True)
class Results:
    """Results of a study, complete or not.

    Attributes:
        study: Study that was run.
        outcomes: Scores of the finished cells, one outcome for each test set.
        failures: Runs that failed.
        planned: Number of cells, arms times seeds; those neither finished nor failed are missing.
        provenance: Command, data, versions and machine, as text.
        extra: Tables measured in addition to the grid, lists of rows by name.
    """

    study: Study
    outcomes: tuple[Outcome, ...]
    failures: tuple[Failure, ...]
    planned: int
    provenance: Mapping[str, str]
    extra: Mapping[str, Any]


def arms_of(results: Results) -> list[Arm]:
    """Return the arms that have outcomes, in their order."""
    return list({outcome.arm.label: outcome.arm for outcome in results.outcomes}.values())


def outcomes_of(results: Results, arm: Arm) -> list[Outcome]:
    """Return the outcomes of an arm."""
    return [outcome for outcome in results.outcomes if outcome.arm.label == arm.label]


def has_metric(results: Results, name: str) -> bool:
    """Return True if any outcome has a value of the metric."""
    return any(not math.isnan(o.values.get(name, math.nan)) for o in results.outcomes)


def domain_of(test: str) -> str:
    """Return the domain that a test set was drawn from, such as "birds" for "birds-0"."""
    name, _, draw = test.rpartition("-")
    return name if name and draw.isdigit() else test


def by_domain(results: Results) -> dict[str, Results]:
    """Split results by the domain of the test set, in order."""
    names = dict.fromkeys(domain_of(outcome.test) for outcome in results.outcomes)
    return {
        name: replace(
            results, outcomes=tuple(o for o in results.outcomes if domain_of(o.test) == name)
        )
        for name in names
    }
