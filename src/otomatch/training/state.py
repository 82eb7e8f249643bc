"""Progress of a run, as its checkpoints store it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class RunState:
    """Progress of a run.

    Attributes:
        epoch: Number of finished epochs.
        step: Number of batches done in the current epoch.
        best_score: Highest validation score so far; -1 before the first.
        best_epoch: Epoch with that score, from 1; 0 before the first.
        finished: True once the last epoch, or the patience, has passed.
        sums: Sums of the current epoch's figures over its steps.
        counts: Number of summands of each of these.
        log: Row of every finished epoch, as in log.csv.
        warned: Names of the failures that have been warned of.
    """

    epoch: int = 0
    step: int = 0
    best_score: float = -1.0
    best_epoch: int = 0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, float]) -> None:
        """Add a step's figures to the sums of its epoch."""
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
            self.counts[key] = self.counts.get(key, 0) + 1

    def epoch_figures(self) -> dict[str, float]:
        """Return the mean of each figure over the epoch's steps; of ``data_wait``, the sum."""
        means = {key: value / self.counts[key] for key, value in self.sums.items()}
        return means | {"data_wait": self.sums["data_wait"]}

    def end_epoch(self, row: dict[str, float], epochs: int, patience: int) -> bool:
        """Move on to the next epoch.

        Args:
            row: Row of the epoch in the log, with its ``score``.
            epochs: Number of epochs after which the run is finished.
            patience: Number of epochs without a better score after which it is; 0 for no limit.

        Returns:
            True if the epoch has the best score so far.
        """
        self.log.append(row)
        self.epoch, self.step, self.sums, self.counts = self.epoch + 1, 0, {}, {}
        improved = row["score"] > self.best_score
        if improved:
            self.best_score, self.best_epoch = row["score"], self.epoch
        waited = self.epoch - self.best_epoch
        self.finished = self.epoch >= epochs or 0 < patience <= waited
        return improved
