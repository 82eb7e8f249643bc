"""Naive versions of what otomatch computes, kept to check it against. Slow on purpose."""

import functools
import math

import numpy as np
import torch

# --- retrieval ---------------------------------------------------------------------------------


def naive_retrieval(scores, relevant, ks, map_ks):
    """One direction's metrics by loops over scores[query][item]; relevant[query] is a set."""
    queries = [query for query in range(len(scores)) if relevant[query]]
    best_ranks, precisions = [], {k: [] for k in map_ks}
    for query in queries:
        ahead = []  # for each relevant item, how many others score at least as high
        for item in relevant[query]:
            count = 0
            for other, score in enumerate(scores[query]):
                if other not in relevant[query] and score >= scores[query][item]:
                    count += 1
            ahead.append(count)
        ahead.sort()
        best_ranks.append(ahead[0])
        for k in map_ks:
            total = 0.0
            for i, count in enumerate(ahead, start=1):
                if count + i <= k:
                    total += i / (count + i)
            precisions[k].append(total / len(ahead))
    ordered = sorted(best_ranks)
    middle = ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]
    return {
        "recall": {k: 100 * sum(r < k for r in best_ranks) / len(queries) for k in ks},
        "map": {k: sum(precisions[k]) / len(queries) for k in map_ks},
        "median_rank": middle // 2 + 1,
        "mean_rank": sum(best_ranks) / len(queries) + 1,
        "queries": len(queries),
    }


def naive_retrieval_both_ways(scores, clips_of, ks=(1, 5, 10), map_ks=(10,)):
    """Text to audio and audio to text, for scores[clip][caption] and a set of clips per caption."""
    clips, captions = len(scores), len(clips_of)
    by_caption = [[scores[i][j] for i in range(clips)] for j in range(captions)]
    captions_of = [{j for j in range(captions) if i in clips_of[j]} for i in range(clips)]
    return (
        naive_retrieval(by_caption, clips_of, ks, map_ks),
        naive_retrieval(scores, captions_of, ks, map_ks),
    )


def naive_classification(scores, labels):
    """Confusion counts and macro mAP by loops over scores[clip][class], ties counting against."""
    clips, classes = range(len(scores)), range(len(scores[0]))
    confusion = [[0 for _ in classes] for _ in classes]
    for clip in clips:
        others = [c for c in classes if c != labels[clip]]
        rival = max(others, key=lambda c: scores[clip][c])
        right = scores[clip][labels[clip]] > scores[clip][rival]
        confusion[labels[clip]][labels[clip] if right else rival] += 1
    by_class = [[scores[clip][c] for clip in clips] for c in classes]
    relevant = [{clip for clip in clips if labels[clip] == c} for c in classes]
    return confusion, naive_retrieval(by_class, relevant, (1,), (len(scores),))["map"][len(scores)]


# --- search ------------------------------------------------------------------------------------


def naive_rrf(lists, weights=None, smoothing=60):
    """Reciprocal rank fusion of lists of keys, best first, from the formula of the paper."""
    total = {}
    for i, keys in enumerate(lists):
        for place, key in enumerate(keys):
            weight = 1.0 if weights is None else weights[i]
            total[key] = total.get(key, 0.0) + weight / (smoothing + place + 1)
    return total


def naive_odds(query, windows, references, slope=1.7, even=2.15, most=0.75):
    """Log-odds that each window of a library is what a description says, by loops over lists."""

    def apart(x, y):
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))

    nearer, spreads = [], []
    for window in windows:
        distances = [apart(window, reference) for reference in references]
        mean = sum(distances) / len(distances)
        squares = sum((distance - mean) ** 2 for distance in distances)
        spreads.append(math.sqrt(squares / (len(distances) - 1)))
        nearer.append(mean - apart(query, window))
    typical = sum(spreads) / len(spreads)
    usual = sum(nearer) / len(nearer) / typical
    return [slope * (n / typical - max(-most, min(most, usual)) - even) for n in nearer]


# --- encoders ----------------------------------------------------------------------------------


def naive_panns(state, features, training=False):
    """Clip features of whole clips (B, frames, 64), from nothing but a published state dict."""

    def norm(x, name):
        weights = [state[f"{name}.{key}"] for key in ("weight", "bias")]
        means, variances = (state[f"{name}.running_{key}"] for key in ("mean", "var"))
        if training:
            means, variances = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        scaled = (x - means[:, None, None]) / (variances[:, None, None] + 1e-5).sqrt()
        return scaled * weights[0][:, None, None] + weights[1][:, None, None]

    def conv(x, name):
        kernel = state[f"{name}.weight"]
        return torch.nn.functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)

    def halved(x):
        x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        return (x[:, :, ::2] + x[:, :, 1::2]).unflatten(3, (-1, 2)).sum(-1) / 4

    def conv_block(x, name):
        x = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
        return norm(conv(x, f"{name}.conv2"), f"{name}.bn2").relu()

    def basic_block(x, name):
        inner = outer = x
        if f"{name}.downsample.1.weight" in state:
            inner = halved(x)
            outer = norm(conv(inner, f"{name}.downsample.1"), f"{name}.downsample.2")
        inner = norm(conv(inner, f"{name}.conv1"), f"{name}.bn1").relu()
        return (norm(conv(inner, f"{name}.conv2"), f"{name}.bn2") + outer).relu()

    x = norm(features.transpose(1, 2)[..., None], "bn0").permute(0, 3, 2, 1)
    x = halved(conv_block(x, "conv_block1"))
    for i in range(2, 7):
        if f"conv_block{i}.conv1.weight" in state:
            x = conv_block(x, f"conv_block{i}")
            x = halved(x) if i < 6 else x
    if "conv_block_after1.conv1.weight" in state:
        for layer, count in (("1", 3), ("2", 4), ("3", 6), ("4", 3)):
            for i in range(count):
                x = basic_block(x, f"resnet.layer{layer}.{i}")
        x = conv_block(halved(x), "conv_block_after1")
    x = x.mean(3)
    return x.amax(2) + x.mean(2)


# --- transport, ground metrics and losses -----------------------------------------------------


def naive_sinkhorn(cost, epsilon, a, b, iterations=2000):
    """Balanced plan by loops over the scaling vectors; everything is a list of floats."""
    kernel = [[math.exp(-c / epsilon) for c in row] for row in cost]
    v = [1.0] * len(b)
    for _ in range(iterations):
        u = [a[i] / sum(kernel[i][j] * v[j] for j in range(len(b))) for i in range(len(a))]
        v = [b[j] / sum(kernel[i][j] * u[i] for i in range(len(a))) for j in range(len(b))]
    return [[u[i] * kernel[i][j] * v[j] for j in range(len(b))] for i in range(len(a))]


def naive_fill(weights, sums, mass):
    """The factor l with sum_i min(weights_i, l sums_i) = mass, by bisection on its logarithm."""
    low, high = -500.0, 500.0
    for _ in range(200):
        middle = (low + high) / 2
        filled = sum(min(w, math.exp(middle) * s) for w, s in zip(weights, sums, strict=True))
        low, high = (middle, high) if filled < mass else (low, middle)
    return math.exp(high)


def naive_distance(x, y, matrix):
    """sqrt((x - y)^T M (x - y)) of two lists of floats."""
    difference = [p - q for p, q in zip(x, y, strict=True)]
    size = range(len(difference))
    square = sum(difference[i] * matrix[i][j] * difference[j] for i in size for j in size)
    return math.sqrt(max(square, 0.0))


def naive_target(clips):
    """The true matching: mass 1/B for each row, uniform over the captions of its clip."""
    return [[(own == other) / clips.count(own) / len(clips) for other in clips] for own in clips]


def naive_kl(target, plan):
    """KL divergence of two plans of equal mass, 0 log 0 being 0."""
    total = 0.0
    for target_row, plan_row in zip(target, plan, strict=True):
        for t, p in zip(target_row, plan_row, strict=True):
            total += t * math.log(t / p) if t > 0 else 0.0
    return total


def naive_plan_approximation(cost, epsilon, partitions):
    """KL of the whole plan on a batch to the batch's own; of the blocks' mean to the whole plan.

    The third is the share of the whole plan's mass in the batches' rows that lies in columns
    outside the batch. Partitions are lists of lists of rows.
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
    """Triplet loss by loops; reduce is sum or max, over the negatives of one anchor."""
    size = len(scores)
    total = 0.0
    for i in range(size):
        others = [j for j in range(size) if clips[j] != clips[i]]
        total += reduce([0.0] + [max(0.0, margin + scores[i][j] - scores[i][i]) for j in others])
        total += reduce([0.0] + [max(0.0, margin + scores[j][i] - scores[i][i]) for j in others])
    return total / size


def naive_weighted_triplet(scores, clips, margin):
    """Polynomially weighted triplet loss by loops, over the hardest negative of each query."""
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
    """NT-Xent loss by loops, captions of the same clip left out of the sums."""
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
    """Gradient of a scalar function in a float64 leaf tensor, one entry after the other."""
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


def naive_rank_p_values(audio, text, clip_of, by_clip, null_rows=None):
    """Rank p-values by loops over everything; the sample is everything too."""
    clips = range(len(audio))
    items = [[j] for j in range(len(text))]
    if by_clip:
        items = [[j for j in range(len(text)) if clip_of[j] == i] for i in clips]
    clip = [clip_of[item[0]] for item in items]

    def cost(i, item):
        return np.mean([np.linalg.norm(audio[i] - text[j]) for j in items[item]])

    centre = [np.mean([cost(i, k) for i in clips if i != clip[k]]) for k in range(len(items))]
    found = []
    for k, i in enumerate(clip):
        against = range(len(items)) if null_rows is None else null_rows[k]
        others = [o for o in against if clip[o] != i]
        own = cost(i, k) - centre[k]
        found.append((1 + sum(cost(i, o) - centre[o] <= own for o in others)) / (1 + len(others)))
    return np.array(found)
