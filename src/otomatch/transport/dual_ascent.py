"""Block-coordinate ascent on the dual of entropic transport: the iterations behind `transport`.

Everything is divided by epsilon (phi = f/epsilon, psi = g/epsilon, lam = multiplier/epsilon) and
computed in float64.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otomatch.parallel.shard import Shard

CHECK_EVERY = 10
"""Iterations between two convergence tests; each test waits for the device once."""
SMALL = 512**2
"""Entries up to which a problem is solved on the CPU, wherever its cost is."""


def widened(x: Tensor) -> Tensor:
    """Return x in float64, on the CPU if its device has nothing so wide (Apple GPUs)."""
    return x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def at_work(matrix: Tensor, shard: Shard) -> Tensor:
    """Return a matrix in float64, where iterating over it is fastest.

    A small one goes to the CPU: a GPU would do nothing but wait for its next kernel to be launched.
    """
    small = shard.world_size == 1 and matrix.numel() <= SMALL
    return widened(matrix.cpu() if small else matrix)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weighted sums over the kernel exp(-C/epsilon): one matrix-vector product each."""

    kernel: Tensor
    shard: Shard

    def rows(self, psi: Tensor) -> Tensor:
        """Log of sum_j kernel_ij exp(psi_j), shape (n,)."""
        return torch.mv(self.kernel, psi.exp()).log()

    def columns(self, phi: Tensor) -> Tensor:
        """Log of sum_i kernel_ij exp(phi_i), shape (m,)."""
        return self.shard.all_reduce_sum(torch.mv(self.kernel.T, phi.exp())).log()


@dataclass(frozen=True, eq=False)
class LogKernel:
    """The same sums where the kernel itself would under- or overflow: log-sum-exp."""

    log_kernel: Tensor
    shard: Shard

    def rows(self, psi: Tensor) -> Tensor:
        """See `Kernel.rows`."""
        return torch.logsumexp(self.log_kernel + psi, 1)

    def columns(self, phi: Tensor) -> Tensor:
        """See `Kernel.columns`."""
        return self.shard.logsumexp(self.log_kernel + phi[:, None])


def kernel_sums(log_kernel: Tensor, shard: Shard) -> Kernel | LogKernel:
    """Choose the domain for entries in [-R, 0].

    The exponentials of the potentials stay within e^-R and e^R of the weights, so no sum leaves
    e^-2R to e^2R: safe while 2 R < log(largest number), that is R < 354.
    """
    limit = math.log(torch.finfo(log_kernel.dtype).max) / 2
    if -lowest(log_kernel, shard).item() < limit:
        return Kernel(log_kernel.exp(), shard)
    return LogKernel(log_kernel, shard)


def lowest(x: Tensor, shard: Shard) -> Tensor:
    """The lowest entry of all processes, without a gradient, shape ()."""
    x = x.detach()
    return -shard.all_reduce_max(-(x.amin() if x.numel() else x.new_full((), math.inf)))


@dataclass(frozen=True, eq=False)
class Weights:
    """Logarithms of the weights of all rows, and of those here; or of the columns, all here."""

    every: Tensor
    here: Tensor
    shard: Shard


@dataclass(frozen=True, eq=False)
class Problem:
    """One transport problem in units of epsilon; `mass` is None for a balanced one."""

    sums: Kernel | LogKernel
    a: Weights
    b: Weights
    mass: float | None

    def update(self, psi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Solve for the rows' potentials given the columns', then for the columns' given those."""
        phi, _ = self._side(self.sums.rows(psi), self.a)
        psi, lam = self._side(self.sums.columns(phi), self.b)
        return phi, psi, lam

    def _side(self, sums: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        if self.mass is None:  # u = a / (K v)
            return weights.here - sums, sums.new_zeros(())
        # u = min(1, a / (l K v)), total = mass
        lam = fill(weights.shard.all_gather(sums), weights.every, self.mass)
        return (weights.here - sums - lam).clamp(max=0), lam

    def error(self, phi: Tensor, psi: Tensor, lam: Tensor) -> float:
        """Mass by which the rows miss their constraints; `update` left nothing else to miss."""
        with torch.no_grad():
            free = self.sums.rows(psi) + lam  # the rows' sums if their potentials were 0
            wanted = self.a.here
            if self.mass is not None:  # a tight row has its weight, a slack one a potential of 0
                wanted = torch.minimum(wanted, free)
            missed = (wanted.exp() - (free + phi).exp()).abs().sum()
            return float(self.a.shard.all_reduce_sum(missed).item())


def ascend(
    problem: Problem, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor, Tensor, int, float]:
    """Iterate until the rows' constraints are met to ``tolerance``, or ``max_iterations``.

    Returns:
        phi, psi, lam, the number of iterations, the error that is left.
    """
    psi = problem.b.here if problem.mass is None else torch.zeros_like(problem.b.here)
    path = [psi]
    for iteration in range(1, max_iterations + 1):
        phi, psi, lam = problem.update(psi)
        path.append(psi)
        if iteration % CHECK_EVERY and iteration < max_iterations:
            continue
        error = problem.error(phi, psi, lam)
        if error > tolerance and not psi.requires_grad:
            jump = problem.update(extrapolate(path))
            jump_error = problem.error(*jump)
            if jump_error < error:
                (phi, psi, lam), error = jump, jump_error
        if error <= tolerance:
            break
        path = [psi]
    return phi, psi, lam, iteration, error


def extrapolate(path: list[Tensor]) -> Tensor:
    """Reduced rank extrapolation: the limit of the sequence, were each step linear in the last.

    It is the affine combination of the iterates whose step is shortest (Sidi, Vector Extrapolation
    Methods with Applications, 2017). Near the solution it saves most of the iterations; the caller
    keeps it only where it lowers the error.
    """
    steps = torch.stack(path).diff(dim=0).nan_to_num(0, 0, 0)  # weight 0: -inf minus -inf
    # gelsd, on the CPU: it copes with dependent steps and with fewer rows than steps, and unlike
    # the default driver gives the same bits for the same input.
    changes = steps.diff(dim=0).T.cpu()
    back: Tensor = torch.linalg.lstsq(changes, steps[-1].cpu(), driver="gelsd").solution
    return path[-1] - back.to(steps.device) @ steps[1:]


def fill(sums: Tensor, log_weight: Tensor, mass: float) -> Tensor:
    """Solve sum_i min(w_i, exp(lam + sums_i)) = mass for lam (water-filling), shape ().

    As lam grows, entries reach their weight w_i in the order of w_i / exp(sums_i). With some full
    and the others not, lam = log((mass - weight of the full) / sum of exp(sums) of the others).
    """
    level, order = (log_weight - sums).sort(descending=True)
    weight = log_weight[order].exp().cumsum(0)
    others = sums[order].logcumsumexp(0)
    reached = 1 - weight + (level + others).exp()  # mass once lam gets to an entry's level
    last = ((reached >= mass).sum(0, keepdim=True) - 1).clamp(min=0)
    left = (weight.gather(0, last) - (1 - mass)).clamp(min=torch.finfo(weight.dtype).tiny)
    return (left.log() - others.gather(0, last)).squeeze(0)
