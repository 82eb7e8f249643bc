"""Baselines: losses that compare each pair of a batch with its negatives.

Their call, the option `gather`, and what they raise are those of all losses (see `pair_batch`).
A process scores its audio clips against all captions. What its captions score against all clips
lies in columns that spread over the processes; they reduce these, and each takes its own.
"""

import math

import torch
from torch import Tensor, nn

from otomatch.errors import InvalidInputError
from otomatch.losses.pair_batch import ClipIds, Metric, one_of, open_pairs


class TripletLoss(nn.Module):
    """Triplet loss in both directions: each pair must beat its negatives by a margin.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, for unit vectors and M = I their cosine. With
    h_ij = max(0, margin + s_ij - s_ii), the loss is the mean over audio clips i of the sum (or the
    largest) of h_ij over the captions j of other clips, plus the same over captions.

    Args:
        margin: >= 0, in units of the score (which spans -1 to 1).
        negatives: "sum" over all negatives, or the "hardest" alone.
        gather: whether processes share the batch.

    Raises:
        InvalidInputError: margin is negative or NaN, or negatives none of the above.

    Shape:
        audio (B, D), text (B, D) -> scalar. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(self, margin: float = 0.2, negatives: str = "sum", gather: bool = False) -> None:
        super().__init__()
        self.margin = _checked_margin(margin)
        self.negatives = one_of("negatives", negatives, ("sum", "hardest"))
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class, and `pair_batch` for the arguments."""
        pairs = open_pairs(audio, text, clip_ids, gather=self.gather)
        scores, same, shard = pairs.similarities(metric), pairs.same_clip(), pairs.shard
        right = pairs.right(scores)
        by_audio = (self.margin + scores - right[:, None]).clamp(min=0).masked_fill(same, 0)
        by_text = (self.margin + scores - shard.all_gather(right)).clamp(min=0).masked_fill(same, 0)
        if self.negatives == "sum":
            part = by_audio.sum() + by_text.sum()
        else:
            part = by_audio.amax(1).sum() + shard.amax(by_text)[shard.own].sum()
        return shard.sum_of_parts(part / shard.total)

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return f"margin={self.margin}, negatives={self.negatives!r}, gather={self.gather}"


class WeightedTripletLoss(nn.Module):
    """Triplet loss that weighs each pair by a polynomial of its similarity, in both directions.

    The universal weighting of Wei et al. (CVPR 2020, arXiv 2010.03403), as Mei et al. (Interspeech
    2022, arXiv 2203.15537) use it for audio and text, with the constants of their published code
    (which also passes over pairs that score above 1 - 1e-5). The score is s_ij = 1 - d_M(x_i,
    y_j)^2 / 2, for unit vectors and M = I their cosine. A query i counts where its hardest negative
    n_i, the highest score among the items of other clips, comes within the margin: n_i + margin >
    s_ii. It then adds P(s_ii) + N(n_i),

        P(s) = max(0, 0.5 - 0.7 s + 0.2 s^2)     falls to 0 at s = 1
        N(s) = max(0, 0.03 - 0.4 s + 0.9 s^2)    is 0 for 0.096 <= s <= 0.349, and rises above

    and the loss is the sum over the queries of both directions, divided by B. Whether a query
    counts has no gradient, so the loss jumps at the margin. N also rises below 0.096: a hardest
    negative that is less similar is pulled towards that, as published.

    Args:
        margin: >= 0, in units of the score (which spans -1 to 1).
        gather: whether processes share the batch.

    Raises:
        InvalidInputError: margin is negative, infinite or NaN.

    Shape:
        audio (B, D), text (B, D) -> scalar. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(self, margin: float = 0.2, gather: bool = False) -> None:
        super().__init__()
        self.margin = _checked_margin(margin)
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class, and `pair_batch` for the arguments."""
        pairs = open_pairs(audio, text, clip_ids, gather=self.gather)
        scores, shard = pairs.similarities(metric), pairs.shard
        others = scores.masked_fill(pairs.same_clip(), -math.inf)
        hardest = torch.cat([others.amax(1), shard.amax(others)[shard.own]])
        right = pairs.right(scores).repeat(2)
        counts = hardest + self.margin > right  # -inf, where there is no negative, does not
        positive, negative = right[counts], hardest[counts]
        pull = (0.5 - 0.7 * positive + 0.2 * positive.square()).clamp(min=0).sum()
        push = (0.03 - 0.4 * negative + 0.9 * negative.square()).clamp(min=0).sum()
        return shard.sum_of_parts((pull + push) / shard.total)

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return f"margin={self.margin}, gather={self.gather}"


def _checked_margin(margin: float) -> float:
    if not 0 <= margin < math.inf:
        raise InvalidInputError(f"margin is {margin}; expected a finite number >= 0")
    return margin
