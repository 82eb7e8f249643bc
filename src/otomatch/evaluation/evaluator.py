"""Evaluate a model on a data set: per-query ranking first, the transductive plan beside it."""

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

# One value for every loss, so that the transductive figures can be compared.
PLAN_EPSILON = 0.05
PLAN_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Evaluation(RetrievalReport):
    """A `RetrievalReport` that says what it was measured on.

    Attributes:
        dataset: name of the data set.
        skipped: rows and files that could not be used, and why.
    """

    dataset: str = ""
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON."""
        skipped = [{"name": entry.name, "reason": entry.reason} for entry in self.skipped]
        return {"dataset": self.dataset, **super().to_dict(), "skipped": skipped}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo `to_dict`. Raises InvalidInputError for a missing or malformed field."""
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
    """Measure retrieval in both directions, and the modality gap.

    Where several processes have joined (torchrun), all of them must call it; they share the work
    and get the same report.

    Args:
        model: any model.
        dataset: an open data set, or what `open_dataset` opens.
        ks: values of k for recall@k.
        map_ks: values of k for mAP@k.
        epsilon: entropic regularisation of the transductive plan, in units of the largest
            distance.
        progress: show progress bars.

    Returns:
        Per-query figures; the transductive ones are in ``transductive``.

    Raises:
        DatasetError: no clip has a caption, or none could be read.
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
    """Rank by the model's distance, query by query.

    The modality gap is that of the unit vectors: there every metric is on the same scale.

    Args:
        model: whose ground metric ranks.
        audio: unit vectors (n, D).
        text: unit vectors (m, D).
        text_clip: (m,) row of ``audio`` that each caption describes.
        ks: values of k for recall@k.
        map_ks: values of k for mAP@k.
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
    """Logarithm of the transport plan between all of both, uniform marginals.

    Args:
        model: whose ground metric gives the cost.
        audio: unit vectors (n, D).
        text: unit vectors (m, D).
        epsilon: entropic regularisation, in units of the largest distance.

    Returns:
        Scores (n, m), exact to `PLAN_TOLERANCE`.
    """
    cost = model.distance(audio, text)
    return sinkhorn(cost / cost.max().clamp_min(torch.finfo(cost.dtype).tiny), epsilon).log_plan
