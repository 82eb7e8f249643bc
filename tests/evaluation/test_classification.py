"""Classification: worked cases, ties, parity with scikit-learn and with naive loops."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
)

from otomatch.errors import InvalidInputError
from otomatch.evaluation.classification import classify_embeddings, classify_scores
from tests.support.oracles import naive_classification

NAMES = ["dog", "rain", "bell"]
quick = settings(max_examples=60, deadline=None)


@st.composite
def scored(draw, score):
    """Scores of up to nine clips for two to four classes, and the class of each clip."""
    clips, classes = draw(st.integers(1, 9)), draw(st.integers(2, 4))
    rows = st.lists(score, min_size=classes, max_size=classes)
    scores = draw(st.lists(rows, min_size=clips, max_size=clips))
    label = st.integers(0, classes - 1)
    return scores, draw(st.lists(label, min_size=clips, max_size=clips))


def names(count):
    return [f"class {i}" for i in range(count)]


def clusters(seed=0, clips=200, classes=7, dim=5, noise=0.8):
    """Points around class centres, unequally many of each, and the class of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim))
    labels = np.minimum(rng.geometric(0.3, clips) - 1, classes - 1)
    return centres[labels] + noise * rng.normal(size=(clips, dim)), centres, labels


# --- worked by hand ----------------------------------------------------------------------------


def test_a_case_worked_by_hand():
    scores = [[0.9, 0.1, 0.0], [0.6, 0.2, 0.1], [0.3, 0.7, 0.1], [0.8, 0.1, 0.7]]
    report = classify_scores(scores, [0, 1, 1, 2], NAMES)
    assert report.confusion == ((1, 0, 0), (1, 1, 0), (1, 0, 0))
    assert (report.clips, report.accuracy) == (4, 50.0)
    assert report.class_accuracy == {"dog": 100.0, "rain": 50.0, "bell": 0.0}
    # dog: first of all; rain: first and second; bell: first.
    assert report.map == 1.0
    worse = classify_scores(scores, [1, 0, 1, 2], NAMES)
    # dog: third; rain: first, and third (with a tie ahead); bell: first.
    assert worse.map == pytest.approx((1 / 3 + (1 + 2 / 4) / 2 + 1) / 3)


def test_a_class_without_clips_can_be_taken_for_but_counts_for_nothing_else():
    report = classify_scores([[0.9, 0.1, 0.0], [0.1, 0.2, 0.5]], [0, 1], NAMES)
    assert report.confusion == ((1, 0, 0), (0, 0, 1), (0, 0, 0))
    assert report.class_accuracy == {"dog": 100.0, "rain": 0.0, "bell": None}
    assert report.map == 1.0


@pytest.mark.parametrize("constant", [0.0, -np.inf, np.inf])
def test_one_score_for_everything_is_right_for_no_clip(constant):
    report = classify_scores(np.full((6, 3), constant), [0, 0, 1, 1, 2, 2], NAMES)
    assert report.accuracy == 0.0
    assert report.confusion == ((0, 2, 0), (2, 0, 0), (2, 0, 0))
    assert report.map == pytest.approx((1 / 5 + 2 / 6) / 2)  # behind all four others


def test_embeddings_that_all_coincide_are_right_for_no_clip():
    report = classify_embeddings(torch.ones(4, 5), torch.ones(2, 5), [0, 0, 1, 1], ["a", "b"])
    assert report.accuracy == 0.0
    assert report.confusion == ((0, 2), (2, 0))


def test_scores_within_the_tolerance_tie():
    scores, labels = [[1.0, 1.0 - 1e-6], [0.0, 1.0]], [0, 1]
    assert classify_scores(scores, labels, ["a", "b"]).accuracy == 100.0
    assert classify_scores(scores, labels, ["a", "b"], tolerance=1e-5).accuracy == 50.0


# --- parity ------------------------------------------------------------------------------------


def test_distinct_scores_give_what_scikit_learn_gives():
    audio, centres, labels = clusters()
    report = classify_embeddings(audio, centres, labels, names(7))
    distance = np.linalg.norm(audio[:, None] - centres, axis=2)
    nearest = distance.argmin(1)
    assert report.accuracy == pytest.approx(100 * accuracy_score(labels, nearest))
    assert 20 < report.accuracy < 90
    np.testing.assert_array_equal(report.confusion, confusion_matrix(labels, nearest))
    assert np.mean(list(report.class_accuracy.values())) == pytest.approx(
        100 * balanced_accuracy_score(labels, nearest)
    )
    expected = average_precision_score(np.eye(7)[labels], -distance, average="macro")
    assert report.map == pytest.approx(expected, rel=1e-12)
    assert classify_scores(-distance, labels, names(7)) == report


@quick
@given(scored(st.integers(-2, 2) | st.just(-np.inf)))
def test_any_scores_give_what_the_naive_loops_give(case):
    scores, labels = case
    report = classify_scores(np.array(scores, float), labels, names(len(scores[0])))
    confusion, precision = naive_classification(scores, labels)
    assert [list(row) for row in report.confusion] == confusion
    assert report.map == pytest.approx(precision)


@pytest.mark.slow
@quick
@given(scored(st.integers(-2, 2)))
def test_ties_never_help_where_scikit_learn_shares_them_out(case):
    scores, labels = case
    count = len(scores[0])
    shown = [own for own in range(count) if own in labels]
    expected = np.mean(
        [
            average_precision_score(np.array(labels) == own, np.array(scores)[:, own])
            for own in shown
        ]
    )
    assert classify_scores(np.array(scores), labels, names(count)).map <= expected + 1e-12


@pytest.mark.slow
@quick
@given(scored(st.floats(-1, 1)), st.integers(0, 1000))
def test_the_order_of_clips_and_of_classes_does_not_matter(case, seed):
    scores, labels = np.array(case[0]), np.array(case[1])
    rng, count = np.random.default_rng(seed), scores.shape[1]
    clips, classes = rng.permutation(len(scores)), rng.permutation(count)
    before = classify_scores(scores, labels, names(count))
    after = classify_scores(
        scores[clips][:, classes],
        np.argsort(classes)[labels[clips]],
        [names(count)[i] for i in classes],
    )
    assert after.accuracy == before.accuracy
    assert after.map == pytest.approx(before.map)
    assert after.class_accuracy == before.class_accuracy


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_block_changes_nothing(block):
    audio, centres, labels = clusters(seed=1, clips=30)
    expected = classify_embeddings(audio, centres, labels, names(7))
    assert classify_embeddings(audio, centres, labels, names(7), block) == expected
    single = torch.tensor(audio).float()
    found = classify_embeddings(single, torch.tensor(centres), labels.tolist(), names(7), block)
    assert found.confusion == expected.confusion
    scores = audio @ centres.T
    assert classify_scores(scores, labels, names(7), block=block) == classify_scores(
        scores, labels, names(7)
    )


# --- input and output --------------------------------------------------------------------------


def test_a_report_becomes_plain_json():
    plan = classify_scores(np.eye(3), [0, 1, 2], NAMES)
    report = classify_scores(np.eye(3)[[0, 1]], [0, 1], NAMES)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data == {
        "clips": 2,
        "accuracy": 100.0,
        "map": 1.0,
        "class_accuracy": {"dog": 100.0, "rain": 100.0, "bell": None},
        "classes": NAMES,
        "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        "transductive": None,
    }
    assert json.loads(json.dumps(plan.to_dict()))["confusion"][2] == [0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["dog", "rain"]}, "3 classes have 2 names, 2 of them different"),
        ({"names": ["dog", "rain", "dog"]}, "3 classes have 3 names, 2 of them different"),
        ({"scores": np.zeros((2, 1)), "names": ["dog"]}, "expected at least two classes"),
        ({"labels": [0]}, r"labels have shape \(1,\) .* for 2 clips"),
        ({"labels": [0.0, 1.0]}, "type float64 for 2 clips; expected one whole number"),
        ({"labels": [0, 3]}, "labels contain 3; expected 0 to 2"),
        ({"labels": [-1, 1]}, "labels contain -1; expected 0 to 2"),
        ({"scores": np.full((2, 3), np.nan)}, "scores contain NaN"),
        ({"block": 0}, "block is 0"),
    ],
)
def test_bad_input_is_refused(changes, message):
    good = {"scores": np.zeros((2, 3)), "labels": [0, 1], "names": NAMES}
    with pytest.raises(InvalidInputError, match=message):
        classify_scores(**{**good, **changes})
