"""What a run minimises: its loss, the mass of it at each step, and the weights of its pairs."""

from collections.abc import Mapping

from torch import Tensor

from otomatch.losses import LOSSES
from otomatch.losses.matching import MatchingLoss
from otomatch.losses.pair_batch import Metric
from otomatch.parallel.process_group import world_size
from otomatch.training.batches import Batch
from otomatch.training.config import Config
from otomatch.training.mismatch.pair_weights import PairEvidence
from otomatch.training.sections import MatchingConfig

TRIMMED_MASS_EPOCHS = 3.0
"""Until cost ranks pairs, trimming would drop right ones."""


class Objective:
    """The training criterion of a run, over the batches of all processes.

    Args:
        config: of the run.
        evidence: the weights of its pairs, where the mass is "auto".
    """

    def __init__(self, config: Config, evidence: PairEvidence | None) -> None:
        settings = config.loss.model_dump(exclude={"name"})
        self.loss = LOSSES[config.loss.name](**settings, gather=world_size() > 1)
        self.settings, self.evidence = config.loss, evidence
        self.mass_epochs = config.schedule.mass_epochs

    def __call__(
        self, audio: Tensor, text: Tensor, metric: Metric, batch: Batch, epochs: float
    ) -> Tensor:
        """The loss of a batch.

        Args:
            audio: (B, D).
            text: (B, D).
            metric: the ground metric.
            batch: which clips and captions they are.
            epochs: passes over the data that have been made, with the part of the present one.
        """
        if self.evidence is None:
            if isinstance(self.loss, MatchingLoss):
                self.loss.mass = self._mass(epochs)
            found: Tensor = self.loss(audio, text, metric, batch.clips)
            return found
        weights = self.evidence.weights[batch.captions.cpu()]
        found = self.loss(audio, text, metric, batch.clips, weights=weights)
        self.evidence.record(batch.clips, batch.captions, audio, text)
        return found

    def _mass(self, epochs: float) -> float | None:
        """A fixed mass is reached from 1 along a straight line."""
        settings = self.settings
        if not isinstance(settings, MatchingConfig) or not isinstance(settings.mass, float):
            return None
        falling = self.mass_epochs
        if falling is None:
            falling = TRIMMED_MASS_EPOCHS if settings.target == "trimmed" else 0.0
        fallen = min(1.0, epochs / falling) if falling else 1.0
        return 1 - fallen * (1 - settings.mass)

    def status(self) -> Mapping[str, float]:
        """What the last plan was like; nothing for a loss without one."""
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
