"""Reports as tables: rich tables for a terminal, Markdown for a model card."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otomatch.classification import ClassificationReport
from otomatch.datasets.check import Check, Part
from otomatch.retrieval import DirectionReport, RetrievalReport
from otomatch.types import Hit, Skipped

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # of writing
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


def printable(text: str) -> str:
    """A text without what would steer a terminal: control characters, changes of direction."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) == "Cc" or c in _TURNS else c
        for c in text
    )


def hits_table(hits: Sequence[Hit], query: str) -> Table:
    """Search results as a table for a terminal; names are shown in full, as they are."""
    table = Table(title=Text(printable(query), "table.title"))
    if any(hit.named for hit in hits):
        table.caption = "named: the name, folders or tags hold words of the query"
    for column in ("", "relevance", "span", "sound", "folder", "about"):
        justify: Literal["right", "left"] = "right" if column in ("", "relevance") else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for place, hit in enumerate(hits, start=1):
        path = Path(hit.path)
        folder = "" if path.parent == Path() else str(path.parent)
        known = ("named" if hit.named else None, hit.label, hit.caption, hit.tags)
        about = "; ".join(filter(None, known))
        texts = (Text(printable(text)) for text in (path.name, folder, about))
        table.add_row(str(place), f"{hit.relevance:.0%}", hit.span, *texts)
    return table


def duplicates_table(groups: Sequence[dict[str, Any]]) -> Table:
    """Groups of near-identical sounds, as their ``to_dict`` gives them, for a terminal."""
    table = Table(title="Near-identical sounds" if groups else "No near-identical sounds")
    for column in ("alike", "", "length", "sound", "folder"):
        table.add_column(column, justify="right" if column == "length" else "left", overflow="fold")
    for group in groups:
        for place, sound in enumerate(group["sounds"]):
            path = Path(sound["path"])
            alike = "" if place else f"{group['similarity']:.0%}"
            marks = "=" if sound["copy_of"] else ""
            names = (Text(printable(text)) for text in (path.name, str(path.parent)))
            table.add_row(alike, marks, f"{sound['duration']:.1f} s", *names)
        table.add_section()
    return table


def print_skipped(console: Console, skipped: Sequence[Skipped], most: int = 20) -> None:
    """List what could not be used and why, ``most`` lines at most."""
    for entry in skipped[:most]:
        said = printable(f"{entry.name}: {entry.reason}")
        line = Text.assemble(("skipped ", "yellow"), said)
        console.print(line, soft_wrap=True)
    if len(skipped) > most:
        console.print(Text(f"... and {len(skipped) - most} more", "yellow"))


def print_reasons(
    console: Console, skipped: Sequence[Skipped], listed: Path | None = None, most: int = 20
) -> None:
    """List what was left out, by reason, the commonest first.

    Args:
        console: where.
        skipped: the files.
        listed: where all of them are listed.
        most: how many files are named.
    """
    groups: dict[str, list[str]] = {}
    for entry in skipped:
        groups.setdefault(entry.reason, []).append(entry.name)
    left = most
    for reason, names in sorted(groups.items(), key=lambda group: -len(group[1])):
        if left <= 0:
            break
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        said = printable(f"{files}: {reason}")
        console.print(Text.assemble(("skipped ", "yellow"), said), soft_wrap=True)
        for name in names[:left]:
            console.print(Text(f"    {printable(name)}"), soft_wrap=True)
        left -= len(names)
    if len(skipped) > most:
        where = "" if listed is None else f"; all are listed in {listed}"
        console.print(Text(f"... and {len(skipped) - most} more{where}", "yellow"), soft_wrap=True)


def check_table(found: Check) -> Table:
    """What is in a data set, split by split, as a table for a terminal."""
    read = "decoded in full" if found.decoded else "headers read"
    classes = f", {found.labels} classes" if found.labels else ""
    caption = (
        f"{len(found.missing)} files missing, {len(found.broken)} rows or files broken"
        f"{classes} ({read})"
    )
    table = Table(title=Text(f"{found.name} in {found.root}", "table.title"), caption=caption)
    for column in ("split", "clips", "captions", "per clip", "seconds", "median", "hours", "Hz"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for part in found.parts:
        table.add_row(*_part_cells(part))
    return table


def duplicate_lines(found: Check) -> list[Text]:
    """Sentences about captions and audio that occur more than once."""
    lines = []
    for part in found.parts:
        if part.shared_captions:
            where = "all splits together" if part.split is None else part.split
            lines.append(Text(f"{where}: {part.shared_captions} captions describe several clips"))
    if found.captions_in_splits:
        lines.append(Text(f"{len(found.captions_in_splits)} captions occur in several splits"))
    lines += [Text(f"same audio in several splits: {', '.join(g)}") for g in found.audio_in_splits]
    return lines


def markdown_table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(header)
    out = [titles, ["---"] * len(titles), *map(list, lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in out)


def model_card(title: str, report: RetrievalReport, measured_on: str, settings: str) -> str:
    """The README of a model folder: what it is, how well it does on what, how it was trained."""
    gap = "unknown" if report.modality_gap is None else f"{report.modality_gap:.3f}"
    return f"""---
library_name: otomatch
tags: [audio-text-retrieval, optimal-transport]
---

# {title}

Embeds sounds and descriptions in one space; trained with otomatch.

```python
import otomatch

model = otomatch.AudioTextModel.from_pretrained("path/to/this/folder")
distances = model.distance(model.embed_audio(["a.wav"]), model.embed_text(["a dog barks"]))
```

## Measured

On {measured_on}: {report.clips} clips, {report.captions} captions; modality gap {gap}.
Recall in percent. "plan (transductive)" ranks by one transport plan over the whole test set and is
not comparable with per-query ranking.

{markdown_table(columns(report), rows(report))}

## Training

```toml
{settings.strip()}
```
"""


def _part_cells(part: Part) -> list[str]:
    counts = list(part.captions_per_clip)
    per_clip = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lengths = ["", "", ""]
    if part.seconds is not None:
        s = part.seconds
        lengths = [f"{s.min:.1f} to {s.max:.1f}", f"{s.median:.1f}", f"{s.total / 3600:.2f}"]
    rates = ", ".join(map(str, part.sample_rates))
    split = "all" if part.split is None else part.split
    return [split, str(part.clips), str(part.captions), per_clip, *lengths, rates]


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
