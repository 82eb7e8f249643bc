"""Picture of the joint space in two dimensions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.evaluation.plots.style import (
    COLOURS,
    FONT,
    MARKERS,
    check_picture,
    figure,
    heading,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


from otomatch.evaluation.plots.plan import Method, Points


def draw_space(
    audio: Tensor,
    text: Tensor,
    text_clip: Sequence[int],
    path: Path,
    title: str,
    method: Method = "pca",
) -> None:
    """Draw the joint space in two dimensions: sounds, captions, and a line from each to its own.

    Both methods are linear, so that distances in the plane are never larger than those in the
    space; both modalities weigh alike, however many captions there are. Two dimensions of many can
    mislead: the axes say what share of the variance they show.

    Args:
        audio: (n, D), whitened where a ground metric is used (`AudioTextModel.whiten`).
        text: (m, D), likewise.
        text_clip: (m,) row of ``audio`` that each caption describes. A clip is joined to each of
            its captions.
        path: file to write.
        title: stands above the modality gap, the distance between the means of both.
        method: "pca" shows the two directions of the largest variance; "gap" the direction from
            the mean sound to the mean caption, and across it that of the largest variance.

    Raises:
        InvalidInputError: the arrays do not fit together or are not finite, or ``method`` is "gap"
            and the means coincide.
    """
    check_picture(path)
    x, y, clip = _points(audio, text, text_clip)
    axes_of = _plane(x, y, method)
    made, panels = figure(5.2, 5.2)
    axes = panels[0, 0]
    centre = (x.mean(0) + y.mean(0)) / 2
    x2, y2 = (x - centre) @ axes_of.T, (y - centre) @ axes_of.T
    _draw_pairs(axes, x2, y2, clip)
    names = {
        "pca": ("principal component 1", "principal component 2"),
        "gap": ("from the mean sound to the mean caption", "largest variance across"),
    }[method]
    shares = [f"{100 * share:.1f} % of the variance" for share in _explained(x, y, axes_of)]
    xlabel, ylabel = (f"{name} ({share})" for name, share in zip(names, shares, strict=True))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_aspect("equal", adjustable="datalim")
    gap = np.linalg.norm(x.mean(0) - y.mean(0))
    seen = np.linalg.norm(x2.mean(0) - y2.mean(0))
    apart = np.linalg.norm(x[clip] - y, axis=1).mean()
    heading(
        made,
        title,
        f"modality gap {gap:.3f} ({seen:.3f} in this plane), pairs {apart:.3f} apart on average",
    )
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
            f"text_clip has shape {clip.shape}; expected for each of the {len(text)} captions a "
            f"row of audio, 0 to {len(audio) - 1}"
        )
    x, y = (np.asarray(part.detach().double().cpu()) for part in (audio, text))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInputError("audio or text hold NaN or infinite values; expected finite ones")
    return x, y, clip


def _centred(x: Points, y: Points) -> Points:
    """All points about the middle of both means, so scaled that both modalities weigh alike."""
    centre = (x.mean(0) + y.mean(0)) / 2
    return np.concatenate([(x - centre) / math.sqrt(len(x)), (y - centre) / math.sqrt(len(y))])


def _plane(x: Points, y: Points, method: Method) -> Points:
    """Two orthonormal directions (2, D), both pointing from the sounds to the captions."""
    gap, points = y.mean(0) - x.mean(0), _centred(x, y)
    if method == "pca":
        found = _directions(points)[:2]
    elif method == "gap":
        length = np.linalg.norm(gap)
        if length < 1e-9 * np.abs(points).max():
            raise InvalidInputError(
                "the mean sound and the mean caption coincide, so that the gap has no direction; "
                "draw with method 'pca'"
            )
        along = gap / length
        across = _directions(points - np.outer(points @ along, along))[0]
        found = np.stack([along, across])
    else:
        raise InvalidInputError(f"method is {method!r}; expected 'pca' or 'gap'")
    signs = np.where(found @ gap < 0, -1.0, 1.0)
    return found * signs[:, None]


def _directions(points: Points) -> Points:
    """Directions of the points (n, D), by falling variance: (min(n, D), D)."""
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
