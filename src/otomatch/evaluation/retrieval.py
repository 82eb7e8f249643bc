"""Retrieval metrics in both directions, from embeddings or from a matrix of scores.

Text to audio: every caption is a query, and the clips it describes (usually one) are relevant.
Audio to text: every clip is a query, and all its captions are relevant. Which caption describes
which clip is given explicitly (``text_clip``), never inferred from the position, so the number of
captions per clip may vary. A clip without captions is a distractor for text queries and is not used
as an audio query; a caption without clips is treated likewise.

Conventions:

- Ties count against the system. A relevant item's 0-based rank is the number of non-relevant items
  that score at least as high: a scorer that returns a constant has recall@1 = 0.
- recall@k (percent): the share of queries whose best-ranked relevant item is within the top k.
- mAP@k (fraction): mean over queries of the sum of i / rank_i over the hits within the top k,
  divided by the number of relevant items, where rank_i is the 1-based rank of the i-th best hit,
  the number of non-relevant items at least as good plus i. Hits at ranks 1 and 5 of five relevant
  captions give (1/1 + 2/5) / 5 = 0.28; with one relevant item it is 1 / rank.
- Median rank: floor of the median of the 0-based best ranks, plus 1. Mean rank: their mean, plus 1.

Embeddings are ranked by Euclidean distance, so whiten them first if a ground metric is used.
Ranking by a transport plan over the whole test set, as in arXiv 2405.10084, uses the number of
captions of each clip; pass such a plan to `evaluate_scores` and store the result in
``RetrievalReport.transductive``, next to the results per query.
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
    """Report of one direction of retrieval.

    Attributes:
        recall: Recall@k in percent, 0 to 100, by k.
        map: Mean average precision at k, 0 to 1, by k.
        median_rank: floor(median of the 0-based best ranks) + 1.
        mean_rank: Mean of the 0-based best ranks + 1.
        queries: Number of queries.
    """

    recall: dict[int, float]
    map: dict[int, float]
    median_rank: int
    mean_rank: float
    queries: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can store; the values of k become strings."""
        return {
            "recall": {str(k): value for k, value in self.recall.items()},
            "map": {str(k): value for k, value in self.map.items()},
            "median_rank": self.median_rank,
            "mean_rank": self.mean_rank,
            "queries": self.queries,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Create a report from the result of `to_dict`.

        Raises:
            InvalidInputError: If a field is missing or malformed.
        """
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
    """Report of both directions of retrieval on one test set.

    Attributes:
        text_to_audio: Report with captions as queries.
        audio_to_text: Report with clips as queries.
        clips: Number of clips.
        captions: Number of captions.
        modality_gap: Distance between the mean audio and the mean text embedding; None if only
            scores are known.
        transductive: Report of ranking by a transport plan over the whole test set, if it was
            computed; not comparable with ranking per query.
    """

    text_to_audio: DirectionReport
    audio_to_text: DirectionReport
    clips: int
    captions: int
    modality_gap: float | None = None
    transductive: "RetrievalReport | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can store."""
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
        """Create a report from the result of `to_dict`.

        Raises:
            InvalidInputError: If a field is missing or malformed.
        """
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
    """Evaluate both directions of retrieval by Euclidean distance, and the modality gap.

    Whitened embeddings give the modality gap in the ground metric. Memory is as for
    `rank_embeddings`.

    Args:
        audio: Embeddings (n, D), one row per clip.
        text: Embeddings (m, D), one row per caption.
        text_clip: Clip of each caption, as in `rank_embeddings`.
        ks: Values of k for recall@k, >= 1.
        map_ks: Values of k for mAP@k, >= 1.
        block: Side of the blocks; affects speed and memory, not the result.

    Raises:
        InvalidInputError: As for `rank_embeddings`, or if a k is not a whole number >= 1.

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
    """Evaluate both directions of retrieval from scores; the report has no modality gap.

    Args:
        scores: Scores (n, m), clips by captions, as in `rank_scores`.
        text_clip: Clip of each caption, as in `rank_embeddings`.
        ks: Values of k for recall@k, >= 1.
        map_ks: Values of k for mAP@k, >= 1.
        tolerance: Distance below a relevant score within which other scores tie with it.
        block: Side of the blocks; affects speed and memory, not the result.

    Raises:
        InvalidInputError: As for `rank_scores`, or if a k is not a whole number >= 1.
    """
    ks, map_ks = _cutoffs(ks), _cutoffs(map_ks)
    return summarise(rank_scores(scores, text_clip, tolerance, block), ks, map_ks)


def summarise(
    ranks: Ranks, ks: Sequence[int] = RECALL_KS, map_ks: Sequence[int] = MAP_KS
) -> RetrievalReport:
    """Compute recall at every k in ``ks``, mAP at every k in ``map_ks``, median and mean rank.

    Raises:
        InvalidInputError: If a k is not a whole number >= 1.
    """
    return RetrievalReport(
        text_to_audio=_direction(ranks.caption, ranks.clips_ahead, ks, map_ks),
        audio_to_text=_direction(ranks.clip, ranks.captions_ahead, ks, map_ks),
        clips=ranks.clips,
        captions=ranks.captions,
    )


def modality_gap(audio: Array, text: Array) -> float:
    """Return the Euclidean distance between the means of ``audio`` (n, D) and ``text`` (m, D).

    Raises:
        InvalidInputError: If embeddings are empty, mis-shaped or not finite.
    """
    audio_mean, text_mean = _mean("audio", audio), _mean("text", text)
    if audio_mean.shape != text_mean.shape:
        raise InvalidInputError(
            f"audio has {len(audio_mean)} dimensions and text {len(text_mean)}; expected the same"
        )
    return float(torch.linalg.vector_norm(audio_mean - text_mean))


def _mean(name: str, value: Array) -> Tensor:
    """Return the mean row in float64 on the CPU, block by block to avoid copying the input."""
    rows = as_matrix(name, value)
    parts = [rows[part].double().sum(0).cpu() for part in blocks(len(rows), BLOCK)]
    mean = torch.stack(parts).sum(0) / len(rows)
    if not bool(mean.isfinite().all()):
        raise InvalidInputError(
            f"{name} contains NaN or infinite values; expected finite embeddings"
        )
    return mean


def _direction(
    query: Ints, ahead: Ints, ks: Sequence[int], map_ks: Sequence[int]
) -> DirectionReport:
    """Compute metrics from each pair's query and number of non-relevant items ahead, (P,) each."""
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
