"""SpecAugment."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def spec_augment(
    features: Tensor,
    lengths: Tensor,
    rng: np.random.Generator,
    time_masks: int,
    time_share: float,
    band_masks: int,
    band_share: float,
    place: tuple[slice, int] | None = None,
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
        place: which rows of a larger batch these are, and how many that has; the draws are those
            of the whole batch.
    """
    rows, frames, bands = features.shape
    sizes = lengths.cpu().numpy()
    place = (slice(rows), rows) if place is None else place
    hidden = _stretches(rng, time_masks, time_share, sizes, frames, place)[:, :, None]
    widths = np.full(rows, bands)
    hidden = hidden | _stretches(rng, band_masks, band_share, widths, bands, place)[:, None]
    hidden &= (np.arange(frames) < sizes[:, None])[:, :, None]  # padding stays zero
    mean = features.sum((1, 2), keepdim=True) / (lengths.view(-1, 1, 1) * bands)
    return torch.where(torch.from_numpy(hidden).to(features.device), mean, features)


def _stretches(
    rng: np.random.Generator,
    masks: int,
    share: float,
    sizes: npt.NDArray[np.int64],
    width: int,
    place: tuple[slice, int],
) -> npt.NDArray[np.bool_]:
    """Union of ``masks`` random stretches within the first sizes[i] places, (B, width)."""
    own, total = place
    hidden = np.zeros((len(sizes), width), bool)
    places = np.arange(width)
    for _ in range(masks):
        length = rng.random(total)[own] * share * sizes
        start = rng.random(total)[own] * (sizes - length)
        end = start + length
        hidden |= (places >= start.round()[:, None]) & (places < end.round()[:, None])
    return hidden
