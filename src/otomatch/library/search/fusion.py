"""One ranking from several: reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

from collections.abc import Mapping, Sequence

SMOOTHING = 60
"""The constant of the paper: how little the first ranks differ from the next."""


def competition_ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Ranks from 1, higher scores first; equal scores share the best of their ranks."""
    ranks: dict[str, int] = {}
    rank, last = 0, None
    for place, (key, score) in enumerate(sorted(scores.items(), key=lambda item: -item[1]), 1):
        if last is None or score < last - 1e-6 * abs(last):
            rank, last = place, score
        ranks[key] = rank
    return ranks


def fuse(
    rankings: Sequence[Mapping[str, int]], weights: Sequence[float] | None = None
) -> dict[str, float]:
    """Sum over rankings of weight / (`SMOOTHING` + rank), where a ranking has the key.

    Args:
        rankings: ranks by key, from 1.
        weights: one for each ranking; None for 1 each.

    Returns:
        Scores by key, higher is better.
    """
    scores: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for key, rank in ranking.items():
            scores[key] = scores.get(key, 0.0) + weight / (SMOOTHING + rank)
    return scores
