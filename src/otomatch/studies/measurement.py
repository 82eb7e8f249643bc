"""Measurement of a trained model on a test set: metrics, and their values by clip."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otomatch.datasets import CaptionDataset
from otomatch.evaluation.classification import classify_scores
from otomatch.evaluation.evaluator import PLAN_EPSILON, PLAN_TOLERANCE, plan_scores
from otomatch.evaluation.gap_measures import modality_gaps
from otomatch.evaluation.ranks import Ranks, rank_embeddings
from otomatch.evaluation.retrieval import RECALL_KS, RetrievalReport, evaluate_scores, summarise
from otomatch.evaluation.zero_shot import PROMPT, embed_classes
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import EmbeddedPairs, embed_clips, embed_dataset
from otomatch.studies.data import TestSet
from otomatch.studies.results import Floats

MEASUREMENT_VERSION = 1
"""Measurement version. Bump it when the same model would get different metrics: trained cells are
then measured again."""


@dataclass(frozen=True)
class Measurement:
    """Metrics of one model on one test set.

    Attributes:
        values: Metrics by name.
        per_clip: For some of them, arrays (clips,) whose mean is the metric.
    """

    values: Mapping[str, float]
    per_clip: Mapping[str, Floats]


class Measurer:
    """Measures a trained model on one or more test sets.

    Labelled clips that several test sets share are classified once.

    Args:
        model: Trained model.
    """

    def __init__(self, model: AudioTextModel) -> None:
        self.model = model
        self._classified: dict[str, Measurement] = {}

    def measure(self, test: TestSet) -> Measurement:
        """Measure retrieval per query and transductively, modality gap and zero-shot accuracy.

        Raises:
            DatasetError: If none of the clips can be used.
        """
        found = _retrieval(self.model, test.clips)
        labelled = test.zeroshot
        if labelled is None:
            return found
        key = labelled.fingerprint
        if key not in self._classified:
            self._classified[key] = _zeroshot(self.model, labelled)
        classified = self._classified[key]
        return Measurement(
            {**found.values, **classified.values}, {**found.per_clip, **classified.per_clip}
        )


def _retrieval(model: AudioTextModel, clips: CaptionDataset) -> Measurement:
    pairs = embed_dataset(model, clips)
    ranks = rank_embeddings(model.whiten(pairs.audio), model.whiten(pairs.text), pairs.text_clip)
    report = summarise(ranks)
    plan = evaluate_scores(
        plan_scores(model, pairs.audio, pairs.text, PLAN_EPSILON),
        pairs.text_clip,
        tolerance=PLAN_TOLERANCE,
    )
    values = {**_recalls(report), **_recalls(plan, "plan_"), **_gaps(model, pairs)}
    values |= {"clips": float(report.clips), "captions": float(report.captions)}
    return Measurement(values, recalls_by_clip(ranks))


def recalls_by_clip(ranks: Ranks) -> dict[str, Floats]:
    """Return values for every captioned clip whose mean is recall@k, in percent, by metric.

    If clips have several captions, a clip's value for text to audio is the share of hits among its
    captions, weighted by their number.
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


def _recalls(report: RetrievalReport, prefix: str = "") -> dict[str, float]:
    values: dict[str, float] = {}
    for short, direction in (("t2a", report.text_to_audio), ("a2t", report.audio_to_text)):
        values |= {f"{prefix}{short}_r{k}": v for k, v in direction.recall.items()}
        values |= {f"{prefix}{short}_map{k}": v for k, v in direction.map.items()}
        values[f"{prefix}{short}_median"] = direction.median_rank
    return values


def _gaps(model: AudioTextModel, pairs: EmbeddedPairs) -> dict[str, float]:
    """Return the gap of the unit vectors and, after whitening, under the learned metric."""
    gap = modality_gaps(pairs.audio, pairs.text, pairs.text_clip)
    whitened = modality_gaps(model.whiten(pairs.audio), model.whiten(pairs.text), pairs.text_clip)
    return {
        "gap": gap.distance,
        "gap_relative": gap.relative,
        "gap_separability": gap.separability,
        "gap_whitened_relative": whitened.relative,
        "gap_whitened_separability": whitened.separability,
    }


def _zeroshot(model: AudioTextModel, labelled: CaptionDataset) -> Measurement:
    """Classify as `otomatch.zeroshot` does, and record for each clip if its class was found."""
    names = list(labelled.labels)
    classes = embed_classes(model, names, [PROMPT])
    embedded = embed_clips(model, labelled.clips)
    own = [names.index(str(labelled.clips[row].label)) for row in embedded.rows]
    clips_of = [[row for row, label in enumerate(own) if label == i] for i in range(len(names))]
    ranks = rank_embeddings(model.whiten(embedded.vectors), model.whiten(classes), clips_of)
    correct = np.zeros(len(own))
    correct[ranks.clip] = 100.0 * (ranks.captions_ahead == 0)
    plan = classify_scores(
        plan_scores(model, embedded.vectors, classes, PLAN_EPSILON), own, names, PLAN_TOLERANCE
    )
    values = {"zeroshot": float(correct.mean()), "plan_zeroshot": plan.accuracy}
    return Measurement(values, {"zeroshot": correct})
