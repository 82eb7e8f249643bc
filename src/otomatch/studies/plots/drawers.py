"""How the grid of a study is drawn: dots, lines, curves of training, power laws."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from otomatch.evaluation.plots.style import PLAIN, SMALL, figure
from otomatch.studies.plots.charts import Line, draw_dots, draw_fit, draw_lines, draw_points, point
from otomatch.studies.results import Arm, Results
from otomatch.studies.statistics import mean_interval, power_law
from otomatch.studies.tables import (
    arms_of,
    by_domain,
    exponent_text,
    has_metric,
    number,
    outcomes_of,
    power_points,
)
from otomatch.studies.views import Power, factor, metric_of, view_of

if TYPE_CHECKING:  # matplotlib is optional, and loads slowly
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = "Bars: 95 % bootstrap intervals of each mean, see How to read this."


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: of its files, without the ending.
        caption: what it shows, and what its bars are.
        alt: the same with figures, for those who cannot see it.
    """

    name: str
    caption: str
    alt: str


Drawn = tuple["Figure", Picture]
Drawer = Callable[[Results], Iterable[Drawn]]


def grid(panels: int, columns: int = 2) -> "tuple[Figure, list[Axes]]":
    """A figure with so many panels, in rows."""
    columns = min(columns, panels)
    rows = -(-panels // columns)
    drawn, axes = figure(0.6 + 3.4 * columns, 0.3 + 2.4 * rows, rows, columns)
    for empty in axes.flat[panels:]:
        empty.set_axis_off()
    return drawn, list(axes.flat[:panels])


@dataclass(frozen=True)
class Dots:
    """A row of dots for every arm, a panel for every metric.

    Attributes:
        name: of the picture.
        metrics: a panel each.
    """

    name: str
    metrics: tuple[str, ...]

    def __call__(self, results: Results) -> Iterable[Drawn]:
        """Draw it, once for every domain that was tested on."""
        for part, shown, suffix, where in _parts(results, self.metrics):
            arms = arms_of(part)
            told = (
                f"{_titles(shown)}{where}, by setting; dashed: {arms[0].label}. {BARS} "
                "Settings are compared in pairs, which is surer: see the tables of differences."
            )
            picture = Picture(self.name + suffix, told, _alt(part, shown, told))
            yield self._draw(part, arms, shown), picture

    def _draw(self, results: Results, arms: Sequence[Arm], shown: Sequence[str]) -> "Figure":
        names = [arm.label for arm in arms]
        width, height = 1.6 + 1.9 * len(shown), 0.8 + 0.26 * len(arms)
        drawn, panels = figure(width, height, 1, len(shown))
        for place, (axes, metric) in enumerate(zip(panels.flat, shown, strict=True)):
            values = [mean_interval(results, name, metric) for name in names]
            draw_dots(axes, names, values, range(len(arms)))
            axes.set_xlabel(_wrapped(metric))
            if place:
                axes.tick_params(labelleft=False)
        return drawn


@dataclass(frozen=True)
class Lines:
    """Pictures of metrics against a factor.

    Attributes:
        name: of the picture.
        x: the factor along x.
        title: of x, with its unit.
        metrics: a panel each.
        by: a line for each value of this factor.
        panels: each metric has a panel for each value of this factor.
        log_x: whether x is logarithmic.
        log_y: the metrics that are drawn on a logarithmic axis.
        scale: what x is multiplied by.
        named: how a line is named, with {} for its value.
    """

    name: str
    x: str
    title: str
    metrics: tuple[str, ...]
    by: str
    panels: str | None = None
    log_x: bool = True
    log_y: tuple[str, ...] = ("iterations", "peak_mb", "epoch_seconds", "train_seconds")
    scale: float = 1.0
    named: str = "{}"

    def __call__(self, results: Results) -> Iterable[Drawn]:
        """Draw it, once for every domain that was tested on."""
        for part, shown, suffix, where in _parts(results, self.metrics):
            arms = [arm for arm in arms_of(part) if _is_number(factor(arm, self.x))]
            if arms:
                told = f"{_titles(shown)}{where} against {self.title.partition(' (')[0]}. {BARS}"
                picture = Picture(self.name + suffix, told, _alt(part, shown, told))
                yield self._draw(part, arms, shown), picture

    def _draw(self, results: Results, arms: Sequence[Arm], shown: Sequence[str]) -> "Figure":
        values = (
            list(dict.fromkeys(factor(arm, self.panels) for arm in arms)) if self.panels else []
        )
        cells = [(metric, value) for metric in shown for value in values or [None]]
        drawn, panels = grid(len(cells))
        for axes, (metric, value) in zip(panels, cells, strict=True):
            own = [arm for arm in arms if value is None or self._belongs(arm, value)]
            lines = self._lines(results, own, arms, metric)
            draw_lines(axes, lines, self.log_x, metric in self.log_y)
            axes.set(xlabel=self.title, ylabel=_wrapped(metric))
            if value is not None:
                axes.set_title(f"{self.panels}: {value}", fontsize=SMALL, **PLAIN)
        return drawn

    def _belongs(self, arm: Arm, value: str | float | None) -> bool:
        # What is clean is trained once, and belongs to every kind of noise.
        return factor(arm, str(self.panels)) == value or factor(arm, self.x) == 0

    def _lines(
        self, results: Results, own: Sequence[Arm], arms: Sequence[Arm], metric: str
    ) -> list[Line]:
        lines = []
        for style, value in enumerate(dict.fromkeys(factor(arm, self.by) for arm in arms)):
            chosen = [arm for arm in own if factor(arm, self.by) == value]
            x = tuple(self.scale * float(factor(arm, self.x) or 0) for arm in chosen)
            y = tuple(mean_interval(results, arm.label, metric) for arm in chosen)
            lines.append(Line(self.named.format(value), style, x, y))
        return lines


COMPLEXITY = ("t2a_r1", "a2t_r1", "gap", "gap_relative", "gap_separability", "zeroshot")


def complexity(results: Results) -> Iterable[Drawn]:
    """Quality and gaps against the number of parameters of M, a point for each metric."""
    for part, shown, suffix, where in _parts(results, COMPLEXITY):
        labels = [arm.label for arm in arms_of(part)]
        sizes = [mean_interval(part, label, "metric_parameters").value for label in labels]
        drawn, panels = grid(len(shown))
        for axes, metric in zip(panels, shown, strict=True):
            values = [mean_interval(part, label, metric) for label in labels]
            points = zip(labels, range(len(labels)), sizes, values, strict=True)
            draw_points(axes, [Line(name, style, (x,), (y,)) for name, style, x, y in points])
            axes.set(xlabel="parameters of M (number)", ylabel=_wrapped(metric))
        told = f"{_titles(shown)}{where} against the number of parameters of M. {BARS}"
        yield drawn, Picture(f"complexity{suffix}", told, _alt(part, shown, told))


def convergence(results: Results) -> Iterable[Drawn]:
    """Score on validation clips against steps and against seconds, a row for each method."""
    arms = [arm for arm in arms_of(results) if outcomes_of(results, arm)[0].curve]
    methods = list(dict.fromkeys(factor(arm, "method") for arm in arms))
    sizes = list(dict.fromkeys(factor(arm, "batch") for arm in arms))
    if not arms:
        return
    counted = all("steps" in outcomes_of(results, arm)[0].values for arm in arms)
    along = "training steps (number)" if counted else "epochs (number)"
    drawn, panels = grid(2 * len(methods))
    for place, axes in enumerate(panels):
        method, seconds = methods[place // 2], bool(place % 2)
        own = [arm for arm in arms if factor(arm, "method") == method]
        lines = [_curve(results, arm, sizes.index(factor(arm, "batch")), seconds) for arm in own]
        draw_lines(axes, lines, log_x=seconds or counted)
        axes.set(xlabel="training time (s)" if seconds else along, ylabel="sum of recalls (%)")
        axes.set_title(f"{method}, by batch size", fontsize=SMALL, **PLAIN)
    told = (
        "Recall on validation clips (sum of R@1, 5 and 10 over both directions, 0 to 600) against "
        f"{along.partition(' (')[0]} and against training time, by batch size. Means over seeds, "
        "without bars."
    )
    yield drawn, Picture("convergence", told, told)


def _curve(results: Results, arm: Arm, style: int, seconds: bool) -> Line:
    """Mean over seeds of the score after each epoch that all of them reached."""
    runs = list({outcome.seed: outcome for outcome in outcomes_of(results, arm)}.values())
    epochs = min(len(run.curve) for run in runs)
    if not epochs:
        return Line(str(factor(arm, "batch")), style, (), ())
    score = np.mean([[row["score"] for row in run.curve[:epochs]] for run in runs], axis=0)
    if seconds:
        times = [np.cumsum([row["seconds"] for row in run.curve[:epochs]]) for run in runs]
    else:
        each = [run.values.get("steps", len(run.curve)) / len(run.curve) for run in runs]
        times = [np.arange(1, epochs + 1) * steps for steps in each]
    x = np.mean(times, axis=0)
    return Line(str(factor(arm, "batch")), style, tuple(x.tolist()), tuple(map(point, score)))


POWER = ("t2a_r1", "a2t_r1", "zeroshot", "train_seconds")


def power_laws(results: Results) -> Iterable[Drawn]:
    """Metrics against the number of pairs, both logarithmic, with the fitted lines."""
    power = view_of(results.study).power
    if power is None:
        return
    for part, shown, suffix, where in _parts(results, POWER):
        drawn, panels = grid(len(shown))
        for axes, metric in zip(panels, shown, strict=True):
            values = dict.fromkeys(factor(arm, power.by) for arm in arms_of(part))
            fits = [
                _fitted(axes, part, power, place, value, metric)
                for place, value in enumerate(values)
            ]
            draw_lines(axes, fits, log_x=True, log_y=True)
            axes.set(xlabel="training pairs (number)", ylabel=_wrapped(metric))
        told = (
            f"{_titles(shown)}{where} against the number of training pairs, both logarithmic. "
            f"Dotted: fitted power laws, with their exponents and 95 % intervals. {BARS}"
        )
        yield drawn, Picture(f"scale{suffix}", told, _alt(part, shown, told))


def _fitted(
    axes: "Axes",
    results: Results,
    power: Power,
    style: int,
    value: str | float | None,
    metric: str,
) -> Line:
    """Draw a fit, and return the line of means that it goes with."""
    sizes, scores = power_points(results, power, value, metric)
    fit = power_law(sizes, scores)
    draw_fit(axes, fit, sizes, style)
    arms = [arm for arm in arms_of(results) if factor(arm, power.by) == value]
    x = tuple(float(factor(arm, power.factor) or 0) for arm in arms)
    y = tuple(mean_interval(results, arm.label, metric) for arm in arms)
    return Line(f"same {value}\n{exponent_text(fit)}", style, x, y)


def _parts(
    results: Results, metrics: Iterable[str]
) -> Iterable[tuple[Results, list[str], str, str]]:
    """By domain that was tested on: its results, metrics with values, suffix of names, words."""
    domains = by_domain(results)
    for place, (name, part) in enumerate(domains.items()):
        shown = [metric for metric in metrics if has_metric(part, metric)]
        several = len(domains) > 1
        if shown:
            yield part, shown, f"-{place}" if several else "", f" on {name}" if several else ""


def _titles(metrics: Sequence[str]) -> str:
    told = "; ".join(metric_of(name).title for name in metrics)
    return told[:1].upper() + told[1:]


def _alt(results: Results, metrics: Sequence[str], told: str) -> str:
    """What is told, and the means of the first metric."""
    metric = metric_of(metrics[0])
    means = [
        f"{arm.label} {number(mean_interval(results, arm.label, metrics[0]).value, metric.digits)}"
        for arm in arms_of(results)
    ]
    return f"{told} Means of {metric.label}: {'; '.join(means)}."


def _wrapped(metric: str) -> str:
    """Label of an axis, the unit on its last line."""
    found = metric_of(metric)
    lines = fill(found.title, 22)
    if not found.unit:
        return lines
    apart = "\n" if len(lines) + len(found.unit) > 22 else " "
    return f"{lines}{apart}({found.unit})"


def _is_number(value: str | float | None) -> bool:
    return isinstance(value, int | float)
