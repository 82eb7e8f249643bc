"""What a study's parts hand to each other: arms, what they scored, what failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """One setting of a grid; it is trained once for every seed.

    Attributes:
        label: unique within the study, as tables and plots show it.
        factors: what sets it apart; columns of rows.csv.
        overrides: of the configuration, "section.field=value".
        data: the domain that it trains on; empty for the study's first.
        after: label of an arm whose pairs.csv it trains with.
    """

    label: str
    factors: Mapping[str, str | float]
    overrides: tuple[str, ...] = ()
    data: str = ""
    after: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What one trained arm scored on one test set.

    Attributes:
        arm: the setting.
        seed: of the training run.
        test: name of the test set.
        values: metrics by name; nan where one does not apply.
        per_clip: (clips,) values whose mean is the metric of that name, for recalls in percent;
            "zeroshot" may have another length.
        curve: rows of the run's log.csv.
    """

    arm: Arm
    seed: int
    test: str
    values: Mapping[str, float]
    per_clip: Mapping[str, Floats]
    curve: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Failure:
    """An arm whose run with one seed did not come to an end, and why."""

    arm: Arm
    seed: int
    error: str


@dataclass(frozen=True)
class Results:
    """All that is known of a study so far.

    Attributes:
        study: its name.
        question: what it asks.
        outcomes: of the cells that are done, one for each test set.
        failures: the cells that failed.
        planned: number of cells, arms x seeds; those neither done nor failed are still missing.
        about: machine, command, data and versions, printed as they are.
        extra: tables beside the grid, lists of rows by name.
    """

    study: str
    question: str
    outcomes: tuple[Outcome, ...]
    failures: tuple[Failure, ...]
    planned: int
    about: Mapping[str, str]
    extra: Mapping[str, Any]
