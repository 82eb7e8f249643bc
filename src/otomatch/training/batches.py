"""Training batches: the order of clips, the caption and the crop of each.

Every choice is a function of (seed, epoch, clip), so that a resumed run makes the same choices
without replaying the earlier ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from accelerate import skip_first_batches
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from otomatch.models.feature_cache import ClipRows
from otomatch.parallel import process_group


class Batch(NamedTuple):
    """A batch of B pairs.

    Attributes:
        features: Features, float32 (B, frames, bands), padded with zeros to the longest clip.
        lengths: Number of frames of each clip, (B,).
        captions: Row of each clip's caption in the list of all captions, (B,).
        clips: Row of each clip, (B,).
    """

    features: Tensor
    lengths: Tensor
    captions: Tensor
    clips: Tensor


class EpochBatches(Sampler[list[int]]):
    """Batches of an epoch: ``range(total)`` in an order that depends on the seed and the epoch.

    Each process gets a contiguous part of every batch, in rank order.

    Args:
        total: Number of rows.
        size: Number of rows per batch, over all processes; at most ``total``.
        drop_last: True to drop the last, incomplete batch. A last batch of one row, or of fewer
            rows than processes, is always dropped.
        seed: Random seed of the orders.
    """

    def __init__(self, total: int, size: int, drop_last: bool, seed: int) -> None:
        self.total, self.size, self.seed, self.epoch = total, min(size, total), seed, 0
        rest = total % self.size
        self.rest = 0 if drop_last or rest < max(2, process_group.world_size()) else rest

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is iterated next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.total // self.size + (self.rest > 0)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.total).tolist()
        for step in range(len(self)):
            whole = order[step * self.size :][: self._rows(step)]
            yield whole[process_group.own_part(len(whole))]

    def place(self, step: int) -> tuple[slice, int]:
        """Return this process's rows of a batch, and the number of rows in the whole batch."""
        rows = self._rows(step)
        return process_group.own_part(rows), rows

    def _rows(self, step: int) -> int:
        return self.size if step < self.total // self.size else self.rest


class PairCollator:
    """Collates pairs: one caption per clip and epoch, long clips cropped.

    Args:
        features: Feature frames of all clips, or a frozen encoder's outputs, a row per window.
        rows: Rows of the training clips.
        caption_rows: Rows of the captions of each training clip.
        max_frames: Maximum number of frames; longer clips are cropped at a place that depends on
            the epoch. 1 to choose a window of a frozen encoder's outputs.
        seed: Random seed of captions and crops.
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
        """Choose the captions and crops of an epoch."""
        draw = np.random.default_rng([self.seed, epoch, 1]).random((2, len(self.rows)))
        counts = np.diff(self.starts)
        self.captions = self.caption_rows[self.starts[:-1] + (draw[0] * counts).astype(int)]
        slack = self.features.lengths[self.rows] - self.lengths
        self.crops = (draw[1] * (slack + 1)).astype(int)

    def __call__(self, pairs: Sequence[int]) -> Batch:
        """Return the batch of the given places in ``rows``."""
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


class BatchLoader:
    """Loads the batches of an epoch, from any step.

    Args:
        batches: Rows of each batch.
        collator: Pairs of these rows.
    """

    def __init__(self, batches: EpochBatches, collator: PairCollator) -> None:
        self.batches, self.collator = batches, collator
        self._loader: DataLoader[int] = DataLoader(
            cast(Any, range(batches.total)),
            batch_sampler=batches,
            collate_fn=collator,
            generator=torch.Generator(),  # leaves the global generator alone
        )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterable[Batch]:
        """Return the batches of an epoch, without those before ``first_step``."""
        self.collator.set_epoch(epoch)
        self.batches.set_epoch(epoch)
        batches: Iterable[Batch] = skip_first_batches(self._loader, first_step)
        return batches

    def place(self, step: int) -> tuple[slice, int]:
        """Return this process's rows of a batch, and the number of rows in the whole batch."""
        return self.batches.place(step)
