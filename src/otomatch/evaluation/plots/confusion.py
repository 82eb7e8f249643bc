"""Pictures of confusion matrices."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from otomatch.evaluation.classification import ClassificationReport
from otomatch.evaluation.plots.style import PLAIN, SMALL, check_picture, save
from otomatch.evaluation.tables import classification_size

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes


def draw_confusion(report: ClassificationReport, path: Path, title: str) -> None:
    """Draw a confusion matrix: counts as numbers, shares of each class as shades of one hue.

    Args:
        report: Report to draw.
        path: File to write.
        title: Title, written above the accuracy.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    counts = np.array(report.confusion)
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    # In inches: cells have a fixed size unless the picture would be too small or too large.
    cell = min(max(0.3, 2 / len(counts)), 24 / len(counts))
    side, font = cell * len(counts), min(SMALL, 72 * cell * 0.8)
    made = Figure(figsize=(side, side))
    axes = made.add_axes((0, 0, 1, 1))
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    scale = made.add_axes((1 + 0.2 / side, 0, 0.15 / side, 1))
    made.colorbar(image, cax=scale, label="share of the clips of a class")
    details = f"accuracy {report.accuracy:.1f} %, {classification_size(report)}"
    _write_labels(axes, report.classes, font, f"{title}\n{details}")
    if 0.6 * font * len(str(counts.max())) < 72 * cell * 0.9:
        _write_counts(axes, counts, share, font)
    save(made, path)  # adds the labels and the title around the cells


def _write_labels(axes: "Axes", classes: Sequence[str], font: float, title: str) -> None:
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=font, **PLAIN)
    axes.set_yticks(range(len(classes)), classes, fontsize=font, **PLAIN)
    axes.set(xlabel="assigned class", ylabel="class")
    axes.set_title(title, fontsize=10, **PLAIN)


def _write_counts(axes: "Axes", counts: Any, share: Any, font: float) -> None:
    for row, column in np.argwhere(counts):
        colour = "white" if share[row, column] > 0.5 else "black"
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "fontsize": font}
        axes.text(column, row, str(counts[row, column]), **style)
