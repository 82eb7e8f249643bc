"""Summary of a study: its sections, the summary as Markdown, and rows.csv."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from otomatch.evaluation.tables import markdown_table
from otomatch.studies.results import Results
from otomatch.studies.tables import TextTable, difference_tables, extra_tables, result_tables

_READING = {
    "spread": (
        "The number after ± is the standard deviation over seeds of the mean over the test sets: "
        "how much one training differs from the next. A setting with one seed has none."
    ),
    "differences": (
        "Judge by the differences, not by whether means overlap: both sides of a difference were "
        "trained with the same seeds and scored on the same clips, so that what is hard for both "
        "cancels."
    ),
    "intervals": (
        "An interval, in brackets or as a bar, is a 95 % bootstrap interval. It resamples the "
        "seeds and, independently of them, the clips within each test set (Owen, The pigeonhole "
        "bootstrap, 2007). Of S seeds it draws S - 1; drawing S would make the intervals of few "
        "seeds too narrow (Rao and Wu, 1988). The standard deviation of the resamples is "
        "multiplied by a quantile of t with Satterthwaite's degrees of freedom: if trainings "
        "differ more than clips do, few seeds give a wide interval. Recall and zero-shot accuracy "
        "per query are means over clips; for all other figures the seeds and the test sets are "
        "resampled. With one seed, only clips or test sets are resampled, and the interval says "
        "nothing about another training."
    ),
    "power": (
        "An exponent is the slope of a straight line through the logarithms of all trainings, with "
        "a t interval that treats them as independent. It describes these sizes only; the plot "
        "shows whether they lie on a line at all."
    ),
    "limits": (
        "What the intervals leave out: test sets composed from the same recordings contain the "
        "same sounds, so they are less independent than they look, and an interval describes these "
        "recordings, not others; and all seeds train on the same clips. One in twenty intervals "
        "misses the true value by chance."
    ),
    "transductive": (
        "Transductive figures rank by one transport plan over the whole test set. They use the "
        "knowledge that all clips have equally many captions and are not comparable with figures "
        "per query."
    ),
}


@dataclass(frozen=True)
class SummarySection:
    """A section of a summary.

    Attributes:
        title: Heading.
        text: Paragraphs.
        items: Bullet list after the paragraphs.
        tables: Tables after the list.
    """

    title: str
    text: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[TextTable, ...] = ()


def sections(results: Results, notes: Iterable[str] = ()) -> list[SummarySection]:
    """Return the sections of a summary, in order.

    Args:
        results: Results of a study, complete or not.
        notes: Further remarks on how the study was run.
    """
    differences = SummarySection("Differences", tables=tuple(difference_tables(results)))
    tabulated = (
        SummarySection("Results", tables=tuple(result_tables(results))),
        differences,
        SummarySection("Beside the grid", tables=tuple(extra_tables(results.extra))),
        SummarySection("Failures", tables=_failures(results)),
    )
    reading = SummarySection("How to read this", _reading(results, bool(differences.tables)))
    return [
        SummarySection("Question", (results.study.question,)),
        SummarySection(
            "What was run",
            (_progress(results), *notes),
            tuple(f"{name}: {value}" for name, value in results.provenance.items()),
        ),
        *(section for section in tabulated if section.tables),
        *((reading,) if results.outcomes else ()),
    ]


def summary_markdown(results: Results, notes: Iterable[str] = ()) -> str:
    """Return the summary as Markdown.

    Args:
        results: Results of a study, complete or not.
        notes: Further remarks on how the study was run.
    """
    lines = [f"# Study: {escape_markdown(results.study.name)}"]
    for section in sections(results, notes):
        lines.append(f"## {section.title}")
        lines += [escape_markdown(text) for text in section.text]
        if section.items:
            lines.append("\n".join(f"- {escape_markdown(item)}" for item in section.items))
        for table in section.tables:
            cells = (map(escape_markdown, row) for row in table.rows)
            lines.append(f"**{escape_markdown(table.title)}**")
            lines.append(markdown_table(map(escape_markdown, table.header), cells))
    return "\n\n".join(lines) + "\n"


def rows_csv(results: Results) -> str:
    """Return CSV text with one line for every outcome and every failure.

    The columns are study, arm, the factors, seed, test, every metric, and error. A value that does
    not apply is empty, as are all metrics of a failure. A metric with the name of another column is
    called "NAME (value)".
    """
    arms = [outcome.arm for outcome in results.outcomes]
    arms += [failure.arm for failure in results.failures]
    factors = list(dict.fromkeys(name for arm in arms for name in arm.factors))
    metrics = list(dict.fromkeys(name for o in results.outcomes for name in o.values))
    taken = ["study", "arm", *factors, "seed", "test"]
    titles = [f"{name} (value)" if name in taken else name for name in metrics]
    study = results.study.name
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*taken, *titles, "error"])
    for outcome in results.outcomes:
        values = [outcome.values.get(name, math.nan) for name in metrics]
        cells = ["" if math.isnan(value) else value for value in values]
        own = [outcome.arm.factors.get(name, "") for name in factors]
        begin = [study, outcome.arm.label, *own, outcome.seed, outcome.test]
        writer.writerow([*begin, *cells, ""])
    for failure in results.failures:
        own = [failure.arm.factors.get(name, "") for name in factors]
        begin = [study, failure.arm.label, *own, failure.seed, ""]
        writer.writerow([*begin, *[""] * len(metrics), first_line(failure.error)])
    return out.getvalue()


def first_line(error: str) -> str:
    """Return the first line of an error that is not blank, without the traceback."""
    return next((line.strip() for line in error.splitlines() if line.strip()), "unknown")


def escape_markdown(text: str) -> str:
    """Return text on one line, with everything escaped that Markdown would interpret."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|*`":
        line = line.replace(mark, f"\\{mark}")
    return line


def _failures(results: Results) -> tuple[TextTable, ...]:
    rows = tuple((f.arm.label, str(f.seed), first_line(f.error)) for f in results.failures)
    return (TextTable("Failed runs", ("setting", "seed", "error"), rows),) if rows else ()


def _progress(results: Results) -> str:
    done = len({(outcome.arm.label, outcome.seed) for outcome in results.outcomes})
    failed = len(results.failures)
    missing = max(0, results.planned - done - failed)
    text = f"Of {results.planned} runs, {done} are done, {failed} failed and {missing} are missing."
    if missing:
        text += " Run the same study again to continue with the missing runs."
    if failed:
        text += " Failed runs are tried again only on request (retry)."
    return text


def _reading(results: Results, differences: bool) -> tuple[str, ...]:
    view = results.study.view
    parts = {
        "spread": True,
        "differences": differences,
        "intervals": True,
        "power": view.power is not None,
        "limits": True,
        "transductive": any(name.startswith("plan_") for name in view.metrics),
    }
    return tuple(_READING[name] for name, shown in parts.items() if shown)
