"""Reports as tables: rich tables for a terminal, Markdown for a model card."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from otomatch.evaluation.classification import ClassificationReport
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport

DIRECTIONS = (("text to audio", "text_to_audio"), ("audio to text", "audio_to_text"))


def columns(report: RetrievalReport) -> list[str]:
    """Column titles of `rows`, for the k that the report has."""
    direction = report.text_to_audio
    recall = [f"R@{k}" for k in direction.recall]
    precision = [f"mAP@{k}" for k in direction.map]
    return ["direction", "ranked by", *recall, *precision, "median rank"]


def rows(report: RetrievalReport, chance: bool = False) -> list[list[str]]:
    """Both directions per query, then transductive ones and chance level where wanted."""
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
    """The report as a table for a terminal."""
    gap = "" if report.modality_gap is None else f"   modality gap {report.modality_gap:.3f}"
    caption = f"{report.clips} clips, {report.captions} captions{gap}"
    table = Table(title=Text(title, "table.title"), caption=caption)
    for i, column in enumerate(columns(report)):
        table.add_column(column, justify="left" if i < 2 else "right")
    for row in rows(report, chance):
        table.add_row(*row)
    return table


def classification_table(report: ClassificationReport, title: str) -> Table:
    """Accuracy and mAP, by distance and by the plan, as a table for a terminal."""
    table = Table(title=Text(title, "table.title"), caption=classification_size(report))
    table.add_column("ranked by")
    table.add_column("accuracy", justify="right")
    table.add_column("mAP", justify="right")
    for name, part in (("distance", report), ("plan (transductive)", report.transductive)):
        if part is not None:
            table.add_row(name, f"{part.accuracy:.1f}", f"{part.map:.3f}")
    return table


def classification_size(report: ClassificationReport) -> str:
    """What the figures were measured on, and what guessing would give."""
    classes = len(report.classes)
    return f"{report.clips} clips, {classes} classes, chance {100 / classes:.1f} %"


def classes_table(report: ClassificationReport, most: int = 10) -> Table:
    """The classes told apart worst, ``most`` of them, and what each is most often taken for."""
    table = Table(title=f"By distance, the weakest of {len(report.classes)} classes")
    for column in ("class", "clips", "accuracy", "most often taken for"):
        table.add_column(column, justify="right" if column in ("clips", "accuracy") else "left")
    accuracy = list(report.class_accuracy.values())
    shown = [(value, row) for row, value in enumerate(accuracy) if value is not None]
    for value, row in sorted(shown)[:most]:
        counts = report.confusion[row]
        others = [(-counts[i], name) for i, name in enumerate(report.classes) if i != row]
        count, name = min(others)
        taken = Text(f"{name} ({-count})" if count else "")
        table.add_row(Text(report.classes[row]), str(sum(counts)), f"{value:.1f}", taken)
    return table


def markdown_table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(header)
    out = [titles, ["---"] * len(titles), *map(list, lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in out)


def _cells(direction: DirectionReport) -> list[str]:
    recall = [f"{value:.1f}" for value in direction.recall.values()]
    precision = [f"{value:.3f}" for value in direction.map.values()]
    return [*recall, *precision, str(direction.median_rank)]


def _chance_cells(report: RetrievalReport) -> list[str]:
    # A random ranking of n clips puts the relevant one at each rank with probability 1/n.
    n, direction = report.clips, report.text_to_audio
    recall = [f"{100 * min(k, n) / n:.1f}" for k in direction.recall]
    precision = [f"{sum(1 / r for r in range(1, min(k, n) + 1)) / n:.3f}" for k in direction.map]
    return [*recall, *precision, str((n + 1) // 2)]
