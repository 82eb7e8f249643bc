"""Reports as tables: figures, rounding, chance, and names with markup in them."""

from dataclasses import replace

import numpy as np
import pytest

from otomatch.evaluation.classification import ClassificationReport, classify_scores
from otomatch.evaluation.retrieval import evaluate_scores
from otomatch.evaluation.tables import (
    classes_table,
    classification_table,
    markdown_table,
    report_columns,
    report_rows,
    retrieval_table,
)
from tests.support.report_tables import EXPECTED, PLAIN, REPORT, shown, table_rows

CHANCE = ["text to audio", "chance", "0.5", "2.5", "5.0", "0.015", "100"]


def test_rows_are_both_directions_per_query_and_then_by_the_plan():
    assert report_rows(REPORT) == EXPECTED
    assert report_columns(REPORT) == [
        "direction", "ranked by", "R@1", "R@5", "R@10", "mAP@10", "median rank",
    ]  # fmt: skip


def test_a_report_without_a_plan_has_no_transductive_rows():
    assert report_rows(PLAIN) == EXPECTED[:2]
    assert "transductive" not in shown(retrieval_table(PLAIN, "x"))


def test_chance_is_the_last_row_and_only_where_it_is_wanted():
    assert report_rows(REPORT, chance=True) == [*EXPECTED, CHANCE]
    assert report_rows(PLAIN, chance=True) == [*EXPECTED[:2], CHANCE]


def test_columns_follow_the_ks_of_the_report():
    scores = np.eye(3)
    report = evaluate_scores(scores, [0, 1, 2], ks=(2, 3), map_ks=(4, 16))
    assert report_columns(report)[2:] == ["R@2", "R@3", "mAP@4", "mAP@16", "median rank"]
    assert report_rows(report)[0][2:] == ["100.0", "100.0", "1.000", "1.000", "1"]


@pytest.mark.parametrize("clips", [1, 2, 7, 40])
def test_chance_is_what_random_rankings_give(clips):
    rng, k, trials = np.random.default_rng(0), 10, 4000
    rank = rng.integers(1, clips + 1, trials)  # of the one clip that is right
    report = evaluate_scores(np.zeros((clips, 3)), [0, 0, clips - 1], ks=(1, 5, k), map_ks=(k,))
    *recall, precision, median = map(float, report_rows(report, chance=True)[-1][2:])
    for cutoff, found in zip((1, 5, k), recall, strict=True):
        assert found == pytest.approx(100 * np.mean(rank <= cutoff), abs=2.5)
    assert precision == pytest.approx(np.mean(np.where(rank <= k, 1 / rank, 0)), abs=0.02)
    assert median == pytest.approx(np.median(rank), abs=1.5)


@pytest.mark.parametrize("clips", [5, 8])
def test_chance_is_the_average_over_all_places_of_the_right_clip(clips):
    every_place = [
        evaluate_scores(-np.arange(clips)[:, None], [place]).text_to_audio for place in range(clips)
    ]
    precision = np.mean([single.map[10] for single in every_place])
    first = np.mean([single.recall[1] for single in every_place])
    five = np.mean([single.recall[5] for single in every_place])
    median = int(np.median([single.median_rank - 1 for single in every_place])) + 1
    report = evaluate_scores(np.zeros((clips, 1)), [0], ks=(1, 5))
    assert report_rows(report, chance=True)[-1][2:] == [
        f"{first:.1f}", f"{five:.1f}", f"{precision:.3f}", str(median),
    ]  # fmt: skip


def test_the_terminal_table_shows_the_rows_the_counts_and_the_gap():
    text = shown(retrieval_table(REPORT, "a [title] :rain:", chance=True))
    assert table_rows(text) == [*EXPECTED, CHANCE]
    assert "200 clips, 1000 captions   modality gap 0.123" in text
    assert "a [title] :rain:" in text
    assert "gap" not in shown(retrieval_table(PLAIN, "x"))


BY_PLAN = classify_scores(np.eye(4)[[0, 1, 2, 2]], [0, 1, 2, 2], list("abcd"))


CONFUSED = ClassificationReport(
    classes=("dog bark", "$rain_1$ & [b]", "bell", "none"),
    confusion=((8, 2, 0, 0), (3, 1, 6, 0), (0, 0, 5, 0), (0, 0, 0, 0)),
    map=0.71236,
    transductive=BY_PLAN,
)


def test_accuracy_and_precision_stand_side_by_side_for_both_rankings():
    text = shown(classification_table(CONFUSED, "a [title]"))
    assert table_rows(text) == [
        ["distance", "56.0", "0.712"],
        ["plan (transductive)", "100.0", "1.000"],
    ]
    assert "25 clips, 4 classes, chance 25.0 %" in text
    assert "a [title]" in text
    alone = shown(classification_table(replace(CONFUSED, transductive=None), "x"))
    assert [row[0] for row in table_rows(alone)] == ["distance"]


def test_the_weakest_classes_come_first_with_what_they_are_taken_for():
    assert table_rows(shown(classes_table(CONFUSED))) == [
        ["$rain_1$ & [b]", "10", "10.0", "bell (6)"],
        ["dog bark", "10", "80.0", "$rain_1$ & [b] (2)"],
        ["bell", "5", "100.0", ""],
    ]
    assert len(table_rows(shown(classes_table(CONFUSED, most=1)))) == 1


def test_a_markdown_table_has_one_line_per_row_below_titles_and_rule():
    table = markdown_table(["a", "b"], [["1", "2"], ["3", "4"]])
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_a_markdown_table_may_be_built_from_iterators_and_be_empty():
    assert markdown_table(iter("ab"), iter([])) == "| a | b |\n| --- | --- |"
