"""The look of every picture: figures of matplotlib, without pyplot.

Figures are made here and written here, so that they look alike, need no display, and the same
input gives the same bytes.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from otomatch.errors import InvalidInputError, MissingDependencyError

if TYPE_CHECKING:  # matplotlib is optional, and loads slowly
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
"""Endings of the names of pictures, each a format."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""Colours that the colour-blind can tell apart (Okabe and Ito, 2008), but for yellow: too pale."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
"""Shapes to go with `COLOURS`; cycled together, they repeat after 56 lines only."""

FONT, SMALL = 9.0, 8.0
"""Sizes in points: of titles and labels, and of ticks and notes."""

PLAIN: dict[str, Any] = {"parse_math": False}
"""For text from outside: a dollar sign in a name is no formula."""

_GRID, _INK = "#DDDDDD", "#444444"
_DPI = 150


def check_picture(path: Path) -> None:
    """See that a picture can be drawn, before long work whose result it is to show.

    Raises:
        InvalidInputError: the file's name ends in none of `PICTURES`.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in PICTURES:
        raise InvalidInputError(f"{path}: expected a name that ends in {', '.join(PICTURES)}")
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "pictures need matplotlib; install it with: pip install 'otomatch[plots]'"
        )


def figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> "tuple[Figure, npt.NDArray[Any]]":
    """Make an empty figure with panels: light grid, no frame above and at the right, small type.

    Args:
        width: in inches.
        height: in inches.
        rows: panels below one another.
        columns: panels side by side.

    Returns:
        The figure, and its axes (rows, columns), laid out so that no label is cut off.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    panels: npt.NDArray[Any] = made.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        _style(axes)
    return made, panels


def heading(figure: "Figure", title: str, details: str = "") -> None:
    """Write a title above all panels, and below it, if given, a line of figures."""
    text = f"{title}\n{details}" if details else title
    figure.suptitle(text, fontsize=FONT, **PLAIN)


def colour_bar(
    figure: "Figure",
    shades: "ScalarMappable",
    axes: "Axes | npt.NDArray[Any]",
    label: str,
    **options: Any,
) -> None:
    """Add the scale of colours of a panel or of several; ``options`` are matplotlib's."""
    bar = figure.colorbar(shades, ax=axes, **options)
    bar.set_label(label, fontsize=FONT)
    bar.ax.tick_params(which="both", labelsize=SMALL, color=_INK, labelcolor=_INK)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure in the format that the file's name ends in; its folder is made if need be.

    The same figure gives the same bytes: no date is written, and no random names.

    Raises:
        InvalidInputError, MissingDependencyError: as for `check_picture`.
    """
    check_picture(path)
    from matplotlib import rc_context

    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    # What is laid out keeps its size; elsewhere labels may lie beyond the page.
    box = None if figure.get_layout_engine() else "tight"
    with rc_context({"svg.hashsalt": "otomatch"}):
        metadata = dates.get(path.suffix.lower())
        figure.savefig(path, dpi=_DPI, bbox_inches=box, metadata=metadata)


def _style(axes: "Axes") -> None:
    # Settings given here hold later; rcParams are read anew whenever a tick is made.
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(which="both", labelsize=SMALL, color=_INK, labelcolor=_INK)
    axes.xaxis.label.set_fontsize(FONT)
    axes.yaxis.label.set_fontsize(FONT)
