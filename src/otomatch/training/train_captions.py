"""Captions that each clip trains with: with caption noise, or without mismatched ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otomatch.datasets.base import Clip
from otomatch.datasets.caption_noise import CaptionNoise, add_caption_noise
from otomatch.errors import DatasetError
from otomatch.models.embedding import mean_caption_vectors
from otomatch.training.mismatch.table import keep_matched
from otomatch.training.sections import DataConfig

CaptionRows = list[list[int]]
"""Rows of each clip's captions in the list of all captions, by clip."""


def noisy_captions(
    data: DataConfig,
    seed: int,
    clips: Sequence[Clip],
    caption_rows: CaptionRows,
    train_clips: Sequence[int],
    progress: bool,
) -> tuple[CaptionRows, dict[str, Any] | None]:
    """Give a share of the training clips mismatched captions.

    Returns:
        Rows of the captions that each clip trains with, and a record of the mismatched ones (the
        content of noise.json); None without noise.
    """
    if not data.noise:
        return caption_rows, None
    own = [clips[clip].captions for clip in train_clips]
    similar = data.noise_kind == "similar"
    noise = add_caption_noise(
        own,
        data.noise,
        seed,
        data.noise_kind,
        vectors=mean_caption_vectors(own, progress=progress) if similar else None,
        labels=[clips[clip].label for clip in train_clips] if similar else None,
    )
    rows = [row for clip in train_clips for row in caption_rows[clip]]
    sources = iter(noise.sources)
    noisy = list(caption_rows)
    for clip, texts in zip(train_clips, noise.captions, strict=True):
        noisy[clip] = [rows[next(sources)] for _ in texts]
    record = _noise_record(noise, clips, train_clips, caption_rows, noisy)
    return noisy, {"share": data.noise, "kind": data.noise_kind, "seed": seed, "clips": record}


def _noise_record(
    noise: CaptionNoise,
    clips: Sequence[Clip],
    train_clips: Sequence[int],
    own: CaptionRows,
    noisy: CaptionRows,
) -> dict[str, dict[str, list[Any]]]:
    """Return the captions of every clip with mismatched ones, by id, and their places there."""
    texts = [caption for clip in clips for caption in clip.captions]
    mismatched = [train_clips[i] for i in noise.clips]
    return {
        clips[clip].id: {
            "captions": [texts[row] for row in noisy[clip]],
            "wrong": [i for i, row in enumerate(noisy[clip]) if row not in own[clip]],
        }
        for clip in mismatched
    }


def matched_captions(
    data: DataConfig,
    clips: Sequence[Clip],
    caption_rows: CaptionRows,
    train_clips: list[int],
) -> tuple[CaptionRows, list[int]]:
    """Drop captions with a low weight in an earlier run's pairs.csv, and clips left without any.

    Returns:
        Rows of the captions that each clip trains with, and the training clips that are left.

    Raises:
        DatasetError: The file is malformed or belongs to other data, or fewer than two training
            clips are left.
    """
    if not data.pairs:
        return caption_rows, train_clips
    texts = [caption for clip in clips for caption in clip.captions]
    pairs = [
        (clips[clip].id, [(row, texts[row]) for row in caption_rows[clip]]) for clip in train_clips
    ]
    kept = keep_matched(pairs, Path(data.pairs), data.min_weight)
    rows = list(caption_rows)
    for clip, captions in zip(train_clips, kept, strict=True):
        rows[clip] = captions
    left = [clip for clip in train_clips if rows[clip]]
    if len(left) < 2:
        raise DatasetError(
            f"{data.pairs}: {len(left)} of {len(train_clips)} training clips have a caption with "
            f"a weight of {data.min_weight} or more, expected at least 2; lower the minimum weight"
        )
    return rows, left
