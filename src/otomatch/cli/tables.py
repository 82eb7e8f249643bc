"""Hits, duplicates and data-set checks as tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otomatch.datasets.base import Skipped
from otomatch.datasets.checking import CheckReport, SplitSummary
from otomatch.library.records import Hit
from otomatch.training.progress import printable


def hits_table(hits: Sequence[Hit], query: str) -> Table:
    """Return search results as a table, with names in full."""
    table = Table(title=Text(printable(query), "table.title"))
    if any(hit.named for hit in hits):
        table.caption = "named: the name, folders or tags contain words of the query"
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
    """Return groups of near-identical sounds, given as by their ``to_dict``, as a table."""
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


def print_reasons(
    console: Console, skipped: Sequence[Skipped], listed: Path | None = None, most: int = 20
) -> None:
    """List skipped files by reason, the most common first.

    Args:
        console: Console to print on.
        skipped: Files with their reasons.
        listed: File that lists all of them, if there is one.
        most: Largest number of files to name.
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


def check_table(found: CheckReport) -> Table:
    """Return the contents of a data set, split by split, as a table."""
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


def duplicate_lines(found: CheckReport) -> list[Text]:
    """Return sentences on captions and audio that occur more than once."""
    lines = []
    for part in found.parts:
        if part.shared_captions:
            where = "all splits together" if part.split is None else part.split
            lines.append(Text(f"{where}: {part.shared_captions} captions describe several clips"))
    if found.captions_in_splits:
        lines.append(Text(f"{len(found.captions_in_splits)} captions occur in several splits"))
    lines += [Text(f"same audio in several splits: {', '.join(g)}") for g in found.audio_in_splits]
    return lines


def _part_cells(part: SplitSummary) -> list[str]:
    counts = list(part.captions_per_clip)
    per_clip = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lengths = ["", "", ""]
    if part.seconds is not None:
        s = part.seconds
        lengths = [f"{s.min:.1f} to {s.max:.1f}", f"{s.median:.1f}", f"{s.total / 3600:.2f}"]
    rates = ", ".join(map(str, part.sample_rates))
    split = "all" if part.split is None else part.split
    return [split, str(part.clips), str(part.captions), per_clip, *lengths, rates]
