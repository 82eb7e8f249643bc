"""Pictures of transport plans."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

from otomatch.errors import InvalidInputError, one_of
from otomatch.evaluation.plots.style import (
    COLOURS,
    SMALL,
    check_picture,
    colour_bar,
    figure,
    heading,
    save,
)

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Shade = Literal["linear", "log"]
_FAINTEST = 1e-3
"""Smallest share of a sound's mass that a logarithmic shade distinguishes from 0."""


def draw_plan(plan: Tensor, path: Path, title: str, shade: Shade = "linear") -> None:
    """Draw the transport plan of a batch, with its matched pairs outlined.

    The heading gives the share of the mass on matched pairs and the plan's entropy, as in the log
    of a run. For a partial plan, bars on the right show the mass of each row.

    Args:
        plan: Mass (B, B) moved from each sound (row) to each caption (column); row i matches
            column i. Rows and columns have mass 1/B each, or less in a partial plan.
        path: File to write.
        title: Title, written above the details.
        shade: Scale of the shade of plan x B, which is 1 if the whole mass of a row is on one
            caption; "log" shows shares down to 0.001.

    Raises:
        InvalidInputError: If the plan is not square, or its masses are not those of a plan.
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
    """Draw a plan into a panel, with its matched pairs outlined.

    Args:
        axes: Panel to draw into.
        plan: Plan (B, B), as for `draw_plan`.
        shade: Scale of the shade, as for `draw_plan`.

    Returns:
        The image, for `style.colour_bar`.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm, Normalize

    one_of("shade", shade, get_args(Shade))
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
    # Rows may have more than 1/B: without convergence, the marginals are not met exactly.
    if not (mass.min() >= 0 and 0 < mass.sum() < 1.01):  # false for NaN, too
        raise InvalidInputError(
            f"the plan has masses from {mass.min():.3g} and a total of {mass.sum():.3g}; expected "
            "masses >= 0 with a total of at most 1, as in sinkhorn(...).plan"
        )
    return mass


def _describe_plan(mass: npt.NDArray[np.float64]) -> str:
    size, total = len(mass), mass.sum()
    share = mass / total
    entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
    moved = f"mass {total:.2f}, " if total < 1 - 1e-3 else ""
    return (
        f"{moved}{100 * np.trace(share):.0f} % of the mass on matched pairs (outlined)\n"
        f"entropy {entropy:.2f} nats; {math.log(size * total):.2f} for a one-to-one matching, "
        f"{2 * math.log(size):.2f} for a uniform plan"
    )


def _draw_row_mass(axes: "Axes", mass: npt.NDArray[np.float64]) -> None:
    size = len(mass)
    side = axes.inset_axes((1.03, 0, 0.15, 1))
    side.barh(range(size), mass.sum(1) * size, height=1, color=COLOURS[0])
    side.set(xlim=(0, 1), ylim=axes.get_ylim(), xticks=[0, 1], yticks=[])
    side.set_xlabel("row mass × B", fontsize=SMALL)
    side.tick_params(labelsize=SMALL)
    side.spines[["top", "right"]].set_visible(False)
