"""A report of retrieval, its rows, and tables as a terminal shows them."""

import io
import re
from dataclasses import replace

from rich.console import Console

from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport


def direction(first: float, median: int, queries: int = 7) -> DirectionReport:
    recall = {1: first, 5: first + 10, 10: 100.0}
    return DirectionReport(recall, {10: first / 100}, median, median + 0.5, queries)


PLAN = RetrievalReport(direction(40.06, 4), direction(50.04, 3), 200, 1000)


REPORT = RetrievalReport(direction(12.34, 9), direction(23.45, 6), 200, 1000, 0.12349, PLAN)


PLAIN = replace(REPORT, modality_gap=None, transductive=None)


def shown(table, width: int = 120) -> str:
    """What a terminal of this width shows, without colours."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]


def table_rows(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if re.search("[│|]", line)]


EXPECTED = [
    ["text to audio", "distance", "12.3", "22.3", "100.0", "0.123", "9"],
    ["audio to text", "distance", "23.4", "33.5", "100.0", "0.234", "6"],
    ["text to audio", "plan (transductive)", "40.1", "50.1", "100.0", "0.401", "4"],
    ["audio to text", "plan (transductive)", "50.0", "60.0", "100.0", "0.500", "3"],
]
