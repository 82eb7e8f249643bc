"""Pictures of the joint space in two dimensions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, one_of
from otomatch.evaluation.plots.style import (
    COLOURS,
    FONT,
    MARKERS,
    check_picture,
    figure,
    heading,
    save,
)

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes

Method = Literal["pca", "gap"]
Points = npt.NDArray[np.float64]
_AXES = {
    "pca": ("principal component 1", "principal component 2"),
    "gap": ("from the mean sound to the mean caption", "largest variance across"),
}


def draw_space(
    audio: Tensor,
    text: Tensor,
    text_clip: Sequence[int],
    path: Path,
    title: str,
    method: Method = "pca",
) -> None:
    """Draw the joint space in two dimensions: sounds, captions, and lines between matched pairs.

    Both methods are linear, so that distances in the plane are never larger than in the space. Both
    modalities have equal weight, whatever the number of captions. A plane can mislead about a space
    of many dimensions, so the axis labels give the share of the variance that they show.

    Args:
        audio: Embeddings (n, D), whitened if a ground metric is used (`AudioTextModel.whiten`).
        text: Embeddings (m, D), whitened likewise.
        text_clip: (m,) row of ``audio`` that each caption describes.
        path: File to write.
        title: Title, written above the modality gap (the distance between the means).
        method: "pca" shows the two directions of largest variance; "gap" shows the direction from
            the mean sound to the mean caption, and the orthogonal direction of largest variance.

    Raises:
        InvalidInputError: If the arrays do not fit together or are not finite, or if ``method`` is
            "gap" and the means coincide.
    """
    check_picture(path)
    one_of("method", method, get_args(Method))
    x, y, clip = _points(audio, text, text_clip)
    directions = _plane(x, y, method)
    made, panels = figure(5.2, 5.2)
    axes = panels[0, 0]
    centre = (x.mean(0) + y.mean(0)) / 2
    x2, y2 = (x - centre) @ directions.T, (y - centre) @ directions.T
    _draw_pairs(axes, x2, y2, clip)
    shares = [f"{100 * share:.1f} % of the variance" for share in _explained(x, y, directions)]
    labels = (f"{name} ({share})" for name, share in zip(_AXES[method], shares, strict=True))
    axes.set(**dict(zip(("xlabel", "ylabel"), labels, strict=True)))
    axes.set_aspect("equal", adjustable="datalim")
    gap, gap2 = (np.linalg.norm(a.mean(0) - b.mean(0)) for a, b in ((x, y), (x2, y2)))
    apart = np.linalg.norm(x[clip] - y, axis=1).mean()
    plane = f"modality gap {gap:.3f} ({gap2:.3f} in this plane)"
    heading(made, title, f"{plane}, mean distance of pairs {apart:.3f}")
    save(made, path)


def _points(
    audio: Tensor, text: Tensor, text_clip: Sequence[int]
) -> tuple[Points, Points, npt.NDArray[np.int64]]:
    clip = np.asarray(text_clip, dtype=np.int64)
    if audio.ndim != 2 or text.ndim != 2 or audio.shape[1] != text.shape[1] or audio.shape[1] < 2:
        raise InvalidInputError(
            f"audio has shape {tuple(audio.shape)} and text {tuple(text.shape)}; expected (n, D) "
            "and (m, D) with D at least 2"
        )
    if clip.shape != (len(text),) or not len(clip) or clip.min() < 0 or clip.max() >= len(audio):
        raise InvalidInputError(
            f"text_clip has shape {clip.shape}; expected a row of audio (0 to {len(audio) - 1}) "
            f"for each of the {len(text)} captions"
        )
    x, y = (np.asarray(part.detach().double().cpu()) for part in (audio, text))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInputError(
            "audio or text contain NaN or infinite values; expected finite embeddings"
        )
    return x, y, clip


def _centred(x: Points, y: Points) -> Points:
    """Return all points about the centre of both means, scaled so that modalities weigh equally."""
    centre = (x.mean(0) + y.mean(0)) / 2
    return np.concatenate([(x - centre) / math.sqrt(len(x)), (y - centre) / math.sqrt(len(y))])


def _plane(x: Points, y: Points, method: Method) -> Points:
    """Return two orthonormal directions (2, D), both pointing from the sounds to the captions."""
    gap, points = y.mean(0) - x.mean(0), _centred(x, y)
    if method == "pca":
        found = _directions(points)[:2]
    else:
        length = np.linalg.norm(gap)
        if length < 1e-9 * np.abs(points).max():
            raise InvalidInputError(
                "the mean sound and the mean caption coincide, so the gap has no direction; "
                "expected different means; use the method 'pca'"
            )
        along = gap / length
        across = _directions(points - np.outer(points @ along, along))[0]
        found = np.stack([along, across])
    signs = np.where(found @ gap < 0, -1.0, 1.0)
    return found * signs[:, None]


def _directions(points: Points) -> Points:
    """Return the principal directions of points (n, D), by decreasing variance: (min(n, D), D)."""
    directions: Points = torch.linalg.svd(torch.from_numpy(points), full_matrices=False).Vh.numpy()
    return directions


def _explained(x: Points, y: Points, directions: Points) -> Points:
    points = _centred(x, y)
    total = np.square(points).sum()
    shares: Points = np.square(points @ directions.T).sum(0) / max(total, np.finfo(float).tiny)
    return shares


def _draw_pairs(axes: "Axes", x: Points, y: Points, clip: npt.NDArray[np.int64]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    lines = np.stack([x[clip], y], axis=1)
    axes.add_collection(LineCollection(list(lines), colors="#999999", linewidths=0.5, alpha=0.6))
    size = min(16.0, 4000 / (len(x) + len(y)))
    upper = x[:, 1].mean() >= y[:, 1].mean()
    halo = [withStroke(linewidth=3, foreground="white")]
    for name, points, i in (("sounds", x, 0), ("captions", y, 1)):
        style: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i]}
        axes.scatter(points[:, 0], points[:, 1], s=size, alpha=0.7, linewidths=0, zorder=2, **style)
        mean = points.mean(0)
        axes.scatter(mean[0], mean[1], s=90, edgecolors="white", linewidths=1.5, zorder=3, **style)
        offset = (0, 10 if upper == (i == 0) else -18)
        axes.annotate(
            f"mean of {len(points)} {name}",
            tuple(mean),
            offset,
            textcoords="offset points",
            ha="center",
            color=COLOURS[i],
            fontsize=FONT,
            fontweight="bold",
            path_effects=halo,
            zorder=4,
        )
