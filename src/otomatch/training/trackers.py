"""The figures of a run in TensorBoard and, if a project is given, in Weights & Biases."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from otomatch.errors import MissingDependencyError
from otomatch.training.config import Config

FOLDER = "tensorboard"

Track = Callable[[Mapping[str, float]], None]
"""Sends the row of an epoch, with its ``epoch``, to every tracker."""


class Tracker(Protocol):
    """Destination of the figures of each epoch."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the figures of an epoch, counted from 1."""
        ...

    def close(self) -> None:
        """Write what is buffered."""
        ...


@contextmanager
def tracking(run: Path, first_epoch: int, config: Config, active: bool = True) -> Iterator[Track]:
    """Open the trackers of a run, and close them at the end.

    Args:
        run: Folder of the run.
        first_epoch: Next epoch, from 1. Figures of this and later epochs, which a killed process
            left, are discarded.
        config: Configuration of the run, with the Weights & Biases project if there is one.
        active: False to track nothing.

    Raises:
        MissingDependencyError: A project is given and wandb is not installed.
    """
    trackers: list[Tracker] = []
    with ExitStack() as stack:
        if active:
            trackers.append(TensorBoard(run, first_epoch))
            stack.callback(trackers[-1].close)
            if config.run.wandb:
                trackers.append(WeightsAndBiases(run, config.model_dump(), config.run.wandb))
                stack.callback(trackers[-1].close)

        def track(row: Mapping[str, float]) -> None:
            for tracker in trackers:
                tracker.log(int(row["epoch"]), row)

        yield track


class TensorBoard:
    """Event files in ``tensorboard/`` of the run; show them with ``tensorboard --logdir RUN``."""

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
    """Run of the same name in a Weights & Biases project; a resumed run continues it."""

    def __init__(self, run: Path, settings: dict[str, Any], project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError(
                f"the Weights & Biases project {project!r} is given, but wandb is not installed; "
                "install it with: pip install wandb, or train without a project"
            ) from error
        self._run = wandb.init(
            project=project, name=run.name, id=run.name, dir=str(run), config=settings,
            resume="allow",
        )  # fmt: skip

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Send the figures of an epoch."""
        self._run.log(dict(values), step=epoch)

    def close(self) -> None:
        """Send what is buffered, and end the run."""
        self._run.finish()
