"""From files and captions to features, encoder outputs and embeddings: streamed and cached.

What never changes while a model is trained is computed once and kept on disk: the audio features
of every clip (`clip_features`) or a frozen audio encoder's outputs for its windows (`clip_states`),
memory-mapped, and a frozen text encoder's outputs (`text_states`, by content hash); in
`otomatch.files.cache_folder` unless told otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.datasets import CaptionDataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import text_encoder
from otomatch.models.feature_cache import _CHUNK, _chunks, _features_of, text_states
from otomatch.parallel import process_group


@dataclass(frozen=True)
class EmbeddedClips:
    """Embeddings of the clips that could be read.

    Attributes:
        vectors: unit vectors, float32 (n, D).
        rows: (n,) which of the given clips each vector belongs to.
        skipped: the clips that could not be read, and why.
    """

    vectors: Tensor
    rows: list[int]
    skipped: tuple[Skipped, ...]


def meanings(
    captions: Sequence[Sequence[str]], cache: Path | None = None, progress: bool = False
) -> npt.NDArray[np.float64]:
    """What groups of captions mean: unit vectors (n, width), the mean direction of each group.

    From the packaged encoder, whatever a run's own, so that they are the same for all runs.

    Raises:
        MissingDependencyError: the packaged encoder is not installed.
    """
    texts = [text for group in captions for text in group]
    states = text_states(text_encoder("minilm"), texts, cache, progress).double().numpy()
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    starts = np.cumsum([0, *(len(group) for group in captions[:-1])])
    sums: npt.NDArray[np.float64] = np.add.reduceat(states, starts)
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    return sums


def embed_clips(
    model: AudioTextModel, clips: Sequence[Clip], progress: bool = False
) -> EmbeddedClips:
    """Embed clips from their files; those that cannot be read are skipped and listed."""
    vectors, rows, skipped = [], [], []
    for chunk in _chunks(range(len(clips)), _CHUNK, "Embedding sounds", progress):
        loaded = list(_features_of([clips[row] for row in chunk], model.audio_encoder))
        good = [(row, f) for row, f in zip(chunk, loaded, strict=True) if isinstance(f, Tensor)]
        skipped += [entry for entry in loaded if isinstance(entry, Skipped)]
        if good:
            rows += [row for row, _ in good]
            vectors.append(model.embed_features([features for _, features in good]))
    dim = model.settings["dim"]
    return EmbeddedClips(
        torch.cat(vectors) if vectors else torch.zeros(0, dim), rows, tuple(skipped)
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


def embed_sounds(model: AudioTextModel, clips: Sequence[Clip], progress: bool) -> EmbeddedClips:
    """`embed_clips`; of several processes, each takes a share."""

    def work(rows: Sequence[int]) -> EmbeddedClips:
        first = process_group.rank() == 0
        found = embed_clips(model, [clips[row] for row in rows], progress and first)
        return replace(found, rows=[rows[row] for row in found.rows])

    parts: list[EmbeddedClips] = process_group.map_parts(work, range(len(clips)))
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
        shown = progress and process_group.rank() == 0
        return model.embed_text_states(text_states(model.text_encoder, part, progress=shown))

    return torch.cat(process_group.map_parts(work, captions))
