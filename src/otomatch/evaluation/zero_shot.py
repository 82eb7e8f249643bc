"""Zero-shot classification: name the class of a sound from descriptions of the classes alone.

Every class is described by prompts that hold its label; its embedding is the mean of the prompts'
unit vectors, brought back to unit length. A clip is given the class at the smallest learned
distance. Beside it stands the transductive result, by one transport plan between all clips and all
classes with uniform marginals: it assumes that every class has as many clips, which is true of
ESC-50 and false of most data, and is never comparable with the first.
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
    """A `ClassificationReport` that says what it was measured on, and with which prompts.

    Attributes:
        dataset: name of the data set.
        prompts: descriptions of a class, with ``{label}`` where its label stands.
        skipped: rows, files and clips that could not be used, and why.
    """

    dataset: str = ""
    prompts: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON."""
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
        model: any model.
        dataset: an open data set, or what `open_dataset` opens; its clips need no captions.
        prompts: one or more descriptions of a class, with ``{label}`` where its label stands. An
            underscore in a label becomes a space there.
        classes: labels to choose from; None for those of the data set.
        epsilon: entropic regularisation of the transductive plan, in units of the largest
            distance.
        progress: show progress bars.

    Returns:
        The figures by distance; those by the plan are in ``transductive``.

    Raises:
        DatasetError: fewer than two classes, or no clip with one of these labels could be read.
        InvalidInputError: there is no prompt, or one without ``{label}``.
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
            f"of the {len(names)} labels, and none of those could be read{first}"
        )
    audio, number = embedded.vectors, {name: i for i, name in enumerate(names)}
    labels = [number[str(known[row].label)] for row in embedded.rows]
    report = classify_embeddings(model.whiten(audio), model.whiten(class_vectors), labels, names)
    scores = plan_scores(model, audio, class_vectors, epsilon)
    plan = classify_scores(scores, labels, names, PLAN_TOLERANCE)
    return ZeroShotReport(
        **vars(replace(report, transductive=plan)),
        dataset=dataset.name,
        prompts=prompts,
        skipped=dataset.skipped + others + embedded.skipped,
    )


def embed_classes(
    model: AudioTextModel, labels: Sequence[str], prompts: Sequence[str], progress: bool = False
) -> Tensor:
    """Mean direction of each label's prompts: unit vectors, float32 (C, D), on the CPU.

    Args:
        model: any model.
        labels: C labels.
        prompts: at least one, with ``{label}`` where the label stands.
        progress: show a progress bar.
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
                f"the prompt {prompt!r} is the same for every class; put {{label}} where the "
                f"label belongs, as in {PROMPT!r}"
            )
    return found


def _checked_classes(dataset: CaptionDataset, classes: Sequence[str] | None) -> tuple[str, ...]:
    if not dataset.labels:
        raise DatasetError(
            f"{dataset.name}: none of its {len(dataset)} clips has a label to classify by; "
            "add a column 'label' to captions.csv"
        )
    names = dataset.labels if classes is None else tuple(dict.fromkeys(classes))
    if len(names) < 2:
        raise DatasetError(
            f"{dataset.name}: classes to choose from: {', '.join(names) or 'none'}; "
            "expected at least two"
        )
    return names


def _labelled(
    dataset: CaptionDataset, names: Sequence[str]
) -> tuple[list[Clip], tuple[Skipped, ...]]:
    """The clips of these classes, and why the others are left out."""
    wanted = set(names)
    known = [clip for clip in dataset.clips if clip.label in wanted]
    others = tuple(
        Skipped(clip.id, "no label" if clip.label is None else f"no class {clip.label!r}")
        for clip in dataset.clips
        if clip.label not in wanted
    )
    return known, others
