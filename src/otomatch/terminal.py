"""What the commands share: JSON for scripts, progress, and the list of what was skipped."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from otomatch.types import Skipped

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]


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
