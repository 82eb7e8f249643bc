"""Ranks of relevant items, from embeddings or from a matrix of scores.

Two numbers are counted for every relevant (clip, caption) pair: the non-relevant clips at least as
near to the caption as the clip, and the non-relevant captions at least as near to the clip as the
caption. All metrics of `otomatch.retrieval` follow from these two, and both are computed in one
pass over blocks of distances.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, at_least, non_negative

Array: TypeAlias = Tensor | npt.NDArray[Any]
TextClip: TypeAlias = Array | Sequence[int] | Sequence[Sequence[int]]
Ints: TypeAlias = npt.NDArray[np.int64]

BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Ranks:
    """Number of non-relevant items ranked before each relevant one; ties rank before it.

    The four arrays are int64 of shape (P,), one entry per relevant (clip, caption) pair, sorted by
    caption.

    Attributes:
        clip: Row of the clip.
        caption: Index of the caption.
        clips_ahead: Number of non-relevant clips at least as near to the caption as this clip.
        captions_ahead: Number of non-relevant captions at least as near to the clip as this
            caption.
        clips: Number of clips.
        captions: Number of captions.
    """

    clip: Ints
    caption: Ints
    clips_ahead: Ints
    captions_ahead: Ints
    clips: int
    captions: int


def rank_embeddings(audio: Array, text: Array, text_clip: TextClip, block: int = BLOCK) -> Ranks:
    """Rank captions by distance to clips, and clips by distance to captions, in one pass.

    Distances are computed in float64, ``block`` clips by ``block`` captions at a time, so that no
    (n, m) matrix is in memory. Two distances tie if they differ by no more than rounding errors:
    u (X + Y) on the distance, where u is the unit roundoff of the input (that of float32 for half
    precision, too), plus 2 (D + 4) u64 (X + Y)^2 on its square for the arithmetic, where X and Y
    are the largest norms of each modality. Duplicates therefore tie for every block size, and a
    model that maps everything to one point ranks every relevant item last.

    Args:
        audio: Embeddings (n, D), one row per clip.
        text: Embeddings (m, D), one row per caption.
        text_clip: (m,) row of ``audio`` that each caption describes, or m sequences of rows if a
            caption may describe several clips or none.
        block: Side of the blocks; affects speed and memory, not the result.

    Raises:
        InvalidInputError: If embeddings are empty, mis-shaped or not finite, if ``text_clip`` has
            another length, is out of range or names no pair, or if ``block`` < 1.
    """
    at_least("block", block, 1)
    audio, text = as_matrix("audio", audio), as_matrix("text", text)
    if audio.shape[1] != text.shape[1]:
        raise InvalidInputError(
            f"audio has {audio.shape[1]} dimensions and text {text.shape[1]}; expected the same"
        )
    text = text.to(audio.device)
    pairs = relevant_pairs(text_clip, len(audio), len(text))
    x2, y2 = _squared_norms("audio", audio, block), _squared_norms("text", text, block)
    limit = _limits(audio, text, pairs, float(x2.max().sqrt() + y2.max().sqrt()), block)

    def cost(rows: slice, columns: slice) -> Tensor:
        product = audio[rows].double() @ text[columns].double().T
        return product.mul_(-2).add_(x2[rows, None]).add_(y2[columns])

    return _rank(cost, limit, pairs, (len(audio), len(text)), block)


def rank_scores(
    scores: Array, text_clip: TextClip, tolerance: float = 0.0, block: int = BLOCK
) -> Ranks:
    """Rank captions and clips by given scores, where higher is better.

    Args:
        scores: Scores (n, m), clips by captions. Infinities are allowed, NaN is not.
        text_clip: Clip of each caption, as in `rank_embeddings`.
        tolerance: Distance below a relevant score within which other scores tie with it: 0 for
            exact scores, the solver's accuracy for scores computed by a solver.
        block: Side of the blocks; affects speed and memory, not the result.

    Raises:
        InvalidInputError: If scores are empty, mis-shaped or NaN, if ``text_clip`` has another
            length, is out of range or names no pair, if ``tolerance`` is negative or infinite, or
            if ``block`` < 1.
    """
    at_least("block", block, 1)
    non_negative("tolerance", tolerance)
    scores = as_matrix("scores", scores)
    pairs = relevant_pairs(text_clip, *scores.shape)
    for rows in blocks(len(scores), block):
        if scores[rows].isnan().any():
            raise InvalidInputError("scores contain NaN; expected numbers, where higher is better")

    def cost(rows: slice, columns: slice) -> Tensor:
        return -scores[rows, columns].double()

    clip, caption = (torch.from_numpy(index).to(scores.device) for index in pairs)
    limit = tolerance - scores[clip, caption].double()
    return _rank(cost, limit, pairs, (scores.shape[0], scores.shape[1]), block)


def _limits(
    audio: Tensor, text: Tensor, pairs: tuple[Ints, Ints], reach: float, block: int
) -> Tensor:
    """Return the largest squared distance that ties with each pair's, (P,); ``reach`` is X + Y."""
    blur = max(_roundoff(audio.dtype), _roundoff(text.dtype)) * reach
    noise = 2 * (audio.shape[1] + 4) * _roundoff(torch.float64) * reach**2
    own = torch.empty(len(pairs[0]), dtype=torch.float64)
    for part in blocks(len(own), block):
        clip, caption = (torch.from_numpy(index[part]).to(audio.device) for index in pairs)
        own[part] = (audio[clip].double() - text[caption].double()).square_().sum(1).cpu()
    return (own.sqrt() + blur).square() + noise


def _rank(
    cost: Callable[[slice, slice], Tensor],
    limit: Tensor,
    pairs: tuple[Ints, Ints],
    shape: tuple[int, int],
    block: int,
) -> Ranks:
    """Count the non-relevant costs up to each relevant pair's limit, in its row and its column."""
    bounds = limit.cpu().numpy()
    by_clip, by_caption = (_Counter(index, bounds) for index in pairs)
    for rows in blocks(shape[0], block):
        mine = by_clip.among(by_clip.order, rows)
        for columns in blocks(shape[1], block):
            values = cost(rows, columns).cpu().numpy()
            here = mine[(pairs[1][mine] >= columns.start) & (pairs[1][mine] < columns.stop)]
            # NaN compares as false, so relevant items are never counted
            values[pairs[0][here] - rows.start, pairs[1][here] - columns.start] = np.nan
            by_clip.add(values, rows)
            by_caption.add(values.T, columns)
    return Ranks(*pairs, by_caption.ahead, by_clip.ahead, *shape)


class _Counter:
    """Counts the costs up to each pair's limit in its line (row or column) of blocks of costs.

    The pairs are split into slots in which every line occurs at most once, so that one comparison
    of a block with one limit per line handles a whole slot.
    """

    def __init__(self, line: Ints, limit: npt.NDArray[np.float64]) -> None:
        self.line, self.limit = line, limit
        self.ahead = np.zeros(len(line), np.int64)
        self.order = np.argsort(line, kind="stable")
        place = place_in_group(line[self.order])
        slots = self.order[np.argsort(place, kind="stable")]
        self.slots = np.split(slots, np.cumsum(np.bincount(place))[:-1])

    def among(self, pairs: Ints, lines: slice) -> Ints:
        """Return those of ``pairs`` (sorted by line) that belong to ``lines``."""
        return pairs[slice(*np.searchsorted(self.line[pairs], (lines.start, lines.stop)))]

    def add(self, costs: npt.NDArray[np.float64], lines: slice) -> None:
        """Count in ``costs``, one row for each of ``lines`` and any number of columns."""
        for slot in self.slots:
            here = self.among(slot, lines)
            if not len(here):
                break  # lines missing in one slot are missing in all later ones
            found = costs if len(here) == len(costs) else costs[self.line[here] - lines.start]
            self.ahead[here] += np.count_nonzero(found <= self.limit[here, None], axis=1)


def place_in_group(groups: Ints) -> Ints:
    """Return the position of each element within its run of equal values, in a sorted array."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)


def relevant_pairs(text_clip: TextClip, clips: int, captions: int) -> tuple[Ints, Ints]:
    """Return the relevant (clip, caption) pairs, sorted by caption, as two (P,) arrays.

    Raises:
        InvalidInputError: If ``text_clip`` does not have ``captions`` entries, has a clip out of
            range, or names no pair.
    """
    value = text_clip.detach().cpu().numpy() if isinstance(text_clip, Tensor) else text_clip
    if np.ndim(value) == 0 if isinstance(value, np.ndarray) else not isinstance(value, Sequence):
        raise InvalidInputError(
            f"text_clip is a {type(text_clip).__name__}; expected a sequence with a row for each "
            "caption"
        )
    if len(value) != captions:
        raise InvalidInputError(
            f"text_clip has {len(value)} entries for {captions} captions; expected one for each"
        )
    groups = [np.unique(np.asarray(rows)) for rows in value]
    clip = np.concatenate([rows for rows in groups if rows.size] or [np.empty(0, np.int64)])
    if not clip.size:
        raise InvalidInputError("text_clip names no clip; expected at least one")
    if clip.dtype.kind not in "iu":
        raise InvalidInputError(f"text_clip has {clip.dtype} values; expected whole row numbers")
    if clip.min() < 0 or clip.max() >= clips:
        invalid = clip[(clip < 0) | (clip >= clips)][0]
        raise InvalidInputError(
            f"text_clip contains row {invalid}; expected 0 to {clips - 1} for {clips} clips"
        )
    caption = np.repeat(np.arange(captions), [rows.size for rows in groups])
    return clip.astype(np.int64), caption.astype(np.int64)


def as_matrix(name: str, value: Array) -> Tensor:
    """Return a non-empty real matrix on a device that has float64, without a copy if possible."""
    if isinstance(value, Tensor):
        found = value.detach().cpu() if value.device.type == "mps" else value.detach()
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise InvalidInputError(f"{name} has {array.dtype} values; expected real numbers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is written to read-only memory
            found = torch.from_numpy(np.ascontiguousarray(array))
    if found.is_complex() or found.dtype == torch.bool:
        raise InvalidInputError(f"{name} has {found.dtype} values; expected real numbers")
    if found.ndim != 2 or not found.numel():
        raise InvalidInputError(
            f"{name} has shape {tuple(found.shape)}; expected two dimensions, neither empty"
        )
    return found


def _squared_norms(name: str, rows: Tensor, block: int) -> Tensor:
    """Return the squared length of every row in float64, refusing rows that are not finite."""
    norms = torch.cat([rows[b].double().square().sum(1) for b in blocks(len(rows), block)])
    bad = (~norms.isfinite()).nonzero()
    if len(bad):
        raise InvalidInputError(
            f"{len(bad)} of {len(rows)} {name} rows, the first being {int(bad[0])}, contain NaN, "
            "infinite or enormous values; expected finite embeddings"
        )
    return norms


def _roundoff(dtype: torch.dtype) -> float:
    """Return the unit roundoff; integers are exact, half precision is treated as float32."""
    return 2.0**-53 if dtype == torch.float64 or not dtype.is_floating_point else 2.0**-24


def blocks(total: int, size: int) -> list[slice]:
    """Cut range(total) into slices of ``size``, the last one shorter."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]
