"""Is training healthy? What each epoch logs about gradients and metric, and known failures.

Every failure has a signature in a run's log; `failures` finds it and says what to do about it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

Row = Mapping[str, float]


class TrainingWarning(UserWarning):
    """Training shows the signature of a known failure; the message names the remedy."""


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Norm of the gradient of each part of a model (its children), where it has one."""
    norms = {}
    for name, part in model.named_children():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        if gradients:
            each = torch.stack([torch.linalg.vector_norm(g).float() for g in gradients])
            norms[f"grad_{name}"] = torch.linalg.vector_norm(each)
    return norms


@dataclass(frozen=True)
class Setting:
    """What the log's figures are judged by.

    Attributes:
        batch: pairs in a batch.
        rank: the rank that M may have: the joint space's dimensions, or those of a low-rank metric.
        noise: share of wrong pairs that is known of.
    """

    batch: int
    rank: int
    noise: float = 0.0


def failures(log: Sequence[Row], setting: Setting) -> dict[str, str]:
    """Failures whose signature the log shows after its last epoch, by name, each with its remedy.

    Args:
        log: a row per epoch, oldest first; columns that a loss does not have may be missing.
        setting: what they are judged by.
    """
    found = {name: check(log, setting) for name, check in _CHECKS.items()} if log else {}
    return {name: message for name, message in found.items() if message}


def _gap_stays(log: Sequence[Row], setting: Setting) -> str:  # noqa: ARG001
    gaps = [row["modality_gap"] for row in log]
    if len(gaps) < 6 or gaps[0] < 0.2 or min(gaps[1:]) < 0.9 * gaps[0]:
        return ""
    return (
        f"the modality gap has not shrunk since epoch 1 ({gaps[0]:.2f}, now {gaps[-1]:.2f}): "
        "sounds and captions stay apart; raise optim.lr, give the metric more freedom "
        "(ground.name='full'), or check that the captions belong to their clips (loss.mass='auto')"
    )


def _uniform(log: Sequence[Row], setting: Setting) -> str:
    sharp = math.log(setting.batch)
    if len(log) < 3 or "plan_entropy" not in log[-1] or sharp == 0:
        return ""
    blur = (log[-1]["plan_entropy"] - sharp) / sharp
    if blur < 0.95:
        return ""
    return (
        f"the plan is almost uniform ({100 * blur:.0f} % of the largest entropy): it tells no pair "
        "from another, so nothing is learnt; loss.epsilon is too large for these costs: lower it "
        "(0.03 to 0.05 suits scale 'max'), or, if the embeddings have collapsed, lower optim.lr"
    )


def _not_converged(log: Sequence[Row], setting: Setting) -> str:  # noqa: ARG001
    share = 1 - log[-1].get("converged", 1.0)
    if share < 0.1:
        return ""
    return (
        f"Sinkhorn did not converge in {100 * share:.0f} % of the steps (marginal error "
        f"{log[-1]['marginal_error']:.0e}): loss.epsilon is too small; raise it, or "
        "loss.max_iterations"
    )


def _exploding(log: Sequence[Row], setting: Setting) -> str:  # noqa: ARG001
    norms = [row["grad_norm"] for row in log]
    if len(norms) < 2 or norms[-1] < 10 * median(norms[:-1]):
        return ""
    return (
        f"the gradient's norm exploded to {norms[-1]:.3g}, "
        f"{norms[-1] / median(norms[:-1]):.0f} times that of the epochs before; lower optim.lr or "
        "optim.clip_norm, or raise optim.warmup"
    )


def _wrong_mass(log: Sequence[Row], setting: Setting) -> str:
    clean = min(1 - setting.noise, log[-1].get("clean_share", 1.0))
    right = log[-1].get("diagonal_mass", 1.0)
    if len(log) < 6 or right >= 0.1 * clean:
        return ""
    return (
        f"only {100 * right:.1f} % of the plan's mass lies on the labelled pairs, where "
        f"{100 * clean:.0f} % of them are thought to be right: more captions are wrong than that, "
        "or nothing is learnt; train with loss.target='trimmed' and loss.mass='auto', which "
        "estimates how many, and look at pairs.csv, or raise optim.lr"
    )


def _low_rank(log: Sequence[Row], setting: Setting) -> str:
    rank = log[-1].get("metric_rank", math.inf)
    if setting.rank < 8 or rank >= max(2.0, 0.05 * setting.rank):
        return ""
    return (
        f"the ground metric has collapsed to {rank:.1f} effective dimensions of {setting.rank}: "
        "most of the joint space does not count; lower optim.lr, raise model.dropout, or choose "
        "ground.name='low-rank' or 'diagonal'"
    )


_CHECKS: dict[str, Callable[[Sequence[Row], Setting], str]] = {
    "gap": _gap_stays,
    "uniform": _uniform,
    "converged": _not_converged,
    "exploding": _exploding,
    "mass": _wrong_mass,
    "rank": _low_rank,
}
