"""The tables of a study as text in cells, the same for Markdown and for HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otomatch.studies.results import Arm, Outcome, Results
from otomatch.studies.statistics import (
    Difference,
    Exponent,
    mean_and_spread,
    paired_difference,
    power_law,
    seed_means,
)
from otomatch.studies.views import Power, Reference, domain, factor, metric_of, view_of

NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """A table with text in its cells.

    Attributes:
        title: what it shows.
        header: one for each column; the first column names the row.
        rows: as many cells each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def arms_of(results: Results) -> list[Arm]:
    """The arms that have outcomes, in their order."""
    return list({outcome.arm.label: outcome.arm for outcome in results.outcomes}.values())


def by_domain(results: Results) -> dict[str, Results]:
    """The outcomes on each domain that was tested on, in order."""
    names = dict.fromkeys(domain(outcome.test) for outcome in results.outcomes)
    return {
        name: replace(
            results, outcomes=tuple(o for o in results.outcomes if domain(o.test) == name)
        )
        for name in names
    }


def outcomes_of(results: Results, arm: Arm) -> list[Outcome]:
    """What an arm scored."""
    return [outcome for outcome in results.outcomes if outcome.arm.label == arm.label]


def result_tables(results: Results) -> list[Table]:
    """Means and spreads, and where the study has them, matrices and exponents."""
    view, domains = view_of(results.study), by_domain(results)
    tables = [_means(part, view.metrics, _tested(name, domains)) for name, part in domains.items()]
    if len(domains) > 1:
        tables += [_matrix(domains, arms_of(results), name) for name in view.matrix]
    if view.power is not None:
        for name, part in domains.items():
            tables.append(_exponents(part, view.power, _tested(name, domains)))
    return [table for table in tables if table.rows]


def difference_tables(results: Results) -> list[Table]:
    """Paired differences from every reference of the study, by domain that was tested on."""
    view, domains = view_of(results.study), by_domain(results)
    tables = [
        _differences(part, reference, view.compared, _tested(name, domains))
        for reference in view.references
        for name, part in domains.items()
    ]
    return [table for table in tables if table.rows]


def extra_tables(extra: Mapping[str, Any]) -> list[Table]:
    """Tables beside the grid: lists of flat rows, columns in order of their first row."""
    return [_extra(name, rows) for name, rows in extra.items() if rows]


def power_points(
    results: Results, power: Power, value: str | float | None, metric: str
) -> tuple[list[float], list[float]]:
    """The factor and the metric of every training, for arms with ``by`` = ``value``."""
    x, y = [], []
    for arm in arms_of(results):
        size = factor(arm, power.factor)
        if factor(arm, power.by) == value and size is not None:
            scores = list(seed_means(outcomes_of(results, arm), metric).values())
            x += [float(size)] * len(scores)
            y += scores
    return x, y


def number(value: float, digits: int, sign: str = "") -> str:
    """A number as text; ``sign`` is that of a format, "+" to write it always."""
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else str(value)
    text = f"{value:{sign},.{digits}f}" if abs(value) >= 10_000 else f"{value:{sign}.{digits}f}"
    zero = f"{0:.{digits}f}"
    return zero if text.lstrip("+-") == zero else text


def difference_text(found: Difference, digits: int) -> str:
    """A difference and its interval."""
    if math.isnan(found.value):
        return NOTHING
    return number(found.value, digits, "+") + _interval(found.low, found.high, digits, "+")


def exponent_text(found: Exponent) -> str:
    """An exponent and its interval."""
    return number(found.value, 2) + _interval(found.low, found.high, 2)


def _interval(low: float, high: float, digits: int, sign: str = "") -> str:
    if math.isnan(low):
        return ""
    return f" [{number(low, digits, sign)}, {number(high, digits, sign)}]"


def _tested(name: str, domains: Mapping[str, Results]) -> str:
    """What ends a title, where several domains were tested on."""
    return f", tested on {name}" if len(domains) > 1 else ""


def _means(results: Results, metrics: Iterable[str], where: str) -> Table:
    shown = [name for name in metrics if has_metric(results, name)]
    header = ("setting", "seeds", *(metric_of(name).label for name in shown))
    rows = []
    for arm in arms_of(results):
        outcomes = outcomes_of(results, arm)
        seeds = len({outcome.seed for outcome in outcomes})
        rows.append((arm.label, str(seeds), *(_mean_text(outcomes, name) for name in shown)))
    return Table(f"Means ± standard deviation over seeds{where}", header, tuple(rows))


def _mean_text(outcomes: Iterable[Outcome], name: str) -> str:
    found, digits = mean_and_spread(outcomes, name), metric_of(name).digits
    mean = number(found.mean, digits)
    return mean if math.isnan(found.deviation) else f"{mean} ± {number(found.deviation, digits)}"


def has_metric(results: Results, name: str) -> bool:
    """Whether any outcome has a value of the metric."""
    return any(not math.isnan(o.values.get(name, math.nan)) for o in results.outcomes)


def _differences(
    results: Results, reference: Reference, metrics: Iterable[str], where: str
) -> Table:
    arms, shown = arms_of(results), [name for name in metrics if has_metric(results, name)]
    header = ("setting", *(metric_of(name).label for name in shown), "seeds x test sets")
    rows = []
    for arm in arms:
        other = reference.of(arm, arms)
        if other is not None:
            found = [paired_difference(results, arm.label, other.label, name) for name in shown]
            texts = [
                difference_text(d, metric_of(m).digits) for d, m in zip(found, shown, strict=True)
            ]
            rows.append((arm.label, *texts, _pairs(found)))
    return Table(f"Difference from {reference.title} [95 % interval]{where}", header, tuple(rows))


def _pairs(found: Sequence[Difference]) -> str:
    if not found:
        return NOTHING
    most = max(found, key=lambda d: d.seeds * d.tests)
    left_out = f" ({most.left_out} pairs left out)" if most.left_out else ""
    return f"{most.seeds} x {most.tests}{left_out}"


def _matrix(domains: Mapping[str, Results], arms: Sequence[Arm], name: str) -> Table:
    header = ("setting", *(f"tested on {test}" for test in domains))
    rows = [
        (arm.label, *(_mean_text(outcomes_of(part, arm), name) for part in domains.values()))
        for arm in arms
        if any(has_metric(part, name) for part in domains.values())
    ]
    return Table(metric_of(name).label, header, tuple(rows))


def _exponents(results: Results, power: Power, where: str) -> Table:
    values = dict.fromkeys(factor(arm, power.by) for arm in arms_of(results))
    shown = [name for name in power.metrics if has_metric(results, name)]
    rows = []
    for value in values:
        found = [power_law(*power_points(results, power, value, name)) for name in shown]
        points = max((fit.points for fit in found), default=0)
        rows.append((str(value), *map(exponent_text, found), str(points)))
    header = (power.by, *(metric_of(name).title for name in shown), "trainings")
    return Table(f"Exponents of {power.factor} [95 % interval]{where}", header, tuple(rows))


def _extra(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    header = tuple(dict.fromkeys(column for row in rows for column in row))
    lines = tuple(tuple(_plain(row.get(column)) for column in header) for row in rows)
    return Table(_spaced(name).capitalize(), tuple(map(_spaced, header)), lines)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
