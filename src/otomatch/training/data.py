"""The data of a run: clips, cached features or encoder outputs, captions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from otomatch.datasets import CaptionDataset
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import EmbeddedPairs, audio_inputs, embed_dataset, text_inputs
from otomatch.models.encoders import is_frozen
from otomatch.models.feature_cache import ClipRows
from otomatch.training.config import Config
from otomatch.training.run_splits import RunSplits, open_splits
from otomatch.training.train_captions import CaptionRows, matched_captions, noisy_captions


@dataclass(frozen=True)
class TrainingData:
    """Data of a run. "Row" is a place in the list of all clips, or of all captions.

    Attributes:
        name: Name of the data set.
        ids: Id of each clip.
        sounds: Feature frames of each clip, or a frozen audio encoder's outputs, a row per window.
        encoded: True if ``sounds`` are encoder outputs.
        train_clips: Rows of the training clips.
        val_clips: Rows of the validation clips.
        validation: The validation clips as a data set.
        captions: All captions.
        caption_rows: Rows of each clip's own captions.
        train_captions: Rows of the captions that each clip trains with: after caption noise, and
            without those that an earlier run gave a low weight.
        states: Outputs of a frozen text encoder, (captions, width); None for a trainable one.
        noise: Record of the caption noise, see `noisy_captions`; None without noise.
        test: Data set that the best model is measured on in the end.
        skipped: Rows and files that cannot be used, and why.
        fingerprint: Digest that changes when the data change.
    """

    name: str
    ids: list[str]
    sounds: ClipRows
    encoded: bool
    train_clips: list[int]
    val_clips: list[int]
    validation: CaptionDataset
    captions: list[str]
    caption_rows: CaptionRows
    train_captions: CaptionRows
    states: Tensor | None
    noise: dict[str, Any] | None
    test: CaptionDataset
    skipped: tuple[Skipped, ...]
    fingerprint: str

    def text_input(self, rows: Tensor, device: torch.device) -> Tensor | list[str]:
        """Return the model's input for captions: a frozen encoder's outputs, or strings."""
        if self.states is None:
            return [self.captions[row] for row in rows.tolist()]
        return self.states[rows.cpu()].to(device)

    def embed_validation(self, model: AudioTextModel) -> EmbeddedPairs:
        """Embed the validation clips and their own captions; every process embeds a part."""
        rows = [row for clip in self.val_clips for row in self.caption_rows[clip]]
        return embed_dataset(
            model,
            self.validation,
            sounds=[self.sounds[clip] for clip in self.val_clips],
            states=None if self.states is None else self.states[rows],
        )


def prepare_data(config: Config, model: AudioTextModel, console: Console) -> TrainingData:
    """Open the data of a run, and compute its features or encoder outputs unless they are cached.

    Raises:
        DatasetError: No data set is given, or too few clips are usable.
    """
    progress = not console.quiet
    splits = open_splits(config.data, config.run.seed)
    clips = (*splits.train, *splits.val)
    sounds = audio_inputs(model, clips, progress)
    skipped = splits.skipped + sounds.skipped
    usable = [row for row, length in enumerate(sounds.lengths) if length > 0]
    train_clips = [row for row in usable if row < len(splits.train)]
    val_clips = [row for row in usable if row >= len(splits.train)]
    _check_enough(config.data.path, train_clips, val_clips, skipped)
    captions = [caption for clip in clips for caption in clip.captions]
    own = _caption_rows(clips)
    states = text_inputs(model, captions, progress)
    rows, noise = noisy_captions(config.data, config.run.seed, clips, own, train_clips, progress)
    rows, train_clips = matched_captions(config.data, clips, rows, train_clips)
    return TrainingData(
        name=splits.dataset.name,
        ids=[clip.id for clip in clips],
        sounds=sounds,
        encoded=is_frozen(model.audio_encoder),
        train_clips=train_clips,
        val_clips=val_clips,
        validation=_validation(splits, clips, val_clips),
        captions=captions,
        caption_rows=own,
        train_captions=rows,
        states=states,
        noise=noise,
        test=splits.test,
        skipped=skipped,
        fingerprint=splits.fingerprint,
    )


def _check_enough(
    path: str, train_clips: list[int], val_clips: list[int], skipped: tuple[Skipped, ...]
) -> None:
    if len(train_clips) < 2 or not val_clips:
        raise DatasetError(
            f"{path}: {len(train_clips)} training and {len(val_clips)} validation clips are "
            f"usable, expected at least 2 and 1; {len(skipped)} were skipped"
            + (f", the first: {skipped[0].name}: {skipped[0].reason}" if skipped else "")
        )


def _caption_rows(clips: tuple[Clip, ...]) -> CaptionRows:
    ends = np.cumsum([len(clip.captions) for clip in clips]).tolist()
    return [list(range(e - len(c.captions), e)) for e, c in zip(ends, clips, strict=True)]


def _validation(splits: RunSplits, clips: tuple[Clip, ...], val_clips: list[int]) -> CaptionDataset:
    dataset = splits.dataset
    return CaptionDataset(dataset.name, dataset.root, tuple(clips[row] for row in val_clips))
