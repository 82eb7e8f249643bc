"""Progress of a run on the console: a bar, a line per epoch, and the skipped clips."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from otomatch.datasets.base import Skipped

_DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

Show = Callable[[int, int, Mapping[str, float]], None]
"""Shows the number of finished epochs, the steps done in the current one, and a step's figures."""


def printable(text: str) -> str:
    """Escape what would control a terminal: control characters and changes of text direction."""
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) == "Cc" or c in _DIRECTION_MARKS
        else c
        for c in text
    )


def print_skipped(console: Console, skipped: Sequence[Skipped], limit: int = 20) -> None:
    """Print what was skipped and why, at most ``limit`` entries."""
    for entry in skipped[:limit]:
        reason = printable(f"{entry.name}: {entry.reason}")
        console.print(Text.assemble(("skipped ", "yellow"), reason), soft_wrap=True)
    if len(skipped) > limit:
        console.print(Text(f"... and {len(skipped) - limit} more", "yellow"))


def epoch_line(row: Mapping[str, float], epochs: int, best: int) -> str:
    """Return one line about an epoch; text to audio before audio to text."""
    return (
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {row['loss']:.3f}  "
        f"R@1 {row['t2a_r1']:.1f} / {row['a2t_r1']:.1f}  "
        f"R@10 {row['t2a_r10']:.1f} / {row['a2t_r10']:.1f}  gap {row['modality_gap']:.2f}  "
        f"{row['seconds']:.0f} s{'  best' if best == row['epoch'] else ''}"
    )


@contextmanager
def progress_bar(console: Console, steps: int, epochs: int) -> Iterator[Show]:
    """Show a bar over all epochs of ``steps`` steps; nothing if the console is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    hidden = console.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=steps * epochs)

        def show(epoch: int, step: int, values: Mapping[str, float]) -> None:
            text = f"epoch {epoch + 1}/{epochs}  {_describe(values)}"
            bar.update(task, description=text, completed=epoch * steps + step)

        yield show


def _describe(values: Mapping[str, float]) -> str:
    text = f"loss {values['loss']:.3f}"
    if "marginal_error" not in values:
        return text
    iterations, error = values["sinkhorn_iterations"], values["marginal_error"]
    return f"{text}  {iterations:.0f} Sinkhorn iterations  marginal error {error:.0e}"
