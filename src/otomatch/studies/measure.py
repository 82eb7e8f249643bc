"""What is measured of a trained cell on a test set: figures, and the values behind them by clip."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from otomatch.classification import classify_scores
from otomatch.datasets import CaptionDataset
from otomatch.evaluate import (
    PLAN_EPSILON,
    PLAN_TOLERANCE,
    EmbeddedPairs,
    embed_pairs,
    embed_sounds,
    plan_scores,
)
from otomatch.gap import modality_gaps
from otomatch.model import AudioTextModel
from otomatch.ranks import Ranks, rank_embeddings
from otomatch.retrieval import RECALL_KS, RetrievalReport, evaluate_scores, summarise
from otomatch.studies.data import TestSet
from otomatch.studies.results import Floats
from otomatch.zeroshot import PROMPT, embed_classes

_ROUNDING = 1e-6
"""Distances of float32 vectors that are no further apart tie, which counts against the model."""

VERSION = 1
"""Of what `measure` measures; a cell that was measured by another is measured again."""


@dataclass(frozen=True)
class Measurement:
    """Figures by name, and for some the values by clip whose mean they are."""

    values: Mapping[str, float]
    per_clip: Mapping[str, Floats]


def measure(model: AudioTextModel, test: TestSet) -> Measurement:
    """Retrieval per query and by the transductive plan, the modality gap, zero-shot accuracy.

    Args:
        model: a trained model.
        test: what to measure it on.

    Raises:
        DatasetError: none of the clips can be used.
    """
    pairs = embed_pairs(model, test.clips)
    ranks = rank_embeddings(model.whiten(pairs.audio), model.whiten(pairs.text), pairs.text_clip)
    report = summarise(ranks)
    plan = evaluate_scores(
        plan_scores(model, pairs.audio, pairs.text, PLAN_EPSILON),
        pairs.text_clip,
        tolerance=PLAN_TOLERANCE,
    )
    values = {**_figures(report), **_figures(plan, "plan_"), **_gaps(pairs)}
    values |= {"clips": float(report.clips), "captions": float(report.captions)}
    per_clip = recalls_by_clip(ranks)
    if test.zeroshot is not None:
        found = _zeroshot(model, test.zeroshot)
        values, per_clip = {**values, **found.values}, {**per_clip, **found.per_clip}
    return Measurement(values, per_clip)


def recalls_by_clip(ranks: Ranks) -> dict[str, Floats]:
    """Recall@k in percent as a value for every clip that has captions; their mean is recall@k.

    Where clips have several captions, a clip's value for text to audio is the share of hits among
    its captions, weighed by how many there are.
    """
    clips, row = np.unique(ranks.clip, return_inverse=True)
    captions = np.bincount(row)
    best = np.full(len(clips), np.iinfo(np.int64).max)
    np.minimum.at(best, row, ranks.captions_ahead)
    found = {}
    for k in RECALL_KS:
        hits = np.bincount(row, ranks.clips_ahead < k)
        found[f"t2a_r{k}"] = 100 * hits * len(clips) / captions.sum()
        found[f"a2t_r{k}"] = 100.0 * (best < k)
    return found


def _figures(report: RetrievalReport, prefix: str = "") -> dict[str, float]:
    values: dict[str, float] = {}
    for short, direction in (("t2a", report.text_to_audio), ("a2t", report.audio_to_text)):
        values |= {f"{prefix}{short}_r{k}": v for k, v in direction.recall.items()}
        values |= {f"{prefix}{short}_map{k}": v for k, v in direction.map.items()}
        values[f"{prefix}{short}_median"] = direction.median_rank
    return values


def _gaps(pairs: EmbeddedPairs) -> dict[str, float]:
    gap = modality_gaps(pairs.audio, pairs.text, pairs.text_clip)
    return {
        "gap": gap.distance,
        "gap_relative": gap.relative,
        "gap_separability": gap.separability,
    }


def _zeroshot(model: AudioTextModel, labelled: CaptionDataset) -> Measurement:
    """What `otomatch.zeroshot` reports, and whether each clip was given its own class."""
    names = list(labelled.labels)
    classes = embed_classes(model, names, [PROMPT])
    embedded = embed_sounds(model, labelled.clips, progress=False)
    own = [names.index(str(labelled.clips[row].label)) for row in embedded.rows]
    distances = torch.cdist(model.whiten(embedded.vectors).double(), model.whiten(classes).double())
    others = distances.scatter(1, torch.tensor(own)[:, None], torch.inf).amin(1)
    right = distances[torch.arange(len(own)), own] < others - _ROUNDING
    scores = plan_scores(model, embedded.vectors, classes, PLAN_EPSILON)
    plan = classify_scores(scores, own, names, PLAN_TOLERANCE)
    by_clip = 100 * right.numpy().astype(np.float64)
    return Measurement(
        {"zeroshot": float(by_clip.mean()), "plan_zeroshot": plan.accuracy}, {"zeroshot": by_clip}
    )
