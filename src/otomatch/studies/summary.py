"""What a study says in words and tables: sections, as Markdown, and rows.csv."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from otomatch.evaluation.tables import markdown_table
from otomatch.studies.results import Results
from otomatch.studies.tables import Table, difference_tables, extra_tables, result_tables
from otomatch.studies.views import view_of

_READING = {
    "": (
        "After ± stands the standard deviation over seeds of the mean over the test sets: how much "
        "one training differs from the next. A setting with one seed has none."
    ),
    "differences": (
        "Judge by the differences, not by whether means overlap: both sides of a difference were "
        "trained with the same seeds and scored on the same clips, and what is hard for both "
        "cancels."
    ),
    "intervals": (
        "An interval in brackets, or as a bar, is a 95 % bootstrap interval. It resamples the "
        "seeds and, independently of them, the clips within each test set (Owen, The pigeonhole "
        "bootstrap, 2007); of S seeds it draws S - 1, or few seeds would look surer than they are "
        "(Rao and Wu, 1988). The resamples' standard deviation is multiplied by a quantile of t "
        "with Satterthwaite's degrees of freedom: where trainings differ more than clips do, few "
        "seeds give a wide interval. Recall and zero-shot accuracy per query are means over clips; "
        "for all other figures the seeds and the test sets are resampled. With one seed it is the "
        "clips or the test sets alone, and says nothing about another training."
    ),
    "power": (
        "An exponent, though, is the slope of a straight line through the logarithms of all "
        "trainings, with a t interval that takes them as independent. It describes these sizes "
        "only; whether they lie on a line at all, the plot shows."
    ),
    "limits": (
        "What the intervals leave out: test sets composed from the same recordings mix the same "
        "sounds, so they are less independent than they look, and an interval speaks of these "
        "recordings, not of others; and all seeds train on the same clips. Of many intervals, one "
        "in twenty misses by chance."
    ),
    "transductive": (
        "Transductive figures rank by one transport plan over the whole test set. They use that "
        "all clips have equally many captions and are not comparable with figures per query."
    ),
}


@dataclass(frozen=True)
class Section:
    """A part of a summary.

    Attributes:
        title: its heading.
        text: paragraphs.
        items: a list below them.
        tables: below that.
    """

    title: str
    text: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def sections(results: Results, notes: Iterable[str] = ()) -> list[Section]:
    """All that a summary says, in order.

    Args:
        results: of a study, complete or not.
        notes: more to say on how it was run.
    """
    run = Section(
        "What was run",
        (*_progress(results), *notes),
        tuple(f"{name}: {value}" for name, value in results.about.items()),
    )
    found = Section("Results", tables=tuple(result_tables(results)))
    differences = Section("Differences", tables=tuple(difference_tables(results)))
    extra = Section("Beside the grid", tables=tuple(extra_tables(results.extra)))
    rows = tuple((f.arm.label, str(f.seed), first_line(f.error)) for f in results.failures)
    failures = Section(
        "Failures", tables=(Table("Runs that failed", ("setting", "seed", "error"), rows),)
    )
    reading = Section("How to read this", _reading(results, bool(differences.tables)))
    return [
        Section("What is asked", (results.question,)),
        run,
        *(part for part in (found, differences, extra) if part.tables),
        *((failures,) if rows else ()),
        *((reading,) if results.outcomes else ()),
    ]


def summary_markdown(results: Results, notes: Iterable[str] = ()) -> str:
    """The summary as Markdown.

    Args:
        results: of a study, complete or not.
        notes: more to say on how it was run.
    """
    lines = [f"# Study: {escape_markdown(results.study)}"]
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
    """A line for every outcome and every failure, as CSV.

    The columns are study, arm, the factors, seed, test, every metric, and error. A value that does
    not apply is empty, in the lines of failures all of them. A metric that is called as a factor is
    "NAME (value)".
    """
    arms = [outcome.arm for outcome in results.outcomes]
    arms += [failure.arm for failure in results.failures]
    factors = list(dict.fromkeys(name for arm in arms for name in arm.factors))
    metrics = list(dict.fromkeys(name for o in results.outcomes for name in o.values))
    taken = ["study", "arm", *factors, "seed", "test"]
    titles = [f"{name} (value)" if name in taken else name for name in metrics]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*taken, *titles, "error"])
    for outcome in results.outcomes:
        values = [outcome.values.get(name, math.nan) for name in metrics]
        cells = ["" if math.isnan(value) else value for value in values]
        own = [outcome.arm.factors.get(name, "") for name in factors]
        begin = [results.study, outcome.arm.label, *own, outcome.seed, outcome.test]
        writer.writerow([*begin, *cells, ""])
    for failure in results.failures:
        own = [failure.arm.factors.get(name, "") for name in factors]
        begin = [results.study, failure.arm.label, *own, failure.seed, ""]
        writer.writerow([*begin, *[""] * len(metrics), first_line(failure.error)])
    return out.getvalue()


def first_line(error: str) -> str:
    """The first line of an error that says anything; what follows is its traceback."""
    return next((line.strip() for line in error.splitlines() if line.strip()), "unknown")


def escape_markdown(text: str) -> str:
    """Text as it is, on one line: nothing in it ends a cell or is taken for markup."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|*`":
        line = line.replace(mark, f"\\{mark}")
    return line


def _progress(results: Results) -> tuple[str, ...]:
    done = len({(outcome.arm.label, outcome.seed) for outcome in results.outcomes})
    failed = len(results.failures)
    missing = max(0, results.planned - done - failed)
    told = f"Of {results.planned} runs, {done} are done, {failed} failed and {missing} are missing."
    if missing:
        told += " The same command, given again, goes on with those that are missing."
    if failed:
        told += " With --retry it also tries those that failed again."
    return (told,)


def _reading(results: Results, differences: bool) -> tuple[str, ...]:
    view = view_of(results.study)
    parts = {
        "": True,
        "differences": differences,
        "intervals": True,
        "power": view.power is not None,
        "limits": True,
        "transductive": any(name.startswith("plan_") for name in view.metrics),
    }
    return tuple(_READING[name] for name, shown in parts.items() if shown)
