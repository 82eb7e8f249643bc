"""Weights of a run's training pairs, estimated again after every epoch.

The embeddings of an epoch's batches are kept as they are computed, so that the estimate needs no
second pass over the sounds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.embedding import mean_caption_vectors
from otomatch.parallel import process_group
from otomatch.training.mismatch.p_values import Ints, estimate_weights, nearest, rank_p_values
from otomatch.training.mismatch.table import PAIRS_FILE, write_weights

if TYPE_CHECKING:  # data imports the table of the weights
    from otomatch.training.data import TrainingData


class PairWeights:
    """Weights of the training pairs.

    Args:
        data: Data of the run.
        dim: Dimensions D of the joint space.
        seed: Seed of the run.
        by_clip: True if all captions of a clip are matched or mismatched together; False to
            estimate each caption by itself.
        similar: True to compare each pair with captions of similar meaning; False for random ones.
        device: Device that processes exchange tensors on.

    Attributes:
        weights: Probability that each caption describes the clip it trains with, (captions,); 1
            before the first estimate.
        p_values: P-value of each caption, (captions,); 1 before the first estimate.
        clean_share: Estimated share of matched pairs; 1 before the first estimate.
    """

    def __init__(
        self,
        data: "TrainingData",
        dim: int,
        seed: int,
        *,
        by_clip: bool,
        similar: bool,
        device: torch.device,
    ) -> None:
        self.data, self.seed, self.device = data, seed, device
        self.by_clip, self.similar = by_clip, similar
        self.weights = torch.ones(len(data.captions))
        self.p_values = torch.ones(len(data.captions))
        self.clean_share = 1.0
        sides = 1 if data.states is not None else 2  # text too, if its encoder is trained
        self._seen = torch.zeros(sides, len(data.sounds), dim)
        self._drawn = torch.full((len(data.sounds),), -1)
        self._null_rows: tuple[list[list[int]], Ints] | None = None

    def record(self, clips: Tensor, captions: Tensor, audio: Tensor, text: Tensor) -> None:
        """Keep the embeddings (B, D) of a batch."""
        for memory, vectors in zip(self._seen, (audio, text), strict=False):
            memory[clips] = vectors.detach().float().cpu()
        self._drawn[clips] = captions

    def update(self, model: AudioTextModel, epoch: int) -> None:
        """Estimate the weights of all pairs recorded since the last call, and drop the record."""
        self._collect()
        clips = (self._drawn >= 0).nonzero().squeeze(1).tolist()
        if len(clips) > 1:
            self._estimate(model, clips, epoch)
        estimate = (self.weights, self.p_values, self.clean_share)
        self.weights, self.p_values, self.clean_share = process_group.broadcast(estimate)
        self._forget()

    def _estimate(self, model: AudioTextModel, clips: list[int], epoch: int) -> None:
        rows, text = self._captions(model, clips)
        p = rank_p_values(
            model.whiten(self._seen[0][clips]),
            model.whiten(text),
            np.repeat(np.arange(len(clips)), [len(group) for group in rows]),
            by_clip=self.by_clip,
            null_rows=self._similar_rows(rows) if self.similar else None,
            seed=[self.seed, epoch, 5],
        )
        found = estimate_weights(p)
        self.clean_share = found.clean_share
        groups = self._weighted_together(clips, rows)
        for group, value, weight in zip(groups, p, found.weights, strict=True):
            self.p_values[group], self.weights[group] = float(value), float(weight)

    def _collect(self) -> None:
        """Bring the record of all processes to rank 0."""
        self._seen = process_group.reduce_sum(self._seen, self.device)
        self._drawn = process_group.reduce_sum(self._drawn + 1, self.device) - 1
        if process_group.rank():
            self._forget()

    def _forget(self) -> None:
        self._seen.zero_()
        self._drawn.fill_(-1)

    def _captions(
        self, model: AudioTextModel, clips: Sequence[int]
    ) -> tuple[list[list[int]], Tensor]:
        """Return the captions that each clip is compared by, and their embeddings."""
        states = self.data.states
        if states is None:  # a fine-tuned text encoder: the captions of this epoch
            drawn = self._drawn[list(clips)].tolist()
            return [[row] for row in drawn], self._seen[1][list(clips)]
        rows = [self.data.train_captions[clip] for clip in clips]
        return rows, model.embed_text(states[[row for group in rows for row in group]])

    def _similar_rows(self, rows: list[list[int]]) -> Ints:
        """Return the items of most similar meaning for each item."""
        groups = rows if self.by_clip else [[row] for group in rows for row in group]
        if self._null_rows is None or self._null_rows[0] != groups:  # mostly the same every epoch
            texts = [[self.data.captions[row] for row in group] for group in groups]
            self._null_rows = groups, nearest(mean_caption_vectors(texts))
        return self._null_rows[1]

    def _weighted_together(self, clips: Sequence[int], rows: list[list[int]]) -> list[list[int]]:
        """Return the captions that each p-value belongs to."""
        if self.by_clip:
            return [self.data.train_captions[clip] for clip in clips]
        return [[row] for group in rows for row in group]

    def tensors(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint; valid on rank 0, but a collective call."""
        self._collect()
        return {
            "weights": self.weights,
            "p_values": self.p_values,
            "clean_share": torch.tensor(self.clean_share, dtype=torch.float64),
            "seen": self._seen,
            "drawn": self._drawn,
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state that `tensors` returned."""
        self.weights, self.p_values = tensors["weights"], tensors["p_values"]
        self.clean_share = float(tensors["clean_share"].item())
        if process_group.rank() == 0:
            self._seen, self._drawn = tensors["seen"], tensors["drawn"]

    def write(self, run: Path) -> None:
        """Replace the run's pairs.csv."""
        data = self.data
        pairs = (
            (
                data.ids[clip],
                data.captions[row],
                self.p_values[row].item(),
                self.weights[row].item(),
            )
            for clip in data.train_clips
            for row in data.train_captions[clip]
        )
        write_weights(run / PAIRS_FILE, pairs)
