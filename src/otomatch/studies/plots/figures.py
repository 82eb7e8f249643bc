"""The pictures of each study, as PNG and SVG."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otomatch.evaluation.plots.style import save
from otomatch.studies.plots.charts import Line, draw_lines, point
from otomatch.studies.plots.drawers import (
    Dots,
    Drawer,
    Drawn,
    Lines,
    Picture,
    complexity,
    convergence,
    grid,
    power_laws,
)
from otomatch.studies.results import Results

FORMATS = ("png", "svg")
_MAIN = ("t2a_r1", "a2t_r1", "gap", "zeroshot")
_BATCH = ("t2a_r1", "a2t_r1", "epoch_seconds", "peak_mb")
_GAPS = Dots("gaps", ("gap", "gap_relative", "gap_separability"))

DRAWERS: dict[str, tuple[Drawer, ...]] = {
    "losses": (Dots("quality", _MAIN), _GAPS),
    "metric": (complexity,),
    "epsilon": (
        Lines("epsilon", "epsilon", "epsilon (cost)", (*_MAIN[:2], "gap", "iterations"), "scale",
              named="scale {}"),
    ),
    "noise": (
        Lines("noise", "noise", "wrong captions (%)", (*_MAIN[:2], "gap"), "method", "kind",
              log_x=False, scale=100),
    ),
    "batch": (
        convergence,
        Lines("batch", "batch", "batch (pairs)", _BATCH, "method"),
    ),
    "scale": (power_laws,),
    "transfer": (Dots("quality", _MAIN),),
}  # fmt: skip
"""What is drawn of each study; of one that is not declared, dots."""

Rows = Sequence[Mapping[str, Any]]


def draw(results: Results, folder: Path) -> list[Picture]:
    """Draw what the results so far have to show, each picture in every format.

    Args:
        results: of a study, complete or not.
        folder: gets the files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    drawers = DRAWERS.get(results.study, (Dots("quality", _MAIN),))
    pictures = []
    for drawer in drawers if results.outcomes else ():
        pictures += [_save(drawn, folder) for drawn in drawer(results)]
    for name, extra in EXTRA.items():
        rows = results.extra.get(name)
        if rows:
            pictures.append(_save(extra.draw(name, rows), folder))
    return pictures


class Beside:
    """A picture of a table beside the grid, against the batch.

    Args:
        columns: of the table, a panel each, with the labels of their axes.
        by: column whose values are a line each.
        named: how a line is named, with {} for the value.
        caption: of the picture.
    """

    def __init__(self, columns: Mapping[str, str], by: str, named: str, caption: str) -> None:
        self.columns, self.by, self.named, self.caption = columns, by, named, caption

    def draw(self, name: str, rows: Rows) -> Drawn:
        """Draw the table of that name."""
        drawn, panels = grid(len(self.columns))
        for axes, (column, label) in zip(panels, self.columns.items(), strict=True):
            draw_lines(axes, list(self._lines(rows, column)), log_x=True, log_y=True)
            axes.set(xlabel="batch (pairs)", ylabel=label)
        return drawn, Picture(name.replace("_", "-"), self.caption, self.caption)

    def _lines(self, rows: Rows, column: str) -> Iterable[Line]:
        for style, value in enumerate(dict.fromkeys(row.get(self.by) for row in rows)):
            own = [row for row in rows if row.get(self.by) == value and column in row]
            x = tuple(float(row["batch"]) for row in own)
            y = tuple(point(float(row[column])) for row in own)
            yield Line(self.named.format(value), style, x, y)


EXTRA = {
    "plan_approximation": Beside(
        {
            "restricted": "KL, whole plan on a batch\nto the batch's plan (nats)",
            "averaged": "KL, averaged batch plans\nto the whole plan (nats)",
        },
        "scale",
        "scale {}",
        "How far transport plans of batches are from the plan of all pairs, by what costs are "
        "scaled with; both axes logarithmic. Where a batch holds all pairs the divergence is 0, "
        "which has no place here. No bars: each point is a mean over random partitions.",
    ),
    "loss_cost": Beside(
        {"seconds": "time of a step (s)", "megabytes": "memory above inputs (MB)"},
        "loss",
        "{}",
        "Time and memory of each loss and its gradient alone against the batch, both axes "
        "logarithmic. No bars: medians of repeated calls, and one peak each.",
    ),
}


def _save(drawn: Drawn, folder: Path) -> Picture:
    figure, picture = drawn
    for ending in FORMATS:
        save(figure, folder / f"{picture.name}.{ending}")
    return picture
