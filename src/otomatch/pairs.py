"""What all losses over a batch of B audio-text pairs share: their call, and its checks.

All share one call, `loss(audio, text, metric, clip_ids=None) -> scalar`:

    audio, text: (B, D) embeddings of B pairs, row i of one belonging to row i of the other,
        L2-normalised; any floating dtype, float32 at least inside, also under autocast.
    metric: a ground metric, (x, y) -> (n, m) distances d_M (see `otomatch.ground`).
    clip_ids: (B,) tensor, or a sequence of B hashable values, that says which rows are captions of
        the same clip. Such rows are never negatives of each other. None: all rows differ.

All raise InvalidInputError, which quotes what was found, for embeddings of a wrong or different
shape, NaN or infinite values, and clip_ids of a wrong length.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError

Metric = Callable[[Tensor, Tensor], Tensor]
ClipIds = Tensor | Sequence[Hashable]


def distances(audio: Tensor, text: Tensor, metric: Metric) -> Tensor:
    """Distances (B, B), checked, in float32 at least."""
    for name, points in (("audio", audio), ("text", text)):
        if not isinstance(points, Tensor):
            raise InvalidInputError(f"{name} is a {type(points).__name__}; expected a torch.Tensor")
        if points.ndim != 2 or points.numel() == 0 or not points.is_floating_point():
            raise InvalidInputError(
                f"{name} has shape {tuple(points.shape)} and dtype {points.dtype}; "
                "expected floating-point embeddings (B, D) with B, D >= 1"
            )
    if audio.shape != text.shape:
        raise InvalidInputError(
            f"audio has shape {tuple(audio.shape)} and text {tuple(text.shape)}; expected the same"
        )
    with torch.autocast(audio.device.type, enabled=False):
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in (audio, text)]
        found = metric(*wide)
    if not bool(torch.isfinite(found).all()):
        _blame(audio, text)
    return found


def _blame(audio: Tensor, text: Tensor) -> None:
    for name, points in (("audio", audio), ("text", text)):
        bad = (~torch.isfinite(points)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise InvalidInputError(
                f"{name}[{row}, {column}] is {points[row, column].item()}; "
                "expected finite numbers only"
            )
    raise InvalidInputError(
        "the metric gave NaN or infinite distances for finite embeddings; "
        "expected finite metric parameters"
    )


def similarities(audio: Tensor, text: Tensor, metric: Metric) -> Tensor:
    """Similarities 1 - d_M^2 / 2: the cosine for unit vectors and M = I."""
    return 1 - distances(audio, text, metric).square() / 2


def same_clip(clip_ids: ClipIds | None, audio: Tensor) -> Tensor:
    """(B, B), true where row and column belong to the same clip."""
    if clip_ids is None:
        return torch.eye(len(audio), dtype=torch.bool, device=audio.device)
    found = tuple(clip_ids.shape) if isinstance(clip_ids, Tensor) else (len(clip_ids),)
    if found != (len(audio),):
        raise InvalidInputError(
            f"clip_ids has shape {found}; expected ({len(audio)},), one for each row of audio"
        )
    if not isinstance(clip_ids, Tensor):
        numbers: dict[Hashable, int] = {}
        clip_ids = torch.tensor([numbers.setdefault(clip, len(numbers)) for clip in clip_ids])
    clip_ids = clip_ids.to(audio.device)
    return clip_ids[:, None] == clip_ids


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return the value; raise InvalidInputError unless it is one of those allowed."""
    if value not in allowed:
        raise InvalidInputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return value
