"""Counts and progress of an indexing run: a bar on a terminal, a line now and then elsewhere."""

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 30.0


@dataclass(slots=True)
class Tally:
    """Counts of a run so far; see `IndexReport`."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0


class IndexProgress:
    """Display of files, rates, remaining time and skipped files; a context manager.

    Args:
        shown: False to display nothing.
        console: Console to use; None for standard error.
    """

    def __init__(self, shown: bool, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._lines = shown and not self._console.is_terminal
        self._bar = Progress(
            TextColumn("Indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[skipped]} skipped"),
            console=self._console,
            transient=True,
            disable=not (shown and self._console.is_terminal),
        )
        self._task = self._bar.add_task("", total=None, rates="", skipped=0)
        self._started = self._last_line = time.monotonic()
        self._total = self._files = self._skipped = 0
        self._seconds = 0.0

    def __enter__(self) -> "IndexProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, files: int) -> None:
        """Add to the number of files to read."""
        self._total += files
        self._bar.update(self._task, total=self._total)

    def embedded(self, seconds: float) -> None:
        """Add to the seconds of sound that have been embedded."""
        self._seconds += seconds
        self._show()

    def finished(self, skipped: bool) -> None:
        """Count a file that has been read or skipped."""
        self._files += 1
        self._skipped += skipped
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        elapsed = max(now - self._started, 1e-3)
        rates = f"{self._files / elapsed:.1f} files/s, {self._seconds / elapsed:.0f} x real time"
        self._bar.update(self._task, completed=self._files, rates=rates, skipped=self._skipped)
        if self._lines and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = elapsed / max(self._files, 1) * (self._total - self._files)
            self._console.print(
                f"{self._files} of {self._total} files, {rates}, {self._skipped} skipped, "
                f"about {left / 60:.0f} min left",
                soft_wrap=True,
                highlight=False,
            )
