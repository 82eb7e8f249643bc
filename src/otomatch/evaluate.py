"""Evaluate a model on a data set: per-query ranking first, the transductive plan beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from otomatch import processes
from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.embed import EmbeddedClips, embed_clips, text_states
from otomatch.errors import DatasetError, InvalidInputError
from otomatch.model import AudioTextModel
from otomatch.retrieval import (
    MAP_KS,
    RECALL_KS,
    RetrievalReport,
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
from otomatch.transport import sinkhorn
from otomatch.types import Clip, Skipped

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
    pairs = embed_pairs(model, dataset, progress)
    report = score_embeddings(model, pairs.audio, pairs.text, pairs.text_clip, ks, map_ks)
    plan = _score_transductively(model, pairs, ks, map_ks, epsilon)
    return Evaluation(
        **{**vars(report), "transductive": plan},
        dataset=dataset.name,
        skipped=dataset.skipped + pairs.skipped,
    )


@dataclass(frozen=True)
class EmbeddedPairs:
    """Embeddings of the clips that could be read and have captions, and of their captions.

    Attributes:
        audio: unit vectors, float32 (n, D).
        text: unit vectors, float32 (m, D).
        text_clip: (m,) row of ``audio`` that each caption describes.
        skipped: the clips that could not be read, and why.
    """

    audio: Tensor
    text: Tensor
    text_clip: list[int]
    skipped: tuple[Skipped, ...]


def embed_pairs(
    model: AudioTextModel, dataset: CaptionDataset, progress: bool = False
) -> EmbeddedPairs:
    """Embed all clips of a data set and their captions; several processes share the work.

    Args:
        model: any model.
        dataset: clips with captions; a clip that cannot be read is left out with its captions.
        progress: show progress bars.

    Raises:
        DatasetError: no clip has a caption, or none could be read.
    """
    embedded = embed_sounds(model, dataset.clips, progress)
    row_of = {clip: row for row, clip in enumerate(embedded.rows)}
    pairs = [
        (caption, row_of[clip])
        for caption, clip in zip(dataset.captions, dataset.caption_clip, strict=True)
        if clip in row_of
    ]
    if not pairs:
        first = f"; the first: {embedded.skipped[0].reason}" if embedded.skipped else ""
        raise DatasetError(
            f"{dataset.name}: nothing to evaluate: of {len(dataset)} clips, "
            f"{len(embedded.rows)} could be read and none of those has a caption{first}"
        )
    captions, text_clip = map(list, zip(*pairs, strict=True))
    text = embed_captions(model, captions, progress)
    return EmbeddedPairs(embedded.vectors, text, text_clip, embedded.skipped)


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


def embed_sounds(model: AudioTextModel, clips: Sequence[Clip], progress: bool) -> EmbeddedClips:
    """`embed_clips`; of several processes, each takes a share."""

    def work(rows: Sequence[int]) -> EmbeddedClips:
        first = processes.rank() == 0
        found = embed_clips(model, [clips[row] for row in rows], progress and first)
        return replace(found, rows=[rows[row] for row in found.rows])

    parts: list[EmbeddedClips] = processes.spread(range(len(clips)), work)
    return EmbeddedClips(
        torch.cat([part.vectors for part in parts]),
        [row for part in parts for row in part.rows],
        tuple(entry for part in parts for entry in part.skipped),
    )


def embed_captions(model: AudioTextModel, captions: Sequence[str], progress: bool) -> Tensor:
    """Unit vectors (m, D) of captions; of several processes, each takes a share."""

    def work(part: Sequence[str]) -> Tensor:
        if model.text_encoder.trainable:
            return model.embed_text(part)
        shown = progress and processes.rank() == 0
        return model.embed_text_states(text_states(model.text_encoder, part, progress=shown))

    return torch.cat(processes.spread(captions, work))
