"""Watches a run: hands its log on to TensorBoard and the like, and warns of known failures."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from otomatch.training.config import Config
from otomatch.training.diagnostics import Setting, TrainingWarning, failures
from otomatch.training.trackers import Tracker, trackers


class Monitor:
    """Follows the log of a run, on the process that leads it; use it in a ``with`` statement.

    Args:
        config: of the run.
        run: its folder.
        batch: pairs in a batch.
        epoch: epochs done; figures of later ones, left by a kill, are taken back.
        active: whether this process leads a run that is not finished; else nothing happens.
    """

    def __init__(self, config: Config, run: Path, batch: int, epoch: int, active: bool) -> None:
        self.config, self.run, self.epoch, self.active = config, run, epoch, active
        rank = getattr(config.ground, "rank", config.model.dim)
        self.setting = Setting(batch=batch, rank=rank, noise=config.data.noise)
        self._trackers: list[Tracker] = []

    def __enter__(self) -> Self:
        if self.active:
            settings, project = self.config.model_dump(), self.config.run.wandb
            self._trackers = trackers(self.run, self.epoch + 1, settings, project)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for tracker in self._trackers:
            tracker.close()

    def follow(self, log: Sequence[Mapping[str, float]], warned: list[str]) -> None:
        """Hand on the last row of the log, and warn of what it shows, once each.

        Args:
            log: a row per epoch.
            warned: names of the failures warned of so far; new ones are added.
        """
        if not self.active:
            return
        for tracker in self._trackers:
            tracker.log(int(log[-1]["epoch"]), log[-1])
        for name, message in failures(log, self.setting).items():
            if name not in warned:
                warned.append(name)
                warnings.warn(message, TrainingWarning, stacklevel=2)
