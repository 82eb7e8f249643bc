"""The objective of a run: its loss, the mass of the plan at each step, the weights of the pairs."""

from collections.abc import Mapping

from torch import Tensor

from otomatch.losses import LOSSES
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.pair_batch import Metric
from otomatch.parallel.process_group import world_size
from otomatch.training.batches import Batch
from otomatch.training.config import Config
from otomatch.training.mismatch.pair_weights import PairWeights
from otomatch.training.sections import MatchingConfig

TRIMMED_MASS_EPOCHS = 3.0
"""Default epochs until a trimmed target has its final mass. Trimming drops the pairs of highest
cost, and before that the cost does not tell matched pairs from mismatched ones."""


class Objective:
    """Training criterion of a run, over the batches of all processes.

    Args:
        config: Configuration of the run.
        pair_weights: Weights of the training pairs; None if the mass is not estimated.
    """

    def __init__(self, config: Config, pair_weights: PairWeights | None) -> None:
        settings = config.loss.model_dump(exclude={"name"})
        self.loss = LOSSES[config.loss.name](**settings, gather=world_size() > 1)
        self.config, self.pair_weights = config, pair_weights

    def __call__(
        self, audio: Tensor, text: Tensor, metric: Metric, batch: Batch, epochs: float
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            audio: Audio embeddings, (B, D).
            text: Text embeddings, (B, D).
            metric: Ground metric.
            batch: Clips and captions of the rows.
            epochs: Number of passes over the data so far, including the part of the current one.
        """
        if self.pair_weights is None:
            if isinstance(self.loss, MatchingLoss):
                self.loss.mass = self._mass(epochs)
            loss: Tensor = self.loss(audio, text, metric, batch.clips)
            return loss
        weights = self.pair_weights.weights[batch.captions.cpu()]
        loss = self.loss(audio, text, metric, batch.clips, weights=weights)
        self.pair_weights.record(batch.clips, batch.captions, audio, text)
        return loss

    def _mass(self, epochs: float) -> float | None:
        """Return the mass now; a fixed mass is reached from 1 linearly."""
        loss = self.config.loss
        if not isinstance(loss, MatchingConfig) or not isinstance(loss.mass, float):
            return None
        falling = self.config.schedule.mass_epochs
        if falling is None:
            falling = TRIMMED_MASS_EPOCHS if loss.target == "trimmed" else 0.0
        fallen = min(1.0, epochs / falling) if falling else 1.0
        return 1 - fallen * (1 - loss.mass)

    def status(self) -> Mapping[str, float]:
        """Return figures about the last plan; none for a loss without a plan."""
        last = self.loss.last if isinstance(self.loss, MatchingLoss) else None
        if last is None:
            return {}
        return {
            "sinkhorn_iterations": last.iterations,
            "marginal_error": last.error,
            "converged": float(last.converged),
            "plan_entropy": last.entropy,
            "diagonal_mass": last.diagonal_mass,
        }
