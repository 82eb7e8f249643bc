"""Masked layers: clips of different lengths in one batch, each computed as if it were alone.

Feature maps have shape (B, C, frames, F). ``lengths`` (B,) is the number of frames of each clip, or
None if no clip is padded. Beyond the end of a clip the maps are zero, as the zero padding of a
convolution would be for the clip alone.
"""

import torch
from torch import Tensor, nn


def unless_full(lengths: Tensor | None, frames: int) -> Tensor | None:
    """Return the lengths, or None if no clip is padded and so no mask is needed."""
    return None if lengths is None or bool((lengths == frames).all()) else lengths


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Return a mask (B, frames) that is True for each clip's own frames."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def zero_beyond_(x: Tensor, lengths: Tensor) -> Tensor:
    """Set maps (B, C, frames, F) to zero beyond the end of each clip, in place."""
    return x.masked_fill_(~frame_mask(lengths, x.shape[2])[:, None, :, None], 0.0)


def norm_features(norm: nn.Module, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Normalise features (B, frames, bands) over the clips' own frames, as one-channel maps.

    The norm is a `BatchNorm1d` over rows, because torch's backward pass on the CPU misinterprets
    the memory layout of maps that are one wide.
    """
    if lengths is None:
        normed: Tensor = norm(features.flatten(0, 1)).view(features.shape)
    else:
        mask = frame_mask(lengths, features.shape[1])
        normed = _scatter(mask, norm(features[mask]))
    return normed[..., None].permute(0, 3, 1, 2)  # channels last in memory from here on


def norm_maps(norm: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Normalise maps (B, C, frames, F) over the clips' own frames."""
    if lengths is None:
        normed: Tensor = norm(x)
        return normed
    if not norm.training:
        return zero_beyond_(norm(x), lengths)
    mask = frame_mask(lengths, x.shape[2])
    own = x.permute(0, 2, 3, 1)[mask]  # (n, F, C)
    normed = norm(own.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    return _scatter(mask, normed).permute(0, 3, 1, 2)


def _scatter(mask: Tensor, own: Tensor) -> Tensor:
    """Put frames (n, ...) where the mask (B, frames) is True, and zeros elsewhere."""
    padded = own.new_zeros(*mask.shape, *own.shape[1:])
    return padded.masked_scatter(mask.view(*mask.shape, *[1] * (own.ndim - 1)), own)


def mean_and_max(states: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and maximum of states (B, frames, C) over each clip's own frames, both (B, C)."""
    if lengths is None:
        return states.mean(1), states.amax(1)
    mask = frame_mask(lengths, states.shape[1])[:, :, None]
    mean = (states * mask).sum(1) / lengths[:, None]
    return mean, states.masked_fill(~mask, -torch.inf).amax(1)
