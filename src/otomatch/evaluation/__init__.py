"""Evaluation: retrieval, zero-shot classification, modality gap and batch plans.

`ranks`, `retrieval`, `classification`, `gap_measures` and `minibatch_plans` take tensors;
`evaluator` and `zero_shot` take a model and a data set. `tables` and `plots` show the reports.
"""

from otomatch.evaluation.classification import (
    ClassificationReport,
    classify_embeddings,
    classify_scores,
)
from otomatch.evaluation.evaluator import Evaluation, evaluate
from otomatch.evaluation.gap_measures import ModalityGap, modality_gaps
from otomatch.evaluation.retrieval import (
    DirectionReport,
    RetrievalReport,
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
from otomatch.evaluation.zero_shot import zeroshot

__all__ = [
    "ClassificationReport",
    "DirectionReport",
    "Evaluation",
    "ModalityGap",
    "RetrievalReport",
    "classify_embeddings",
    "classify_scores",
    "evaluate",
    "evaluate_embeddings",
    "evaluate_scores",
    "modality_gap",
    "modality_gaps",
    "zeroshot",
]
