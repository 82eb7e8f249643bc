"""Evaluation of a model on a data set, per query and with a transductive plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError
from otomatch.evaluation.retrieval import (
    MAP_KS,
    RECALL_KS,
    RetrievalReport,
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import EmbeddedPairs, embed_dataset
from otomatch.transport.solvers import sinkhorn

PLAN_EPSILON = 0.05
"""Epsilon of transductive plans, the same for every loss so that results are comparable."""
PLAN_TOLERANCE = 1e-5
"""Accuracy of the scores of `plan_scores`, within which scores tie."""


@dataclass(frozen=True)
class Evaluation(RetrievalReport):
    """A `RetrievalReport` with the data set it was measured on.

    Attributes:
        dataset: Name of the data set.
        skipped: Rows and files that could not be used, with reasons.
    """

    dataset: str = ""
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can store."""
        skipped = [{"name": entry.name, "reason": entry.reason} for entry in self.skipped]
        return {"dataset": self.dataset, **super().to_dict(), "skipped": skipped}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Create a report from the result of `to_dict`.

        Raises:
            InvalidInputError: If a field is missing or malformed.
        """
        report = RetrievalReport.from_dict(data)
        try:
            dataset = str(data["dataset"])
            skipped = tuple(Skipped(entry["name"], entry["reason"]) for entry in data["skipped"])
        except (KeyError, TypeError) as error:
            raise InvalidInputError(
                f"the evaluation has no list of skipped files or no data set ({error!r}); "
                "expected what to_dict() returns"
            ) from error
        return cls(**vars(report), dataset=dataset, skipped=skipped)


def evaluate(
    model: AudioTextModel,
    dataset: CaptionDataset | str | Path,
    *,
    ks: Sequence[int] = RECALL_KS,
    map_ks: Sequence[int] = MAP_KS,
    epsilon: float = PLAN_EPSILON,
    progress: bool = False,
) -> Evaluation:
    """Evaluate retrieval in both directions, and the modality gap.

    In a process group (torchrun), all processes must call this; they share the work and get the
    same report.

    Args:
        model: Model to evaluate.
        dataset: Open data set, or a reference that `open_dataset` accepts.
        ks: Values of k for recall@k.
        map_ks: Values of k for mAP@k.
        epsilon: Entropic regularisation of the transductive plan, in units of the largest
            distance.
        progress: True to show progress bars.

    Returns:
        Results per query; ``transductive`` holds the transductive ones.

    Raises:
        DatasetError: If no clip has a caption, or none can be read.
    """
    if not isinstance(dataset, CaptionDataset):
        dataset = open_dataset(dataset)
    pairs = embed_dataset(model, dataset, progress=progress)
    report = score_embeddings(model, pairs.audio, pairs.text, pairs.text_clip, ks, map_ks)
    plan = _score_transductively(model, pairs, ks, map_ks, epsilon)
    return Evaluation(
        **{**vars(report), "transductive": plan},
        dataset=dataset.name,
        skipped=dataset.skipped + pairs.skipped,
    )


def score_embeddings(
    model: AudioTextModel,
    audio: Tensor,
    text: Tensor,
    text_clip: Sequence[int],
    ks: Sequence[int] = RECALL_KS,
    map_ks: Sequence[int] = MAP_KS,
) -> RetrievalReport:
    """Evaluate embeddings per query by the model's distance.

    The modality gap is that of the unit vectors, on which all metrics have the same scale.

    Args:
        model: Model whose ground metric is used.
        audio: Unit vectors (n, D).
        text: Unit vectors (m, D).
        text_clip: (m,) row of ``audio`` that each caption describes.
        ks: Values of k for recall@k.
        map_ks: Values of k for mAP@k.
    """
    report = evaluate_embeddings(model.whiten(audio), model.whiten(text), text_clip, ks, map_ks)
    return replace(report, modality_gap=modality_gap(audio, text))


def _score_transductively(
    model: AudioTextModel,
    pairs: EmbeddedPairs,
    ks: Sequence[int],
    map_ks: Sequence[int],
    epsilon: float,
) -> RetrievalReport:
    scores = plan_scores(model, pairs.audio, pairs.text, epsilon)
    return evaluate_scores(scores, pairs.text_clip, ks, map_ks, PLAN_TOLERANCE)


def plan_scores(model: AudioTextModel, audio: Tensor, text: Tensor, epsilon: float) -> Tensor:
    """Return the logarithm of the transport plan between all rows, with uniform marginals.

    Args:
        model: Model whose ground metric is the cost.
        audio: Unit vectors (n, D).
        text: Unit vectors (m, D).
        epsilon: Entropic regularisation, in units of the largest distance.

    Returns:
        Scores (n, m), accurate to `PLAN_TOLERANCE`.
    """
    cost = model.distance(audio, text)
    return sinkhorn(cost / cost.max().clamp_min(torch.finfo(cost.dtype).tiny), epsilon).log_plan
