"""What a run trains and validates on: clips, features on disk, captions, encoded text."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.datasets.caption_noise import add_caption_noise
from otomatch.errors import DatasetError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import (
    audio_inputs,
    embed_dataset,
    mean_caption_vectors,
    text_inputs,
)
from otomatch.models.encoders import is_frozen
from otomatch.models.feature_cache import ClipRows
from otomatch.training.config import Config
from otomatch.training.mismatch.table import FILE, keep_right


@dataclass(frozen=True)
class Material:
    """The data of a run.

    Attributes:
        name: of the data set.
        ids: of all clips.
        sounds: of all clips, training and validation: feature frames, or a frozen audio encoder's
            outputs, one row per window.
        encoded: whether they are outputs.
        train_clips: rows of the training clips.
        val_clips: rows of the validation clips.
        validation: the validation clips themselves.
        captions: all captions.
        caption_rows: for every clip, the rows of its own captions.
        train_captions: the same, but with the noise that the run trains with.
        states: (captions, width) outputs of a frozen text encoder; None for a trainable one.
        noise: which clips have wrong captions, and which; None without noise.
        final: what the best model is measured on in the end.
        skipped: rows and files that could not be used, and why.
        fingerprint: changes when the data do.
    """

    name: str
    ids: list[str]
    sounds: ClipRows
    encoded: bool
    train_clips: list[int]
    val_clips: list[int]
    validation: CaptionDataset
    captions: list[str]
    caption_rows: list[list[int]]
    train_captions: list[list[int]]
    states: Tensor | None
    noise: dict[str, Any] | None
    final: CaptionDataset
    skipped: tuple[Skipped, ...]
    fingerprint: str

    def text(self, rows: Tensor, device: torch.device) -> Tensor | list[str]:
        """What the model takes for captions: encoder outputs, or strings if it is trainable."""
        if self.states is None:
            return [self.captions[row] for row in rows.tolist()]
        return self.states[rows.cpu()].to(device)

    def embed_validation(self, model: AudioTextModel) -> tuple[Tensor, Tensor, list[int]]:
        """Embed the validation clips and their own captions; every process takes a share.

        Returns:
            Unit vectors of the clips, of the captions, and for each caption the row of its clip.
        """
        rows = [row for clip in self.val_clips for row in self.caption_rows[clip]]
        pairs = embed_dataset(
            model,
            self.validation,
            sounds=[self.sounds[clip] for clip in self.val_clips],
            states=None if self.states is None else self.states[rows],
        )
        return pairs.audio, pairs.text, pairs.text_clip


def prepare(config: Config, model: AudioTextModel, console: Console) -> Material:
    """Open the data, compute or map what sounds and captions become, draw the noise.

    Raises:
        DatasetError: no data set is named, or too few clips are usable.
    """
    if not config.data.path:
        raise DatasetError("no data set: give its folder as data.path (--data on the command line)")
    progress = not console.quiet
    dataset = open_dataset(config.data.path)
    train, val, final, skipped, fingerprint = _parts(config, dataset)
    clips = (*train, *val)
    sounds = audio_inputs(model, clips, progress)
    skipped += sounds.skipped
    usable = [row for row, length in enumerate(sounds.lengths) if length > 0]
    train_clips = [row for row in usable if row < len(train)]
    val_clips = [row for row in usable if row >= len(train)]
    if len(train_clips) < 2 or not val_clips:
        raise DatasetError(
            f"{config.data.path}: {len(train_clips)} training and {len(val_clips)} validation "
            f"clips are usable, expected at least 2 and 1; {len(skipped)} were skipped"
            + (f", the first: {skipped[0].name}: {skipped[0].reason}" if skipped else "")
        )
    captions = [caption for clip in clips for caption in clip.captions]
    ends = np.cumsum([len(clip.captions) for clip in clips]).tolist()
    caption_rows = [list(range(e - len(c.captions), e)) for e, c in zip(ends, clips, strict=True)]
    states = text_inputs(model, captions, progress)
    noisy_rows, noise = _exchange(config, captions, caption_rows, train_clips, clips, progress)
    if config.data.pairs:
        noisy_rows, train_clips = _keep_right(config, captions, noisy_rows, train_clips, clips)
    return Material(
        dataset.name,
        [clip.id for clip in clips],
        sounds,
        is_frozen(model.audio_encoder),
        train_clips,
        val_clips,
        CaptionDataset(
            dataset.name, dataset.root, tuple(clips[row] for row in val_clips)
        ),
        captions,
        caption_rows,
        noisy_rows,
        states,
        noise,
        final,
        skipped,
        fingerprint,
    )


def _parts(
    config: Config, dataset: CaptionDataset
) -> tuple[tuple[Clip, ...], tuple[Clip, ...], CaptionDataset, tuple[Skipped, ...], str]:
    """Training clips, validation clips, the final data set, what is missing, and a fingerprint."""
    skipped, fingerprint = dataset.skipped, dataset.fingerprint
    unknown = sorted(set(dataset.splits) - {"train", "val", "test"})
    if unknown:
        raise DatasetError(
            f"{dataset.name}: has the splits {', '.join(unknown)} in captions.csv; "
            "expected train, val, test or blank"
        )
    clips = [clip for clip in dataset.clips if clip.captions]
    train = [clip for clip in clips if clip.split in (None, "train")]
    val = [clip for clip in clips if clip.split == "val"]
    if config.data.val:
        apart = open_dataset(config.data.val)
        val, skipped = [clip for clip in apart.clips if clip.captions], skipped + apart.skipped
        fingerprint += apart.fingerprint
    if not val and len(train) > 1:
        train, val = _hold_out(train, config.data.val_share, config.run.seed)
    train = _some(train, config)
    if config.data.pairs:
        fingerprint += _content_hash(Path(config.data.pairs))
    if "test" in dataset.splits:
        return tuple(train), tuple(val), dataset.select("test"), skipped, fingerprint
    held_out = replace(
        dataset, name=f"the validation clips of {dataset.name}", clips=tuple(val), skipped=()
    )
    return tuple(train), tuple(val), held_out, skipped, fingerprint


def _hold_out(clips: list[Clip], share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    order = np.random.default_rng([seed, 4]).permutation(len(clips))
    held = set(order[: max(1, round(share * len(clips)))].tolist())
    train = [clip for row, clip in enumerate(clips) if row not in held]
    return train, [clips[row] for row in sorted(held)]


def _some(clips: list[Clip], config: Config) -> list[Clip]:
    """The first `data.clips` of a random order, so that fewer are always among more."""
    wanted = config.data.clips
    if wanted is None:
        return clips
    if wanted > len(clips):
        raise DatasetError(
            f"{config.data.path}: data.clips asks for {wanted} training clips, but there are "
            f"{len(clips)}; ask for fewer, or leave it out"
        )
    order = np.random.default_rng([config.run.seed, 0, 6]).permutation(len(clips))
    return [clips[row] for row in sorted(order[:wanted].tolist())]


def _content_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"data.pairs: {path} cannot be read ({error.strerror}); give the {FILE} of a run with "
            "loss.mass = 'auto'"
        ) from error


def _keep_right(
    config: Config,
    captions: list[str],
    caption_rows: list[list[int]],
    train_clips: list[int],
    clips: tuple[Clip, ...],
) -> tuple[list[list[int]], list[int]]:
    """Leave out the captions that an earlier run held for wrong, and clips that have no other."""
    data = config.data
    pairs = [
        (clips[clip].id, [(row, captions[row]) for row in caption_rows[clip]])
        for clip in train_clips
    ]
    rows = list(caption_rows)
    for clip, kept in zip(
        train_clips, keep_right(pairs, Path(data.pairs), data.min_weight), strict=True
    ):
        rows[clip] = kept
    left = [clip for clip in train_clips if rows[clip]]
    if len(left) < 2:
        raise DatasetError(
            f"{data.pairs}: holds {len(left)} of {len(train_clips)} training clips for right with "
            f"a weight of {data.min_weight} or more, expected at least 2; lower data.min_weight"
        )
    return rows, left


def _exchange(
    config: Config,
    captions: list[str],
    caption_rows: list[list[int]],
    train_clips: list[int],
    clips: tuple[Clip, ...],
    progress: bool,
) -> tuple[list[list[int]], dict[str, Any] | None]:
    """Exchange the captions of a share of the training clips; returns a record of which."""
    data = config.data
    if not data.noise:
        return caption_rows, None
    own = [clips[clip].captions for clip in train_clips]
    similar = data.noise_kind == "similar"
    noise = add_caption_noise(
        own,
        data.noise,
        config.run.seed,
        data.noise_kind,
        vectors=mean_caption_vectors(own, progress=progress) if similar else None,
        labels=[clips[clip].label for clip in train_clips] if similar else None,
    )
    rows = [row for clip in train_clips for row in caption_rows[clip]]
    sources = iter(noise.sources)
    noisy = list(caption_rows)
    for clip, texts in zip(train_clips, noise.captions, strict=True):
        noisy[clip] = [rows[next(sources)] for _ in texts]
    wrong = [train_clips[i] for i in noise.clips]
    return noisy, {
        "share": data.noise,
        "kind": data.noise_kind,
        "seed": config.run.seed,
        "clips": {
            clips[clip].id: {
                "captions": [captions[row] for row in noisy[clip]],
                "wrong": [i for i, row in enumerate(noisy[clip]) if row not in caption_rows[clip]],
            }
            for clip in wrong
        },
    }
