"""Layout shared by the pictures of studies: panels, parts by domain, axis labels and captions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, TypeAlias

from otomatch.evaluation.plots.style import figure
from otomatch.studies.catalogue.metrics import metric_named
from otomatch.studies.formatting import number
from otomatch.studies.results import Results, arms_of, by_domain, has_metric
from otomatch.studies.statistics import mean_interval

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = "Bars: 95 % bootstrap intervals of each mean, see How to read this."


@dataclass(frozen=True)
class StudyPicture:
    """A picture of a study.

    Attributes:
        name: Name of its files, without the ending.
        caption: Description of what it shows, including its bars.
        alt: Caption with figures, as alternative text.
    """

    name: str
    caption: str
    alt: str


Drawn: TypeAlias = "tuple[Figure, StudyPicture]"


@dataclass(frozen=True)
class Part:
    """Results on one tested domain, as one picture shows them.

    Attributes:
        results: Results on the domain.
        metrics: Metrics that have values.
        suffix: Suffix of the picture's name; empty if there is only one domain.
        where: Words for the domain, such as " on recordings"; empty if there is only one.
    """

    results: Results
    metrics: list[str]
    suffix: str
    where: str

    def picture(self, name: str, against: str) -> StudyPicture:
        """Describe a picture of the metrics, whose caption continues with ``against``."""
        titles = "; ".join(metric_named(metric).title for metric in self.metrics)
        caption = f"{titles[:1].upper()}{titles[1:]}{self.where}{against}"
        return StudyPicture(name + self.suffix, caption, f"{caption} {self._means()}")

    def _means(self) -> str:
        """Return the means of the first metric as text."""
        name, metric = self.metrics[0], metric_named(self.metrics[0])
        labels = [arm.label for arm in arms_of(self.results)]
        means = [mean_interval(self.results, label, name).value for label in labels]
        texts = [f"{a} {number(b, metric.digits)}" for a, b in zip(labels, means, strict=True)]
        return f"Means of {metric.label}: {'; '.join(texts)}."


def parts(results: Results, metrics: Iterable[str]) -> Iterable[Part]:
    """Split results by tested domain, leaving out metrics and domains without values."""
    domains = by_domain(results)
    for place, (name, part) in enumerate(domains.items()):
        shown = [metric for metric in metrics if has_metric(part, metric)]
        several = len(domains) > 1
        if shown:
            suffix, where = (f"-{place}", f" on {name}") if several else ("", "")
            yield Part(part, shown, suffix, where)


def panel_grid(panels: int, columns: int = 2) -> "tuple[Figure, list[Axes]]":
    """Return a figure with the given number of panels, in rows."""
    columns = min(columns, panels)
    rows = -(-panels // columns)
    drawn, axes = figure(0.6 + 3.4 * columns, 0.3 + 2.4 * rows, rows, columns)
    for empty in axes.flat[panels:]:
        empty.set_axis_off()
    return drawn, list(axes.flat[:panels])


def axis_label(name: str) -> str:
    """Return the axis label of a metric, wrapped, with the unit on its last line."""
    metric = metric_named(name)
    lines = fill(metric.title, 22)
    if not metric.unit:
        return lines
    separator = "\n" if len(lines) + len(metric.unit) > 22 else " "
    return f"{lines}{separator}({metric.unit})"


def distinct(values: Iterable[str | float | None]) -> Sequence[str | float | None]:
    """Return the distinct values, in order of appearance."""
    return list(dict.fromkeys(values))
