"""Time transport plans against POT, and implicit gradients against unrolled ones, on the CPU.

    python bench/transport.py [threads]

Times are medians of repeated calls in the same run; ratios are the time of POT, or of unrolling,
divided by that of otomatch. The pairs are random unit vectors of dimension 64 whose captions have
as much noise as signal (noise 1) or half as much (0.5: sharp plans, the hardest for Sinkhorn).
Plans use the kernel exp(-C/epsilon) and have a marginal error of 1e-6. Gradients are those of the
matching loss with epsilon 0.05, dimension 256 and a Mahalanobis metric, forward and backward.
"""

import sys
import warnings

import ot
import torch

from otomatch.losses.matching import MatchingLoss
from otomatch.studies.loss_cost import unit_pairs
from otomatch.studies.resources import median_seconds
from otomatch.transport.ground_metrics import Identity, Mahalanobis
from otomatch.transport.solvers import partial_sinkhorn, sinkhorn


def pot_plan(cost, epsilon, mass):
    """Compute POT's plan in float64 to the same error (POT tests the L2 error of the marginals)."""
    size = len(cost)
    weights = torch.full((size,), 1 / size, dtype=torch.float64)
    if mass is None:
        limits = {"stopThr": 1e-6 / size**0.5, "numItermax": 20000, "warn": False}
        return ot.sinkhorn(weights, weights, cost, epsilon, **limits)
    limits = {"stopThr": 1e-7 / size, "numItermax": 20000}
    solver = ot.partial.entropic_partial_wasserstein
    return solver(weights, weights, cost, epsilon, m=mass, **limits)


def plan_rows():
    print(" plan noise   eps  mass   its  ours ms   POT ms ratio")
    for size in (128, 256, 1024):
        for noise in (1.0, 0.5):
            for epsilon, mass in ((0.05, None), (0.03, None), (0.05, 0.95)):
                audio, text = unit_pairs(size, 64, noise)
                cost = Identity()(audio, text)
                cost = (cost / cost.max()).double()
                solve = sinkhorn if mass is None else partial_sinkhorn
                fixed = (cost, epsilon) if mass is None else (cost, epsilon, mass)
                plan = solve(*fixed, max_iterations=20000)
                ours = 1000 * median_seconds(lambda solve=solve, fixed=fixed: solve(*fixed))
                theirs = 1000 * median_seconds(lambda c=cost, e=epsilon, m=mass: pot_plan(c, e, m))
                print(
                    f"{size:5} {noise:5} {epsilon:5} {mass or 1:5} {plan.iterations:5} "
                    f"{ours:8.2f} {theirs:8.2f} {theirs / ours:5.1f}"
                )


def step(loss_fn, audio, text, metric):
    def run():
        loss_fn(audio.requires_grad_(), text.requires_grad_(), metric).backward()

    return run


def gradient_rows():
    print(f"\n{'grad':>5} {'noise':>5} {'mass':>5} {'implicit ms':>12} {'unrolled ms':>12} ratio")
    for size in (128, 256, 1024):
        for noise in (1.0, 0.5):
            for mass in (1.0, 0.95):
                times = []
                for gradient in ("implicit", "unrolled"):
                    loss_fn = MatchingLoss(0.05, mass, gradient=gradient, tolerance=1e-6)
                    run = step(loss_fn, *unit_pairs(size, 256, noise), Mahalanobis(256))
                    times.append(1000 * median_seconds(run))
                print(
                    f"{size:5} {noise:5} {mass:5} {times[0]:12.2f} {times[1]:12.2f} "
                    f"{times[1] / times[0]:5.1f}"
                )


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    warnings.simplefilter("ignore")
    plan_rows()
    gradient_rows()
