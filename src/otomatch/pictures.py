"""Pictures of a transport plan, of the joint space and of a confusion matrix.

Each function takes data and writes one file, in the format that its name ends in (see
`otomatch.plots.PICTURES`); its folder is made if need be. All of them raise what `check_picture`
raises, and the same data give the same bytes. Curves are drawn by `otomatch.curves`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from otomatch.classification import ClassificationReport
from otomatch.errors import InvalidInputError
from otomatch.plots import (
    COLOURS,
    FONT,
    MARKERS,
    PLAIN,
    SMALL,
    check_picture,
    colour_bar,
    figure,
    heading,
    save,
)
from otomatch.report import classification_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Shade = Literal["linear", "log"]
Method = Literal["pca", "gap"]
_FAINTEST = 1e-3
"""Smallest share of a sound's mass that a logarithmic shade tells from 0."""


def draw_plan(plan: Tensor, path: Path, title: str, shade: Shade = "linear") -> None:
    """Draw the transport plan of a batch, its right pairs outlined.

    Above it stand the share of the mass that lies on right pairs and the plan's entropy, as in a
    run's log. Where a plan leaves mass out, bars at the right show what each row keeps.

    Args:
        plan: (B, B), mass moved from each sound (row) to each caption; row i and column i are the
            pair. Rows and columns hold 1/B each, or less in a partial plan.
        path: file to write.
        title: stands above.
        shade: of plan x B, so that 1 is a row whose whole mass lies on one caption; "log" shows
            shares down to 0.001.

    Raises:
        InvalidInputError: the plan is not square, or holds something else than such mass.
    """
    check_picture(path)
    mass = _mass(plan)
    made, panels = figure(5.2, 5.9)
    axes = panels[0, 0]
    image = shade_plan(axes, plan, shade)
    axes.set(xlabel="caption", ylabel="sound")
    label = "share of the sound's mass (plan × B)"
    colour_bar(made, image, axes, label, location="bottom", shrink=0.8, aspect=40)
    if mass.sum() < 1 - 1e-3:
        _draw_row_mass(axes, mass)
    heading(made, title, _describe_plan(mass))
    save(made, path)


def shade_plan(axes: "Axes", plan: Tensor, shade: Shade = "linear") -> "AxesImage":
    """Draw a plan into a panel, its right pairs outlined; arguments as for `draw_plan`.

    Returns:
        The image, for a colour bar.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm, Normalize

    if shade not in ("linear", "log"):
        raise InvalidInputError(f"shade is {shade!r}; expected 'linear' or 'log'")
    share = _mass(plan) * len(plan)
    norm = LogNorm(_FAINTEST, 1) if shade == "log" else Normalize(0, 1)
    image = axes.imshow(share.clip(_FAINTEST if shade == "log" else 0, 1), "magma_r", norm)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    cells = corners + np.arange(len(share))[:, None, None]
    width = min(1.0, 40 / len(share))
    outline = PolyCollection(list(cells), facecolor="none", edgecolor=COLOURS[0], linewidth=width)
    axes.add_collection(outline)
    axes.grid(visible=False)
    return image


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


def draw_confusion(report: ClassificationReport, path: Path, title: str) -> None:
    """Draw the confusion matrix: counts as numbers, shares of each class as shades of one hue.

    Args:
        report: what to draw.
        path: file to write.
        title: stands above the accuracy.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    counts = np.array(report.confusion)
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    # Inches and points: cells of one size, unless the picture would be too small or too large.
    cell = min(max(0.3, 2 / len(counts)), 24 / len(counts))
    side, font = cell * len(counts), min(SMALL, 72 * cell * 0.8)
    made = Figure(figsize=(side, side))
    axes = made.add_axes((0, 0, 1, 1))
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    scale = made.add_axes((1 + 0.2 / side, 0, 0.15 / side, 1))
    made.colorbar(image, cax=scale, label="share of the clips of a class")
    details = f"accuracy {report.accuracy:.1f} %, {classification_size(report)}"
    _write_labels(axes, report.classes, font, f"{title}\n{details}")
    if 0.6 * font * len(str(counts.max())) < 72 * cell * 0.9:
        _write_counts(axes, counts, share, font)
    save(made, path)  # labels and title lie around the cells


# --- plan ----------------------------------------------------------------------------------------


def _mass(plan: Tensor) -> npt.NDArray[np.float64]:
    if plan.ndim != 2 or plan.shape[0] != plan.shape[1] or not len(plan):
        raise InvalidInputError(f"the plan has shape {tuple(plan.shape)}; expected (B, B)")
    mass: npt.NDArray[np.float64] = plan.detach().double().cpu().numpy()
    # Rows may hold more than 1/B: a solver that has not converged misses its marginals.
    if not (mass.min() >= 0 and 0 < mass.sum() < 1.01):  # false for NaN, too
        raise InvalidInputError(
            f"the plan holds masses from {mass.min():.3g}, {mass.sum():.3g} in all; expected none "
            "below 0 and at most 1 in all, as in sinkhorn(...).plan"
        )
    return mass


def _describe_plan(mass: npt.NDArray[np.float64]) -> str:
    size, total = len(mass), mass.sum()
    share = mass / total
    entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
    moved = f"mass {total:.2f}, " if total < 1 - 1e-3 else ""
    return (
        f"{moved}{100 * np.trace(share):.0f} % of the mass on the right pairs (outlined)\n"
        f"entropy {entropy:.2f} nats; {math.log(size * total):.2f} where it is a matching, "
        f"{2 * math.log(size):.2f} where it is uniform"
    )


def _draw_row_mass(axes: "Axes", mass: npt.NDArray[np.float64]) -> None:
    size = len(mass)
    side = axes.inset_axes((1.03, 0, 0.15, 1))
    side.barh(range(size), mass.sum(1) * size, height=1, color=COLOURS[0])
    side.set(xlim=(0, 1), ylim=axes.get_ylim(), xticks=[0, 1], yticks=[])
    side.set_xlabel("row mass × B", fontsize=SMALL)
    side.tick_params(labelsize=SMALL)
    side.spines[["top", "right"]].set_visible(False)


# --- space ---------------------------------------------------------------------------------------

Points = npt.NDArray[np.float64]


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


# --- confusion -----------------------------------------------------------------------------------


def _write_labels(axes: "Axes", classes: Sequence[str], font: float, title: str) -> None:
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=font, **PLAIN)
    axes.set_yticks(range(len(classes)), classes, fontsize=font, **PLAIN)
    axes.set(xlabel="taken for", ylabel="class")
    axes.set_title(title, fontsize=10, **PLAIN)


def _write_counts(axes: "Axes", counts: Any, share: Any, font: float) -> None:
    for row, column in np.argwhere(counts):
        colour = "white" if share[row, column] > 0.5 else "black"
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "fontsize": font}
        axes.text(column, row, str(counts[row, column]), **style)
