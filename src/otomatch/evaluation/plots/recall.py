"""Pictures of recall against the number of results."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from otomatch.errors import InvalidInputError
from otomatch.evaluation.plots.style import (
    COLOURS,
    FONT,
    MARKERS,
    PLAIN,
    SMALL,
    check_picture,
    figure,
    heading,
    save,
    spread_labels,
)
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport
from otomatch.evaluation.tables import DIRECTIONS

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes

_GREY = "#777777"


def draw_recall(curves: Mapping[str, RetrievalReport], path: Path, title: str) -> None:
    """Draw recall@k against k in both directions, one line per model, and the chance level.

    The chance level is that of a random order; for audio to text, it assumes that every clip has
    the mean number of captions.

    Args:
        curves: Reports by model name, with recall at every k to draw, all on the same clips and
            captions.
        path: File to write.
        title: Title, written above the numbers of clips and captions.

    Raises:
        InvalidInputError: If there is no report, or reports differ in clips or captions.
    """
    check_picture(path)
    clips, captions = _size(curves)
    made, panels = figure(7.4, 3.6, columns=2)
    for axes, (name, key) in zip(panels[0], DIRECTIONS, strict=True):
        directions = {model: getattr(report, key) for model, report in curves.items()}
        ends = _draw_recalls(axes, directions)
        queries = next(iter(directions.values())).queries
        items, relevant = (clips, 1.0) if key == "text_to_audio" else (captions, captions / queries)
        ends["chance"] = _draw_chance(axes, items, relevant)
        axes.set_title(f"{name}, {queries} queries", fontsize=FONT)
        axes.set(xlabel="k, number of results (log)", ylabel="recall@k (%)", ylim=(0, 102))
    _name_lines(panels[0, 1], ends, [*_colours(len(curves)), _GREY])
    heading(made, title, f"{clips} clips, {captions} captions")
    save(made, path)


def chance_recall(k: int, items: int, relevant: float) -> float:
    """Return recall@k (percent) of a random order of ``items``, of which ``relevant`` are relevant.

    It is 1 - C(items - relevant, k) / C(items, k), with gamma functions because ``relevant`` may be
    an average.
    """
    if k > items - relevant:
        return 100.0
    ways = (items - relevant, items)
    missing, every = (math.lgamma(n + 1) - math.lgamma(n - k + 1) for n in ways)
    return -100.0 * math.expm1(missing - every)


def _size(curves: Mapping[str, RetrievalReport]) -> tuple[int, int]:
    sizes = {(report.clips, report.captions) for report in curves.values()}
    if len(sizes) != 1:
        raise InvalidInputError(
            f"the reports have {sorted(sizes)} clips and captions; expected at least one report, "
            "all on the same data set"
        )
    if not all(report.text_to_audio.recall for report in curves.values()):
        raise InvalidInputError(
            "a report has no recall; expected recall at every k to draw; evaluate with "
            "ks=range(1, 101)"
        )
    return sizes.pop()


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _draw_recalls(axes: "Axes", directions: Mapping[str, DirectionReport]) -> dict[str, float]:
    """Draw the line of each model and return the height of its end."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ends = {}
    for i, (model, report) in enumerate(directions.items()):
        ks = sorted(report.recall)
        marked = [place for place, k in enumerate(ks) if str(k).rstrip("0") in ("1", "2", "5")]
        axes.plot(
            ks,
            [report.recall[k] for k in ks],
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markevery=marked,
            markersize=5,
            linewidth=1.4,
            label=model,
        )
        # If lines end together, the better model is named above.
        ends[model] = report.recall[ks[-1]] + 1e-3 * sum(report.recall.values()) / len(ks)
    return ends


def _draw_chance(axes: "Axes", items: int, relevant: float) -> float:
    ks = sorted({int(k) for line in axes.lines for k in np.asarray(line.get_xdata())})
    level = [chance_recall(k, items, relevant) for k in ks]
    axes.plot(ks, level, color=_GREY, linewidth=1, linestyle="--", label="chance")
    return level[-1]


def _name_lines(axes: "Axes", ends: Mapping[str, float], colours: Sequence[str]) -> None:
    """Write the name of each line next to its end, on the right of the panel."""
    places = spread_labels(list(ends.values()), 6.0, 100.0)
    for name, place, colour in zip(ends, places, colours, strict=True):
        axes.annotate(
            name,
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            color=colour,
            fontsize=SMALL,
            annotation_clip=False,
            **PLAIN,
        )
