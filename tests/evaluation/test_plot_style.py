"""Figures look alike, are of the size asked for, and are written in the same bytes every time."""

import struct
import subprocess
import sys

import pytest

from otomatch.errors import InvalidInputError, MissingDependencyError
from otomatch.evaluation.plots import style as plots

pytest.importorskip("matplotlib")


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def drawn(title="a $title$"):
    made, axes = plots.figure(4, 3, columns=2)
    for panel, colour, marker in zip(axes.flat, plots.COLOURS, plots.MARKERS, strict=False):
        panel.plot([1, 2, 3], [1, 4, 9], color=colour, marker=marker, label="y")
        panel.set(xlabel="x (s)", ylabel="y (m)")
    plots.heading(made, title, "two panels")
    return made


def test_a_figure_has_the_size_and_the_panels_asked_for():
    made, axes = plots.figure(5, 2.5, rows=2, columns=3)
    assert made.get_size_inches().tolist() == [5, 2.5]
    assert axes.shape == (2, 3)
    assert plots.figure(3, 3)[1].shape == (1, 1)


def test_every_panel_has_a_light_grid_no_upper_and_right_frame_and_readable_type():
    made = drawn()
    made.draw_without_rendering()
    for axes in made.axes:
        assert [axes.spines[side].get_visible() for side in ("top", "right")] == [False, False]
        assert all(line.get_visible() for line in axes.get_xgridlines() + axes.get_ygridlines())
        assert axes.xaxis.label.get_size() == plots.FONT
        assert {label.get_size() for label in axes.get_xticklabels()} == {plots.SMALL}


def test_colours_differ_also_in_lightness_or_shape_and_all_show_on_white():
    assert len(set(plots.COLOURS)) == 7
    assert len(set(plots.MARKERS)) == 8
    styles = {(plots.COLOURS[i % 7], plots.MARKERS[i % 8]) for i in range(56)}
    assert len(styles) == 56
    for colour in plots.COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) > 2  # the yellow of the palette has 1.3


@pytest.mark.slow
@pytest.mark.parametrize("ending", plots.PICTURES)
def test_the_same_figure_gives_the_same_bytes_and_another_one_others(ending, tmp_path):
    def written(name, title):
        plots.save(drawn(title), tmp_path / "new" / f"{name}{ending}")
        return (tmp_path / "new" / f"{name}{ending}").read_bytes()

    assert written("a", "x") == written("b", "x") != written("c", "y")


def test_a_laid_out_figure_keeps_its_size_and_what_lies_beyond_the_page_is_not_cut(tmp_path):
    from matplotlib.figure import Figure

    plots.save(drawn(), tmp_path / "a.png")
    assert struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24]) == (600, 450)
    small = Figure(figsize=(1, 1))
    small.text(1.0, 0.5, "a long note beyond the page")
    plots.save(small, tmp_path / "b.png")
    assert struct.unpack(">I", (tmp_path / "b.png").read_bytes()[16:20])[0] > 200


@pytest.mark.slow
def test_a_dollar_sign_in_a_title_is_no_formula(tmp_path):
    plots.save(drawn("half a $ and \\frac$"), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 0


def test_a_picture_of_another_format_or_without_matplotlib_is_refused(tmp_path, monkeypatch):
    for name in ("a.bmp", "a"):
        with pytest.raises(InvalidInputError, match=r"ends in \.png, \.svg, \.pdf"):
            plots.check_picture(tmp_path / name)
    made = drawn()
    monkeypatch.setattr("otomatch.evaluation.plots.style.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'otomatch\[plots\]'"):
        plots.save(made, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_importing_the_module_loads_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys; from pathlib import Path; "
        "from otomatch.evaluation.plots import style as plots; "
        "print('matplotlib' in sys.modules); "
        f"plots.save(plots.figure(2, 2)[0], Path({str(tmp_path / 'a.png')!r})); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
