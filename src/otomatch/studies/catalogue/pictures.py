"""Pictures that a study can declare; `otomatch.studies.plots` draws them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

LOG_METRICS = ("iterations", "peak_mb", "epoch_seconds", "train_seconds")
"""Metrics that are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Dots:
    """A dot with its interval for every arm, one panel for each metric.

    Attributes:
        name: Name of the picture's files, without the ending.
        metrics: Metrics, one panel each.
    """

    name: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class FactorLines:
    """Metrics against a numeric factor.

    Attributes:
        name: Name of the picture's files, without the ending.
        x: Factor on the x axis.
        title: Label of the x axis, with its unit.
        metrics: Metrics, one panel each.
        by: Factor with one line for each of its values.
        panels: Factor with one panel for each of its values, if any.
        log_x: True for a logarithmic x axis.
        scale: Number that x is multiplied by.
        line_name: Format of a line's name, with {} for its value.
    """

    name: str
    x: str
    title: str
    metrics: tuple[str, ...]
    by: str
    panels: str | None = None
    log_x: bool = True
    scale: float = 1.0
    line_name: str = "{}"


@dataclass(frozen=True)
class ComplexityPoints:
    """Metrics against the number of parameters of M, one point for each arm.

    Attributes:
        name: Name of the picture's files, without the ending.
        metrics: Metrics, one panel each.
    """

    name: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class TrainingCurves:
    """Validation score against training steps and against time.

    Attributes:
        name: Name of the picture's files, without the ending.
        by: Factor with one row of panels for each of its values.
        lines: Numeric factor with one line for each of its values.
    """

    name: str
    by: str = "method"
    lines: str = "batch"


@dataclass(frozen=True)
class PowerLawCurves:
    """Metrics with the power laws that the study's view fits, both axes logarithmic.

    Attributes:
        name: Name of the picture's files, without the ending.
        title: Label of the x axis, with its unit.
        metrics: Metrics, one panel each.
    """

    name: str
    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class TableLines:
    """Columns of an extra table against its column "batch", both axes logarithmic.

    Attributes:
        table: Name of the extra table.
        columns: Axis labels by column, one panel each.
        by: Column with one line for each of its values.
        caption: Caption of the picture.
        line_name: Format of a line's name, with {} for its value.
    """

    table: str
    columns: Mapping[str, str]
    by: str
    caption: str
    line_name: str = "{}"


PictureSpec: TypeAlias = (
    Dots | FactorLines | ComplexityPoints | TrainingCurves | PowerLawCurves | TableLines
)
