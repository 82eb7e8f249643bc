"""Health of a training run: figures logged in each epoch, and known failures.

Every known failure has a signature in a run's log. `failures` finds it and names a remedy.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from otomatch.parallel import process_group

Row = Mapping[str, float]


class TrainingWarning(UserWarning):
    """Training shows the signature of a known failure; the message names a remedy.

    Attributes:
        failure: Name of the failure, a key of `failures`.
    """

    def __init__(self, message: str, failure: str = "") -> None:
        super().__init__(message)
        self.failure = failure


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Return the norm of the gradient of each child module that has gradients."""
    norms = {}
    for name, part in model.named_children():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        if gradients:
            each = torch.stack([torch.linalg.vector_norm(g).float() for g in gradients])
            norms[f"grad_{name}"] = torch.linalg.vector_norm(each)
    return norms


@dataclass(frozen=True)
class Expectations:
    """Facts about a run that its log is judged by.

    Attributes:
        batch: Number of pairs per batch.
        rank: Largest rank of M: the dimensions of the joint space, or a low-rank metric's rank.
        noise: Share of pairs that were mismatched on purpose.
    """

    batch: int
    rank: int
    noise: float = 0.0


def failures(log: Sequence[Row], expected: Expectations) -> dict[str, str]:
    """Return the failures that a log shows after its last epoch, by name, with their remedies.

    Args:
        log: Row of each epoch, oldest first. Columns that a loss does not have may be missing.
        expected: Facts that the log is judged by.
    """
    found = {name: check(log, expected) for name, check in _CHECKS.items()} if log else {}
    return {name: message for name, message in found.items() if message}


def warn_of_failures(log: Sequence[Row], expected: Expectations, warned: list[str]) -> None:
    """Warn of every failure that a log shows, once each, on rank 0.

    Args:
        log: Row of each epoch, oldest first.
        expected: Facts that the log is judged by.
        warned: Names of the failures warned of so far; new ones are appended.
    """
    if process_group.rank():
        return
    for name, message in failures(log, expected).items():
        if name not in warned:
            warned.append(name)
            warnings.warn(TrainingWarning(message, name), stacklevel=2)


def _gap_stays(log: Sequence[Row], expected: Expectations) -> str:  # noqa: ARG001
    gaps = [row["modality_gap"] for row in log]
    if len(gaps) < 6 or gaps[0] < 0.2 or min(gaps[1:]) < 0.9 * gaps[0]:
        return ""
    return (
        f"the modality gap has not shrunk since epoch 1 ({gaps[0]:.2f}, now {gaps[-1]:.2f}): "
        "sounds and captions stay apart; raise the learning rate, use a full ground metric, or "
        "check that the captions describe their clips"
    )


def _uniform(log: Sequence[Row], expected: Expectations) -> str:
    sharp = math.log(expected.batch)
    if len(log) < 3 or "plan_entropy" not in log[-1] or sharp == 0:
        return ""
    blur = (log[-1]["plan_entropy"] - sharp) / sharp
    if blur < 0.95:
        return ""
    return (
        f"the plan is almost uniform ({100 * blur:.0f} % of the maximum entropy), so that nothing "
        "is learnt: epsilon is too large for these costs; lower it (0.03 to 0.05 suits costs "
        "divided by their maximum) or, if the embeddings have collapsed, lower the learning rate"
    )


def _not_converged(log: Sequence[Row], expected: Expectations) -> str:  # noqa: ARG001
    share = 1 - log[-1].get("converged", 1.0)
    if share < 0.1:
        return ""
    return (
        f"Sinkhorn did not converge in {100 * share:.0f} % of the steps (marginal error "
        f"{log[-1]['marginal_error']:.0e}): epsilon is too small; raise epsilon, or the maximum "
        "number of iterations"
    )


def _exploding(log: Sequence[Row], expected: Expectations) -> str:  # noqa: ARG001
    norms = [row["grad_norm"] for row in log]
    if len(norms) < 2 or norms[-1] < 10 * median(norms[:-1]):
        return ""
    return (
        f"the norm of the gradient exploded to {norms[-1]:.3g}, "
        f"{norms[-1] / median(norms[:-1]):.0f} times its median over the earlier epochs; lower "
        "the learning rate or the norm that gradients are clipped to, or lengthen the warm-up"
    )


def _off_diagonal(log: Sequence[Row], expected: Expectations) -> str:
    clean = min(1 - expected.noise, log[-1].get("clean_share", 1.0))
    diagonal = log[-1].get("diagonal_mass", 1.0)
    if len(log) < 6 or diagonal >= 0.1 * clean:
        return ""
    return (
        f"only {100 * diagonal:.1f} % of the plan's mass is on the labelled pairs, although "
        f"{100 * clean:.0f} % of them are expected to match: more pairs are mismatched than "
        "expected, or nothing is learnt; train with a trimmed target whose mass is estimated and "
        "inspect pairs.csv, or raise the learning rate"
    )


def _low_rank(log: Sequence[Row], expected: Expectations) -> str:
    rank = log[-1].get("metric_rank", math.inf)
    if expected.rank < 8 or rank >= max(2.0, 0.05 * expected.rank):
        return ""
    return (
        f"the ground metric has collapsed to {rank:.1f} effective dimensions of {expected.rank}: "
        "most of the joint space does not count; lower the learning rate, raise the dropout of "
        "the heads, or use a low-rank or diagonal metric"
    )


_CHECKS: dict[str, Callable[[Sequence[Row], Expectations], str]] = {
    "gap": _gap_stays,
    "uniform": _uniform,
    "converged": _not_converged,
    "exploding": _exploding,
    "mass": _off_diagonal,
    "rank": _low_rank,
}
