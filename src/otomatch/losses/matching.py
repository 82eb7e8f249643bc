"""Mini-batch Learning-to-Match: the loss that is made of a transport plan.

Its call, the option `gather`, and what it raises are those of all losses (see `losses.pair_batch`).
The baselines are in `otomatch.losses.triplet`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from otomatch.errors import InvalidInputError
from otomatch.losses.pair_batch import ClipIds, Metric, Pairs, one_of, open_pairs
from otomatch.parallel.shard import Shard
from otomatch.transport.implicit_gradient import KnownGradient, partial_slope
from otomatch.transport.solvers import Plan, check_epsilon, check_mass, partial_sinkhorn


@dataclass(frozen=True)
class PlanStatus:
    """What the plan of a loss's last call was like, and how the solver fared.

    Attributes:
        iterations: updates made.
        error: mass by which the plan misses its constraints.
        converged: whether the error reached the tolerance.
        entropy: of the plan, scaled to mass 1, in nats: log B for a perfect matching of B pairs,
            2 log B for a uniform plan.
        right: share of the plan's mass that lies on pairs of one clip, 0 to 1; 1 for a perfect
            matching, 1/B for a uniform plan ("diagonal mass").
    """

    iterations: int
    error: float
    converged: bool
    entropy: float
    right: float


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

    mass="auto" (with target="trimmed") takes the target from `weights` instead, given at each call:
    the probability that each caption describes its clip, by which the caption's column of T is
    multiplied (`rank_p_values` estimates it). The plan's mass is then the target's, the mean
    weight of the batch. Without weights all are 1: a balanced plan.

    Args:
        epsilon: strength of the entropy, > 0, in units of C. With scale="max" 0.03 to 0.05 works.
        mass: s in (0, 1]; None is 1; "auto" for that of the weights. May be changed between calls.
        target: "full" or "trimmed".
        scale: "max" divides d_M by the batch's largest (differentiated through), a number > 0 by
            that number.
        gradient: "implicit", or "unrolled" to back-propagate through every iteration.
        tolerance: mass by which the plan may miss its constraints.
        max_iterations: limit on the solver's updates.
        gather: whether processes share the batch. All B^2 entries (cost, target, plan) lie in
            blocks of rows, B^2/W on each; see `otomatch.transport` for what an iteration costs.

    Attributes:
        last: `PlanStatus` of the last call, with `gather` that of the global plan; None before the
            first.

    Raises:
        InvalidInputError: an option is none of the above, epsilon or mass out of range.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats. See `otomatch.losses.pair_batch` for the call.

    Example:
        >>> loss = MatchingLoss(epsilon=0.05)
        >>> loss(torch.eye(4), torch.eye(4), Identity(4)) < 1e-6
        tensor(True)
    """

    def __init__(
        self,
        epsilon: float = 0.05,
        mass: float | Literal["auto"] | None = None,
        target: str = "full",
        scale: str | float = "max",
        gradient: str = "implicit",
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
        gather: bool = False,
    ) -> None:
        super().__init__()
        check_epsilon(epsilon)
        if mass == "auto" and target != "trimmed":
            raise InvalidInputError(
                f"mass 'auto' goes with target 'trimmed', whose mass is the plan's; got {target!r}"
            )
        check_mass(1.0 if mass is None or mass == "auto" else mass)
        self.epsilon = epsilon
        self.mass = mass
        self.target = one_of("target", target, ("full", "trimmed"))
        self.scale = _positive("scale", scale) if scale != "max" else scale
        self.gradient = one_of("gradient", gradient, ("implicit", "unrolled"))
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.gather = gather
        self.last: PlanStatus | None = None

    def forward(
        self,
        audio: Tensor,
        text: Tensor,
        metric: Metric,
        clip_ids: ClipIds | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the loss; see the class, and `pair_batch` for the arguments.

        Args:
            audio: (B, D).
            text: (B, D).
            metric: the ground metric.
            clip_ids: (B,) clip of each row.
            weights: (B,) within 0 and 1, with mass="auto" only: how sure it is that caption i
                describes its clip.
        """
        pairs = open_pairs(audio, text, clip_ids, weights, self.gather)
        self._check_recording(pairs.shard)
        distances = pairs.distances(metric)
        cost = distances / self._divisor(distances, pairs.shard)
        same = pairs.same_clip()
        target, mass = self._aim(pairs, same, cost.detach())
        if mass == 0:
            return 0 * cost.sum()  # no pair is right: there is nothing to learn
        with torch.set_grad_enabled(self.gradient == "unrolled" and torch.is_grad_enabled()):
            plan = self._solve(cost, mass, pairs.shard)
            value = self._value(target, plan, mass, pairs.shard)
        self.last = _status(plan, same, mass, pairs.shard)
        if self.gradient == "unrolled":
            return value
        if not (torch.is_grad_enabled() and cost.requires_grad):
            return value
        slope = self._slope(target, plan, mass, pairs.shard)
        loss: Tensor = KnownGradient.apply(cost, value, slope)  # type: ignore[no-untyped-call]
        return loss

    def _check_recording(self, shard: Shard) -> None:
        if self.gradient == "unrolled" and shard.world_size > 1:
            raise InvalidInputError(
                f"gradient is 'unrolled' with {shard.world_size} processes, which record no "
                "iterations; expected 'implicit'"
            )

    def _aim(self, pairs: Pairs, same: Tensor, cost: Tensor) -> tuple[Tensor, float]:
        """The target (B_r, B) and the plan's mass."""
        target = same / (same.sum(1, keepdim=True) * pairs.shard.total).to(cost.dtype)
        if self.mass == "auto":
            if pairs.weights is None:
                return target, 1.0
            target = target * pairs.weights
            mass = pairs.shard.all_reduce_sum(target.sum(dtype=torch.float64)).item()
            return target, min(1.0, float(mass))
        if pairs.weights is not None:
            raise InvalidInputError(
                f"weights go with mass 'auto', but mass is {self.mass}; leave one of them out"
            )
        mass = 1.0 if self.mass is None else float(self.mass)
        if self.target == "trimmed":
            target = _trim(target, cost, mass, pairs.shard)
        return target, mass

    def _divisor(self, distances: Tensor, shard: Shard) -> Tensor | float:
        if not isinstance(self.scale, str):
            return self.scale
        largest = shard.amax(distances.flatten())
        return torch.where(largest > 0, largest, 1)

    def _solve(self, cost: Tensor, mass: float, shard: Shard) -> Plan:
        return partial_sinkhorn(
            cost,
            self.epsilon,
            mass,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            shard=shard,
        )

    def _value(self, target: Tensor, plan: Plan, mass: float, shard: Shard) -> Tensor:
        divergence = torch.xlogy(target, target).sum() - (target * plan.log_plan).sum()
        if self.target == "full":
            return shard.all_reduce_sum(divergence) + math.log(mass)
        # The gap is KL(T_s || P) plus what T_s leaves of the tight rows and columns, at their
        # prices -f and -g: the optimality conditions put into its definition.
        weight = 1 / shard.total
        rows = plan.f * (target.sum(1) - weight)
        columns = plan.g * (target.sum(0) - weight * shard.rows / shard.total)
        return shard.all_reduce_sum(divergence + (rows.sum() + columns.sum()) / self.epsilon)

    @torch.no_grad()
    def _slope(self, target: Tensor, plan: Plan, mass: float, shard: Shard) -> Tensor:
        """W dL/dC, shape (B_r, B); see `otomatch.parallel.shard` for the factor W."""
        step = self.epsilon / shard.world_size
        if self.target == "trimmed" or mass == 1:
            return (target - plan.plan) / step
        return partial_slope(target, plan, shard) / step

    def extra_repr(self) -> str:
        """Say the options in the module's printed form."""
        return (
            f"epsilon={self.epsilon}, mass={self.mass}, target={self.target!r}, "
            f"scale={self.scale!r}, gradient={self.gradient!r}, gather={self.gather}"
        )


@torch.no_grad()
def _status(plan: Plan, same: Tensor, mass: float, shard: Shard) -> PlanStatus:
    disorder = -(plan.plan * plan.log_plan).nansum()
    right = (plan.plan * same).sum()
    disorder, right = (shard.all_reduce_sum(torch.stack([disorder, right])) / mass).tolist()
    return PlanStatus(plan.iterations, plan.error, plan.converged, math.log(mass) + disorder, right)


def _trim(target: Tensor, cost: Tensor, mass: float, shard: Shard) -> Tensor:
    """The target's entries of least cost that make up the mass, the last one in part."""
    where = target.nonzero(as_tuple=True)
    labelled = _same_processes(shard, len(where[0]))
    costs, weights = labelled.all_gather(torch.stack([cost[where], target[where]], 1)).unbind(1)
    order = costs.argsort(stable=True)
    weights = weights[order]
    before = weights.cumsum(0) - weights
    kept = torch.zeros_like(weights)
    kept[order] = torch.minimum(weights, (mass - before).clamp(min=0))
    return torch.zeros_like(target).index_put(where, kept[labelled.own])


def _same_processes(shard: Shard, rows: int) -> Shard:
    return Shard.local(rows) if shard.world_size == 1 else Shard.distributed(rows)


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected 'max' or a finite number > 0")
    return float(value)
