"""One step of training: projected gradient descent on the loss of a batch."""

import math

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from otomatch.errors import DivergedError, InvalidInputError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.parallel import process_group
from otomatch.training.augmentation import spec_augment
from otomatch.training.batches import Batch, BatchLoader
from otomatch.training.config import Config
from otomatch.training.data import TrainingData
from otomatch.training.diagnostics import gradient_norms
from otomatch.training.objective import Objective
from otomatch.training.optim import Accumulation, rate_factor


class TrainingStep:
    """Step of training: the gradient of a batch, and an update of the weights if one is due.

    Dropout and SpecAugment depend on the seed, epoch and step alone, so that a resumed run makes
    the same choices.

    Args:
        config: Configuration of the run.
        accelerator: Device and mixed precision.
        model: Model to train.
        data: Data of the run.
        loader: Batches of an epoch.
        objective: Loss.
        optimizer: Optimiser as `Accelerator.prepare` returns it.
        peaks: Peak learning rate of each of its parameter groups.
    """

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        model: AudioTextModel,
        data: TrainingData,
        loader: BatchLoader,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        peaks: list[float],
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.model, self.data, self.loader, self.objective = model, data, loader, objective
        self.optimizer, self.peaks = optimizer, peaks
        self.accumulation = Accumulation(config.optim.accumulate, len(loader))

    def __call__(self, batch: Batch, epoch: int, step: int) -> dict[str, float]:
        """Train on a batch.

        Args:
            batch: Pairs of this process.
            epoch: Number of finished epochs.
            step: Number of batches done in the current epoch.

        Returns:
            Figures to log: the loss, the solver's status, and after an update the norm of the
            gradient, whole and by part of the model.

        Raises:
            DivergedError: The loss or the gradient is not finite.
        """
        self._set_learning_rates(epoch, step)
        loss = self._loss(batch, epoch, step)
        if not math.isfinite(loss.item()):
            raise divergence(self.config, epoch, step, f"the loss is {loss.item()}")
        self.accelerator.backward(loss / self.accumulation.batches(step))
        values = {"loss": loss.item(), **self.objective.status()}
        if not self.accumulation.updates_after(step):
            return values
        return values | self._update(epoch, step)

    def _set_learning_rates(self, epoch: int, step: int) -> None:
        total = len(self.loader) * self.config.optim.epochs
        factor = rate_factor(epoch * len(self.loader) + step, total, self.config.optim.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def _loss(self, batch: Batch, epoch: int, step: int) -> Tensor:
        sounds, lengths = self._audio_input(batch, self._seed(epoch, step), step)
        with self.accelerator.autocast():
            captions = self.data.text_input(batch.captions, sounds.device)
            audio, text = self.model(sounds, lengths, captions)
        epochs = epoch + step / len(self.loader)
        try:
            return self.objective(audio, text, self.model.ground, batch, epochs)
        except InvalidInputError as error:
            raise divergence(self.config, epoch, step, str(error)) from error

    def _seed(self, epoch: int, step: int) -> np.random.Generator:
        """Seed dropout; return the generator for SpecAugment."""
        place = [self.config.run.seed, epoch, step]
        own = [process_group.rank()] if process_group.rank() else []
        torch.manual_seed(int(np.random.SeedSequence([*place, 2, *own]).generate_state(1)[0]))
        return np.random.default_rng([*place, 3])

    def _audio_input(
        self, batch: Batch, rng: np.random.Generator, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return features with SpecAugment, or a frozen encoder's outputs, and their lengths."""
        device = self.accelerator.device
        if self.data.encoded:  # the output for one window
            return batch.features[:, 0].to(device), batch.lengths.to(device)
        masked = spec_augment(
            batch.features,
            batch.lengths,
            rng,
            **self.config.augment.model_dump(),
            place=self.loader.place(step),
        )
        return masked.to(device), batch.lengths.to(device)

    def _update(self, epoch: int, step: int) -> dict[str, float]:
        """Take a projected gradient step; return the norms of the gradient."""
        process_group.average_gradients(self.model.parameters())
        self.accelerator.unscale_gradients()
        parts = gradient_norms(self.model)
        clip = self.config.optim.clip_norm
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), clip).item()
        # In float16 the gradient scaler skips such a step and lowers its scale.
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise divergence(self.config, epoch, step, f"the norm of the gradient is {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.ground.project_()
        return {"grad_norm": norm, **{name: value.item() for name, value in parts.items()}}


def divergence(config: Config, epoch: int, step: int, cause: str) -> DivergedError:
    """Return the error of a run that diverged after ``epoch`` epochs and ``step`` steps."""
    return DivergedError(
        f"training diverged at epoch {epoch + 1}, step {step + 1}: {cause}; lower the learning "
        f"rate (now {config.optim.lr}) or lengthen the warm-up"
    )
