"""Losses over a batch of B audio-text pairs: mini-batch Learning-to-Match and two baselines.

All share one call, `loss(audio, text, metric, clip_ids=None) -> scalar`:

    audio, text: (B, D) embeddings of B pairs, row i of one belonging to row i of the other,
        L2-normalised; any floating dtype, float32 at least inside, also under autocast.
    metric: a ground metric, (x, y) -> (n, m) distances d_M (see `otomatch.ground`).
    clip_ids: (B,) tensor, or a sequence of B hashable values, that says which rows are captions of
        the same clip. Such rows are never negatives of each other. None: all rows differ.

All raise InvalidInputError, which quotes what was found, for embeddings of a wrong or different
shape, NaN or infinite values, and clip_ids of a wrong length.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otomatch.adjoint import KnownGradient, partial_slope
from otomatch.errors import InvalidInputError
from otomatch.transport import (
    Plan,
    check_epsilon,
    check_mass,
    partial_sinkhorn,
)

Metric = Callable[[Tensor, Tensor], Tensor]
ClipIds = Tensor | Sequence[Hashable]


@dataclass(frozen=True)
class SolverStatus:
    """How the solver fared in a loss's last call.

    Attributes:
        iterations: updates made.
        error: mass by which the plan misses its constraints.
        converged: whether the error reached the tolerance.
    """

    iterations: int
    error: float
    converged: bool


class MatchingLoss(nn.Module):
    """Mini-batch Learning-to-Match: KL between the true matching and the batch's transport plan.

    Cost C = d_M / scale. P is the entropic plan between the B audio and B text embeddings, each of
    weight 1/B, for C, or the partial one of mass s (both arXiv 2405.10084).
    The target T is I/B; where several rows belong to one clip, T is uniform over each clip's
    block, so that its marginals stay 1/B. The loss is

        KL(T || P/s) = sum_ij T_ij log(s T_ij / P_ij)         (target="full")

    at least 0, and 0 for a perfect matching. Its gradient with respect to C is found at the
    solution (gradient="implicit"): (T - P)/epsilon for s = 1, by the envelope theorem, else from
    the optimality conditions. No iteration is recorded: memory is O(B^2 + B D).

    target="trimmed" gives the target the plan's mass, for data with wrong captions: of T, only the
    entries of least cost that make up mass s (the last one in part), T_s. The loss is the gap
    ((<T_s, C> + h(T_s)) - (<P, C> + h(P)))/epsilon with h(P) = epsilon sum P (log P - 1), at least
    0, and 0 exactly for P = T_s; the gradient is (T_s - P)/epsilon. Pairs outside T_s are neither
    pulled together nor counted. With s = 1 both targets are the same. With s < 1 the gap is 0 only
    if T_s stands out: where all pairs match equally well, P spreads over all of them, at a gap of
    up to s log(1/s).

    Args:
        epsilon: strength of the entropy, > 0, in units of C. With scale="max" 0.03 to 0.05 works.
        mass: s in (0, 1]; None is 1. May be changed between calls.
        target: "full" or "trimmed".
        scale: "max" divides d_M by the batch's largest (differentiated through), a number > 0 by
            that number.
        gradient: "implicit", or "unrolled" to back-propagate through every iteration.
        tolerance: mass by which the plan may miss its constraints.
        max_iterations: limit on the solver's updates.

    Attributes:
        last: `SolverStatus` of the last call, None before the first.

    Raises:
        InvalidInputError: an option is none of the above, epsilon or mass out of range.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats. See the module for the call.

    Example:
        >>> loss = MatchingLoss(epsilon=0.05)
        >>> loss(torch.eye(4), torch.eye(4), Identity(4)) < 1e-6
        tensor(True)
    """

    def __init__(
        self,
        epsilon: float = 0.05,
        mass: float | None = None,
        target: str = "full",
        scale: str | float = "max",
        gradient: str = "implicit",
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__()
        check_epsilon(epsilon)
        check_mass(1.0 if mass is None else mass)
        self.epsilon = epsilon
        self.mass = mass
        self.target = _one_of("target", target, ("full", "trimmed"))
        self.scale = _positive("scale", scale) if scale != "max" else scale
        self.gradient = _one_of("gradient", gradient, ("implicit", "unrolled"))
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.last: SolverStatus | None = None

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class for what it is and the module for the arguments."""
        cost = _distances(audio, text, metric)
        same = _same_clip(clip_ids, audio)
        cost = cost / self._divisor(cost)
        target = same / (same.sum(1, keepdim=True) * len(same)).to(cost.dtype)
        if self.target == "trimmed":
            target = _trim(target, cost.detach(), self._mass)
        if self.gradient == "unrolled":
            return self._value(target, self._solve(cost))
        with torch.no_grad():
            plan = self._solve(cost)
            value = self._value(target, plan)
        if not (torch.is_grad_enabled() and cost.requires_grad):
            return value
        slope = self._slope(target, plan)
        loss: Tensor = KnownGradient.apply(cost, value, slope)  # type: ignore[no-untyped-call]
        return loss

    def _divisor(self, distances: Tensor) -> Tensor | float:
        if not isinstance(self.scale, str):
            return self.scale
        largest = distances.amax()
        return torch.where(largest > 0, largest, 1)

    @property
    def _mass(self) -> float:
        return 1.0 if self.mass is None else self.mass

    def _solve(self, cost: Tensor) -> Plan:
        plan = partial_sinkhorn(
            cost,
            self.epsilon,
            self._mass,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        self.last = SolverStatus(plan.iterations, plan.error, plan.converged)
        return plan

    def _value(self, target: Tensor, plan: Plan) -> Tensor:
        divergence = torch.xlogy(target, target).sum() - (target * plan.log_plan).sum()
        if self.target == "full":
            return divergence + math.log(self._mass)
        # The gap is KL(T_s || P) plus what T_s leaves of the tight rows and columns, at their
        # prices -f and -g: the optimality conditions put into its definition.
        weight = 1 / len(target)
        rows = plan.f * (target.sum(1) - weight)
        columns = plan.g * (target.sum(0) - weight)
        return divergence + (rows.sum() + columns.sum()) / self.epsilon

    @torch.no_grad()
    def _slope(self, target: Tensor, plan: Plan) -> Tensor:
        """dL/dC, shape (B, B)."""
        if self.target == "trimmed" or self._mass == 1:
            return (target - plan.plan) / self.epsilon
        return partial_slope(target, plan) / self.epsilon

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return (
            f"epsilon={self.epsilon}, mass={self.mass}, target={self.target!r}, "
            f"scale={self.scale!r}, gradient={self.gradient!r}"
        )


class TripletLoss(nn.Module):
    """Triplet loss in both directions: each pair must beat its negatives by a margin.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, for unit vectors and M = I their cosine. With
    h_ij = max(0, margin + s_ij - s_ii), the loss is the mean over audio clips i of the sum (or the
    largest) of h_ij over the captions j of other clips, plus the same over captions.

    Args:
        margin: >= 0, in units of the score (which spans -1 to 1).
        negatives: "sum" over all negatives, or the "hardest" alone.

    Raises:
        InvalidInputError: margin is negative or NaN, or negatives none of the above.

    Shape:
        audio (B, D), text (B, D) -> scalar. See the module for the call.
    """

    def __init__(self, margin: float = 0.2, negatives: str = "sum") -> None:
        super().__init__()
        if not 0 <= margin < math.inf:
            raise InvalidInputError(f"margin is {margin}; expected a finite number >= 0")
        self.margin = margin
        self.negatives = _one_of("negatives", negatives, ("sum", "hardest"))

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class for what it is and the module for the arguments."""
        scores = _scores(audio, text, metric)
        same = _same_clip(clip_ids, audio)
        right = scores.diagonal()
        by_audio = (self.margin + scores - right[:, None]).clamp(min=0).masked_fill(same, 0)
        by_text = (self.margin + scores - right).clamp(min=0).masked_fill(same, 0)
        if self.negatives == "sum":
            return (by_audio.sum() + by_text.sum()) / len(scores)
        return by_audio.amax(1).mean() + by_text.amax(0).mean()

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return f"margin={self.margin}, negatives={self.negatives!r}"


class NTXentLoss(nn.Module):
    """Normalised-temperature cross-entropy (InfoNCE), averaged over both directions.

    The score is s_ij = 1 - d_M(x_i, y_j)^2 / 2, for unit vectors and M = I their cosine. The loss
    is the mean over i of -log softmax(s_i / temperature)_i over the captions, averaged with the
    same over the audio clips. Other captions of the same clip are left out of the softmax.

    Args:
        temperature: > 0, in units of the score.

    Raises:
        InvalidInputError: temperature is not a finite number > 0.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats. See the module for the call.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise InvalidInputError(f"temperature is {temperature}; expected a finite number > 0")
        self.temperature = temperature

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class for what it is and the module for the arguments."""
        scores = _scores(audio, text, metric)
        same = _same_clip(clip_ids, audio)
        logits = (scores / self.temperature).masked_fill(same.fill_diagonal_(False), -math.inf)
        by_audio = logits.logsumexp(1) - logits.diagonal()
        by_text = logits.logsumexp(0) - logits.diagonal()
        return (by_audio.mean() + by_text.mean()) / 2

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return f"temperature={self.temperature}"


def _distances(audio: Tensor, text: Tensor, metric: Metric) -> Tensor:
    """Distances (B, B), checked, in float32 at least."""
    for name, points in (("audio", audio), ("text", text)):
        if not isinstance(points, Tensor):
            raise InvalidInputError(f"{name} is a {type(points).__name__}; expected a torch.Tensor")
        if points.ndim != 2 or points.numel() == 0 or not points.is_floating_point():
            raise InvalidInputError(
                f"{name} has shape {tuple(points.shape)} and dtype {points.dtype}; "
                "expected floating-point embeddings (B, D) with B, D >= 1"
            )
    if audio.shape != text.shape:
        raise InvalidInputError(
            f"audio has shape {tuple(audio.shape)} and text {tuple(text.shape)}; expected the same"
        )
    with torch.autocast(audio.device.type, enabled=False):
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in (audio, text)]
        distances = metric(*wide)
    if not bool(torch.isfinite(distances).all()):
        _blame(audio, text)
    return distances


def _blame(audio: Tensor, text: Tensor) -> None:
    for name, points in (("audio", audio), ("text", text)):
        bad = (~torch.isfinite(points)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise InvalidInputError(
                f"{name}[{row}, {column}] is {points[row, column].item()}; "
                "expected finite numbers only"
            )
    raise InvalidInputError(
        "the metric gave NaN or infinite distances for finite embeddings; "
        "expected finite metric parameters"
    )


def _scores(audio: Tensor, text: Tensor, metric: Metric) -> Tensor:
    """Similarities 1 - d_M^2 / 2: the cosine for unit vectors and M = I."""
    return 1 - _distances(audio, text, metric).square() / 2


def _same_clip(clip_ids: ClipIds | None, audio: Tensor) -> Tensor:
    """(B, B), true where row and column belong to the same clip."""
    if clip_ids is None:
        return torch.eye(len(audio), dtype=torch.bool, device=audio.device)
    found = tuple(clip_ids.shape) if isinstance(clip_ids, Tensor) else (len(clip_ids),)
    if found != (len(audio),):
        raise InvalidInputError(
            f"clip_ids has shape {found}; expected ({len(audio)},), one for each row of audio"
        )
    if not isinstance(clip_ids, Tensor):
        numbers: dict[Hashable, int] = {}
        clip_ids = torch.tensor([numbers.setdefault(clip, len(numbers)) for clip in clip_ids])
    clip_ids = clip_ids.to(audio.device)
    return clip_ids[:, None] == clip_ids


def _trim(target: Tensor, cost: Tensor, mass: float) -> Tensor:
    """The target's entries of least cost that make up the mass, the last one in part."""
    where = target.nonzero(as_tuple=True)
    order = cost[where].argsort()
    weights = target[where][order]
    before = weights.cumsum(0) - weights
    kept = torch.zeros_like(weights)
    kept[order] = torch.minimum(weights, (mass - before).clamp(min=0))
    return torch.zeros_like(target).index_put(where, kept)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidInputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return value


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected 'max' or a finite number > 0")
    return float(value)
