"""Zero-shot classification of sounds by text descriptions of the classes.

Every class is described by prompts that contain its label; its embedding is the mean of the
prompts' unit vectors, normalised to unit length. A clip is assigned the class at the smallest
learned distance. The transductive result uses one transport plan between all clips and all classes
with uniform marginals: it assumes equally many clips in every class, which is true of ESC-50 but
not of most data, and is not comparable with the result per clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError, InvalidInputError
from otomatch.evaluation.classification import (
    ClassificationReport,
    classify_embeddings,
    classify_scores,
)
from otomatch.evaluation.evaluator import PLAN_EPSILON, PLAN_TOLERANCE, plan_scores
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import embed_captions, embed_clips

PROMPT = "This is a sound of {label}."


@dataclass(frozen=True)
class ZeroShotReport(ClassificationReport):
    """A `ClassificationReport` with the data set and the prompts it was measured with.

    Attributes:
        dataset: Name of the data set.
        prompts: Descriptions of a class, with ``{label}`` as placeholder for its label.
        skipped: Rows, files and clips that could not be used, with reasons.
    """

    dataset: str = ""
    prompts: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can store."""
        skipped = [{"name": entry.name, "reason": entry.reason} for entry in self.skipped]
        about = {"dataset": self.dataset, "prompts": list(self.prompts)}
        return {**about, **super().to_dict(), "skipped": skipped}


def zeroshot(
    model: AudioTextModel,
    dataset: CaptionDataset | str | Path,
    *,
    prompts: str | Sequence[str] = PROMPT,
    classes: Sequence[str] | None = None,
    epsilon: float = PLAN_EPSILON,
    progress: bool = False,
) -> ZeroShotReport:
    """Classify the labelled clips of a data set by descriptions of their classes.

    Args:
        model: Model to evaluate.
        dataset: Open data set, or a reference for `open_dataset`; its clips need no captions.
        prompts: One or more descriptions of a class, with ``{label}`` as placeholder for its label,
            in which underscores become spaces.
        classes: Labels to choose from; None for the labels of the data set.
        epsilon: Entropic regularisation of the transductive plan, in units of the largest
            distance.
        progress: True to show progress bars.

    Returns:
        Results by distance; ``transductive`` holds the results by the plan.

    Raises:
        DatasetError: If there are fewer than two classes, or no clip with one of the labels can be
            read.
        InvalidInputError: If there is no prompt, or one lacks ``{label}``.
    """
    prompts = _checked_prompts(prompts)
    if not isinstance(dataset, CaptionDataset):
        dataset = open_dataset(dataset)
    names = _checked_classes(dataset, classes)
    known, others = _labelled(dataset, names)
    class_vectors = embed_classes(model, names, prompts, progress)
    embedded = embed_clips(model, known, progress)
    if not embedded.rows:
        first = f"; the first: {embedded.skipped[0].reason}" if embedded.skipped else ""
        raise DatasetError(
            f"{dataset.name}: nothing to classify: {len(known)} of {len(dataset)} clips have one "
            f"of the {len(names)} labels, and none of them could be read{first}"
        )
    labels = [names.index(str(known[row].label)) for row in embedded.rows]
    report = _classify(model, embedded.vectors, class_vectors, labels, names, epsilon)
    return ZeroShotReport(
        **vars(report),
        dataset=dataset.name,
        prompts=prompts,
        skipped=dataset.skipped + others + embedded.skipped,
    )


def _classify(
    model: AudioTextModel,
    audio: Tensor,
    classes: Tensor,
    labels: Sequence[int],
    names: Sequence[str],
    epsilon: float,
) -> ClassificationReport:
    """Classify by distance and by a transport plan."""
    report = classify_embeddings(model.whiten(audio), model.whiten(classes), labels, names)
    scores = plan_scores(model, audio, classes, epsilon)
    return replace(report, transductive=classify_scores(scores, labels, names, PLAN_TOLERANCE))


def embed_classes(
    model: AudioTextModel, labels: Sequence[str], prompts: Sequence[str], progress: bool = False
) -> Tensor:
    """Embed each label as the mean direction of its prompts.

    Args:
        model: Model to embed with.
        labels: C labels.
        prompts: One or more prompts, with ``{label}`` as placeholder for the label.
        progress: True to show a progress bar.

    Returns:
        Unit vectors (C, D), float32, on the CPU.
    """
    spoken = [label.replace("_", " ") for label in labels]
    texts = [prompt.replace("{label}", label) for label in spoken for prompt in prompts]
    vectors = embed_captions(model, texts, progress).reshape(len(labels), len(prompts), -1)
    return torch.nn.functional.normalize(vectors.mean(dim=1), dim=1)


def _checked_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    found = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not found:
        raise InvalidInputError(f"there is no prompt; expected at least one, such as {PROMPT!r}")
    for prompt in found:
        if "{label}" not in prompt:
            raise InvalidInputError(
                f"the prompt {prompt!r} is the same for every class; expected {{label}} in place "
                f"of the label, as in {PROMPT!r}"
            )
    return found


def _checked_classes(dataset: CaptionDataset, classes: Sequence[str] | None) -> tuple[str, ...]:
    if not dataset.labels:
        raise DatasetError(
            f"{dataset.name}: none of its {len(dataset)} clips has a label, expected at least "
            "two labels; add a column 'label' to captions.csv"
        )
    names = dataset.labels if classes is None else tuple(dict.fromkeys(classes))
    if len(names) < 2:
        raise DatasetError(
            f"{dataset.name}: there are {len(names)} classes to choose from "
            f"({', '.join(names) or 'none'}); expected at least two"
        )
    return names


def _labelled(
    dataset: CaptionDataset, names: Sequence[str]
) -> tuple[list[Clip], tuple[Skipped, ...]]:
    """Return the clips of these classes, and the reasons for skipping the others."""
    wanted = set(names)
    known = [clip for clip in dataset.clips if clip.label in wanted]
    others = tuple(
        Skipped(clip.id, "no label" if clip.label is None else f"no class {clip.label!r}")
        for clip in dataset.clips
        if clip.label not in wanted
    )
    return known, others
