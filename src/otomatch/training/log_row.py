"""Columns of log.csv: a row per epoch."""

from torch import Tensor

from otomatch.evaluation.retrieval import RetrievalReport
from otomatch.training.state import RunState
from otomatch.transport.spectrum import effective_rank


def epoch_row(
    state: RunState,
    report: RetrievalReport,
    seconds: tuple[float, float],
    eigenvalues: Tensor,
    clean_share: float | None,
) -> dict[str, float]:
    """Return the row of an epoch, before `RunState.end_epoch`.

    Args:
        state: Progress of the run, with the figures of the epoch's steps.
        report: Retrieval on the validation clips.
        seconds: Duration of the epoch with its validation, and of the validation alone.
        eigenvalues: Eigenvalues of the metric's M, largest first, (D,).
        clean_share: Estimated share of matched pairs; None if it is not estimated.
    """
    whole, validation = (round(value, 2) for value in seconds)
    times = {"seconds": whole, "validation_seconds": validation}
    row = {"epoch": state.epoch + 1, **times, **state.epoch_figures()}
    if clean_share is not None:
        row["clean_share"] = clean_share
    row |= spectrum_columns(eigenvalues)
    return row | {"score": score(report), **retrieval_columns(report)}


def spectrum_columns(eigenvalues: Tensor) -> dict[str, float]:
    """Return the columns about the metric's M, from its eigenvalues, largest first, (D,)."""
    return {
        "metric_smallest": eigenvalues[-1].item(),
        "metric_largest": eigenvalues[0].item(),
        "metric_rank": effective_rank(eigenvalues),
    }


def score(report: RetrievalReport) -> float:
    """Return the sum of recall@1, 5 and 10 over both directions, 0 to 600."""
    both = (report.text_to_audio, report.audio_to_text)
    return sum(value for direction in both for value in direction.recall.values())


def retrieval_columns(report: RetrievalReport) -> dict[str, float]:
    """Return the modality gap and the recall in both directions, in percent."""
    values = {"modality_gap": report.modality_gap or 0.0}
    for prefix, direction in (("t2a", report.text_to_audio), ("a2t", report.audio_to_text)):
        values |= {f"{prefix}_r{k}": value for k, value in direction.recall.items()}
    return values
