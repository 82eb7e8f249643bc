"""A run's figures for TensorBoard and, where asked for, Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from otomatch.errors import MissingDependencyError

FOLDER = "tensorboard"


class Tracker(Protocol):
    """Where the figures of an epoch go."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the figures of an epoch, counted from 1."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def trackers(run: Path, first_epoch: int, settings: dict[str, Any], project: str) -> list[Tracker]:
    """The trackers of a run.

    Args:
        run: its folder.
        first_epoch: the next epoch, from 1; a resumed run takes back what came after.
        settings: its configuration.
        project: of Weights & Biases; empty for none.

    Raises:
        MissingDependencyError: a project is named and wandb is not installed.
    """
    found: list[Tracker] = [TensorBoard(run, first_epoch)]
    if project:
        found.append(WeightsAndBiases(run, settings, project))
    return found


class TensorBoard:
    """Event files in ``tensorboard/`` of the run's folder; see them with: tensorboard --logdir."""

    def __init__(self, run: Path, first_epoch: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run / FOLDER), purge_step=first_epoch)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add a scalar for every figure."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the same name in a project of Weights & Biases; a resumed run is continued."""

    def __init__(self, run: Path, settings: dict[str, Any], project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError(
                "run.wandb names a project, but wandb is not installed; install it with: "
                "pip install wandb, or leave run.wandb empty"
            ) from error
        self._run = wandb.init(
            project=project, name=run.name, id=run.name, dir=str(run), config=settings,
            resume="allow",
        )  # fmt: skip

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Send the figures."""
        self._run.log(dict(values), step=epoch)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()
