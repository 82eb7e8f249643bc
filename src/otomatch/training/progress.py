"""Progress of a run on the console: a bar, a line per epoch, the skipped clips."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from otomatch.datasets.base import Skipped
from otomatch.evaluation.retrieval import RetrievalReport

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # of writing


def printable(text: str) -> str:
    """A text without what would steer a terminal: control characters, changes of direction."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) == "Cc" or c in _TURNS else c
        for c in text
    )


def print_skipped(console: Console, skipped: Sequence[Skipped], most: int = 20) -> None:
    """List what could not be used and why, ``most`` lines at most."""
    for entry in skipped[:most]:
        said = printable(f"{entry.name}: {entry.reason}")
        line = Text.assemble(("skipped ", "yellow"), said)
        console.print(line, soft_wrap=True)
    if len(skipped) > most:
        console.print(Text(f"... and {len(skipped) - most} more", "yellow"))


Show = Callable[[int, int, Mapping[str, float]], None]


def score(report: RetrievalReport) -> float:
    """Sum of recall@1, 5 and 10 over both directions, 0 to 600."""
    both = (report.text_to_audio, report.audio_to_text)
    return sum(value for direction in both for value in direction.recall.values())


def flat(report: RetrievalReport) -> dict[str, float]:
    """Recall in both directions and the modality gap, as columns of the log."""
    values = {"modality_gap": report.modality_gap or 0.0}
    for prefix, direction in (("t2a", report.text_to_audio), ("a2t", report.audio_to_text)):
        values |= {f"{prefix}_r{k}": value for k, value in direction.recall.items()}
    return values


def epoch_line(row: Mapping[str, float], epochs: int, best: int) -> str:
    """One line on an epoch; R@k of text to audio before that of audio to text."""
    return (
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {row['loss']:.3f}  "
        f"R@1 {row['t2a_r1']:.1f} / {row['a2t_r1']:.1f}  "
        f"R@10 {row['t2a_r10']:.1f} / {row['a2t_r10']:.1f}  gap {row['modality_gap']:.2f}  "
        f"{row['seconds']:.0f} s{'  best' if best == row['epoch'] else ''}"
    )


@contextmanager
def progress_bar(console: Console, steps: int, epochs: int) -> Iterator[Show]:
    """A bar over all epochs of ``steps`` steps; call it with epoch, step and the step's values."""
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
