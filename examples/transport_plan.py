"""Match sounds and texts softly by optimal transport: python examples/transport_plan.py"""

import torch

import otomatch

cost = torch.tensor([[0.1, 0.8, 0.9], [0.7, 0.2, 0.9], [0.6, 0.9, 0.8]])

plan = otomatch.sinkhorn(cost, epsilon=0.05)
print("balanced: every row and column carries a third")
print(plan.plan.round(decimals=3))
print(f"{plan.iterations} iterations, marginal error {plan.error:.1e}, {plan.converged=}")

plan = otomatch.partial_sinkhorn(cost, epsilon=0.05, mass=0.6)
print("partial: the worst match gets almost no mass")
print(plan.plan.round(decimals=3))
