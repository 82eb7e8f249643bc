"""Training batches: which clips, which caption, which crop, and what SpecAugment hides.

Every choice is a function of (seed, epoch, clip) or (seed, epoch, step), so that a resumed run
makes the same choices without replaying the earlier ones.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from otomatch.embed import ClipRows


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


class EpochSampler(Sampler[int]):
    """A fresh order of ``size`` rows for every epoch, the same for the same seed and epoch."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        yield from order.tolist()


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


def spec_augment(
    features: Tensor,
    lengths: Tensor,
    rng: np.random.Generator,
    time_masks: int,
    time_share: float,
    band_masks: int,
    band_share: float,
) -> Tensor:
    """Hide random stretches of time and of frequency in every clip (SpecAugment).

    Hidden values become the clip's mean. Each stretch is drawn uniformly between nothing and
    its largest size.

    Args:
        features: (B, frames, bands).
        lengths: (B,) frames of each clip.
        rng: source of the draws.
        time_masks: stretches of time per clip.
        time_share: longest stretch as a share of the clip, [0, 1).
        band_masks: stretches of frequency per clip.
        band_share: widest stretch as a share of the bands, [0, 1).
    """
    count, frames, bands = features.shape
    sizes = lengths.cpu().numpy()
    hidden = _stretches(rng, time_masks, time_share, sizes, frames)[:, :, None]
    hidden = hidden | _stretches(rng, band_masks, band_share, np.full(count, bands), bands)[:, None]
    hidden &= (np.arange(frames) < sizes[:, None])[:, :, None]  # padding stays zero
    mean = features.sum((1, 2), keepdim=True) / (lengths.view(-1, 1, 1) * bands)
    return torch.where(torch.from_numpy(hidden).to(features.device), mean, features)


def _stretches(
    rng: np.random.Generator, masks: int, share: float, sizes: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.bool_]:
    """Union of ``masks`` random stretches within the first sizes[i] places, (B, width)."""
    hidden = np.zeros((len(sizes), width), bool)
    places = np.arange(width)
    for _ in range(masks):
        length = rng.random(len(sizes)) * share * sizes
        start = rng.random(len(sizes)) * (sizes - length)
        end = start + length
        hidden |= (places >= start.round()[:, None]) & (places < end.round()[:, None])
    return hidden
