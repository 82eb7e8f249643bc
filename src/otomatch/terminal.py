"""What the commands share: JSON for scripts, progress, and the list of what was skipped."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from otomatch.types import Skipped

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]


def show_warnings_plainly() -> None:
    """From now on show otomatch's own warnings as one message, without file and line."""
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
            text = f"[bold yellow]warning:[/] {escape(str(message))}"
            Console(stderr=True).print(text, soft_wrap=True)
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def print_json(value: object) -> None:
    """Print a value as JSON, on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def list_skipped(skipped: Sequence[Skipped]) -> None:
    """List what could not be used and why, on standard error."""
    if skipped:
        from otomatch.report import print_skipped

        print_skipped(Console(stderr=True), skipped)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, where standard error is a terminal; takes what is done, and the total."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
