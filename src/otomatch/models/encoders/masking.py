"""What lets clips of many lengths share a batch: each is computed as if it were alone.

Feature maps have shape (B, C, frames, F). ``lengths`` (B,) counts each clip's own frames; None
says that all are full. Beyond a clip's end the maps hold zeros, which is what its convolutions
would have seen there had it been alone.
"""

import torch
from torch import Tensor, nn


def unless_full(lengths: Tensor | None, frames: int) -> Tensor | None:
    """The lengths, or None where no clip is padded and no mask is needed."""
    return None if lengths is None or bool((lengths == frames).all()) else lengths


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """True for each clip's own frames, (B, frames)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def zero_beyond_(x: Tensor, lengths: Tensor) -> Tensor:
    """Set maps (B, C, frames, F) to zero beyond the clips' ends, in place."""
    return x.masked_fill_(~frame_mask(lengths, x.shape[2])[:, None, :, None], 0.0)


def norm_features(norm: nn.Module, features: Tensor, lengths: Tensor | None) -> Tensor:
    """Batch norm of features (B, frames, bands) over the clips' own frames, as one-channel maps.

    The norm is a `BatchNorm1d`, which sees rows: torch's backward pass on the CPU mistakes the
    memory layout of maps that are one wide.
    """
    if lengths is None:
        normed: Tensor = norm(features.flatten(0, 1)).view(features.shape)
    else:
        mask = frame_mask(lengths, features.shape[1])
        normed = _scatter(mask, norm(features[mask]))
    return normed[..., None].permute(0, 3, 1, 2)  # channels last in memory, and so from here on


def norm_maps(norm: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Batch norm of maps (B, C, frames, F) over the clips' own frames."""
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
    """Own frames (n, ...) to where the mask (B, frames) is true, zeros elsewhere."""
    padded = own.new_zeros(*mask.shape, *own.shape[1:])
    return padded.masked_scatter(mask.view(*mask.shape, *[1] * (own.ndim - 1)), own)


def mean_and_max(states: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and maximum of (B, frames, C) over each clip's own frames, both (B, C)."""
    if lengths is None:
        return states.mean(1), states.amax(1)
    mask = frame_mask(lengths, states.shape[1])[:, :, None]
    mean = (states * mask).sum(1) / lengths[:, None]
    return mean, states.masked_fill(~mask, -torch.inf).amax(1)
