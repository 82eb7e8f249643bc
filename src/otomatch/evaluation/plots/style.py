"""Common style of all pictures, made with matplotlib but without pyplot.

Figures are created and saved here, so that they look alike, need no display, and the same input
gives the same bytes.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from otomatch.errors import InvalidInputError, MissingDependencyError
from otomatch.files import replacing

if TYPE_CHECKING:  # matplotlib is optional, and slow to import
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
"""File name endings of the supported picture formats."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""Colours that colour-blind people can distinguish (Okabe and Ito, 2008), without pale yellow."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
"""Marker shapes; cycled together with `COLOURS`, combinations repeat after 56 lines."""

FONT, SMALL = 9.0, 8.0
"""Font sizes in points, of titles and labels and of ticks and notes."""

PLAIN: dict[str, Any] = {"parse_math": False}
"""Options for text from users, so that a dollar sign in a name does not start a formula."""

_GRID, _INK = "#DDDDDD", "#444444"
_DPI = 150


def check_picture(path: Path) -> None:
    """Check that a picture can be drawn, before the long work of computing it.

    Raises:
        InvalidInputError: If the file's name ends in none of `PICTURES`.
        MissingDependencyError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in PICTURES:
        raise InvalidInputError(
            f"{path}: the name ends in {path.suffix or 'no format'}; expected a name that ends in "
            f"{', '.join(PICTURES)}"
        )
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "pictures need matplotlib; install it with: pip install 'otomatch[plots]'"
        )


def figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> "tuple[Figure, npt.NDArray[Any]]":
    """Create an empty figure with panels: light grid, no top and right frame, small type.

    Args:
        width: Width in inches.
        height: Height in inches.
        rows: Number of rows of panels.
        columns: Number of columns of panels.

    Returns:
        The figure, and its axes as an array (rows, columns), laid out so that labels are not cut
        off.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    panels: npt.NDArray[Any] = made.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        _style(axes)
    return made, panels


def heading(figure: "Figure", title: str, details: str = "") -> None:
    """Write a title above all panels, and a line of details below it if given."""
    text = f"{title}\n{details}" if details else title
    figure.suptitle(text, fontsize=FONT, **PLAIN)


def colour_bar(
    figure: "Figure",
    shades: "ScalarMappable",
    axes: "Axes | npt.NDArray[Any]",
    label: str,
    **options: Any,
) -> None:
    """Add a colour bar to one or more panels; ``options`` are those of matplotlib."""
    bar = figure.colorbar(shades, ax=axes, **options)
    bar.set_label(label, fontsize=FONT)
    bar.ax.tick_params(which="both", labelsize=SMALL, color=_INK, labelcolor=_INK)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure atomically, in the format given by the ending of the file's name.

    The same figure gives the same bytes: the file contains no date and no random names.

    Raises:
        InvalidInputError, MissingDependencyError: As for `check_picture`.
    """
    check_picture(path)
    from matplotlib import rc_context

    kind = path.suffix.lower()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    # Figures with a layout keep their size; in others, labels may lie outside the page.
    box = None if figure.get_layout_engine() else "tight"
    with rc_context({"svg.hashsalt": "otomatch"}), replacing(path) as partial:
        figure.savefig(partial, format=kind[1:], dpi=_DPI, bbox_inches=box, metadata=metadata)


def spread_labels(values: Sequence[float], gap: float, highest: float = 1.0) -> list[float]:
    """Move values apart so that names at these heights do not overlap, keeping their order.

    Values that are too close are pooled around their mean, as in isotonic regression.

    Args:
        values: Heights, ideally from 0 to ``highest``.
        gap: Smallest distance between two results.
        highest: Upper end of the results, which exceed it only if there is not enough room.

    Returns:
        Heights in the order of ``values``, >= 0.
    """
    order = np.argsort(values, kind="stable")
    groups: list[tuple[float, int]] = []  # middle and size of each group
    for value in np.asarray(values)[order]:
        middle, size = float(value), 1
        while groups and middle - groups[-1][0] < gap * (size + groups[-1][1]) / 2:
            other, count = groups.pop()
            middle, size = (middle * size + other * count) / (size + count), size + count
        groups.append((middle, size))
    ranked = [middle + gap * (k - (size - 1) / 2) for middle, size in groups for k in range(size)]
    places = [0.0] * len(ranked)
    for rank, row in enumerate(order):
        top = highest - gap * (len(ranked) - 1 - rank)
        places[row] = max(gap * rank, min(top, ranked[rank]))
    return places


def _style(axes: "Axes") -> None:
    # Set here rather than in rcParams, which are read again whenever a tick is created.
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(which="both", labelsize=SMALL, color=_INK, labelcolor=_INK)
    axes.xaxis.label.set_fontsize(FONT)
    axes.yaxis.label.set_fontsize(FONT)
