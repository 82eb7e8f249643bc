"""Pictures of a transport plan, of the joint space and of a confusion matrix.

Each function takes data and writes one file, in the format that its name ends in (see
`style.PICTURES`); its folder is made if need be. All of them raise what `check_picture`
raises, and the same data give the same bytes. Curves are drawn by `evaluation.plots.recall`.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from otomatch.errors import InvalidInputError
from otomatch.evaluation.plots.style import (
    COLOURS,
    SMALL,
    check_picture,
    colour_bar,
    figure,
    heading,
    save,
)

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


Points = npt.NDArray[np.float64]
