"""Triplet losses: baselines that compare each pair of a batch with its negatives.

With several processes, each scores its audio clips against all captions. The scores of its captions
against all clips are columns, spread over the processes; all of them reduce these, and each uses
its own.
"""

import math

import torch
from torch import Tensor, nn

from otomatch.errors import non_negative, one_of
from otomatch.losses.pair_batch import ClipIds, Metric, prepare_pairs


class TripletLoss(nn.Module):
    """Triplet loss in both directions: a pair must score higher than its negatives by a margin.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, the cosine for unit vectors and M = I. With h_ij =
    max(0, margin + s_ij - s_ii), the loss is the mean over audio clips i of the sum (or the
    maximum) of h_ij over the captions j of other clips, plus the same over captions.

    Args:
        margin: Margin in units of the score (which ranges from -1 to 1), >= 0.
        negatives: "sum" over all negatives, or only the "hardest".
        gather: True if processes share the batch.

    Raises:
        InvalidInputError: margin is not a finite number >= 0, or negatives is unknown.

    Shape:
        audio (B, D), text (B, D) -> scalar. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(self, margin: float = 0.2, negatives: str = "sum", gather: bool = False) -> None:
        super().__init__()
        self.margin = non_negative("margin", margin)
        self.negatives = one_of("negatives", negatives, ("sum", "hardest"))
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see `otomatch.losses.pair_batch` for the arguments."""
        pairs = prepare_pairs(audio, text, clip_ids, gather=self.gather)
        scores, same, shard = pairs.similarities(metric), pairs.same_clip(), pairs.shard
        own = pairs.positives(scores)
        by_audio = (self.margin + scores - own[:, None]).clamp(min=0).masked_fill(same, 0)
        by_text = (self.margin + scores - shard.all_gather(own)).clamp(min=0).masked_fill(same, 0)
        if self.negatives == "sum":
            part = by_audio.sum() + by_text.sum()
        else:
            part = by_audio.amax(1).sum() + shard.amax(by_text)[shard.own].sum()
        return shard.sum_of_parts(part / shard.total)

    def extra_repr(self) -> str:
        """Return the options for the printed module."""
        return f"margin={self.margin}, negatives={self.negatives!r}, gather={self.gather}"


class WeightedTripletLoss(nn.Module):
    """Triplet loss that weights pairs by a polynomial of their similarity, in both directions.

    Universal weighting (Wei et al., CVPR 2020, arXiv 2010.03403) as used for audio and text by Mei
    et al. (Interspeech 2022, arXiv 2203.15537), with the constants of their published code (which
    also skips pairs that score above 1 - 1e-5). The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, the
    cosine for unit vectors and M = I. A query i counts if its hardest negative n_i, the highest
    score among the items of other clips, is within the margin: n_i + margin > s_ii. It then adds
    P(s_ii) + N(n_i) with

        P(s) = max(0, 0.5 - 0.7 s + 0.2 s^2)     decreases to 0 at s = 1
        N(s) = max(0, 0.03 - 0.4 s + 0.9 s^2)    is 0 for 0.096 <= s <= 0.349, increases above

    The loss is the sum over the queries of both directions, divided by B. Whether a query counts
    has no gradient, so the loss is discontinuous at the margin. N also increases below 0.096, which
    pulls hardest negatives that are less similar towards that value, as published.

    Args:
        margin: Margin in units of the score (which ranges from -1 to 1), >= 0.
        gather: True if processes share the batch.

    Raises:
        InvalidInputError: margin is not a finite number >= 0.

    Shape:
        audio (B, D), text (B, D) -> scalar. See `otomatch.losses.pair_batch` for the call.
    """

    def __init__(self, margin: float = 0.2, gather: bool = False) -> None:
        super().__init__()
        self.margin = non_negative("margin", margin)
        self.gather = gather

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see `otomatch.losses.pair_batch` for the arguments."""
        pairs = prepare_pairs(audio, text, clip_ids, gather=self.gather)
        scores, shard = pairs.similarities(metric), pairs.shard
        others = scores.masked_fill(pairs.same_clip(), -math.inf)
        hardest = torch.cat([others.amax(1), shard.amax(others)[shard.own]])
        own = pairs.positives(scores).repeat(2)
        counts = hardest + self.margin > own  # False for -inf, where there is no negative
        positive, negative = own[counts], hardest[counts]
        pull = (0.5 - 0.7 * positive + 0.2 * positive.square()).clamp(min=0).sum()
        push = (0.03 - 0.4 * negative + 0.9 * negative.square()).clamp(min=0).sum()
        return shard.sum_of_parts((pull + push) / shard.total)

    def extra_repr(self) -> str:
        """Return the options for the printed module."""
        return f"margin={self.margin}, gather={self.gather}"
