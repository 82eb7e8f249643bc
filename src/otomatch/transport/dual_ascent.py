"""Block-coordinate ascent on the dual of entropic transport.

Everything is in units of epsilon (phi = f/epsilon, psi = g/epsilon, lam = multiplier/epsilon) and
computed in float64. `ascend` is the loop; a step, its stopping test and its acceleration are the
functions `ascent_step`, `constraint_error` and `accelerate`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otomatch.parallel.shard import Shard

CHECK_EVERY = 10
"""Number of iterations between stopping tests; each test synchronizes with the device."""
CPU_ENTRIES = 512**2
"""Number of matrix entries up to which a problem is solved on the CPU."""


def to_float64(x: Tensor) -> Tensor:
    """Convert to float64, on the CPU if the device does not support it (Apple GPUs)."""
    return x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def to_solver_dtype(matrix: Tensor, shard: Shard) -> Tensor:
    """Convert to float64, on the device where iterations are fastest.

    Small matrices move to the CPU, where launching kernels does not dominate the time.
    """
    small = shard.world_size == 1 and matrix.numel() <= CPU_ENTRIES
    return to_float64(matrix.cpu() if small else matrix)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Products with the kernel K = exp(-C/epsilon), each one matrix-vector product."""

    kernel: Tensor
    shard: Shard

    def rows(self, psi: Tensor) -> Tensor:
        """Return log(K exp(psi)), shape (n,)."""
        return torch.mv(self.kernel, psi.exp()).log()

    def columns(self, phi: Tensor) -> Tensor:
        """Return log(K^T exp(phi)), shape (m,)."""
        return self.shard.all_reduce_sum(torch.mv(self.kernel.T, phi.exp())).log()


@dataclass(frozen=True, eq=False)
class LogKernel:
    """The same products by log-sum-exp, where K itself would underflow or overflow."""

    log_kernel: Tensor
    shard: Shard

    def rows(self, psi: Tensor) -> Tensor:
        """Return log(K exp(psi)), shape (n,)."""
        return torch.logsumexp(self.log_kernel + psi, 1)

    def columns(self, phi: Tensor) -> Tensor:
        """Return log(K^T exp(phi)), shape (m,)."""
        return self.shard.logsumexp(self.log_kernel + phi[:, None])


def choose_kernel(log_kernel: Tensor, shard: Shard) -> Kernel | LogKernel:
    """Return the fastest safe representation of a kernel with log entries in [-R, 0].

    The exponentials of the potentials stay within e^-R and e^R of the weights, so no sum leaves
    e^-2R to e^2R. That is safe while 2 R < log(largest number), i.e. R < 354 in float64.
    """
    limit = math.log(torch.finfo(log_kernel.dtype).max) / 2
    if -global_min(log_kernel, shard).item() < limit:
        return Kernel(log_kernel.exp(), shard)
    return LogKernel(log_kernel, shard)


def global_min(x: Tensor, shard: Shard) -> Tensor:
    """Return the minimum over all processes, detached, shape ()."""
    x = x.detach()
    return -shard.all_reduce_max(-(x.amin() if x.numel() else x.new_full((), math.inf)))


@dataclass(frozen=True, eq=False)
class LogMarginal:
    """Logarithms of the weights of all rows (or columns), and of those on this process."""

    all: Tensor
    own: Tensor
    shard: Shard


@dataclass(frozen=True, eq=False)
class Problem:
    """A transport problem in units of epsilon; `mass` is None for a balanced one."""

    kernel: Kernel | LogKernel
    a: LogMarginal
    b: LogMarginal
    mass: float | None


@dataclass(frozen=True, eq=False)
class Duals:
    """Dual variables in units of epsilon: phi (n,), psi (m,) and lam ()."""

    phi: Tensor
    psi: Tensor
    lam: Tensor


@dataclass(frozen=True, eq=False)
class Ascent:
    """Result of `ascend`: dual variables, number of iterations, and the error that remains."""

    duals: Duals
    iterations: int
    error: float


def ascend(problem: Problem, tolerance: float, max_iterations: int) -> Ascent:
    """Iterate until the error is at most ``tolerance``, or ``max_iterations`` times."""
    psi = problem.b.own if problem.mass is None else torch.zeros_like(problem.b.own)
    path = [psi]
    for iteration in range(1, max_iterations + 1):
        duals = ascent_step(problem, path[-1])
        path.append(duals.psi)
        if iteration % CHECK_EVERY and iteration < max_iterations:
            continue
        error = constraint_error(problem, duals)
        if error > tolerance and not duals.psi.requires_grad:
            duals, error = accelerate(problem, path, duals, error)
        if error <= tolerance:
            break
        path = [duals.psi]
    return Ascent(duals, iteration, error)


def ascent_step(problem: Problem, psi: Tensor) -> Duals:
    """Solve for the row potentials given the column potentials, then the other way round."""
    phi, _ = _solve_side(problem.kernel.rows(psi), problem.a, problem.mass)
    psi, lam = _solve_side(problem.kernel.columns(phi), problem.b, problem.mass)
    return Duals(phi, psi, lam)


def _solve_side(sums: Tensor, marginal: LogMarginal, mass: float | None) -> tuple[Tensor, Tensor]:
    if mass is None:  # u = a / (K v)
        return marginal.own - sums, sums.new_zeros(())
    # u = min(1, a / (l K v)), total = mass
    lam = water_filling(marginal.shard.all_gather(sums), marginal.all, mass)
    return (marginal.own - sums - lam).clamp(max=0), lam


@torch.no_grad()
def constraint_error(problem: Problem, duals: Duals) -> float:
    """Return the mass by which the rows violate their constraints after an `ascent_step`.

    The step satisfies the constraints on the columns and on the total mass exactly.
    """
    free = problem.kernel.rows(duals.psi) + duals.lam  # row sums if phi were 0
    wanted = problem.a.own
    if problem.mass is not None:  # a tight row has its weight, a slack row has potential 0
        wanted = torch.minimum(wanted, free)
    missed = (wanted.exp() - (free + duals.phi).exp()).abs().sum()
    return float(problem.a.shard.all_reduce_sum(missed).item())


def accelerate(
    problem: Problem, path: list[Tensor], duals: Duals, error: float
) -> tuple[Duals, float]:
    """Take a step from the extrapolated limit of the path; keep it if it lowers the error."""
    jump = ascent_step(problem, extrapolate(path))
    jump_error = constraint_error(problem, jump)
    return (jump, jump_error) if jump_error < error else (duals, error)


def extrapolate(path: list[Tensor]) -> Tensor:
    """Return the limit of a sequence of iterates by reduced rank extrapolation.

    The limit is exact if the iteration is linear: it is the affine combination of the iterates that
    has the shortest step (Sidi, Vector Extrapolation Methods with Applications, 2017). Close to the
    solution it saves most of the iterations.
    """
    steps = torch.stack(path).diff(dim=0).nan_to_num(0, 0, 0)  # weight 0: -inf minus -inf
    # On the CPU, gelsd handles dependent steps and fewer rows than steps, and unlike the default
    # driver it is deterministic.
    changes = steps.diff(dim=0).T.cpu()
    back: Tensor = torch.linalg.lstsq(changes, steps[-1].cpu(), driver="gelsd").solution
    return path[-1] - back.to(steps.device) @ steps[1:]


def water_filling(sums: Tensor, log_weight: Tensor, mass: float) -> Tensor:
    """Solve sum_i min(w_i, exp(lam + sums_i)) = mass for lam, shape ().

    As lam grows, entries reach their weight w_i in the order of w_i / exp(sums_i). Given which
    entries are full, lam = log((mass - weight of the full) / sum of exp(sums) of the others).
    """
    level, order = (log_weight - sums).sort(descending=True)
    weight = log_weight[order].exp().cumsum(0)
    others = sums[order].logcumsumexp(0)
    reached = 1 - weight + (level + others).exp()  # mass when lam reaches an entry's level
    last = ((reached >= mass).sum(0, keepdim=True) - 1).clamp(min=0)
    left = (weight.gather(0, last) - (1 - mass)).clamp(min=torch.finfo(weight.dtype).tiny)
    return (left.log() - others.gather(0, last)).squeeze(0)
