"""Rules for the gradient of a loss that is a function of a transport plan.

A rule is a value that the loss receives: it solves for the plan, evaluates the loss, and decides
how autograd differentiates it in the cost matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from otomatch.errors import InvalidInputError
from otomatch.parallel.shard import Shard
from otomatch.transport.solvers import Plan


@runtime_checkable
class GradientRule(Protocol):
    """How to differentiate a loss L(P(C)) in the cost matrix C."""

    def check(self, shard: Shard) -> None:
        """Raise InvalidInputError if the rule does not support the shard."""

    def evaluate(
        self,
        cost: Tensor,
        solve: Callable[[Tensor], Plan],
        value: Callable[[Plan], Tensor],
        gradient: Callable[[Plan], Tensor],
    ) -> tuple[Tensor, Plan]:
        """Return the loss and the plan.

        Args:
            cost: C, this process's rows (B_r, B).
            solve: Function that returns the plan P for a cost matrix.
            value: Function that returns the loss of a plan, shape ().
            gradient: Function that returns W dL/dC at the solution, shape (B_r, B); W is the number
                of processes.
        """


@dataclass(frozen=True)
class ImplicitGradient:
    """Evaluate the known gradient at the solution.

    No iteration is recorded, so memory does not grow with their number.
    """

    def check(self, shard: Shard) -> None:
        """Accept any shard."""

    def evaluate(
        self,
        cost: Tensor,
        solve: Callable[[Tensor], Plan],
        value: Callable[[Plan], Tensor],
        gradient: Callable[[Plan], Tensor],
    ) -> tuple[Tensor, Plan]:
        """Return the loss and the plan; see `GradientRule`."""
        with torch.no_grad():
            plan = solve(cost)
            loss = value(plan)
        if torch.is_grad_enabled() and cost.requires_grad:
            with torch.no_grad():
                slope = gradient(plan)
            loss = _KnownGradient.apply(cost, loss, slope)  # type: ignore[no-untyped-call]
        return loss, plan


@dataclass(frozen=True)
class UnrolledGradient:
    """Back-propagate through every iteration of the solver; for one process only."""

    def check(self, shard: Shard) -> None:
        """Raise InvalidInputError if several processes share the batch."""
        if shard.world_size > 1:
            raise InvalidInputError(
                f"gradient is 'unrolled' with {shard.world_size} processes, which do not record "
                "iterations; expected 'implicit'"
            )

    def evaluate(
        self,
        cost: Tensor,
        solve: Callable[[Tensor], Plan],
        value: Callable[[Plan], Tensor],
        gradient: Callable[[Plan], Tensor],  # noqa: ARG002
    ) -> tuple[Tensor, Plan]:
        """Return the loss and the plan; see `GradientRule`."""
        plan = solve(cost)
        return value(plan), plan


GRADIENT_RULES: dict[str, GradientRule] = {
    "implicit": ImplicitGradient(),
    "unrolled": UnrolledGradient(),
}
"""Gradient rules by the name that losses accept in their place."""


class _KnownGradient(torch.autograd.Function):
    """A value with a given gradient in the cost, which is all that is saved for backward."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, value: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None
