"""Pictures that compare arms: dots, lines against a factor, points against complexity, tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otomatch.evaluation.plots.style import PLAIN, SMALL, figure
from otomatch.studies.catalogue.definition import Arm
from otomatch.studies.catalogue.pictures import (
    LOG_METRICS,
    ComplexityPoints,
    Dots,
    FactorLines,
    TableLines,
)
from otomatch.studies.plots.charts import Series, draw_dots, draw_lines, draw_points, exact
from otomatch.studies.plots.layout import (
    BARS,
    Drawn,
    Part,
    StudyPicture,
    axis_label,
    distinct,
    panel_grid,
    parts,
)
from otomatch.studies.results import Results, arms_of
from otomatch.studies.statistics import mean_interval

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.figure import Figure


def draw_dot_plots(spec: Dots, results: Results) -> Iterable[Drawn]:
    """Draw a dot for every arm, once for every tested domain."""
    for part in parts(results, spec.metrics):
        against = (
            f", by setting; dashed: {arms_of(part.results)[0].label}. {BARS} Settings are compared "
            "in pairs, which is more precise: see the tables of differences."
        )
        yield _dot_plot(part), part.picture(spec.name, against)


def _dot_plot(part: Part) -> "Figure":
    names, shown = [arm.label for arm in arms_of(part.results)], part.metrics
    width, height = 1.6 + 1.9 * len(shown), 0.8 + 0.26 * len(names)
    drawn, panels = figure(width, height, 1, len(shown))
    for place, (axes, metric) in enumerate(zip(panels.flat, shown, strict=True)):
        values = [mean_interval(part.results, name, metric) for name in names]
        draw_dots(axes, names, values, range(len(names)))
        axes.set_xlabel(axis_label(metric))
        if place:
            axes.tick_params(labelleft=False)
    return drawn


def draw_factor_lines(spec: FactorLines, results: Results) -> Iterable[Drawn]:
    """Draw metrics against a factor, once for every tested domain."""
    for part in parts(results, spec.metrics):
        arms = [arm for arm in arms_of(part.results) if isinstance(arm.factor(spec.x), int | float)]
        if arms:
            against = f" against {spec.title.partition(' (')[0]}. {BARS}"
            yield _factor_plot(spec, part, arms), part.picture(spec.name, against)


def _factor_plot(spec: FactorLines, part: Part, arms: Sequence[Arm]) -> "Figure":
    values = distinct(arm.factor(spec.panels) for arm in arms) if spec.panels else [None]
    cells = [(metric, value) for metric in part.metrics for value in values]
    drawn, panels = panel_grid(len(cells))
    for axes, (metric, value) in zip(panels, cells, strict=True):
        lines = _factor_series(spec, part.results, arms, metric, value)
        draw_lines(axes, lines, spec.log_x, metric in LOG_METRICS)
        axes.set(xlabel=spec.title, ylabel=axis_label(metric))
        if value is not None:
            axes.set_title(f"{spec.panels}: {value}", fontsize=SMALL, **PLAIN)
    return drawn


def _factor_series(
    spec: FactorLines,
    results: Results,
    arms: Sequence[Arm],
    metric: str,
    panel: str | float | None,
) -> list[Series]:
    lines = []
    for style, value in enumerate(distinct(arm.factor(spec.by) for arm in arms)):
        own = [arm for arm in arms if arm.factor(spec.by) == value and _belongs(spec, arm, panel)]
        x = tuple(spec.scale * float(arm.factor(spec.x) or 0) for arm in own)
        y = tuple(mean_interval(results, arm.label, metric) for arm in own)
        lines.append(Series(spec.line_name.format(value), style, x, y))
    return lines


def _belongs(spec: FactorLines, arm: Arm, panel: str | float | None) -> bool:
    # Clean data are trained on once, and belong to every kind of noise.
    return panel is None or arm.factor(str(spec.panels)) == panel or arm.factor(spec.x) == 0


def draw_complexity(spec: ComplexityPoints, results: Results) -> Iterable[Drawn]:
    """Draw metrics against the number of parameters of M, one point for each arm."""
    for part in parts(results, spec.metrics):
        labels = [arm.label for arm in arms_of(part.results)]
        sizes = [mean_interval(part.results, name, "metric_parameters").value for name in labels]
        drawn, panels = panel_grid(len(part.metrics))
        for axes, metric in zip(panels, part.metrics, strict=True):
            values = [mean_interval(part.results, name, metric) for name in labels]
            points = zip(labels, range(len(labels)), sizes, values, strict=True)
            draw_points(axes, [Series(name, style, (x,), (y,)) for name, style, x, y in points])
            axes.set(xlabel="parameters of M (number)", ylabel=axis_label(metric))
        yield drawn, part.picture(spec.name, f" against the number of parameters of M. {BARS}")


def draw_table_lines(spec: TableLines, rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """Draw columns of an extra table against the batch."""
    drawn, panels = panel_grid(len(spec.columns))
    for axes, (column, label) in zip(panels, spec.columns.items(), strict=True):
        draw_lines(axes, list(_table_series(spec, rows, column)), log_x=True, log_y=True)
        axes.set(xlabel="batch (pairs)", ylabel=label)
    return drawn, StudyPicture(spec.table.replace("_", "-"), spec.caption, spec.caption)


def _table_series(
    spec: TableLines, rows: Sequence[Mapping[str, Any]], column: str
) -> Iterable[Series]:
    for style, value in enumerate(distinct(row.get(spec.by) for row in rows)):
        own = [row for row in rows if row.get(spec.by) == value and column in row]
        x = tuple(float(row["batch"]) for row in own)
        y = tuple(exact(float(row[column])) for row in own)
        yield Series(spec.line_name.format(value), style, x, y)
