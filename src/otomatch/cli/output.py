"""Output that the commands share: reports as tables or JSON, warnings, progress, skipped files."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from otomatch.cli.remedies import warning_message
from otomatch.errors import ConfigError

if TYPE_CHECKING:  # torch loads slowly; --help must not
    from otomatch.datasets import CaptionDataset
    from otomatch.datasets.base import Skipped
    from otomatch.evaluation.classification import ClassificationReport
    from otomatch.evaluation.retrieval import RetrievalReport

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]


def show_warnings_plainly() -> None:
    """Show otomatch's own warnings as one message, without file and line, from now on."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if "otomatch" in Path(filename).parts:
            text = f"[bold yellow]warning:[/] {escape(warning_message(message))}"
            Console(stderr=True).print(text, soft_wrap=True)
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def list_skipped(skipped: "Sequence[Skipped]") -> None:
    """List skipped rows and files with their reasons on standard error."""
    if skipped:
        from otomatch.training.progress import print_skipped

        print_skipped(Console(stderr=True), skipped)


def list_reasons(skipped: "Sequence[Skipped]", listed: Path | None) -> None:
    """List skipped files by reason on standard error."""
    if skipped:
        from otomatch.cli.tables import print_reasons

        print_reasons(Console(stderr=True), skipped, listed)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback ``(done, total)`` that moves a progress bar, if stderr is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def device() -> str:
    """Return the device that models compute on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def in_split(dataset: "CaptionDataset", split: str | None) -> "CaptionDataset":
    """Return the requested split, or else the test split if there is one, or else all clips."""
    split = split or ("test" if "test" in dataset.splits else None)
    return dataset.select(split) if split else dataset


def integers(option: str, text: str) -> list[int]:
    """Parse the value of an option that lists whole numbers, such as 1,2,3.

    Raises:
        ConfigError: The value is no such list.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: expected whole numbers like 1,2,3, got {text!r}") from None


def show_retrieval(report: "RetrievalReport", title: str, as_json: bool) -> None:
    """Print a retrieval report."""
    if as_json:
        print_json(report.to_dict())
    else:
        from otomatch.evaluation.tables import retrieval_table

        Console().print(retrieval_table(report, title))


def show_classification(report: "ClassificationReport", title: str, as_json: bool) -> None:
    """Print a classification report."""
    if as_json:
        print_json(report.to_dict())
    else:
        from otomatch.evaluation.tables import classes_table, classification_table

        Console().print(classification_table(report, title), classes_table(report))
