"""Naive versions of metrics, search, encoders and p-values, to check the fast ones against."""

import math

import numpy as np
import torch


def naive_retrieval(scores, relevant, ks, map_ks):
    """Return the metrics of one direction by loops; scores[query][item], sets relevant[query]."""
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
    """Return both directions, for scores[clip][caption] and a set of clips per caption."""
    clips, captions = len(scores), len(clips_of)
    by_caption = [[scores[i][j] for i in range(clips)] for j in range(captions)]
    captions_of = [{j for j in range(captions) if i in clips_of[j]} for i in range(clips)]
    return (
        naive_retrieval(by_caption, clips_of, ks, map_ks),
        naive_retrieval(scores, captions_of, ks, map_ks),
    )


def naive_classification(scores, labels):
    """Return confusion counts and macro mAP by loops; scores[clip][class], ties count against."""
    clips, classes = range(len(scores)), range(len(scores[0]))
    confusion = [[0 for _ in classes] for _ in classes]
    for clip in clips:
        others = [c for c in classes if c != labels[clip]]
        rival = max(others, key=lambda c: scores[clip][c])
        correct = scores[clip][labels[clip]] > scores[clip][rival]
        confusion[labels[clip]][labels[clip] if correct else rival] += 1
    by_class = [[scores[clip][c] for clip in clips] for c in classes]
    relevant = [{clip for clip in clips if labels[clip] == c} for c in classes]
    return confusion, naive_retrieval(by_class, relevant, (1,), (len(scores),))["map"][len(scores)]


def naive_rrf(lists, weights=None, smoothing=60):
    """Fuse lists of keys, best first, by reciprocal rank, from the formula of the paper."""
    total = {}
    for i, keys in enumerate(lists):
        for place, key in enumerate(keys):
            weight = 1.0 if weights is None else weights[i]
            total[key] = total.get(key, 0.0) + weight / (smoothing + place + 1)
    return total


def naive_odds(query, windows, references, slope=1.7, even=2.15, most=0.75):
    """Return the log-odds that each window matches a description, by loops over lists."""

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


def naive_panns(state, features, training=False):
    """Return features of whole clips (B, frames, 64), from nothing but a published state dict."""

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


def naive_rank_p_values(audio, text, clip_of, by_clip, null_rows=None):
    """Return rank p-values by loops over everything; the sample is everything too."""
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
