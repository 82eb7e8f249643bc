"""Definition of a study: a question, the grid of runs that answers it, and how results are shown.

Nothing in this package loads torch or matplotlib, so that listing the studies is fast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otomatch.studies.catalogue.metrics import COST, GAPS, MAIN, QUALITY
from otomatch.studies.catalogue.pictures import Dots, PictureSpec

if TYPE_CHECKING:  # only annotations need it
    from otomatch.training.config import Config

SCENES = 2000
"""Number of training scenes that a study composes unless it says otherwise."""


@dataclass(frozen=True)
class Arm:
    """One setting of a grid, trained once for every seed.

    Attributes:
        label: Name in tables and plots, unique within the study.
        factors: Values that distinguish the arm, by factor; each is a column of rows.csv.
        overrides: Changes to the configuration, each as "section.field=value".
        data: Domain to train on; empty for the first domain of the study.
        after: Label of the arm whose pairs.csv this one trains with, if any.
    """

    label: str
    factors: Mapping[str, str | float]
    overrides: tuple[str, ...] = ()
    data: str = ""
    after: str | None = None

    def factor(self, name: str) -> str | float | None:
        """Return the value of a factor, None if the arm lacks it; "label" is the arm's label."""
        return self.label if name == "label" else self.factors.get(name)


@dataclass(frozen=True)
class GridInputs:
    """Inputs from which a study builds its grid.

    Attributes:
        quick: True for a reduced grid that only shows what the output looks like.
        config: Configuration of every run, before the overrides of an arm.
        clips: Number of training clips available.
        domains: Names of the data sets to train on.
    """

    quick: bool
    config: "Config"
    clips: int
    domains: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """Arm that other arms are compared with.

    Attributes:
        title: Text that completes the heading "Difference from ...".
        factors: Factor values that identify the reference; the factor "label" is the arm's label.
        same: Factors in which an arm and its reference must agree.
    """

    title: str
    factors: Mapping[str, str | float]
    same: tuple[str, ...] = ()

    def find(self, arm: Arm, arms: list[Arm]) -> Arm | None:
        """Return the reference of ``arm`` among ``arms``, None if there is none or it is itself."""
        wanted = {**self.factors, **{name: arm.factor(name) for name in self.same}}
        for other in arms:
            if all(other.factor(name) == value for name, value in wanted.items()):
                return None if other.label == arm.label else other
        return None


@dataclass(frozen=True)
class PowerFit:
    """Power laws to fit, one for each value of a grouping factor.

    Attributes:
        factor: Factor on the x axis.
        by: Grouping factor.
        metrics: Metrics to fit against ``factor``.
    """

    factor: str
    by: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """Tables that a study reports.

    Attributes:
        metrics: Columns of the table of means; columns without any value are omitted.
        compared: Columns of the tables of differences.
        references: References, with one table of differences each.
        power: Power laws to fit, if any.
        matrix: Metrics shown as a matrix of arms against tested domains.
    """

    metrics: tuple[str, ...] = (*QUALITY, *GAPS, "zeroshot", *COST)
    compared: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    power: PowerFit | None = None
    matrix: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Study:
    """A question, the grid of runs that answers it, and how its results are shown.

    Attributes:
        name: Name on the command line and of the output folder.
        question: Question that the study answers, as a sentence.
        arms: Function that builds the grid.
        summary: Subject in a few words, for the list of studies.
        view: Tables to report.
        pictures: Pictures to draw.
        scenes: Number of training scenes to compose, if the study runs on scenes.
        domains: Number of data sets to train on.
        extra: Names of tables to measure in addition to the grid, see
            `otomatch.studies.extra_tables`.
    """

    name: str
    question: str
    arms: Callable[[GridInputs], list[Arm]]
    summary: str = ""
    view: View = field(default_factory=View)
    pictures: tuple[PictureSpec, ...] = (Dots("quality", MAIN),)
    scenes: int = SCENES
    domains: int = 1
    extra: tuple[str, ...] = ()
