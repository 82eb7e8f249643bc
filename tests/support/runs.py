"""Helpers shared by the tests of training runs."""

import csv
from pathlib import Path

from rich.console import Console

QUIET = Console(quiet=True)
STILL = (
    "augment.time_masks=0",
    "augment.band_masks=0",
    "model.dropout=0",
    "audio.settings.dropout=0",
)
"""Overrides that leave nothing random in the forward pass."""


def run_log(run: Path) -> list[dict[str, float]]:
    """Return the rows of a run's log."""
    with (run / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
