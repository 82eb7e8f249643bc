"""Model cards, and the list of skipped files."""

import io

from rich.console import Console

from otomatch.datasets.base import Skipped
from otomatch.evaluation.tables import (
    report_columns,
)
from otomatch.training.model_card import format_model_card
from otomatch.training.progress import print_skipped
from tests.support.report_tables import EXPECTED, PLAIN, REPORT, table_rows


def test_the_model_card_holds_the_measured_figures_and_the_settings():
    card = format_model_card(
        "my model", REPORT, "the test clips of x", "[loss]\nepsilon = 0.05\n\n"
    )
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
