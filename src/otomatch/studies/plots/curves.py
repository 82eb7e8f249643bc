"""Pictures of curves: validation score over training, and fitted power laws."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from otomatch.evaluation.plots.style import PLAIN, SMALL
from otomatch.studies.catalogue.definition import Arm, PowerFit
from otomatch.studies.catalogue.pictures import PowerLawCurves, TrainingCurves
from otomatch.studies.formatting import exponent_text
from otomatch.studies.plots.charts import Series, draw_fit, draw_lines, exact
from otomatch.studies.plots.layout import (
    BARS,
    Drawn,
    StudyPicture,
    axis_label,
    distinct,
    panel_grid,
    parts,
)
from otomatch.studies.power_laws import fit_power_law, power_points
from otomatch.studies.results import Results, arms_of, outcomes_of
from otomatch.studies.statistics import mean_interval

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes


def draw_training_curves(spec: TrainingCurves, results: Results) -> Iterable[Drawn]:
    """Draw the validation score against steps and against seconds, a row for each method."""
    arms = [arm for arm in arms_of(results) if outcomes_of(results, arm)[0].curve]
    if not arms:
        return
    rows, sizes = ([*distinct(arm.factor(name) for arm in arms)] for name in (spec.by, spec.lines))
    counted = all("steps" in outcomes_of(results, arm)[0].values for arm in arms)
    along = "training steps (number)" if counted else "epochs (number)"
    drawn, panels = panel_grid(2 * len(rows))
    for place, axes in enumerate(panels):
        row, seconds = rows[place // 2], bool(place % 2)
        own = [arm for arm in arms if arm.factor(spec.by) == row]
        styles = [sizes.index(arm.factor(spec.lines)) for arm in own]
        lines = [
            _training_curve(results, arm, str(sizes[style]), style, seconds)
            for arm, style in zip(own, styles, strict=True)
        ]
        draw_lines(axes, lines, log_x=seconds or counted)
        axes.set(xlabel="training time (s)" if seconds else along, ylabel="sum of recalls (%)")
        axes.set_title(f"{row}, by {spec.lines} size", fontsize=SMALL, **PLAIN)
    caption = (
        "Recall on validation clips (sum of R@1, 5 and 10 over both directions, 0 to 600) against "
        f"{along.partition(' (')[0]} and against training time, by {spec.lines} size. Means over "
        "seeds, without bars."
    )
    yield drawn, StudyPicture(spec.name, caption, caption)


def _training_curve(results: Results, arm: Arm, name: str, style: int, seconds: bool) -> Series:
    """Return the mean over seeds of the score after each epoch that all of them reached."""
    runs = list({outcome.seed: outcome for outcome in outcomes_of(results, arm)}.values())
    epochs = min(len(run.curve) for run in runs)
    if not epochs:
        return Series(name, style, (), ())
    score = np.mean([[row["score"] for row in run.curve[:epochs]] for run in runs], axis=0)
    if seconds:
        times = [np.cumsum([row["seconds"] for row in run.curve[:epochs]]) for run in runs]
    else:
        each = [run.values.get("steps", len(run.curve)) / len(run.curve) for run in runs]
        times = [np.arange(1, epochs + 1) * steps for steps in each]
    x = np.mean(times, axis=0)
    return Series(name, style, tuple(x.tolist()), tuple(map(exact, score)))


def draw_power_laws(spec: PowerLawCurves, results: Results) -> Iterable[Drawn]:
    """Draw metrics and their power laws, both axes logarithmic."""
    power = results.study.view.power
    if power is None:
        return
    for part in parts(results, spec.metrics):
        drawn, panels = panel_grid(len(part.metrics))
        for axes, metric in zip(panels, part.metrics, strict=True):
            values = distinct(arm.factor(power.by) for arm in arms_of(part.results))
            fits = [
                _draw_fitted(axes, part.results, power, style, value, metric)
                for style, value in enumerate(values)
            ]
            draw_lines(axes, fits, log_x=True, log_y=True)
            axes.set(xlabel=spec.title, ylabel=axis_label(metric))
        against = (
            f" against the number of {spec.title.partition(' (')[0]}, both logarithmic. Dotted: "
            f"fitted power laws, with their exponents and 95 % intervals. {BARS}"
        )
        yield drawn, part.picture(spec.name, against)


def _draw_fitted(
    axes: "Axes",
    results: Results,
    power: PowerFit,
    style: int,
    value: str | float | None,
    metric: str,
) -> Series:
    """Draw a fit and return the series of means that it belongs to."""
    sizes, scores = power_points(results, power, value, metric)
    fit = fit_power_law(sizes, scores)
    draw_fit(axes, fit, sizes, style)
    arms = [arm for arm in arms_of(results) if arm.factor(power.by) == value]
    x = tuple(float(arm.factor(power.factor) or 0) for arm in arms)
    y = tuple(mean_interval(results, arm.label, metric) for arm in arms)
    return Series(f"same {value}\n{exponent_text(fit)}", style, x, y)
