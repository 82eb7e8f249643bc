"""Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): one ranking from several."""

from collections.abc import Mapping, Sequence

SMOOTHING = 60
"""Constant k of the paper; the larger it is, the less the first ranks stand out."""

_TIE_TOLERANCE = 1e-6  # relative


def competition_ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Return ranks from 1 by descending score; equal scores share the best of their ranks."""
    ranks: dict[str, int] = {}
    rank, last = 0, None
    for place, (key, score) in enumerate(sorted(scores.items(), key=lambda item: -item[1]), 1):
        if last is None or score < last - _TIE_TOLERANCE * abs(last):
            rank, last = place, score
        ranks[key] = rank
    return ranks


def fuse(
    rankings: Sequence[Mapping[str, int]], weights: Sequence[float] | None = None
) -> dict[str, float]:
    """Return the sum of weight / (`SMOOTHING` + rank) over the rankings that contain each key.

    Args:
        rankings: Ranks by key, from 1.
        weights: Weight of each ranking; None for 1 each.

    Returns:
        Scores by key; higher is better.
    """
    scores: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for key, rank in ranking.items():
            scores[key] = scores.get(key, 0.0) + weight / (SMOOTHING + rank)
    return scores
