"""Print measured figures beside published ones, as a Markdown table.

python3 runs/table.py FIGURE LABEL REPORT [LABEL REPORT ...]

FIGURE is a section of published.toml. Reports with the same label are seeds of one system: the
table shows their mean and, if there are several, their standard deviation.
"""

import json
import statistics
import sys
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

Column = tuple[str, int, tuple[str, ...]]  # title, decimals, keys in a report
RETRIEVAL: list[Column] = [
    (f"{short} R@{k}", 1, (direction, "recall", str(k)))
    for short, direction in (("T2A", "text_to_audio"), ("A2T", "audio_to_text"))
    for k in (1, 5, 10)
]
RETRIEVAL.append(("gap", 2, ("modality_gap",)))
ZERO_SHOT: list[Column] = [("accuracy", 1, ("accuracy",)), ("mAP", 3, ("map",))]
ABOUT = ["system", "ranked by", "seeds", "measured on"]


def main(figure: str, *pairs: str) -> None:
    """Print the table and its notes."""
    text = (Path(__file__).parent / "published.toml").read_text(encoding="utf-8")
    published = tomllib.loads(text)[figure]
    systems: dict[str, list[dict[str, Any]]] = {}
    for label, path in zip(pairs[::2], pairs[1::2], strict=True):
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        systems.setdefault(label, []).append(report)
    columns = ZERO_SHOT if "accuracy" in report else RETRIEVAL
    rows = [[*ABOUT, *(title for title, _, _ in columns)]]
    for label, reports in systems.items():
        on = " or ".join(sorted({f"{r['clips']} clips of {r['dataset']}" for r in reports}))
        plans = [report["transductive"] for report in reports]
        for by, part in (("distance", reports), ("plan", plans)):
            rows.append([label, by, str(len(part)), on, *cells(part, columns)])
    for system in published["systems"]:
        by = system.get("ranked_by", "distance")
        rows.append([f"{system['name']} (published)", by, "", "", *system["figures"]])
    print_table(rows)
    print("\nRanked by plan: transductive, one transport plan over the whole test set.")
    print(published["note"])
    if "*" in "".join(map("".join, rows)):
        print("*: quoted from memory, not checked against the paper.")


def cells(reports: list[dict[str, Any]], columns: list[Column]) -> list[str]:
    """Return the figures of one system over its seeds."""
    row = []
    for _, decimals, path in columns:
        values = [reduce(lambda part, key: part[key], path, report) for report in reports]
        if None in values:  # a plan has no modality gap
            row.append("")
            continue
        spread = f" ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""
        row.append(f"{statistics.mean(values):.{decimals}f}{spread}")
    return row


def print_table(rows: list[list[str]]) -> None:
    """Print rows as Markdown with aligned columns; the first row is the header."""
    full = [row + [""] * (len(rows[0]) - len(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    full.insert(1, ["-" * width for width in widths])
    for row in full:
        print(f"| {' | '.join(map(str.ljust, row, widths))} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
