"""SpecAugment: random masks of time and frequency."""

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
    """Mask random stretches of time and frequency of every clip (Park et al., SpecAugment, 2019).

    Masked values become the clip's mean. The size of each stretch is uniform between zero and its
    maximum.

    Args:
        features: Features, (B, frames, bands).
        lengths: Number of frames of each clip, (B,).
        rng: Random generator.
        time_masks: Number of stretches of time per clip.
        time_share: Maximum length of a stretch, as a share of the clip, [0, 1).
        band_masks: Number of stretches of frequency per clip.
        band_share: Maximum width of a stretch, as a share of the bands, [0, 1).
        place: Place of these rows in a larger batch, and its number of rows. The masks are then the
            ones that the whole batch would get.

    Returns:
        Masked features, (B, frames, bands). Padding stays zero.
    """
    rows, frames, bands = features.shape
    sizes = lengths.cpu().numpy()
    place = (slice(rows), rows) if place is None else place
    masked = _stretches(rng, time_masks, time_share, sizes, frames, place)[:, :, None]
    widths = np.full(rows, bands)
    masked = masked | _stretches(rng, band_masks, band_share, widths, bands, place)[:, None]
    masked &= (np.arange(frames) < sizes[:, None])[:, :, None]  # padding stays zero
    mean = features.sum((1, 2), keepdim=True) / (lengths.view(-1, 1, 1) * bands)
    return torch.where(torch.from_numpy(masked).to(features.device), mean, features)


def _stretches(
    rng: np.random.Generator,
    masks: int,
    share: float,
    sizes: npt.NDArray[np.int64],
    width: int,
    place: tuple[slice, int],
) -> npt.NDArray[np.bool_]:
    """Return the union of ``masks`` random stretches within the first sizes[i] of each row."""
    own, total = place
    masked = np.zeros((len(sizes), width), bool)
    places = np.arange(width)
    for _ in range(masks):
        length = rng.random(total)[own] * share * sizes
        start = rng.random(total)[own] * (sizes - length)
        end = start + length
        masked |= (places >= start.round()[:, None]) & (places < end.round()[:, None])
    return masked
