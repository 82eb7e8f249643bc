"""The batch of B audio-text pairs that every loss takes: its arguments and their checks.

All losses are called as ``loss(audio, text, metric, clip_ids=None)`` and return a scalar:

    audio, text: Embeddings (B, D) of B pairs, where row i of one belongs to row i of the other.
        L2-normalised, of any floating dtype; computed in float32 at least, also under autocast.
    metric: Ground metric, a function (x, y) -> distances d_M (n, m); see
        `otomatch.transport.ground_metrics`.
    clip_ids: Tensor (B,) or sequence of B hashable values. Rows with equal ids are captions of the
        same clip and never negatives of each other. With None all rows are of different clips.

All losses have the option `gather`. With gather=True in W processes of a `torch.distributed`
group, the arguments are one process's B_r rows of a global batch of B pairs, in rank order; the B_r
may differ and be 0. The loss is that of the global batch and has the same value on every process.
Each process holds B_r rows of the (B, B) distances, memory O(B^2/W). As `DistributedDataParallel`
expects, the mean over the processes of a parameter's gradients is the gradient of the global loss:
wrap encoders and metric in one module, or average the gradients of the metric too. With one process
`gather` has no effect.

All losses raise InvalidInputError for embeddings of a wrong or different shape, NaN or infinite
values, and clip_ids of a wrong length; with `gather`, on all processes if on one.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.parallel import process_group
from otomatch.parallel.shard import Shard, raise_first

Metric = Callable[[Tensor, Tensor], Tensor]
ClipIds = Tensor | Sequence[Hashable]


@dataclass(frozen=True, eq=False)
class Pairs:
    """A global batch of B pairs, as seen by a process that holds B_r of them.

    Attributes:
        audio: Audio embeddings (B_r, D), float32 at least.
        text: Text embeddings (B_r, D), likewise.
        clips: Clip numbers (B,), equal for rows of the same clip.
        weights: Weights (B,) from 0 to 1, or None.
        shard: Rows that this process holds: all of them, unless processes share the batch.
    """

    audio: Tensor
    text: Tensor
    clips: Tensor
    weights: Tensor | None
    shard: Shard

    def same_clip(self) -> Tensor:
        """Return a mask (B_r, B), True where a row of this process has the clip of a column."""
        return self.clips[self.shard.own, None] == self.clips

    def distances(self, metric: Metric) -> Tensor:
        """Return the distances (B_r, B) of this process's audio to all texts.

        Raises:
            InvalidInputError: A distance is NaN or infinite; on all processes if on one.
        """
        texts = self.shard.all_gather(self.text)
        with self.shard.raise_together():
            return _finite_distances(metric, self.audio, texts)

    def similarities(self, metric: Metric) -> Tensor:
        """Return the scores 1 - d_M^2 / 2 (B_r, B), the cosines for unit vectors and M = I."""
        return 1 - self.distances(metric).square() / 2

    def positives(self, scores: Tensor) -> Tensor:
        """Return the entries (B_r,) of scores (B_r, B) that belong to the pairs; a view."""
        return scores.diagonal(self.shard.own.start)


def prepare_pairs(
    audio: Tensor,
    text: Tensor,
    clip_ids: ClipIds | None = None,
    weights: Tensor | None = None,
    gather: bool = False,
) -> Pairs:
    """Check the arguments of a loss, and exchange them with the processes that share the batch.

    Args:
        audio: Audio embeddings (B_r, D).
        text: Text embeddings (B_r, D).
        clip_ids: Clip of each row (B_r,), or None.
        weights: Weights (B_r,) from 0 to 1, or None.
        gather: True if the processes of the `torch.distributed` group share the batch.

    Raises:
        InvalidInputError: An argument is invalid (see the module), or the arguments of the
            processes do not fit together.
    """
    own = _describe(audio, text, clip_ids, weights)
    blocks = process_group.all_gather(own) if gather else [own]
    messages = (None if block.error is None else str(block.error) for block in blocks)
    raise_first(own.error, messages)
    _check_equal_settings(blocks)
    shard = Shard(tuple(block.rows for block in blocks))
    if shard.total == 0:
        raise _invalid_embeddings("audio", audio)
    dtype = torch.promote_types(audio.dtype, torch.float32)
    return Pairs(
        audio.to(dtype),
        text.to(dtype),
        _number_clips(blocks, shard).to(audio.device),
        None if weights is None else shard.all_gather(weights.detach().to(audio.device, dtype)),
        shard,
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """Description of one process's rows, exchanged before any tensor."""

    rows: int = 0
    clips: list[Hashable] | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    error: InvalidInputError | None = None


def _describe(
    audio: Tensor, text: Tensor, clip_ids: ClipIds | None, weights: Tensor | None
) -> _Block:
    try:
        _check_embeddings(audio, text)
        _check_clip_ids(clip_ids, len(audio))
        _check_weights(weights, len(audio))
    except InvalidInputError as error:
        return _Block(error=error)
    settings = {
        "embeddings of width": audio.shape[1],
        "audio of dtype": audio.dtype,
        "text of dtype": text.dtype,
        "audio that requires a gradient": audio.requires_grad,
        "text that requires a gradient": text.requires_grad,
        "clip_ids": clip_ids is not None,
        "weights": weights is not None,
    }
    clips = clip_ids.tolist() if isinstance(clip_ids, Tensor) else clip_ids
    return _Block(len(audio), None if clips is None else list(clips), tuple(settings.items()))


def _check_equal_settings(blocks: list[_Block]) -> None:
    for rank, block in enumerate(blocks):
        for (name, first), (_, value) in zip(blocks[0].settings, block.settings, strict=True):
            if value != first:
                raise InvalidInputError(
                    f"process 0 has {name}: {first}, process {rank}: {value}; expected the same"
                )


def _number_clips(blocks: list[_Block], shard: Shard) -> Tensor:
    """Number the clips (B,) in the order of their first rows, equally on every process."""
    numbers: dict[Hashable, int] = {}
    clips: list[int] = []
    for block in blocks:
        if block.clips is None:
            return torch.arange(shard.total)
        clips += [numbers.setdefault(clip, len(numbers)) for clip in block.clips]
    return torch.tensor(clips)


def _check_embeddings(audio: Tensor, text: Tensor) -> None:
    for name, points in (("audio", audio), ("text", text)):
        if not isinstance(points, Tensor):
            raise InvalidInputError(f"{name} is a {type(points).__name__}; expected a torch.Tensor")
        if points.ndim != 2 or points.shape[1] == 0 or not points.is_floating_point():
            raise _invalid_embeddings(name, points)
    if audio.shape != text.shape:
        raise InvalidInputError(
            f"audio has shape {tuple(audio.shape)} and text {tuple(text.shape)}; expected the same"
        )
    for name, points in (("audio", audio), ("text", text)):
        finite = torch.isfinite(points)
        if not bool(finite.all()):
            row, column = (~finite).nonzero()[0].tolist()
            raise InvalidInputError(
                f"{name}[{row}, {column}] is {points[row, column].item()}; "
                "expected finite numbers only"
            )


def _invalid_embeddings(name: str, points: Tensor) -> InvalidInputError:
    return InvalidInputError(
        f"{name} has shape {tuple(points.shape)} and dtype {points.dtype}; "
        "expected floating-point embeddings (B, D) with B, D >= 1"
    )


def _check_clip_ids(clip_ids: ClipIds | None, rows: int) -> None:
    if clip_ids is None:
        return
    found = tuple(clip_ids.shape) if isinstance(clip_ids, Tensor) else (len(clip_ids),)
    if found != (rows,):
        raise InvalidInputError(
            f"clip_ids has shape {found}; expected ({rows},), one for each row of audio"
        )


def _check_weights(weights: Tensor | None, rows: int) -> None:
    if weights is None:
        return
    if not isinstance(weights, Tensor) or weights.shape != (rows,):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise InvalidInputError(f"weights is {found}; expected a tensor of shape ({rows},)")
    bad = ~((weights >= 0) & (weights <= 1))
    if bool(bad.any()):
        raise InvalidInputError(
            f"weights contains {weights[bad][0].item()}; expected numbers from 0 to 1"
        )


def _finite_distances(metric: Metric, x: Tensor, y: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        distances = metric(x, y)
    if not bool(torch.isfinite(distances).all()):
        raise InvalidInputError(
            "the metric returned NaN or infinite distances for finite embeddings; "
            "expected finite metric parameters"
        )
    return distances
