"""Charts that the pictures of studies consist of: lines named at their ends, dots, points, fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from otomatch.evaluation.plots.style import COLOURS, MARKERS, PLAIN, SMALL, spread_labels
from otomatch.studies.power_laws import Exponent
from otomatch.studies.statistics import Interval

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_NAME_INCHES = 0.15
"""Distance between the names of two lines."""
_DASHES = ("-", "--", "-.")
"""Line styles, one for each cycle through the colours."""
_POINTS: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.5}


@dataclass(frozen=True)
class Series:
    """A named series of points.

    Attributes:
        name: Name, written at the end of the line.
        style: Number of the colour and marker, the same in all panels.
        x: Positions of the points.
        y: Values at the points; an interval without ends has no bar.
    """

    name: str
    style: int
    x: tuple[float, ...]
    y: tuple[Interval, ...]

    def shown(self, log_x: bool = False, log_y: bool = False) -> "Series":
        """Return the series with only the points that the axes can show, in order."""
        kept = [
            (x, y)
            for x, y in zip(self.x, self.y, strict=True)
            if math.isfinite(x) and math.isfinite(y.value)
            if (x > 0 or not log_x) and (y.value > 0 or not log_y)
        ]
        kept.sort(key=lambda point: point[0])
        return Series(self.name, self.style, tuple(x for x, _ in kept), tuple(y for _, y in kept))


def exact(value: float) -> Interval:
    """Return a value without an interval."""
    return Interval(value, math.nan, math.nan)


def colour(style: int) -> str:
    """Return the colour of a style."""
    return COLOURS[style % len(COLOURS)]


def draw_lines(
    axes: "Axes", lines: Sequence[Series], log_x: bool = False, log_y: bool = False
) -> None:
    """Draw lines with points and bars, and write the name of each at its end.

    Points that a logarithmic axis cannot show are left out.
    """
    lines = [kept for line in lines if (kept := line.shown(log_x, log_y)).x]
    if not lines:
        return
    axes.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    _widen(axes, lines, log_x, log_y)
    for line in lines:
        values = [y.value for y in line.y]
        axes.errorbar(line.x, values, yerr=_bars(line.y, log_y), linewidth=1.2, **_look(line.style))
    if log_x:
        _label_log(axes.xaxis, sorted({x for line in lines for x in line.x}), most=8)
    if log_y:
        _label_log(axes.yaxis, axes.get_ylim())
    _name_ends(axes, lines)


def draw_points(axes: "Axes", lines: Sequence[Series]) -> None:
    """Draw unconnected named points; x may be 0, and is logarithmic above 100."""
    lines = [kept for line in lines if (kept := line.shown()).x]
    axes.set_xscale("symlog", linthresh=100, linscale=0.5)
    for line in lines:
        values = [y.value for y in line.y]
        axes.errorbar(line.x, values, yerr=_bars(line.y), **_look(line.style))
    axes.set_xlim(-30, None)
    _name_ends(axes, lines)


def draw_dots(
    axes: "Axes", names: Sequence[str], values: Sequence[Interval], styles: Sequence[int]
) -> None:
    """Draw a dot with its bar for each name, from top to bottom, and a dashed line at the first.

    Args:
        axes: Axes to draw on.
        names: Names, written at the left.
        values: Value of each name; nan leaves the row empty.
        styles: Number of the colour and marker of each dot.
    """
    for row, (value, style) in enumerate(zip(values, styles, strict=True)):
        if math.isfinite(value.value):
            axes.errorbar([value.value], [row], xerr=_bars([value]), **_look(style))
    if values and math.isfinite(values[0].value):
        axes.axvline(values[0].value, color="#888888", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_yticks(range(len(names)), names, **PLAIN)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)


def draw_fit(axes: "Axes", fit: Exponent, sizes: Sequence[float], style: int) -> None:
    """Draw a fitted power law over the sizes it was fitted to."""
    if math.isfinite(fit.value) and sizes:
        x = np.geomspace(min(sizes), max(sizes), 50)
        axes.plot(x, fit.scale * x**fit.value, color=colour(style), linestyle=":", linewidth=1.2)


def _look(style: int) -> dict[str, Any]:
    marker = MARKERS[style % len(MARKERS)]
    colours_used = style // len(COLOURS)
    look = {"color": colour(style), "marker": marker, "linestyle": _DASHES[colours_used % 3]}
    return {**look, "elinewidth": 0.9, **_POINTS}


def _bars(values: Sequence[Interval], log: bool = False) -> "np.ndarray | None":
    """Return lengths below and above the values, (2, n), or None if no value has an interval."""
    ends = np.array([(y.value - y.low, y.high - y.value) for y in values], np.float64).T
    if np.isnan(ends).all():
        return None
    lengths = np.nan_to_num(ends).clip(min=0)
    if log:  # a logarithmic axis cannot show the end of a bar at 0 or below
        lengths[0] = np.minimum(lengths[0], 0.999 * np.array([y.value for y in values]))
    return lengths


def _widen(axes: "Axes", lines: Sequence[Series], log_x: bool, log_y: bool) -> None:
    """Widen logarithmic axes around a single value, which matplotlib cannot scale."""
    x = {x for line in lines for x in line.x}
    y = {end for line in lines for y in line.y for end in (y.value, y.low, y.high)}
    for values, log, limit in ((x, log_x, axes.set_xlim), (y, log_y, axes.set_ylim)):
        known = [value for value in values if math.isfinite(value)]
        if log and max(known) < 1.01 * min(known):
            limit(known[0] / 2, known[0] * 2)


def _label_log(axis: "Axis", values: Sequence[float], most: int = 0) -> None:
    """Label a logarithmic axis with plain numbers, at the values if they are few and far apart.

    Args:
        axis: Axis to label.
        values: Sorted values, or the ends of the axis.
        most: Maximum number of values to label each.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    apart = all(b > 1.4 * a for a, b in pairwise(values))
    if len(values) <= most and apart:
        axis.set_ticks(values)
        axis.set_tick_params(rotation=45 if len(values) > 5 else 0)
    elif values[-1] < 8 * values[0]:  # too narrow for powers of ten
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def _name_ends(axes: "Axes", lines: Sequence[Series]) -> None:
    """Write names on the right, level with the ends of the lines but without overlap."""
    if not lines:
        return
    axes.autoscale_view()
    ends = [(line.x[-1], line.y[-1].value) for line in lines]
    across = axes.transAxes.inverted().transform(axes.transData.transform(ends))
    height = axes.get_window_extent().height / axes.figure.dpi  # approximate before the layout
    lines_each = max(line.name.count("\n") + 1 for line in lines)
    places = spread_labels(across[:, 1].tolist(), _NAME_INCHES * lines_each / height)
    for line, end, place in zip(lines, ends, places, strict=True):
        leader = {"arrowstyle": "-", "color": colour(line.style), "linewidth": 0.5, "alpha": 0.6}
        leader |= {"relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            line.name,
            end,
            (1.06, place),
            textcoords="axes fraction",
            color=colour(line.style),
            fontsize=SMALL,
            verticalalignment="center",
            arrowprops=leader,
            annotation_clip=False,
            **PLAIN,
        )
