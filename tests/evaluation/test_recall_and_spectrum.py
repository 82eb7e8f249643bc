"""Pictures of curves: recall against k with its chance level, and spectra over epochs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from otomatch.errors import InvalidInputError
from otomatch.evaluation.plots import recall, spectrum
from otomatch.evaluation.plots.recall import chance_recall, draw_recall
from otomatch.evaluation.plots.spectrum import draw_spectrum
from otomatch.evaluation.plots.style import COLOURS, spread_labels
from otomatch.evaluation.retrieval import evaluate_scores

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, in order."""
    figures, save = [], recall.save

    def keeping(figure, path):
        save(figure, path)
        figures.append(figure)

    for module in (recall, spectrum):
        monkeypatch.setattr(module, "save", keeping)
    return figures


def report(clips=20, each=5, seed=0, ks=range(1, 21)):
    scores = np.random.default_rng(seed).normal(size=(clips, clips * each))
    return evaluate_scores(scores, np.repeat(np.arange(clips), each), ks=ks)


# --- recall --------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.data())
def test_chance_is_that_of_drawing_without_replacement(items, data):
    relevant, k = data.draw(st.integers(1, items)), data.draw(st.integers(1, items))
    expected = 100 * (1 - hypergeom(items, relevant, k).pmf(0))
    assert chance_recall(k, items, relevant) == pytest.approx(expected, abs=1e-8)


@given(st.integers(2, 5000), st.data())
def test_chance_of_one_right_item_is_its_share_and_an_average_lies_between_whole_numbers(n, data):
    k = data.draw(st.integers(1, n))
    assert chance_recall(k, n, 1) == pytest.approx(100 * k / n, rel=1e-6)
    between = chance_recall(k, n, 1.5)
    assert chance_recall(k, n, 1) - 1e-6 <= between <= chance_recall(k, n, 2) + 1e-6


def test_chance_is_what_a_random_scorer_gets_in_both_directions(drawn, tmp_path):
    draw_recall({"random": report(100, 5)}, tmp_path / "recall.svg", "x")
    for axes in drawn[0].axes:
        measured, chance = (np.array(line.get_ydata()) for line in axes.lines)
        assert np.abs(measured - chance).max() < 15  # 100 queries of two to five standard errors
        assert np.abs(measured - chance).mean() < 5


def test_every_model_has_a_line_of_its_recalls_and_its_name_in_its_colour(drawn, tmp_path):
    reports = {"a $b$": report(seed=1), "second": report(seed=2), "third": report(seed=3)}
    draw_recall(reports, tmp_path / "new" / "recall.png", "Recall on $x$")
    assert drawn[0].get_suptitle() == "Recall on $x$\n20 clips, 100 captions"
    for axes, key in zip(drawn[0].axes, ("text_to_audio", "audio_to_text"), strict=True):
        assert (axes.get_xscale(), axes.get_ylabel()) == ("log", "recall@k (%)")
        *lines, chance = axes.lines
        assert chance.get_linestyle() == "--"
        for line, found in zip(lines, reports.values(), strict=True):
            recall = getattr(found, key).recall
            assert list(line.get_xdata()) == list(recall)
            assert list(line.get_ydata()) == list(recall.values())
            marked = [line.get_xdata()[place] for place in line.get_markevery()]
            assert marked == [1, 2, 5, 10, 20]
        assert len({line.get_marker() for line in lines}) == 3
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["text to audio, 100 queries", "audio to text, 20 queries"]
    names = {text.get_text(): text.get_color() for text in drawn[0].axes[1].texts}
    assert names == {"a $b$": COLOURS[0], "second": COLOURS[1], "third": COLOURS[2], **names}
    assert [*names][-1] == "chance"


def test_of_lines_that_end_together_the_better_one_is_named_above(drawn, tmp_path):
    poor = report(6, 1, ks=range(1, 7))
    good = evaluate_scores(np.eye(6), range(6), ks=range(1, 7))
    draw_recall({"good": good, "poor": poor}, tmp_path / "recall.png", "x")
    heights = {text.get_text(): text.xy[1] for text in drawn[0].axes[1].texts}
    assert heights["good"] > heights["poor"]


def test_reports_on_different_data_or_without_recall_are_refused(tmp_path):
    for wrong, message in (
        ({}, "at least one report"),
        ({"a": report(20), "b": report(10)}, r"\[\(10, 50\), \(20, 100\)\] clips"),
        ({"a": report(ks=())}, "no recall"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            draw_recall(wrong, tmp_path / "a.png", "x")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12))
def test_names_are_spread_in_their_order_and_stay_below_the_top(values):
    places = spread_labels(values, 6, 100)
    order = np.argsort(values, kind="stable")
    assert all(np.diff(np.array(places)[order]) >= 6 - 1e-9)
    assert max(places) <= 100


def test_names_that_are_far_apart_stay_where_they_are():
    assert spread_labels([90.0, 10.0, 50.0], 6, 100) == [90.0, 10.0, 50.0]


# --- spectrum ------------------------------------------------------------------------------------


def test_where_no_eigenvalue_is_tiny_the_axis_ends_below_the_smallest(drawn, tmp_path):
    draw_spectrum({1: [2.0, 0.5], 2: [2.0, 0.4]}, tmp_path / "spectrum.png", "run")
    axes = drawn[0].axes[0]
    assert 0.1 < axes.get_ylim()[0] < 0.4
    assert axes.get_ylabel() == "eigenvalue of M (log)"


def test_every_epoch_has_a_line_from_the_largest_eigenvalue_to_the_smallest(drawn, tmp_path):
    spectra = {1: [1.0, 1.0, 1.0, 1.0], 2: [0.5, 2.0, 1.0, 0.25], 5: [3.0, 3.0, 0.0, -1e-19]}
    draw_spectrum(spectra, tmp_path / "new" / "spectrum.svg", "a $run$")
    axes, bar = drawn[0].axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 3, 4]] * 3
    floor = 3e-6
    expected = [[1, 1, 1, 1], [2, 1, 0.5, 0.25], [3, 3, floor, floor]]
    np.testing.assert_allclose([line.get_ydata() for line in axes.lines], expected)
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < floor
    assert axes.get_xlabel() == "rank of the eigenvalue"
    assert "3e-06" in axes.get_ylabel()
    assert bar.get_ylabel() == "epoch"
    assert bar.get_ylim() == (1, 5)
    assert drawn[0].get_suptitle() == (
        "a $run$\neffective rank 4.0 after epoch 1, 2.0 after epoch 5, of 4"
    )


def test_later_epochs_are_lighter_and_their_colours_those_of_the_bar(drawn, tmp_path):
    draw_spectrum({e: [1.0, 0.1 * e] for e in range(1, 6)}, tmp_path / "a.png", "x")
    weights = np.array([0.2126, 0.7152, 0.0722])
    lightness = [np.dot(line.get_color()[:3], weights) for line in drawn[0].axes[0].lines]
    assert lightness == sorted(lightness)
    assert lightness[-1] < 0.8


@pytest.mark.parametrize("values", [[1.0, 0.5], [0.0, 0.0], [2.0]])
def test_a_single_epoch_a_metric_of_zero_and_a_single_dimension_are_drawn(values, drawn, tmp_path):
    draw_spectrum({3: values}, tmp_path / "a.png", "x")
    drawn[0].draw_without_rendering()
    assert len(drawn[0].axes[0].lines) == 1
    rank = torch.tensor(values).count_nonzero()
    assert f"of {len(values)}" in drawn[0].get_suptitle()
    assert ("rank 0.0" in drawn[0].get_suptitle()) == (rank == 0)


def test_spectra_that_differ_in_number_or_hold_nan_are_refused(tmp_path):
    for wrong, message in (
        ({}, "0 spectra"),
        ({1: []}, "at least one"),
        ({1: [1.0], 2: [1.0, 2.0]}, r"\[1, 2\] eigenvalues"),
        ({1: [np.nan]}, "NaN"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            draw_spectrum(wrong, tmp_path / "a.png", "x")


@pytest.mark.slow
def test_the_same_data_give_the_same_bytes(tmp_path):
    for name in "ab":
        draw_recall({"a": report(), "b": report(seed=1)}, tmp_path / f"recall-{name}.svg", "x")
        draw_spectrum({1: [1.0, 0.5], 2: [2.0, 0.1]}, tmp_path / f"spectrum-{name}.svg", "x")
    for kind in ("recall", "spectrum"):
        first, second = ((tmp_path / f"{kind}-{name}.svg").read_bytes() for name in "ab")
        assert first == second
