"""Naive versions of plans, metrics and losses, to check the fast ones against. Slow on purpose."""

import functools
import math

import torch


def naive_sinkhorn(cost, epsilon, a, b, iterations=2000):
    """Return the balanced plan by loops over the scaling vectors; all arguments are lists."""
    kernel = [[math.exp(-c / epsilon) for c in row] for row in cost]
    v = [1.0] * len(b)
    for _ in range(iterations):
        u = [a[i] / sum(kernel[i][j] * v[j] for j in range(len(b))) for i in range(len(a))]
        v = [b[j] / sum(kernel[i][j] * u[i] for i in range(len(a))) for j in range(len(b))]
    return [[u[i] * kernel[i][j] * v[j] for j in range(len(b))] for i in range(len(a))]


def naive_water_filling(weights, sums, mass):
    """Solve sum_i min(weights_i, l sums_i) = mass for l, by bisection on its logarithm."""
    low, high = -500.0, 500.0
    for _ in range(200):
        middle = (low + high) / 2
        filled = sum(min(w, math.exp(middle) * s) for w, s in zip(weights, sums, strict=True))
        low, high = (middle, high) if filled < mass else (low, middle)
    return math.exp(high)


def naive_distance(x, y, matrix):
    """Return sqrt((x - y)^T M (x - y)) of two lists of floats."""
    difference = [p - q for p, q in zip(x, y, strict=True)]
    size = range(len(difference))
    square = sum(difference[i] * matrix[i][j] * difference[j] for i in size for j in size)
    return math.sqrt(max(square, 0.0))


def naive_target(clips):
    """Return the true matching: mass 1/B for each row, uniform over the captions of its clip."""
    return [[(own == other) / clips.count(own) / len(clips) for other in clips] for own in clips]


def naive_kl(target, plan):
    """Return the KL divergence of two plans of equal mass; 0 log 0 is 0."""
    total = 0.0
    for target_row, plan_row in zip(target, plan, strict=True):
        for t, p in zip(target_row, plan_row, strict=True):
            total += t * math.log(t / p) if t > 0 else 0.0
    return total


def naive_plan_approximation(cost, epsilon, partitions):
    """Return three distances between the plans of batches and the plan of all pairs.

    The mean KL divergence of the whole plan on a batch from the batch's own plan; the KL divergence
    of the mean of the batches' plans from the whole plan; and the share of the whole plan's mass in
    the batches' rows that is in columns outside the batch. Partitions are lists of lists of rows.
    """

    @functools.cache  # the same batch comes up in many partitions
    def solve(rows):
        part = [[cost[i][j] for j in rows] for i in rows]
        weights = [1 / len(rows)] * len(rows)
        return naive_sinkhorn(part, epsilon, weights, weights)

    size = range(len(cost))
    full = solve(tuple(size))
    mean = [[0.0 for _ in size] for _ in size]
    seen, inside, every = [], 0.0, 0.0
    for batches in partitions:
        for rows in batches:
            own, restricted = solve(tuple(rows)), [[full[i][j] for j in rows] for i in rows]
            mass = sum(map(sum, restricted))
            inside += mass
            every += sum(sum(full[i]) for i in rows)
            seen.append(naive_kl([[p / mass for p in row] for row in restricted], own))
            for i, own_row in zip(rows, own, strict=True):
                for j, p in zip(rows, own_row, strict=True):
                    mean[i][j] += p / len(batches) / len(partitions)
    return sum(seen) / len(seen), naive_kl(mean, full), 1 - inside / every


def naive_triplet(scores, clips, margin, reduce):
    """Return the triplet loss by loops; reduce is sum or max over the negatives of an anchor."""
    size = len(scores)
    total = 0.0
    for i in range(size):
        others = [j for j in range(size) if clips[j] != clips[i]]
        total += reduce([0.0] + [max(0.0, margin + scores[i][j] - scores[i][i]) for j in others])
        total += reduce([0.0] + [max(0.0, margin + scores[j][i] - scores[i][i]) for j in others])
    return total / size


def naive_weighted_triplet(scores, clips, margin):
    """Return the weighted triplet loss by loops over the hardest negative of each query."""
    size = len(scores)
    total = 0.0
    for i in range(size):
        others = [j for j in range(size) if clips[j] != clips[i]]
        for found in ([scores[i][j] for j in others], [scores[j][i] for j in others]):
            if found and max(found) + margin > scores[i][i]:
                total += max(0.0, 0.2 * scores[i][i] ** 2 - 0.7 * scores[i][i] + 0.5)
                total += max(0.0, 0.9 * max(found) ** 2 - 0.4 * max(found) + 0.03)
    return total / size


def naive_nt_xent(scores, clips, temperature, entropy=0.0):
    """Return the NT-Xent loss by loops; captions of the same clip are left out of the sums."""
    size = len(scores)
    total = 0.0
    for i in range(size):
        kept = [j for j in range(size) if j == i or clips[j] != clips[i]]
        for side in ({j: scores[i][j] for j in kept}, {j: scores[j][i] for j in kept}):
            whole = sum(math.exp(score / temperature) for score in side.values())
            softmax = {j: math.exp(score / temperature) / whole for j, score in side.items()}
            total -= math.log(softmax[i])
            total += entropy * sum(p * math.log(p) for p in softmax.values())
    return total / (2 * size)


def central_differences(function, tensor, step=1e-5):
    """Return the gradient of a scalar function in a float64 leaf tensor, entry by entry."""
    gradient = torch.zeros_like(tensor)
    flat, out = tensor.detach().view(-1), gradient.view(-1)
    for i in range(len(flat)):
        kept = flat[i].item()
        flat[i] = kept + step
        above = function().item()
        flat[i] = kept - step
        below = function().item()
        flat[i] = kept
        out[i] = (above - below) / (2 * step)
    return gradient
