"""Mini-batch Learning-to-Match: the loss that is made of a transport plan.

Its call, and what it raises, is that of all losses (see `otomatch.pairs`). The baselines are in
`otomatch.contrastive`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otomatch.adjoint import KnownGradient, partial_slope
from otomatch.errors import InvalidInputError
from otomatch.pairs import ClipIds, Metric, distances, one_of, same_clip
from otomatch.transport import Plan, check_epsilon, check_mass, partial_sinkhorn


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
        audio (B, D), text (B, D) -> scalar, in nats. See `otomatch.pairs` for the call.

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
        self.target = one_of("target", target, ("full", "trimmed"))
        self.scale = _positive("scale", scale) if scale != "max" else scale
        self.gradient = one_of("gradient", gradient, ("implicit", "unrolled"))
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.last: SolverStatus | None = None

    def forward(
        self, audio: Tensor, text: Tensor, metric: Metric, clip_ids: ClipIds | None = None
    ) -> Tensor:
        """Return the loss; see the class for what it is and `otomatch.pairs` for the arguments."""
        cost = distances(audio, text, metric)
        same = same_clip(clip_ids, audio)
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


def _trim(target: Tensor, cost: Tensor, mass: float) -> Tensor:
    """The target's entries of least cost that make up the mass, the last one in part."""
    where = target.nonzero(as_tuple=True)
    order = cost[where].argsort()
    weights = target[where][order]
    before = weights.cumsum(0) - weights
    kept = torch.zeros_like(weights)
    kept[order] = torch.minimum(weights, (mass - before).clamp(min=0))
    return torch.zeros_like(target).index_put(where, kept)


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected 'max' or a finite number > 0")
    return float(value)
