"""Mini-batch Learning-to-Match: the loss that compares a transport plan with the true matching.

See `otomatch.losses.pair_batch` for the arguments of the call, the option `gather` and the errors
that all losses share.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from otomatch.errors import InvalidInputError, one_of, positive
from otomatch.losses.gradient_rules import GRADIENT_RULES, GradientRule
from otomatch.losses.pair_batch import ClipIds, Metric, Pairs, prepare_pairs
from otomatch.parallel.shard import Shard
from otomatch.transport.implicit_gradient import partial_gradient
from otomatch.transport.solvers import Plan, check_mass, partial_sinkhorn


@dataclass(frozen=True)
class PlanStatus:
    """Statistics of the plan in the last call of a loss.

    Attributes:
        iterations: Number of solver iterations.
        error: Mass by which the plan violates its constraints.
        converged: True if the error is at most the tolerance.
        entropy: Entropy of the plan, scaled to mass 1, in nats: log B for a perfect matching of B
            pairs, 2 log B for a uniform plan.
        diagonal_mass: Share of the plan's mass on pairs of the same clip, 0 to 1: 1 for a perfect
            matching, 1/B for a uniform plan.
    """

    iterations: int
    error: float
    converged: bool
    entropy: float
    diagonal_mass: float


class MatchingLoss(nn.Module):
    """Mini-batch Learning-to-Match: KL divergence of the batch's transport plan from the matching.

    The cost is C = d_M / scale. P is the entropic plan between the B audio and B text embeddings,
    each of weight 1/B, or the partial plan of mass s (both arXiv 2405.10084). The target T is I/B;
    if several rows belong to one clip, T is uniform over each clip's block, so that its marginals
    stay 1/B. The loss is

        KL(T || P/s) = sum_ij T_ij log(s T_ij / P_ij)         (target="full")

    It is at least 0, and 0 for a perfect matching. Its gradient in C is evaluated at the solution
    (gradient="implicit"): (T - P)/epsilon for s = 1, by the envelope theorem, and from the
    optimality conditions otherwise. No iteration is recorded: memory is O(B^2 + B D).

    target="trimmed" gives the target the plan's mass, for data with mismatched pairs. The target
    T_s keeps the entries of T of least cost that make up mass s, the last one in part. The loss is
    the gap ((<T_s, C> + h(T_s)) - (<P, C> + h(P)))/epsilon with h(P) = epsilon sum P (log P - 1).
    It is at least 0, and 0 exactly for P = T_s; its gradient is (T_s - P)/epsilon. Pairs outside
    T_s are neither pulled together nor counted. Both targets agree for s = 1. For s < 1 the gap is
    0 only if T_s stands out: where all pairs match equally well, P spreads over all of them, at a
    gap of up to s log(1/s).

    mass="auto" (with target="trimmed") takes the target from the `weights` of each call: the
    probability that each caption describes its clip, by which the caption's column of T is
    multiplied (`otomatch.training.mismatch` estimates it). The mass of the plan is that of the
    target, i.e. the mean weight of the batch. Without `weights` all are 1, and the plan balanced.

    Args:
        epsilon: Weight of the entropy, > 0, in units of C. 0.03 to 0.05 works with scale="max".
        mass: Mass s of the plan, in (0, 1]; None is 1, "auto" takes it from the weights. May be
            changed between calls.
        target: "full" or "trimmed".
        scale: Divisor of the distances: a number > 0, or "max" for the largest distance of the
            batch (differentiated through).
        gradient: "implicit", or "unrolled" to back-propagate through every iteration; or a
            `GradientRule`.
        tolerance: Mass by which the plan may violate its constraints, >= 0.
        max_iterations: Largest number of solver iterations, >= 1.
        gather: True if processes share the batch. The B^2 entries of cost, target and plan are
            sharded by rows, B^2/W on each process; `otomatch.transport.solvers` states what an
            iteration costs.

    Attributes:
        last: `PlanStatus` of the last call (of the global plan with `gather`); None before the
            first call.

    Raises:
        InvalidInputError: An option is unknown or out of range.

    Shape:
        audio (B, D), text (B, D) -> scalar, in nats.

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
        gradient: str | GradientRule = "implicit",
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
        gather: bool = False,
    ) -> None:
        super().__init__()
        if mass == "auto" and target != "trimmed":
            raise InvalidInputError(f"mass is 'auto' with target {target!r}; expected 'trimmed'")
        check_mass(1.0 if mass is None or mass == "auto" else mass)
        self.epsilon = positive("epsilon", epsilon)
        self.mass = mass
        self.target = one_of("target", target, ("full", "trimmed"))
        self.scale = _checked_scale(scale)
        self.gradient = _gradient_rule(gradient)
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
        """Return the loss.

        Args:
            audio: Audio embeddings (B, D).
            text: Text embeddings (B, D).
            metric: Ground metric.
            clip_ids: Clip of each row (B,); None if all rows are of different clips.
            weights: Probability (B,) that each caption describes its clip; with mass="auto" only.
        """
        pairs = prepare_pairs(audio, text, clip_ids, weights, self.gather)
        shard = pairs.shard
        self.gradient.check(shard)
        distances = pairs.distances(metric)
        cost = distances / self._divisor(distances, shard)
        same = pairs.same_clip()
        target, mass = self._target_and_mass(pairs, same, cost.detach())
        if mass == 0:
            return 0 * cost.sum()  # all weights are 0: there is nothing to learn
        loss, plan = self.gradient.evaluate(
            cost,
            lambda cost: self._solve(cost, mass, shard),
            lambda plan: self._value(target, plan, mass, shard),
            lambda plan: self._slope(target, plan, mass, shard),
        )
        self.last = _status(plan, same, mass, shard)
        return loss

    def _target_and_mass(self, pairs: Pairs, same: Tensor, cost: Tensor) -> tuple[Tensor, float]:
        target = same / (same.sum(1, keepdim=True) * pairs.shard.total).to(cost.dtype)
        if self.mass == "auto":
            if pairs.weights is None:
                return target, 1.0
            target = target * pairs.weights
            mass = pairs.shard.all_reduce_sum(target.sum(dtype=torch.float64)).item()
            return target, min(1.0, float(mass))
        if pairs.weights is not None:
            raise InvalidInputError(
                f"weights are given with mass {self.mass}; expected mass 'auto', or no weights"
            )
        mass = 1.0 if self.mass is None else float(self.mass)
        if self.target == "trimmed":
            target = trim_target(target, cost, mass, pairs.shard)
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
        # Substituting the optimality conditions, the gap is KL(T_s || P) plus the weight that T_s
        # leaves on tight rows and columns, times the dual potentials -f and -g.
        weight = 1 / shard.total
        rows = plan.f * (target.sum(1) - weight)
        columns = plan.g * (target.sum(0) - weight * shard.rows / shard.total)
        return shard.all_reduce_sum(divergence + (rows.sum() + columns.sum()) / self.epsilon)

    def _slope(self, target: Tensor, plan: Plan, mass: float, shard: Shard) -> Tensor:
        """Return W dL/dC (B_r, B); see `otomatch.parallel.shard` for the factor W."""
        step = self.epsilon / shard.world_size
        if self.target == "trimmed" or mass == 1:
            return (target - plan.plan) / step
        return partial_gradient(target, plan, shard) / step

    def extra_repr(self) -> str:
        """Return the options for the printed module."""
        return (
            f"epsilon={self.epsilon}, mass={self.mass}, target={self.target!r}, "
            f"scale={self.scale!r}, gradient={self.gradient!r}, gather={self.gather}"
        )


def trim_target(target: Tensor, cost: Tensor, mass: float, shard: Shard) -> Tensor:
    """Keep the entries of least cost that make up the given mass, the last one in part.

    Args:
        target: This process's rows (B_r, B) of the target.
        cost: Cost matrix of the same shape.
        mass: Mass to keep, in (0, 1].
        shard: Rows that this process holds.

    Returns:
        Tensor of shape (B_r, B).
    """
    where = target.nonzero(as_tuple=True)
    count = len(where[0])
    labelled = Shard.local(count) if shard.world_size == 1 else Shard.distributed(count)
    entries = torch.stack([cost[where], target[where]], 1)
    costs, weights = labelled.all_gather(entries).unbind(1)
    order = costs.argsort(stable=True)
    weights = weights[order]
    before = weights.cumsum(0) - weights
    kept = torch.zeros_like(weights)
    kept[order] = torch.minimum(weights, (mass - before).clamp(min=0))
    return torch.zeros_like(target).index_put(where, kept[labelled.own])


@torch.no_grad()
def _status(plan: Plan, same: Tensor, mass: float, shard: Shard) -> PlanStatus:
    disorder = -(plan.plan * plan.log_plan).nansum()
    diagonal = (plan.plan * same).sum()
    disorder, diagonal = (shard.all_reduce_sum(torch.stack([disorder, diagonal])) / mass).tolist()
    entropy = math.log(mass) + disorder
    return PlanStatus(plan.iterations, plan.error, plan.converged, entropy, diagonal)


def _gradient_rule(gradient: object) -> GradientRule:
    if isinstance(gradient, str):
        return GRADIENT_RULES[one_of("gradient", gradient, GRADIENT_RULES)]
    if isinstance(gradient, type) or not isinstance(gradient, GradientRule):
        names = ", ".join(GRADIENT_RULES)
        raise InvalidInputError(f"gradient is {gradient!r}; expected a rule or one of {names}")
    return gradient


def _checked_scale(scale: str | float) -> str | float:
    if scale == "max":
        return scale
    if isinstance(scale, str):
        raise InvalidInputError(f"scale is {scale!r}; expected 'max' or a finite number > 0")
    return float(positive("scale", scale))
