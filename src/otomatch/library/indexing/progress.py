"""How far an indexing run is: a bar on a terminal, a line now and then elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 30.0  # seconds between lines


class IndexProgress:
    """Shows files, rates, time left and what was skipped; a context manager.

    Args:
        shown: whether to show anything.
        console: where.
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
        self._started = self._said = time.monotonic()
        self._total = self._files = self._skipped = 0
        self._seconds = 0.0

    def __enter__(self) -> "IndexProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, files: int) -> None:
        """So many files are to be read."""
        self._total += files
        self._bar.update(self._task, total=self._total)

    def heard(self, seconds: float) -> None:
        """So much more sound has been embedded."""
        self._seconds += seconds
        self._show()

    def finished(self, skipped: bool) -> None:
        """One more file is done, or skipped."""
        self._files += 1
        self._skipped += skipped
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        elapsed = max(now - self._started, 1e-3)
        rates = f"{self._files / elapsed:.1f} files/s, {self._seconds / elapsed:.0f} x real time"
        self._bar.update(self._task, completed=self._files, rates=rates, skipped=self._skipped)
        if self._lines and now - self._said >= _EVERY:
            self._said = now
            left = elapsed / max(self._files, 1) * (self._total - self._files)
            self._console.print(
                f"{self._files} of {self._total} files, {rates}, {self._skipped} skipped, "
                f"about {left / 60:.0f} min left",
                soft_wrap=True,
                highlight=False,
            )
