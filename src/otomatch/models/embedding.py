"""Embeddings of data sets: of clips, of captions, and of both.

With several processes (torchrun), each embeds a share of the clips and captions, and all return
the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.datasets import CaptionDataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError
from otomatch.models import clip_loading
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.caption_cache import text_states
from otomatch.models.clip_loading import in_chunks, load_features
from otomatch.models.encoders import is_frozen, text_encoder
from otomatch.models.feature_cache import ClipRows, clip_features, clip_states
from otomatch.models.states import embed_audio_states
from otomatch.parallel import process_group


@dataclass(frozen=True)
class EmbeddedClips:
    """Embeddings of the clips that could be read.

    Attributes:
        vectors: Unit vectors, float32 (n, D).
        rows: Index of each vector's clip among the given clips, (n,).
        skipped: Clips that could not be read, and why.
    """

    vectors: Tensor
    rows: list[int]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class EmbeddedPairs:
    """Embeddings of clips and of their captions.

    Attributes:
        audio: Unit vectors of the clips that could be read, float32 (n, D).
        text: Unit vectors of their captions, float32 (m, D).
        text_clip: Row of ``audio`` that each caption describes, (m,).
        skipped: Clips that could not be read, and why.
    """

    audio: Tensor
    text: Tensor
    text_clip: list[int]
    skipped: tuple[Skipped, ...] = ()


def audio_inputs(model: AudioTextModel, clips: Sequence[Clip], progress: bool = False) -> ClipRows:
    """Compute once, and cache, what the model can reuse of clips while it is trained.

    Returns:
        Outputs of a frozen audio encoder, one row per window (`clip_states`); features of a
        trainable one, one row per frame (`clip_features`).
    """
    if is_frozen(model.audio_encoder):
        return clip_states(clips, model, progress=progress)
    return clip_features(clips, model.audio_encoder, progress=progress)


def text_inputs(
    model: AudioTextModel, captions: Sequence[str], progress: bool = False
) -> Tensor | None:
    """Return a frozen text encoder's outputs (n, width) for captions; None for a trainable one."""
    if is_frozen(model.text_encoder):
        return text_states(model.text_encoder, captions, progress=progress)
    return None


def embed_dataset(
    model: AudioTextModel,
    dataset: CaptionDataset,
    *,
    sounds: Sequence[npt.NDArray[Any]] | None = None,
    states: Tensor | None = None,
    progress: bool = False,
) -> EmbeddedPairs:
    """Embed all clips of a data set and their captions.

    Args:
        model: Any model.
        dataset: Clips with captions. A clip that cannot be read is skipped with its captions.
        sounds: Rows of each clip as `audio_inputs` returns them; None to read the files.
        states: Rows of each caption as `text_inputs` returns them; None to encode the captions.
        progress: Show progress bars.

    Raises:
        DatasetError: No clip has a caption, or none could be read.
    """
    if sounds is None:
        embedded = embed_clips(model, dataset.clips, progress)
    else:
        embedded = _embed_inputs(model, sounds)
    row_of = {clip: row for row, clip in enumerate(embedded.rows)}
    chosen = [i for i, clip in enumerate(dataset.caption_clip) if clip in row_of]
    if not chosen:
        first = f"; the first: {embedded.skipped[0].reason}" if embedded.skipped else ""
        raise DatasetError(
            f"{dataset.name}: nothing to evaluate: of {len(dataset)} clips, "
            f"{len(embedded.rows)} could be read and none of those has a caption{first}"
        )
    if states is None:
        text = embed_captions(model, [dataset.captions[i] for i in chosen], progress)
    else:
        text = _embed_states(model, states, chosen)
    text_clip = [row_of[dataset.caption_clip[i]] for i in chosen]
    return EmbeddedPairs(embedded.vectors, text, text_clip, embedded.skipped)


def embed_clips(
    model: AudioTextModel, clips: Sequence[Clip], progress: bool = False
) -> EmbeddedClips:
    """Embed clips from their files; those that cannot be read are listed in ``skipped``."""

    def embed(rows: Sequence[int]) -> EmbeddedClips:
        shown = progress and process_group.rank() == 0
        found = _embed_files(model, [clips[row] for row in rows], shown)
        return replace(found, rows=[rows[row] for row in found.rows])

    parts = process_group.map_parts(embed, range(len(clips)))
    return EmbeddedClips(
        torch.cat([part.vectors for part in parts]),
        [row for part in parts for row in part.rows],
        tuple(entry for part in parts for entry in part.skipped),
    )


def embed_captions(
    model: AudioTextModel, captions: Sequence[str], progress: bool = False
) -> Tensor:
    """Embed captions, each distinct one once if the text encoder is frozen.

    Returns:
        Unit vectors, float32 (n, D), on the CPU.
    """

    def embed(part: Sequence[str]) -> Tensor:
        states = text_inputs(model, part, progress and process_group.rank() == 0)
        return model.embed_text(part if states is None else states)

    return torch.cat(process_group.map_parts(embed, captions))


def mean_caption_vectors(
    captions: Sequence[Sequence[str]], cache: Path | None = None, progress: bool = False
) -> npt.NDArray[np.float64]:
    """Return the mean direction of each group of captions, to compare what groups mean.

    The packaged text encoder is used whatever a model's own is, so that all runs agree.

    Args:
        captions: n groups of at least one caption.
        cache: Folder of the cache; None for `cache_folder`.
        progress: Show a progress bar.

    Returns:
        Unit vectors, float64 (n, width).

    Raises:
        MissingDependencyError: The packaged encoder is not installed.
    """
    texts = [text for group in captions for text in group]
    states = text_states(text_encoder("minilm"), texts, cache, progress).double().numpy()
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    starts = np.cumsum([0, *(len(group) for group in captions[:-1])])
    sums: npt.NDArray[np.float64] = np.add.reduceat(states, starts)
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    return sums


def _embed_files(model: AudioTextModel, clips: Sequence[Clip], progress: bool) -> EmbeddedClips:
    vectors, rows, skipped = [], [], []
    for chunk in in_chunks(range(len(clips)), clip_loading.CHUNK, "Embedding sounds", progress):
        loaded = list(load_features([clips[row] for row in chunk], model.audio_encoder))
        good = [(row, f) for row, f in zip(chunk, loaded, strict=True) if isinstance(f, Tensor)]
        skipped += [entry for entry in loaded if isinstance(entry, Skipped)]
        if good:
            rows += [row for row, _ in good]
            vectors.append(model.embed_features([features for _, features in good]))
    dim = model.settings["dim"]
    return EmbeddedClips(
        torch.cat(vectors) if vectors else torch.zeros(0, dim), rows, tuple(skipped)
    )


def _embed_states(model: AudioTextModel, states: Tensor, rows: Sequence[int]) -> Tensor:
    def embed(part: Sequence[int]) -> Tensor:
        return model.embed_text(states[list(part)])

    return torch.cat(process_group.map_parts(embed, rows))


def _embed_inputs(model: AudioTextModel, sounds: Sequence[npt.NDArray[Any]]) -> EmbeddedClips:
    def embed(part: Sequence[npt.NDArray[Any]]) -> Tensor:
        tensors = [torch.from_numpy(np.array(rows)) for rows in part]
        if is_frozen(model.audio_encoder):
            return embed_audio_states(model, tensors)
        return model.embed_features(tensors)

    vectors = torch.cat(process_group.map_parts(embed, sounds))
    return EmbeddedClips(vectors, list(range(len(sounds))), ())
