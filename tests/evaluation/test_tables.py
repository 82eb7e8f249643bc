"""Reports as tables: figures, rounding, chance, and names with markup in them."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from otomatch.cli.tables import hits_table, print_reasons
from otomatch.datasets.base import Skipped
from otomatch.evaluation.classification import ClassificationReport, classify_scores
from otomatch.evaluation.retrieval import DirectionReport, RetrievalReport, evaluate_scores
from otomatch.evaluation.tables import (
    classes_table,
    classification_table,
    markdown_table,
    report_columns,
    report_rows,
    retrieval_table,
)
from otomatch.library.records import Hit
from otomatch.training.model_card import format_model_card
from otomatch.training.progress import print_skipped, printable


def direction(first: float, median: int, queries: int = 7) -> DirectionReport:
    recall = {1: first, 5: first + 10, 10: 100.0}
    return DirectionReport(recall, {10: first / 100}, median, median + 0.5, queries)


PLAN = RetrievalReport(direction(40.06, 4), direction(50.04, 3), 200, 1000)
REPORT = RetrievalReport(direction(12.34, 9), direction(23.45, 6), 200, 1000, 0.12349, PLAN)
PLAIN = replace(REPORT, modality_gap=None, transductive=None)


def shown(table, width: int = 120) -> str:
    """What a terminal of this width shows, without colours."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]


def table_rows(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if re.search("[│|]", line)]


def hit(path: str, label: str | None = None, caption: str | None = None) -> Hit:
    return Hit("0" * 16, path, 1.0, 2.25, 9.0, 0.12345, 0.9, label, caption)


# --- retrieval -------------------------------------------------------------------------------

EXPECTED = [
    ["text to audio", "distance", "12.3", "22.3", "100.0", "0.123", "9"],
    ["audio to text", "distance", "23.4", "33.5", "100.0", "0.234", "6"],
    ["text to audio", "plan (transductive)", "40.1", "50.1", "100.0", "0.401", "4"],
    ["audio to text", "plan (transductive)", "50.0", "60.0", "100.0", "0.500", "3"],
]
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


# --- classification --------------------------------------------------------------------------

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


# --- hits ------------------------------------------------------------------------------------


def test_hits_are_listed_in_order_with_relevance_span_name_folder_and_what_is_known():
    late = replace(hit("/x/b.wav", "dog", "a dog barks"), start=61.0, end=3672.4, tags="loud")
    text = shown(hits_table([hit("a.wav", "rain"), late], "a dog"))
    assert table_rows(text) == [
        ["1", "90%", "0:01-0:02", "a.wav", "", "rain"],
        ["2", "90%", "1:01-1:01:12", "b.wav", "/x", "dog; a dog barks; loud"],
    ]
    assert text.splitlines()[0].strip() == "a dog"


def test_a_hit_by_its_words_is_marked_and_the_mark_explained():
    named = replace(hit("dog.wav", "dog"), named=True)
    text = shown(hits_table([named, hit("b.wav")], "a dog"))
    assert [row[5] for row in table_rows(text)] == ["named; dog", ""]
    assert "contain words of the query" in text
    assert "hold words" not in shown(hits_table([hit("b.wav")], "a dog"))


@pytest.mark.parametrize(
    "name", ["[red]x[/red].wav", "[/].wav", "a:dog:.wav", "[link=x]y.wav", "end\\", "[b]\\[i].wav"]
)
def test_names_with_markup_are_shown_as_they_are(name):
    text = shown(hits_table([hit(name, label=name), hit("b.wav", caption=name)], name))
    assert text.splitlines()[0].strip() == name
    path = Path(name)
    folder = "" if path.parent == Path() else str(path.parent)
    assert [row[3:] for row in table_rows(text)] == [
        [path.name, folder, name],
        ["b.wav", "", name],
    ]


def test_names_cannot_steer_the_terminal():
    name = "esc\x1b[31mred\u202egnp.wav"
    text = shown(hits_table([hit(name)], f"a {name}"))
    console = Console(file=io.StringIO(), width=200)
    print_reasons(console, [Skipped(name, f"{name} is no sound")])
    print_skipped(console, [Skipped(name, "no sound")])
    for out in (text, console.file.getvalue()):
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "esc\\x1b[31mred\\u202egnp.wav" in out
    assert printable("Ünï 🥁\u200d x.wav") == "Ünï 🥁\u200d x.wav"


def test_long_names_are_wrapped_and_never_cut():
    name = "".join(f"{i:03d}-" for i in range(40)) + ".wav"
    folder = "/sounds/" + "deep" * 20
    lines = table_rows(shown(hits_table([hit(f"{folder}/{name}", "rain")], "rain"), width=80))
    assert "".join(row[3] for row in lines) == name
    assert "".join(row[4] for row in lines) == folder


def test_no_hits_make_an_empty_table():
    assert table_rows(shown(hits_table([], "rain"))) == []


# --- Markdown --------------------------------------------------------------------------------


def test_a_markdown_table_has_one_line_per_row_below_titles_and_rule():
    table = markdown_table(["a", "b"], [["1", "2"], ["3", "4"]])
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_a_markdown_table_may_be_built_from_iterators_and_be_empty():
    assert markdown_table(iter("ab"), iter([])) == "| a | b |\n| --- | --- |"


def test_the_model_card_holds_the_measured_figures_and_the_settings():
    card = format_model_card("my model", REPORT, "the test clips of x", "[loss]\nepsilon = 0.05\n\n")
    assert card.startswith("---\nlibrary_name: otomatch\n")
    assert "\n# my model\n" in card
    assert "On the test clips of x: 200 clips, 1000 captions; modality gap 0.123." in card
    titles, rule, *found = table_rows(card)
    assert (titles, set(rule), found) == (report_columns(REPORT), {"---"}, EXPECTED)
    assert "```toml\n[loss]\nepsilon = 0.05\n```\n" in card
    assert card.count("```") % 2 == 0


def test_a_model_card_without_a_plan_or_a_gap_says_so():
    card = format_model_card("my model", PLAIN, "x", "")
    assert "modality gap unknown." in card
    assert table_rows(card)[2:] == EXPECTED[:2]


def test_skipped_files_are_listed_as_they_are_and_counted_beyond_the_limit():
    console = Console(file=io.StringIO(), width=20)
    entries = [
        Skipped(f"[red]{i}[/red].wav", "is empty :dog: and has a long reason") for i in range(5)
    ]
    print_skipped(console, entries, limit=2)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "skipped [red]0[/red].wav: is empty :dog: and has a long reason",
        "skipped [red]1[/red].wav: is empty :dog: and has a long reason",
        "... and 3 more",
    ]
