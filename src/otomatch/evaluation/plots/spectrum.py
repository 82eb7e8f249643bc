"""Pictures of a metric's eigenvalues over training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from otomatch.errors import InvalidInputError
from otomatch.evaluation.plots.style import check_picture, colour_bar, figure, heading, save
from otomatch.transport.spectrum import effective_rank

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.cm import ScalarMappable

_FLOOR = 1e-6
"""Smallest eigenvalue drawn, as a share of the largest; float32 rounding errors of 0 are below."""


def draw_spectrum(spectra: Mapping[int, Sequence[float]], path: Path, title: str) -> None:
    """Draw the eigenvalues of M, from the largest to the smallest, one line for each epoch.

    Args:
        spectra: D eigenvalues by epoch, as `training.run_folder.read_spectrum` returns them.
            Eigenvalues below a millionth of the largest are drawn at that level.
        path: File to write.
        title: Title, written above the effective rank after the first and the last epoch.

    Raises:
        InvalidInputError: If there are no spectra, or they differ in length or are not finite.
    """
    check_picture(path)
    from matplotlib.ticker import MaxNLocator

    epochs, values = _spectra(spectra)
    largest = float(values.max())
    floor = _FLOOR * (largest if largest > 0 else 1)
    made, panels = figure(5.2, 3.8)
    axes = panels[0, 0]
    shade = _shade_of_epochs(epochs)
    ranks, marker = np.arange(1, values.shape[1] + 1), "." if values.shape[1] < 30 else ""
    for colour, row in zip(shade.to_rgba(np.array(epochs)), values, strict=True):
        axes.plot(ranks, row.clip(floor), color=colour, linewidth=1, marker=marker)
    axes.set(xlabel="rank of the eigenvalue", yscale="log")
    lowest = float(values.min())
    note = f"; below {floor:.0e}: drawn there" if lowest < floor else ""
    axes.set(ylabel=f"eigenvalue of M (log{note})")
    axes.set_ylim(bottom=max(floor, lowest) / 1.5)
    colour_bar(made, shade, axes, "epoch", ticks=MaxNLocator(6, integer=True))
    first, last = (effective_rank(torch.from_numpy(values[at])) for at in (0, -1))
    heading(
        made,
        title,
        f"effective rank {first:.1f} after epoch {epochs[0]}, {last:.1f} after epoch {epochs[-1]}, "
        f"of {values.shape[1]}",
    )
    save(made, path)


def _shade_of_epochs(epochs: Sequence[int]) -> "ScalarMappable":
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    dark = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))  # the end is too pale
    return ScalarMappable(Normalize(epochs[0], max(epochs[-1], epochs[0] + 1)), dark)


def _spectra(
    spectra: Mapping[int, Sequence[float]],
) -> tuple[list[int], npt.NDArray[np.float64]]:
    epochs = sorted(spectra)
    lengths = sorted({len(values) for values in spectra.values()})
    if len(lengths) != 1 or not lengths[0]:
        raise InvalidInputError(
            f"there are {len(epochs)} spectra of {lengths} eigenvalues; expected at least one, all "
            "of the same length"
        )
    values = np.array([spectra[epoch] for epoch in epochs], dtype=np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError(
            "the spectra contain NaN or infinite values; expected finite eigenvalues"
        )
    return epochs, -np.sort(-values, axis=1)
