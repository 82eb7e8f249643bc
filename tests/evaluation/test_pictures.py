"""Pictures of plans, spaces and confusions: their contents, checked against closed forms."""

import math
import re
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from otomatch.errors import InvalidInputError, MissingDependencyError
from otomatch.evaluation.classification import classify_scores
from otomatch.evaluation.plots import confusion, plan, space
from otomatch.evaluation.plots.confusion import draw_confusion
from otomatch.evaluation.plots.plan import draw_plan
from otomatch.evaluation.plots.space import draw_space
from otomatch.evaluation.retrieval import modality_gap
from otomatch.transport.solvers import partial_sinkhorn, sinkhorn
from tests.evaluation.test_tables import CONFUSED

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, in order."""
    figures, save = [], confusion.save

    def keeping(figure, path):
        save(figure, path)
        figures.append(figure)

    for module in (confusion, plan, space):
        monkeypatch.setattr(module, "save", keeping)
    return figures


def title(figure) -> str:
    return figure.get_suptitle()


# --- plan ----------------------------------------------------------------------------------------


def test_a_matching_has_all_its_mass_on_the_right_pairs_and_the_least_entropy(drawn, tmp_path):
    draw_plan(torch.eye(8) / 8, tmp_path / "new" / "plan.png", "a $title$")
    assert title(drawn[0]).splitlines() == [
        "a $title$",
        "100 % of the mass on matched pairs (outlined)",
        f"entropy {math.log(8):.2f} nats; {math.log(8):.2f} for a one-to-one matching, "
        f"{2 * math.log(8):.2f} for a uniform plan",
    ]
    axes, bar = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("caption", "sound")
    assert "plan × B" in bar.get_xlabel()
    np.testing.assert_allclose(axes.images[0].get_array(), np.eye(8))
    cells = axes.collections[0].get_paths()
    assert [path.vertices[:4].mean(0).tolist() for path in cells] == [[i, i] for i in range(8)]


def test_a_uniform_plan_has_the_largest_entropy_and_a_share_of_one_in_b(drawn, tmp_path):
    draw_plan(torch.full((5, 5), 1 / 25), tmp_path / "plan.svg", "x")
    assert "\n20 % of the mass" in title(drawn[0])
    assert f"entropy {2 * math.log(5):.2f} nats" in title(drawn[0])


def test_a_plan_that_moves_everything_has_no_bars_and_a_partial_one_has_the_mass_of_each_row(
    drawn, tmp_path
):
    cost = torch.rand(12, 12, dtype=torch.float64)
    draw_plan(sinkhorn(cost, 0.1).plan, tmp_path / "a.png", "x")
    partial = partial_sinkhorn(cost, 0.1, 0.6).plan
    draw_plan(partial, tmp_path / "b.png", "x")
    assert drawn[0].axes[0].child_axes == []
    assert "mass 0.60, " in title(drawn[1])
    (side,) = drawn[1].axes[0].child_axes
    assert side.get_xlabel() == "row mass × B"
    np.testing.assert_allclose([bar.get_width() for bar in side.patches], 12 * partial.sum(1))
    assert [bar.get_y() + bar.get_height() / 2 for bar in side.patches] == list(range(12))
    assert side.get_ylim() == drawn[1].axes[0].get_ylim()


def test_a_partial_matching_has_the_entropy_of_the_pairs_it_keeps(drawn, tmp_path):
    draw_plan(torch.diag(torch.tensor([0.25, 0.25, 0.0, 0.0])), tmp_path / "a.png", "x")
    assert "mass 0.50, 100 % of the mass" in title(drawn[0])
    assert f"entropy {math.log(2):.2f} nats; {math.log(2):.2f} for" in title(drawn[0])


@pytest.mark.slow
def test_a_logarithmic_shade_tells_small_shares_apart_that_a_linear_one_does_not(drawn, tmp_path):
    plan = torch.tensor([[0.495, 0.005], [0.005, 0.495]])
    for shade in ("linear", "log"):
        draw_plan(plan, tmp_path / "a.png", "x", shade)
    depth = [figure.axes[0].images[0].norm(0.01) for figure in drawn]
    assert depth == pytest.approx([0.01, 1 / 3])


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (torch.ones(2, 3) / 6, r"shape \(2, 3\); expected \(B, B\)"),
        (torch.ones(0, 0), "expected"),
        (torch.eye(3), "total of 3; expected masses >= 0 with a total of at most 1"),
        (-torch.eye(3) / 3, "from -0.333"),
        (torch.full((2, 2), math.nan), "from nan"),
        (torch.zeros(2, 2), "total of 0;"),
    ],
)
def test_what_is_no_plan_is_refused_with_what_it_holds(plan, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        draw_plan(plan, tmp_path / "a.png", "x")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_shade_or_method_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="'dark'; expected one of linear, log"):
        draw_plan(torch.eye(2) / 2, tmp_path / "a.png", "x", "dark")
    with pytest.raises(InvalidInputError, match="'umap'; expected one of pca, gap"):
        draw_space(torch.eye(3), torch.eye(3), range(3), tmp_path / "a.png", "x", "umap")


# --- space ---------------------------------------------------------------------------------------


def cloud(n=30, dim=7):
    audio = torch.randn(n, dim, dtype=torch.float64)
    return audio, audio + 0.3 * torch.randn(n, dim, dtype=torch.float64) + torch.eye(dim)[0]


def places(figure):
    """Where sounds and captions are drawn, and the lines between them."""
    lines, *points = figure.axes[0].collections
    return points[0].get_offsets().data, points[2].get_offsets().data, lines.get_segments()


def test_the_plane_is_that_of_scikit_learns_principal_components(drawn, tmp_path):
    audio, text = cloud()
    draw_space(audio, text, range(30), tmp_path / "space.png", "x")
    reference = PCA(2).fit(torch.cat([audio, text]).numpy())
    expected = reference.transform(torch.cat([audio, text]).numpy())
    x, y, _ = places(drawn[0])
    found = np.concatenate([x, y])
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-9)
    first, second = 100 * reference.explained_variance_ratio_
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == f"principal component 1 ({first:.1f} % of the variance)"
    assert axes.get_ylabel() == f"principal component 2 ({second:.1f} % of the variance)"


@pytest.mark.parametrize("method", ["pca", "gap"])
def test_captions_lie_to_the_right_and_the_gap_stands_above(method, drawn, tmp_path):
    audio, text = cloud()
    draw_space(audio, text, range(30), tmp_path / "space.png", "a $title$", method)
    x, y, _ = places(drawn[0])
    assert np.all(y.mean(0) >= x.mean(0) - 1e-12)
    gap, seen = modality_gap(audio, text), np.linalg.norm(x.mean(0) - y.mean(0))
    apart = (audio - text).norm(dim=1).mean()
    assert title(drawn[0]) == (
        f"a $title$\nmodality gap {gap:.3f} ({seen:.3f} in this plane), "
        f"mean distance of pairs {apart:.3f}"
    )
    assert seen <= gap + 1e-9


def test_the_direction_of_the_gap_shows_all_of_it_and_nothing_of_it_across(drawn, tmp_path):
    audio, text = cloud()
    draw_space(audio, text, range(30), tmp_path / "space.png", "x", "gap")
    x, y, _ = places(drawn[0])
    gap = modality_gap(audio, text)
    np.testing.assert_allclose(y.mean(0) - x.mean(0), [gap, 0], atol=1e-9)
    assert drawn[0].axes[0].get_xlabel().startswith("from the mean sound to the mean caption (")


def test_distances_in_the_plane_are_never_larger_than_in_the_space(drawn, tmp_path):
    audio, text = cloud(10)
    for method in ("pca", "gap"):
        draw_space(audio, text, range(10), tmp_path / "space.png", "x", method)
        x, y, _ = places(drawn[-1])
        flat = torch.cdist(*map(torch.from_numpy, (x, y)))
        assert bool((flat <= torch.cdist(audio, text) + 1e-9).all())


def test_points_of_a_plane_are_drawn_as_they_are(drawn, tmp_path):
    audio, text = cloud(10, 2)
    draw_space(audio, text, range(10), tmp_path / "space.png", "x")
    x, y, _ = places(drawn[0])
    torch.testing.assert_close(
        torch.cdist(*map(torch.from_numpy, (x, y))), torch.cdist(audio, text)
    )


def test_a_line_joins_every_caption_to_its_own_clip(drawn, tmp_path):
    audio, text = cloud(6)
    clip = [3, 3, 0, 5, 1]  # one clip twice, two not at all
    draw_space(audio, text[:5], clip, tmp_path / "space.png", "x")
    x, y, lines = places(drawn[0])
    assert (len(x), len(y)) == (6, 5)
    np.testing.assert_allclose(lines, [[x[c], y[j]] for j, c in enumerate(clip)])
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["mean of 6 sounds", "mean of 5 captions"]


def test_more_captions_of_the_same_clips_do_not_turn_the_plane(drawn, tmp_path):
    audio, text = cloud(12)
    draw_space(audio, text, range(12), tmp_path / "a.png", "x")
    draw_space(audio, text.repeat(5, 1), [*range(12)] * 5, tmp_path / "b.png", "x")
    np.testing.assert_allclose(places(drawn[0])[0], places(drawn[1])[0], atol=1e-9)


@pytest.mark.parametrize(
    ("audio", "text", "clip", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), [0, 1], r"text \(2, 4\)"),
        (torch.ones(2, 1), torch.ones(2, 1), [0, 1], "D at least 2"),
        (torch.ones(2, 3), torch.ones(2, 3), [0], "each of the 2 captions"),
        (torch.ones(2, 3), torch.ones(2, 3), [0, 2], "0 to 1"),
        (torch.ones(2, 3), torch.ones(0, 3), [], "captions"),
        (torch.ones(2, 3), torch.full((1, 3), math.nan), [0], "finite"),
    ],
)
def test_points_that_do_not_fit_together_are_refused(audio, text, clip, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        draw_space(audio, text, clip, tmp_path / "a.png", "x")


def test_where_the_means_coincide_the_gap_has_no_direction(tmp_path):
    points = torch.randn(5, 4)
    with pytest.raises(InvalidInputError, match="method 'pca'"):
        draw_space(points, points, range(5), tmp_path / "a.png", "x", "gap")
    draw_space(points, points, range(5), tmp_path / "a.png", "x")


@pytest.mark.slow
def test_the_same_data_give_the_same_bytes(tmp_path):
    audio, text = cloud()
    for name in "ab":
        draw_plan(torch.eye(4) / 4, tmp_path / f"plan-{name}.svg", "x", "log")
        draw_space(audio, text, range(30), tmp_path / f"space-{name}.svg", "x")
        draw_confusion(CONFUSED, tmp_path / f"confusion-{name}.svg", "x")
    for kind in ("plan", "space", "confusion"):
        first, second = ((tmp_path / f"{kind}-{name}.svg").read_bytes() for name in "ab")
        assert first == second


# --- confusion -----------------------------------------------------------------------------------


def drawn_texts(path) -> list[str]:
    """The texts of an SVG file that was written with its letters as text."""
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())]


def test_the_picture_shows_every_label_every_count_and_the_accuracy(tmp_path):
    path = tmp_path / "new" / "confusion.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw_confusion(CONFUSED, path, "model on [data] $x$")
    texts = drawn_texts(path)
    for label in ("dog bark", "$rain_1$ &amp; [b]", "bell", "none"):
        assert texts.count(label) == 2
    assert "model on [data] $x$" in texts
    assert "accuracy 56.0 %, 25 clips, 4 classes, chance 25.0 %" in texts
    assert sorted(text for text in texts if text.isdigit()) == list("123568")
    assert {"assigned class", "class"} <= set(texts)


def test_numbers_that_do_not_fit_are_left_out(tmp_path):
    large = replace(CONFUSED, confusion=((12345678, 0, 0, 0), *CONFUSED.confusion[1:]))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw_confusion(large, tmp_path / "large.svg", "x")
    assert not {"12345678", "6", "3"} & set(drawn_texts(tmp_path / "large.svg"))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 90])
def test_a_picture_of_any_number_of_classes_is_of_a_size_that_can_be_opened(classes, tmp_path):
    names = [f"class number {i}" for i in range(classes)]
    draw_confusion(classify_scores(np.eye(classes), range(classes), names), tmp_path / "a.png", "x")
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert 300 < height <= width < 4500


def test_without_matplotlib_a_picture_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("otomatch.evaluation.plots.style.find_spec", lambda _: None)
    for draw in (
        lambda path: draw_confusion(CONFUSED, path, "x"),
        lambda path: draw_plan(torch.eye(2) / 2, path, "x"),
        lambda path: draw_space(torch.eye(3), torch.eye(3), range(3), path, "x"),
    ):
        with pytest.raises(MissingDependencyError, match=r"pip install 'otomatch\[plots\]'"):
            draw(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
