"""Lay out a library in two dimensions: a position, a cluster and a cluster label for its sounds.

Up to `LANDMARKS` sounds are placed by t-SNE, initialized by PCA; the others are placed among their
nearest landmarks. The clusters are those of k-means in the model's space, and their number is the
one with the best silhouette. All seeds are fixed: the same library always gives the same map.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

TARGET = f"{__name__}:compute_map"
"""Function for `WorkerProcess` to call."""

Vectors = npt.NDArray[np.float32]

LANDMARKS = 2500
"""Maximum number of sounds to place by t-SNE."""

_CANDIDATES = (2, 3, 4, 5, 6, 8, 10, 12)
_SAMPLE = 1000  # number of sounds for the silhouette
_DIMENSIONS = 50
_TOO_FEW = 10  # t-SNE has no neighbourhoods to preserve among fewer sounds
_NEIGHBOURS = 3
_LABEL_WORDS = 3
_EMPTY_WORDS = {
    *("wav", "flac", "mp3", "ogg", "aif", "aiff", "opus", "caf", "mp4", "aac", "webm", "wma"),
    *(
        "sound",
        "sounds",
        "audio",
        "file",
        "recording",
        "track",
        "take",
        "mono",
        "stereo",
        "hz",
        "khz",
    ),
}
_WORD = re.compile(r"[^\W\d_]{2,}")
_CASES = re.compile(r"(?<=[a-z])(?=[A-Z])")


class MapJob(TypedDict):
    """Sounds to map.

    Attributes:
        vectors: Vectors of the n sounds, shape (n, D).
        texts: Words known of each sound, length n.
    """

    vectors: Vectors
    texts: list[str]


def compute_map(job: MapJob) -> tuple[dict[str, Any], bytes]:
    """Compute the positions and clusters of sounds.

    Returns:
        A mapping of ``places``, the (x, y) of each sound between 0 and 1; ``clusters``, the number
        of each sound's cluster; and ``labels``, the label of each cluster. The bytes are empty.
    """
    reduced = _reduced(job["vectors"])
    clusters = cluster(reduced)
    places = project(reduced)
    return {
        "places": places.round(5).tolist(),
        "clusters": clusters.tolist(),
        "labels": cluster_labels(job["texts"], clusters),
    }, b""


def project(vectors: Vectors, landmarks: int = LANDMARKS) -> npt.NDArray[np.float64]:
    """Return the positions of sounds on a map.

    Args:
        vectors: Vectors of the sounds, shape (n, D), with n >= 1.
        landmarks: Maximum number of sounds to place by t-SNE.

    Returns:
        Positions between 0 and 1, shape (n, 2). Both axes have the same scale.
    """
    n = len(vectors)
    if n <= landmarks:
        return _framed(_embedding(vectors))
    chosen = np.sort(np.random.default_rng(0).choice(n, landmarks, replace=False))
    placed = _embedding(vectors[chosen])
    return _framed(_among(vectors, vectors[chosen], placed))


def _embedding(vectors: Vectors) -> npt.NDArray[np.float64]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    spread = np.ptp(vectors, axis=0).max()
    if n < 2 or spread < 1e-9:  # identical sounds are placed side by side, to be told apart
        return np.stack([np.arange(n), np.zeros(n)], axis=1).astype(float)
    if n < _TOO_FEW:
        size = min(2, *vectors.shape)
        plane = PCA(size, random_state=0).fit_transform(vectors.astype(np.float64))
        return np.pad(plane, ((0, 0), (0, 2 - size)))
    method = TSNE(
        perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=0, learning_rate="auto"
    )
    placed: npt.NDArray[np.float64] = method.fit_transform(vectors).astype(np.float64)
    return placed


def _among(
    vectors: Vectors, landmarks: Vectors, placed: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return positions weighted by inverse squared distance to the nearest landmarks."""
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = (
        NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(landmarks).kneighbors(vectors)
    )
    weights = 1 / np.maximum(distances, 1e-6) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    places: npt.NDArray[np.float64] = (placed[nearest] * weights[..., None]).sum(axis=1)
    return places


def _framed(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = places.min(axis=0), places.max(axis=0)
    scale = max(float((high - low).max()), 1e-12)
    framed: npt.NDArray[np.float64] = np.clip((places - (low + high) / 2) / scale + 0.5, 0, 1)
    return framed


def _reduced(vectors: Vectors) -> Vectors:
    """Project the vectors on their main directions, which saves time and removes noise."""
    from sklearn.decomposition import PCA

    if min(vectors.shape) <= _DIMENSIONS:
        return vectors
    method = PCA(_DIMENSIONS, svd_solver="randomized", random_state=0)
    return np.asarray(method.fit_transform(vectors), np.float32)


def cluster(vectors: Vectors) -> npt.NDArray[np.int64]:
    """Return the number of each sound's cluster, shape (n,); cluster 0 is the largest.

    Args:
        vectors: Vectors of the sounds, shape (n, D), with n >= 1.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    n = len(vectors)
    distinct = len(np.unique(vectors.round(5), axis=0))
    most = min(distinct - 1, n // 2)
    best, score = np.zeros(n, np.int64), 0.0
    sample = np.random.default_rng(0).permutation(n)[:_SAMPLE]
    for count in (c for c in _CANDIDATES if c <= most):
        found = KMeans(count, n_init=3, random_state=0).fit_predict(vectors)
        if len(set(found[sample])) < 2:
            continue
        reached = float(silhouette_score(vectors[sample], found[sample]))
        if reached > score:
            best, score = found.astype(np.int64), reached
    order = np.argsort(-np.bincount(best), kind="stable")
    return np.asarray(np.argsort(order)[best], np.int64)


def cluster_labels(texts: Sequence[str], clusters: npt.NDArray[np.int64]) -> list[str]:
    """Label each cluster with the words that are frequent in it and rare elsewhere.

    Args:
        texts: Words known of each sound, length n.
        clusters: Number of each sound's cluster, shape (n,).

    Returns:
        One label per cluster; "group 3", for example, if the sounds of the third have no words.
    """
    words = [set(words_of(text)) for text in texts]
    everywhere = Counter(word for own in words for word in own)
    labels = []
    for number in range(int(clusters.max()) + 1):
        members = [own for own, c in zip(words, clusters, strict=True) if c == number]
        inside = Counter(word for own in members for word in own)
        labels.append(_label(inside, everywhere, len(members), len(texts)) or f"group {number + 1}")
    return labels


def _label(inside: Counter[str], everywhere: Counter[str], members: int, total: int) -> str:
    """Return the words with the highest weight, share * log(share / share elsewhere)."""
    weights = {}
    for word, count in inside.items():
        share = count / members
        # One sound is added elsewhere; a word of a single sound would otherwise weigh most.
        other = (everywhere[word] - count + 1) / (total - members + 2)
        weights[word] = share * float(np.log(share / other))
    ranked = sorted(weights, key=lambda word: (-weights[word], word))[:_LABEL_WORDS]
    floor = weights[ranked[0]] / 4 if ranked else 0.0
    return ", ".join(word for word in ranked if weights[word] >= floor)


def words_of(text: str) -> list[str]:
    """Split names, tags and captions into words, without those that describe no sound."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = (word.lower() for word in _WORD.findall(_CASES.sub(" ", text)))
    return [word for word in found if word not in ENGLISH_STOP_WORDS and word not in _EMPTY_WORDS]
