"""Tables of a study with text in their cells, for Markdown and HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otomatch.studies.catalogue.definition import Arm, PowerFit, Reference
from otomatch.studies.catalogue.metrics import metric_named
from otomatch.studies.formatting import (
    NOTHING,
    difference_text,
    exponent_text,
    number,
    plain_value,
)
from otomatch.studies.power_laws import fit_power_law, power_points
from otomatch.studies.results import Outcome, Results, arms_of, by_domain, has_metric, outcomes_of
from otomatch.studies.statistics import Difference, mean_and_spread, paired_difference


@dataclass(frozen=True)
class TextTable:
    """A table with text in its cells.

    Attributes:
        title: Title of the table.
        header: Column names; the first column names the row.
        rows: Rows, each as long as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def result_tables(results: Results) -> list[TextTable]:
    """Return the means and spreads, and the matrices and exponents that the study declares."""
    view, domains = results.study.view, by_domain(results)
    tables = [_means(part, view.metrics, _tested(name, domains)) for name, part in domains.items()]
    if len(domains) > 1:
        tables += [_matrix(domains, arms_of(results), name) for name in view.matrix]
    if view.power is not None:
        for name, part in domains.items():
            tables.append(_exponents(part, view.power, _tested(name, domains)))
    return [table for table in tables if table.rows]


def difference_tables(results: Results) -> list[TextTable]:
    """Return the paired differences from every reference of the study, by tested domain."""
    view, domains = results.study.view, by_domain(results)
    tables = [
        _differences(part, reference, view.compared, _tested(name, domains))
        for reference in view.references
        for name, part in domains.items()
    ]
    return [table for table in tables if table.rows]


def extra_tables(extra: Mapping[str, Any]) -> list[TextTable]:
    """Return the extra tables, given as lists of flat rows, columns in order of appearance."""
    return [_extra(name, rows) for name, rows in extra.items() if rows]


def _tested(name: str, domains: Mapping[str, Results]) -> str:
    """Return the end of a title that names the tested domain, if there are several."""
    return f", tested on {name}" if len(domains) > 1 else ""


def _means(results: Results, metrics: Iterable[str], where: str) -> TextTable:
    shown = [name for name in metrics if has_metric(results, name)]
    header = ("setting", "seeds", *(metric_named(name).label for name in shown))
    rows = []
    for arm in arms_of(results):
        outcomes = outcomes_of(results, arm)
        seeds = len({outcome.seed for outcome in outcomes})
        rows.append((arm.label, str(seeds), *(_mean_text(outcomes, name) for name in shown)))
    return TextTable(f"Means ± standard deviation over seeds{where}", header, tuple(rows))


def _mean_text(outcomes: Iterable[Outcome], name: str) -> str:
    found, digits = mean_and_spread(outcomes, name), metric_named(name).digits
    mean = number(found.mean, digits)
    return mean if math.isnan(found.deviation) else f"{mean} ± {number(found.deviation, digits)}"


def _differences(
    results: Results, reference: Reference, metrics: Iterable[str], where: str
) -> TextTable:
    arms, shown = arms_of(results), [name for name in metrics if has_metric(results, name)]
    header = ("setting", *(metric_named(name).label for name in shown), "seeds x test sets")
    rows = []
    for arm in arms:
        other = reference.find(arm, arms)
        if other is not None:
            found = [paired_difference(results, arm.label, other.label, name) for name in shown]
            texts = [
                difference_text(difference, metric_named(name).digits)
                for difference, name in zip(found, shown, strict=True)
            ]
            rows.append((arm.label, *texts, _pairs(found)))
    title = f"Difference from {reference.title} [95 % interval]{where}"
    return TextTable(title, header, tuple(rows))


def _pairs(found: Sequence[Difference]) -> str:
    if not found:
        return NOTHING
    most = max(found, key=lambda d: d.seeds * d.tests)
    left_out = f" ({most.left_out} pairs left out)" if most.left_out else ""
    return f"{most.seeds} x {most.tests}{left_out}"


def _matrix(domains: Mapping[str, Results], arms: Sequence[Arm], name: str) -> TextTable:
    header = ("setting", *(f"tested on {test}" for test in domains))
    rows = [
        (arm.label, *(_mean_text(outcomes_of(part, arm), name) for part in domains.values()))
        for arm in arms
        if any(has_metric(part, name) for part in domains.values())
    ]
    return TextTable(metric_named(name).label, header, tuple(rows))


def _exponents(results: Results, power: PowerFit, where: str) -> TextTable:
    values = dict.fromkeys(arm.factor(power.by) for arm in arms_of(results))
    shown = [name for name in power.metrics if has_metric(results, name)]
    rows = []
    for value in values:
        found = [fit_power_law(*power_points(results, power, value, name)) for name in shown]
        points = max((fit.points for fit in found), default=0)
        rows.append((str(value), *map(exponent_text, found), str(points)))
    header = (power.by, *(metric_named(name).title for name in shown), "trainings")
    return TextTable(f"Exponents of {power.factor} [95 % interval]{where}", header, tuple(rows))


def _extra(name: str, rows: Sequence[Mapping[str, Any]]) -> TextTable:
    header = tuple(dict.fromkeys(column for row in rows for column in row))
    lines = tuple(tuple(plain_value(row.get(column)) for column in header) for row in rows)
    return TextTable(_spaced(name).capitalize(), tuple(map(_spaced, header)), lines)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
