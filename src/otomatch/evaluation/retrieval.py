"""Retrieval metrics in both directions, from embeddings or from a matrix of scores.

Text to audio: every caption is a query, the clips it describes are relevant (usually one).
Audio to text: every clip is a query, all its captions are relevant. Which caption describes which
clip is always given explicitly (``text_clip``), never inferred from the position, so the number of
captions per clip may vary. A clip without captions is a distractor for text queries and no audio
query; a caption without clips is the reverse.

Conventions:

- A tie counts against the system. A relevant item's 0-based rank is the number of non-relevant
  items that score at least as high: a scorer that returns one constant has recall@1 = 0.
- recall@k (percent): the share of queries whose best-ranked relevant item is within the top k.
- mAP@k (fraction): mean over queries of the sum of i / rank_i over the hits within the top k,
  divided by the number of relevant items, where rank_i is the 1-based rank of the i-th best hit,
  the number of non-relevant items at least as good plus i. Hits at ranks 1 and 5 of five relevant
  captions give (1/1 + 2/5) / 5 = 0.28; with one relevant item it is 1 / rank.
- Median rank: floor of the median of the 0-based best ranks, plus 1. Mean rank: their mean, plus 1.

Embeddings are ranked by Euclidean distance, so give whitened ones where a ground metric is used.
Ranking by a transport plan over the whole test set, as in arXiv 2405.10084, uses the knowledge of
how many captions each clip has; pass that plan to `evaluate_scores` and put the result in
``RetrievalReport.transductive``, beside the per-query figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, at_least
from otomatch.evaluation.ranks import (
    BLOCK,
    Array,
    Ints,
    Ranks,
    TextClip,
    as_matrix,
    blocks,
    place_in_group,
    rank_embeddings,
    rank_scores,
)

RECALL_KS = (1, 5, 10)
MAP_KS = (10,)


@dataclass(frozen=True)
class DirectionReport:
    """How well one direction of retrieval works.

    Attributes:
        recall: recall@k in percent, 0 to 100, by k.
        map: mean average precision at k, 0 to 1, by k.
        median_rank: floor(median of the 0-based best ranks) + 1.
        mean_rank: mean of the 0-based best ranks + 1.
        queries: number of queries.
    """

    recall: dict[int, float]
    map: dict[int, float]
    median_rank: int
    mean_rank: float
    queries: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON; the values of k become strings."""
        return {
            "recall": {str(k): value for k, value in self.recall.items()},
            "map": {str(k): value for k, value in self.map.items()},
            "median_rank": self.median_rank,
            "mean_rank": self.mean_rank,
            "queries": self.queries,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo `to_dict`. Raises InvalidInputError for a missing or malformed field."""
        try:
            return cls(
                recall={int(k): float(value) for k, value in data["recall"].items()},
                map={int(k): float(value) for k, value in data["map"].items()},
                median_rank=int(data["median_rank"]),
                mean_rank=float(data["mean_rank"]),
                queries=int(data["queries"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _malformed(error) from error


@dataclass(frozen=True)
class RetrievalReport:
    """Both directions of retrieval on one test set.

    Attributes:
        text_to_audio: captions as queries.
        audio_to_text: clips as queries.
        clips: number of clips.
        captions: number of captions.
        modality_gap: distance between the mean audio and the mean text embedding; None where only
            scores are known.
        transductive: the same metrics ranked by a transport plan over the whole test set, if they
            were computed. Not comparable with per-query ranking.
    """

    text_to_audio: DirectionReport
    audio_to_text: DirectionReport
    clips: int
    captions: int
    modality_gap: float | None = None
    transductive: "RetrievalReport | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON."""
        return {
            "clips": self.clips,
            "captions": self.captions,
            "text_to_audio": self.text_to_audio.to_dict(),
            "audio_to_text": self.audio_to_text.to_dict(),
            "modality_gap": self.modality_gap,
            "transductive": None if self.transductive is None else self.transductive.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo `to_dict`. Raises InvalidInputError for a missing or malformed field."""
        try:
            gap, transductive = data.get("modality_gap"), data.get("transductive")
            return cls(
                text_to_audio=DirectionReport.from_dict(data["text_to_audio"]),
                audio_to_text=DirectionReport.from_dict(data["audio_to_text"]),
                clips=int(data["clips"]),
                captions=int(data["captions"]),
                modality_gap=None if gap is None else float(gap),
                transductive=None if transductive is None else cls.from_dict(transductive),
            )
        except InvalidInputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _malformed(error) from error


def evaluate_embeddings(
    audio: Array,
    text: Array,
    text_clip: TextClip,
    ks: Sequence[int] = RECALL_KS,
    map_ks: Sequence[int] = MAP_KS,
    block: int = BLOCK,
) -> RetrievalReport:
    """Both directions of retrieval by Euclidean distance, and the modality gap.

    The gap is that of the embeddings given: whitened ones give it in the ground metric.
    Arguments, memory and errors are those of `rank_embeddings`; ``ks`` are the values of k for
    recall, ``map_ks`` those for mAP, all at least 1.

    Example:
        >>> report = evaluate_embeddings(torch.eye(2), torch.eye(2), [0, 1])
        >>> report.text_to_audio.recall[1], report.audio_to_text.map[10]
        (100.0, 1.0)
    """
    ks, map_ks = _cutoffs(ks), _cutoffs(map_ks)
    report = summarise(rank_embeddings(audio, text, text_clip, block), ks, map_ks)
    return replace(report, modality_gap=modality_gap(audio, text))


def evaluate_scores(
    scores: Array,
    text_clip: TextClip,
    ks: Sequence[int] = RECALL_KS,
    map_ks: Sequence[int] = MAP_KS,
    tolerance: float = 0.0,
    block: int = BLOCK,
) -> RetrievalReport:
    """Both directions of retrieval from a score for every clip and caption.

    Arguments and errors are those of `rank_scores`; ``ks`` are the values of k for recall,
    ``map_ks`` those for mAP, all at least 1. The report has no modality gap.
    """
    ks, map_ks = _cutoffs(ks), _cutoffs(map_ks)
    return summarise(rank_scores(scores, text_clip, tolerance, block), ks, map_ks)


def summarise(
    ranks: Ranks, ks: Sequence[int] = RECALL_KS, map_ks: Sequence[int] = MAP_KS
) -> RetrievalReport:
    """Recall at every k in ``ks``, mAP at every k in ``map_ks``, median and mean rank.

    Raises:
        InvalidInputError: for a k that is not a whole number, 1 or more.
    """
    return RetrievalReport(
        text_to_audio=_direction(ranks.caption, ranks.clips_ahead, ks, map_ks),
        audio_to_text=_direction(ranks.clip, ranks.captions_ahead, ks, map_ks),
        clips=ranks.clips,
        captions=ranks.captions,
    )


def modality_gap(audio: Array, text: Array) -> float:
    """Euclidean distance between the mean of ``audio`` (n, D) and the mean of ``text`` (m, D).

    Raises:
        InvalidInputError: for empty, mis-shaped or non-finite embeddings.
    """
    audio_mean, text_mean = _mean("audio", audio), _mean("text", text)
    if audio_mean.shape != text_mean.shape:
        raise InvalidInputError(
            f"audio has {len(audio_mean)} dimensions and text {len(text_mean)}; expected the same"
        )
    return float(torch.linalg.vector_norm(audio_mean - text_mean))


def _mean(name: str, value: Array) -> Tensor:
    """Mean row in float64, on the CPU; block by block, so that the input is never copied."""
    rows = as_matrix(name, value)
    parts = [rows[part].double().sum(0).cpu() for part in blocks(len(rows), BLOCK)]
    mean = torch.stack(parts).sum(0) / len(rows)
    if not bool(mean.isfinite().all()):
        raise InvalidInputError(f"{name} holds NaN or infinite values; expected finite embeddings")
    return mean


def _direction(
    query: Ints, ahead: Ints, ks: Sequence[int], map_ks: Sequence[int]
) -> DirectionReport:
    """Metrics from the number of non-relevant items before each relevant one, (P,) and (P,)."""
    order = np.lexsort((ahead, query))  # the hits of each query from best to worst
    query, ahead = query[order], ahead[order]
    place = place_in_group(query) + 1
    rank = ahead + place
    group = np.cumsum(place == 1) - 1
    relevant = np.bincount(group)
    best = ahead[place == 1]

    def average_precision(k: int) -> npt.NDArray[np.float64]:
        return np.bincount(group, np.where(rank <= k, place / rank, 0.0)) / relevant

    return DirectionReport(
        recall={k: 100.0 * float(np.mean(best < k)) for k in _cutoffs(ks)},
        map={k: float(np.mean(average_precision(k))) for k in _cutoffs(map_ks)},
        median_rank=int(np.median(best)) + 1,
        mean_rank=float(np.mean(best)) + 1.0,
        queries=len(best),
    )


def _cutoffs(ks: Sequence[int]) -> tuple[int, ...]:
    for k in ks:
        at_least("k", k, 1)
    return tuple(int(k) for k in ks)


def _malformed(error: Exception) -> InvalidInputError:
    found = f"has no {error}" if isinstance(error, KeyError) else f"is malformed: {error}"
    return InvalidInputError(f"the retrieval report {found}; expected what to_dict() returns")
