"""Reports as tables: rich tables for a terminal, Markdown for model cards and studies."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from otomatch.evaluation.classification import ClassificationReport
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport

DIRECTIONS = (("text to audio", "text_to_audio"), ("audio to text", "audio_to_text"))


def report_columns(report: RetrievalReport) -> list[str]:
    """Return the column titles of `report_rows`, for the values of k in the report."""
    direction = report.text_to_audio
    recall = [f"R@{k}" for k in direction.recall]
    precision = [f"mAP@{k}" for k in direction.map]
    return ["direction", "ranked by", *recall, *precision, "median rank"]


def report_rows(report: RetrievalReport, chance: bool = False) -> list[list[str]]:
    """Return a row for each direction per query, each transductive one, and the chance level."""
    table = [[name, "distance", *_cells(getattr(report, key))] for name, key in DIRECTIONS]
    if report.transductive is not None:
        plan = report.transductive
        table += [
            [name, "plan (transductive)", *_cells(getattr(plan, key))] for name, key in DIRECTIONS
        ]
    if chance:
        table.append(["text to audio", "chance", *_chance_cells(report)])
    return table


def retrieval_table(report: RetrievalReport, title: str, chance: bool = False) -> Table:
    """Return a report as a table for a terminal."""
    gap = "" if report.modality_gap is None else f"   modality gap {report.modality_gap:.3f}"
    caption = f"{report.clips} clips, {report.captions} captions{gap}"
    table = Table(title=Text(title, "table.title"), caption=caption)
    for i, column in enumerate(report_columns(report)):
        table.add_column(column, justify="left" if i < 2 else "right")
    for row in report_rows(report, chance):
        table.add_row(*row)
    return table


def classification_table(report: ClassificationReport, title: str) -> Table:
    """Return accuracy and mAP, by distance and by the plan, as a table for a terminal."""
    table = Table(title=Text(title, "table.title"), caption=classification_size(report))
    table.add_column("ranked by")
    table.add_column("accuracy", justify="right")
    table.add_column("mAP", justify="right")
    for name, part in (("distance", report), ("plan (transductive)", report.transductive)):
        if part is not None:
            table.add_row(name, f"{part.accuracy:.1f}", f"{part.map:.3f}")
    return table


def classification_size(report: ClassificationReport) -> str:
    """Return the numbers of clips and classes and the chance level as text."""
    classes = len(report.classes)
    return f"{report.clips} clips, {classes} classes, chance {100 / classes:.1f} %"


def classes_table(report: ClassificationReport, most: int = 10) -> Table:
    """Return the ``most`` classes of lowest accuracy, with what each is most often confused."""
    table = Table(title=f"By distance, the weakest of {len(report.classes)} classes")
    for column in ("class", "clips", "accuracy", "most often confused with"):
        table.add_column(column, justify="right" if column in ("clips", "accuracy") else "left")
    accuracy = list(report.class_accuracy.values())
    shown = [(value, row) for row, value in enumerate(accuracy) if value is not None]
    for value, row in sorted(shown)[:most]:
        counts = report.confusion[row]
        others = [(-counts[i], name) for i, name in enumerate(report.classes) if i != row]
        count, name = min(others)
        confused = Text(f"{name} ({-count})" if count else "")
        table.add_row(Text(report.classes[row]), str(sum(counts)), f"{value:.1f}", confused)
    return table


def markdown_table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(header)
    out = [titles, ["---"] * len(titles), *map(list, lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in out)


def _cells(direction: DirectionReport) -> list[str]:
    recall = [f"{value:.1f}" for value in direction.recall.values()]
    precision = [f"{value:.3f}" for value in direction.map.values()]
    return [*recall, *precision, str(direction.median_rank)]


def _chance_cells(report: RetrievalReport) -> list[str]:
    # In a random ranking of n clips, the relevant one has each rank with probability 1/n.
    n, direction = report.clips, report.text_to_audio
    recall = [f"{100 * min(k, n) / n:.1f}" for k in direction.recall]
    precision = [f"{sum(1 / r for r in range(1, min(k, n) + 1)) / n:.3f}" for k in direction.map]
    return [*recall, *precision, str((n + 1) // 2)]
