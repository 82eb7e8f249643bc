"""What all losses over a batch of B audio-text pairs share: their call, and its checks.

All share one call, `loss(audio, text, metric, clip_ids=None) -> scalar`:

    audio, text: (B, D) embeddings of B pairs, row i of one belonging to row i of the other,
        L2-normalised; any floating dtype, float32 at least inside, also under autocast.
    metric: a ground metric, (x, y) -> (n, m) distances d_M (see `transport.ground_metrics`).
    clip_ids: (B,) tensor, or a sequence of B hashable values, that says which rows are captions of
        the same clip. Such rows are never negatives of each other. None: all rows differ.

and one option, `gather`. With gather=True in W processes that `torch.distributed` joins, these
arguments are one process's B_r rows of a global batch of B pairs, in rank order; the B_r may differ
and be 0. The loss is that of the global batch, the same number on every process. Each process holds
B_r rows of the (B, B) distances, memory O(B^2/W). As `DistributedDataParallel` expects, the mean
over the processes of a parameter's gradients is the global loss's gradient: wrap encoders and
metric in one module, or average the metric's gradients as well. With one process gather changes
nothing.

All raise InvalidInputError, which quotes what was found, for embeddings of a wrong or different
shape, NaN or infinite values, and clip_ids of a wrong length: on all processes, if on one.
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
    """The B pairs of a global batch, as seen by the process that holds B_r of them.

    Attributes:
        audio: (B_r, D), float32 at least.
        text: (B_r, D), likewise.
        clips: (B,) numbers, equal where rows belong to one clip.
        weights: (B,) within 0 and 1, or None if none were given.
        shard: which rows are here: all, unless several processes gather theirs.
    """

    audio: Tensor
    text: Tensor
    clips: Tensor
    weights: Tensor | None
    shard: Shard

    def same_clip(self) -> Tensor:
        """(B_r, B), true where a row here and a row of the batch belong to the same clip."""
        return self.clips[self.shard.own, None] == self.clips

    def distances(self, metric: Metric) -> Tensor:
        """Distances (B_r, B) of the audio here to all texts, checked."""
        texts = self.shard.all_gather(self.text)
        with self.shard.raise_together():
            return _measured(metric, self.audio, texts)

    def similarities(self, metric: Metric) -> Tensor:
        """Similarities 1 - d_M^2 / 2, (B_r, B): the cosine for unit vectors and M = I."""
        return 1 - self.distances(metric).square() / 2

    def right(self, scores: Tensor) -> Tensor:
        """Of scores (B_r, B), the entries (B_r,) of a row with its own column."""
        return scores.diagonal(self.shard.own.start)


def open_pairs(
    audio: Tensor,
    text: Tensor,
    clip_ids: ClipIds | None = None,
    weights: Tensor | None = None,
    gather: bool = False,
) -> Pairs:
    """Check a loss's arguments; with `gather`, meet the processes that hold the other rows.

    Args:
        audio: (B_r, D).
        text: (B_r, D).
        clip_ids: (B_r,), or None.
        weights: (B_r,) within 0 and 1, or None.
        gather: whether the processes joined by `torch.distributed` share the batch.

    Raises:
        InvalidInputError: see the module; or the processes do not fit together.
    """
    own = _facts(audio, text, clip_ids, weights)
    every = process_group.all_gather(own) if gather else [own]
    raise_first(
        own.problem, (None if facts.problem is None else str(facts.problem) for facts in every)
    )
    _compare(every)
    shard = Shard(tuple(facts.rows for facts in every))
    if shard.total == 0:
        raise _misshapen("audio", audio)
    dtype = torch.promote_types(audio.dtype, torch.float32)
    return Pairs(
        audio.to(dtype),
        text.to(dtype),
        _numbers(every, shard).to(audio.device),
        None if weights is None else shard.all_gather(weights.detach().to(audio.device, dtype)),
        shard,
    )


@dataclass(frozen=True, eq=False)
class _Facts:
    """What a process tells the others of its rows before any tensor is exchanged."""

    rows: int = 0
    clips: list[Hashable] | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    problem: InvalidInputError | None = None


def _facts(audio: Tensor, text: Tensor, clip_ids: ClipIds | None, weights: Tensor | None) -> _Facts:
    try:
        _check_embeddings(audio, text)
        _check_clip_ids(clip_ids, len(audio))
        _check_weights(weights, len(audio))
    except InvalidInputError as error:
        return _Facts(problem=error)
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
    return _Facts(len(audio), None if clips is None else list(clips), tuple(settings.items()))


def _compare(every: list[_Facts]) -> None:
    for rank, facts in enumerate(every):
        for (name, first), (_, value) in zip(every[0].settings, facts.settings, strict=True):
            if value != first:
                raise InvalidInputError(
                    f"process 0 has {name}: {first}, process {rank}: {value}; expected the same"
                )


def _numbers(every: list[_Facts], shard: Shard) -> Tensor:
    """(B,), the clips numbered in the order of their first rows, alike on every process."""
    numbers: dict[Hashable, int] = {}
    found: list[int] = []
    for facts in every:
        if facts.clips is None:
            return torch.arange(shard.total)
        found += [numbers.setdefault(clip, len(numbers)) for clip in facts.clips]
    return torch.tensor(found)


def _check_embeddings(audio: Tensor, text: Tensor) -> None:
    for name, points in (("audio", audio), ("text", text)):
        if not isinstance(points, Tensor):
            raise InvalidInputError(f"{name} is a {type(points).__name__}; expected a torch.Tensor")
        if points.ndim != 2 or points.shape[1] == 0 or not points.is_floating_point():
            raise _misshapen(name, points)
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


def _misshapen(name: str, points: Tensor) -> InvalidInputError:
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
            f"weights hold {weights[bad][0].item()}; expected numbers within 0 and 1"
        )


def _measured(metric: Metric, x: Tensor, y: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        found = metric(x, y)
    if not bool(torch.isfinite(found).all()):
        raise InvalidInputError(
            "the metric gave NaN or infinite distances for finite embeddings; "
            "expected finite metric parameters"
        )
    return found


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return the value; raise InvalidInputError unless it is one of those allowed."""
    if value not in allowed:
        raise InvalidInputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return value
