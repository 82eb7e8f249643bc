"""Training batches: which clips, which caption, which crop, and what SpecAugment hides.

Every choice is a function of (seed, epoch, clip) or (seed, epoch, step), so that a resumed run
makes the same choices without replaying the earlier ones.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from otomatch.models.feature_cache import ClipRows
from otomatch.parallel import process_group


class Batch(NamedTuple):
    """A batch of B pairs.

    Attributes:
        features: (B, frames, bands), float32; clips shorter than the longest end in zeros.
        lengths: (B,) frames of each clip.
        captions: (B,) row of each clip's caption in the list of all captions.
        clips: (B,) row of each clip.
    """

    features: Tensor
    lengths: Tensor
    captions: Tensor
    clips: Tensor


class EpochBatches(Sampler[list[int]]):
    """The batches of an epoch: a fresh order of ``total`` rows for every seed and epoch.

    Of every batch, each process gets its own stretch, in rank order.

    Args:
        total: rows.
        size: of a batch, over all processes; ``total`` if that is less.
        drop_last: leave out the rest that fills no batch. A rest of fewer rows than there are
            processes, or of one row, is left out in any case.
        seed: of the orders.
    """

    def __init__(self, total: int, size: int, drop_last: bool, seed: int) -> None:
        self.total, self.size, self.seed, self.epoch = total, min(size, total), seed, 0
        rest = total % self.size
        self.rest = 0 if drop_last or rest < max(2, process_group.world_size()) else rest

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.total // self.size + (self.rest > 0)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.total).tolist()
        for step in range(len(self)):
            whole = order[step * self.size :][: self._rows(step)]
            yield whole[process_group.own_part(len(whole))]

    def place(self, step: int) -> tuple[slice, int]:
        """This process's rows of a batch, and how many the batch has."""
        rows = self._rows(step)
        return process_group.own_part(rows), rows

    def _rows(self, step: int) -> int:
        return self.size if step < self.total // self.size else self.rest


class PairCollator:
    """Gathers the pairs of a batch: one caption per clip and epoch, long clips cropped.

    Args:
        features: of all clips; or the windows' outputs of a frozen encoder, with one to draw.
        rows: the clips to train on.
        caption_rows: for each of ``rows``, the rows of its captions.
        max_frames: longer clips are cropped, at a place drawn for every epoch.
        seed: of the draws.
    """

    def __init__(
        self,
        features: ClipRows,
        rows: Sequence[int],
        caption_rows: Sequence[Sequence[int]],
        max_frames: int,
        seed: int,
    ) -> None:
        self.features, self.max_frames, self.seed = features, max_frames, seed
        self.rows = np.asarray(rows)
        self.lengths = np.minimum(features.lengths[self.rows], max_frames)
        self.starts = np.cumsum([0, *map(len, caption_rows)])
        self.caption_rows = np.concatenate([np.asarray(rows) for rows in caption_rows])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the captions and the crops of an epoch."""
        draw = np.random.default_rng([self.seed, epoch, 1]).random((2, len(self.rows)))
        counts = np.diff(self.starts)
        self.captions = self.caption_rows[self.starts[:-1] + (draw[0] * counts).astype(int)]
        slack = self.features.lengths[self.rows] - self.lengths
        self.crops = (draw[1] * (slack + 1)).astype(int)

    def __call__(self, pairs: Sequence[int]) -> Batch:
        """The batch of the given places in ``rows``."""
        chosen = np.asarray(pairs)
        lengths = self.lengths[chosen]
        batch = np.zeros((len(chosen), lengths.max(), self.features.values.shape[1]), np.float32)
        for i, pair in enumerate(chosen):
            crop = self.crops[pair]
            batch[i, : lengths[i]] = self.features[self.rows[pair]][crop : crop + lengths[i]]
        return Batch(
            torch.from_numpy(batch),
            torch.from_numpy(lengths),
            torch.from_numpy(self.captions[chosen]),
            torch.from_numpy(self.rows[chosen]),
        )
