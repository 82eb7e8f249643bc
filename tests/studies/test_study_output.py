"""What a study writes: every study, whole or in part, as CSV, Markdown, pictures and a page."""

import csv
import io
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from otomatch.studies import output
from otomatch.studies.plots import charts
from otomatch.studies.results import Arm, Results
from otomatch.studies.statistics import Interval, paired_difference
from otomatch.studies.summary import first_line, rows_csv, sections, summary_markdown
from otomatch.studies.tables import Table, difference_tables, number, result_tables
from otomatch.studies.tables import extra_tables as tables_of_extra
from otomatch.studies.views import VIEWS, domain
from tests.support.study_results import (
    STUDIES,
    arms_of_study,
    extra_tables,
    failed,
    made_up,
    results,
)

HOSTILE = 'a <b> & "c" | `d` *e* \\ $f$'
EMPTY = Results("losses", "Does it?", (), (), 6, {"command": "x"}, {})
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Links, pictures and text of a page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.text: list[str] = []
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        found = dict(attrs)
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.alts += [found["alt"]] if tag == "img" else []
        self.cells += [""] if tag in ("td", "th") else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data
        self.text.append(data)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def cell_texts(found: Results) -> list[str]:
    """All cells of all tables, header by header and row by row."""
    tables = [table for section in sections(found) for table in section.tables]
    return [cell for t in tables for row in (t.header, *t.rows) for cell in row]


def only(tables: list[Table], title: str) -> Table:
    return next(table for table in tables if table.title.startswith(title))


# --- everything together ---------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_writes_tables_pictures_and_a_page_whose_links_exist(study, tmp_path):
    found = made_up(study, seeds=1)
    output.write(found, tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)
    assert {"rows.csv", "summary.md"} <= set(page.links)
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures
    assert {f"plots/{name}" for name in pictures} <= set(page.links)
    assert {Path(name).suffix for name in pictures} == {".png", ".svg"}
    assert all(len(alt) > 40 for alt in page.alts)
    assert page.cells == cell_texts(found)
    assert not list(tmp_path.glob(".partial*"))
    assert len(read((tmp_path / "rows.csv").read_text(encoding="utf-8"))) == len(found.outcomes)


def test_the_page_runs_nothing_and_asks_for_nothing_from_elsewhere(tmp_path):
    output.write(made_up("losses", seeds=1), tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text


def test_a_study_without_any_outcome_writes_what_it_asks_and_what_is_missing(tmp_path):
    output.write(EMPTY, tmp_path)
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "Does it?" in summary
    assert "Of 6 runs, 0 are done, 0 failed and 6 are missing." in summary
    assert "goes on" in summary
    assert Page((tmp_path / "index.html").read_text(encoding="utf-8")).alts == []
    assert read((tmp_path / "rows.csv").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("kept", ["one outcome", "nothing measured"])
def test_parts_of_a_study_can_be_written(study, kept, tmp_path):
    found = replace(made_up(study, seeds=1), extra={})
    if kept == "one outcome":
        outcomes = list(found.outcomes[:1])
    else:
        blank = dict.fromkeys(found.outcomes[0].values, math.nan)
        outcomes = [replace(o, values=blank, per_clip={}, curve=()) for o in found.outcomes]
    output.write(replace(found, outcomes=tuple(outcomes)), tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)
    assert len(read((tmp_path / "rows.csv").read_text(encoding="utf-8"))) == len(outcomes)
    assert bool(page.alts) == (kept == "one outcome")


def test_without_its_reference_a_study_has_means_but_no_differences():
    found = made_up("losses", seeds=1)
    others = replace(found, outcomes=tuple(o for o in found.outcomes if o.arm.label != "m-LTM"))
    assert len(only(result_tables(others), "Means").rows) == 2
    assert difference_tables(others) == []
    assert "Judge by the differences" not in summary_markdown(others)


def test_names_with_markup_come_out_as_they_are(tmp_path):
    arms = [Arm(HOSTILE, {"loss": HOSTILE}), Arm("m-LTM", {"loss": "m-LTM"})]
    found = replace(made_up("losses", arms, seeds=1), question=HOSTILE, about={HOSTILE: HOSTILE})
    found = failed(found, Arm(HOSTILE + "2", {"loss": HOSTILE}), f"{HOSTILE}\ntraceback")
    output.write(found, tmp_path)
    rows = read((tmp_path / "rows.csv").read_text(encoding="utf-8"))
    assert rows[0]["arm"] == rows[0]["loss"] == HOSTILE
    assert rows[-1]["error"] == HOSTILE
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert HOSTILE in page.cells
    assert f"{HOSTILE}: {HOSTILE}" in page.text
    assert "b" not in page.tags
    assert any(HOSTILE in alt for alt in page.alts)
    lines = (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert len(set(widths)) == len([line for line in tables if "---" in line])
    assert not any("<b>" in line for line in lines)


def test_svgs_are_the_same_bytes_every_time(tmp_path):
    found = made_up("losses", seeds=1)
    for name in ("first", "second"):
        output.write(found, tmp_path / name)
    first, second = (tmp_path / name / "plots" / "quality.svg" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert ElementTree.parse(first).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_pictures_that_later_results_lack_are_removed_and_other_files_stay(tmp_path):
    output.write(made_up("losses", seeds=1), tmp_path)
    mine = tmp_path / "plots" / "notes.txt"
    mine.write_text("mine", encoding="utf-8")
    output.write(EMPTY, tmp_path)
    assert list((tmp_path / "plots").iterdir()) == [mine]


def test_without_matplotlib_all_but_the_plots_is_written_and_the_summary_says_so(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(output, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = made_up("losses", seeds=1)
    output.write(found, tmp_path)
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "otomatch[plots]" in summary
    assert "otomatch[plots]" not in summary_markdown(found)
    assert not list((tmp_path / "plots").iterdir())
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)


# --- rows.csv --------------------------------------------------------------------------------


def test_rows_read_back_with_all_values_factors_and_failures():
    found = made_up("noise", seeds=1)
    broken = Arm("broken", {"method": "m-LTM", "noise": 0.6, "kind": "random"})
    rows = read(rows_csv(failed(found, broken, "RunError: no\n\nTraceback ...")))
    for row, outcome in zip(rows, found.outcomes, strict=False):
        assert (row["study"], row["arm"], row["test"]) == ("noise", outcome.arm.label, outcome.test)
        assert float(row["noise"]) == outcome.arm.factors["noise"]
        assert float(row["t2a_r1"]) == outcome.values["t2a_r1"]
        assert row["clean_share"] == row["error"] == ""
    assert (rows[-1]["arm"], rows[-1]["noise"], rows[-1]["seed"]) == ("broken", "0.6", "0")
    assert (rows[-1]["error"], rows[-1]["t2a_r1"]) == ("RunError: no", "")


def test_a_metric_called_as_a_factor_has_a_column_of_its_own():
    row = read(rows_csv(made_up("losses", seeds=1)))[0]
    assert (row["loss"], row["loss (value)"]) == ("m-LTM", "0.5")


# --- tables ----------------------------------------------------------------------------------


def test_means_and_differences_are_those_of_the_statistics():
    arms = [Arm("m-LTM", {"loss": "m-LTM"}), Arm("NT-Xent", {"loss": "NT-Xent"})]
    level = {"m-LTM": 30.0, "NT-Xent": 28.0}
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 9, 30)
    found = results(arms, lambda arm, seed, _test: level[arm.label] + 2.0 * seed + shared)
    means = only(result_tables(found), "Means")
    mean = 30 + 2 + shared.mean()
    assert means.header == ("setting", "seeds", "text to audio R@1 (%)")
    assert means.rows[0] == ("m-LTM", "3", f"{mean:.1f} ± 2.0")
    difference = only(difference_tables(found), "Difference from m-LTM")
    assert difference.rows == (("NT-Xent", "-2.0 [-2.0, -2.0]", "3 x 2"),)
    assert paired_difference(found, "NT-Xent", "m-LTM", "t2a_r1").value == pytest.approx(-2)


def test_noisy_arms_are_compared_with_the_reference_at_the_same_noise_and_kind():
    found = made_up("noise", seeds=1)
    tables = difference_tables(found)
    assert [t.title.split(" [")[0] for t in tables] == [
        "Difference from NT-Xent with the same noise",
        "Difference from m-LTM with the same noise",
    ]
    assert len(tables[0].rows) == 2 * 5  # two other methods at five levels and kinds
    label = "method trimmed auto, noise 0.4, kind similar"
    row = next(row for row in tables[0].rows if row[0] == label)
    other = label.replace("trimmed auto", "NT-Xent")
    value = paired_difference(found, label, other, "t2a_r1").value
    assert row[1].startswith(number(value, 1, "+"))


def test_transfer_has_a_matrix_and_keeps_what_was_tested_on_apart():
    found = made_up("transfer", seeds=1)
    tables = result_tables(found)
    matrix = only(tables, "text to audio R@1")
    assert matrix.header == ("setting", "tested on recordings", "tested on rendered")
    assert len(matrix.rows) == 4
    own = [o.values["t2a_r1"] for o in found.outcomes
           if o.arm.label == matrix.rows[0][0] and domain(o.test) == "rendered"]  # fmt: skip
    assert matrix.rows[0][2] == f"{np.mean(own):.1f}"
    assert [t.title for t in difference_tables(found)] == [
        f"Difference from NT-Xent on the same data [95 % interval], tested on {name}"
        for name in ("recordings", "rendered")
    ]


def test_scale_has_an_exponent_for_each_budget():
    arms = arms_of_study("scale")
    found = results(arms, lambda arm, _seed, _test: np.full(4, arm.factors["pairs"] ** 0.5))
    exponents = only(result_tables(replace(found, study="scale")), "Exponents")
    assert [row[:2] for row in exponents.rows] == [
        ("epochs", "0.50 [0.50, 0.50]"),
        ("steps", "0.50 [0.50, 0.50]"),
    ]


def test_extra_tables_show_all_columns_and_plain_values():
    rows = [{"loss": "a", "seconds": 0.123456, "missing": None}, {"loss": "b", "ok": True}]
    (table,) = tables_of_extra({"loss_cost": rows, "empty": []})
    assert table == Table(
        "Loss cost",
        ("loss", "seconds", "missing", "ok"),
        (("a", "0.1235", "-", "-"), ("b", "-", "-", "yes")),
    )


def test_failures_and_what_is_missing_are_counted_and_named():
    found = failed(made_up("losses", seeds=1), Arm("bad", {"loss": "bad"}), "\nRunError: why\nx")
    found = replace(found, planned=7)
    summary = summary_markdown(found)
    assert "Of 7 runs, 3 are done, 1 failed and 3 are missing." in summary
    assert "--retry" in summary
    assert "| bad | 0 | RunError: why |" in summary
    assert first_line("\n \n") == "unknown"


def test_every_study_says_how_to_read_its_intervals():
    for study in STUDIES:
        text = summary_markdown(made_up(study, seeds=1))
        assert "What the intervals leave out" in text
        assert "pigeonhole" in text
        assert ("Judge by the differences" in text) == bool(VIEWS[study].references)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (1.25, 1, "", "1.2"),
        (-0.01, 1, "+", "0.0"),
        (0.04, 1, "+", "0.0"),
        (2.0, 1, "+", "+2.0"),
        (math.nan, 1, "", "-"),
        (math.inf, 1, "", "inf"),
        (32896.0, 0, "", "32,896"),
    ],
)
def test_numbers_are_written_plainly(value, digits, sign, text):
    assert number(value, digits, sign) == text


@pytest.mark.parametrize(
    ("test", "name"),
    [("recordings-0", "recordings"), ("test", "test"), ("a-b", "a-b"), ("a-b-12", "a-b")],
)
def test_a_draw_belongs_to_its_domain(test, name):
    assert domain(test) == name


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("heights", [[0.5] * 5, [0.9, 0.95, 0.99], [0, 0.01, 0.5, 0.51], [0.2]])
def test_names_at_the_ends_of_lines_keep_their_order_and_distance(heights):
    places = charts._spread(heights, 0.1)
    order = np.argsort(heights, kind="stable")
    ranked = np.array(places)[order]
    assert np.all(np.diff(ranked) >= 0.1 - 1e-9)
    assert ranked[0] >= 0
    assert ranked[-1] <= 1 + 1e-9


def test_names_that_are_far_apart_stay_where_their_lines_end():
    assert charts._spread([0.8, 0.1, 0.4], 0.1) == pytest.approx([0.8, 0.1, 0.4])


def test_only_points_with_a_place_on_the_axes_are_drawn_in_order():
    values = (Interval(1, 0, 2), Interval(math.nan, math.nan, math.nan), Interval(0, 0, 0))
    line = charts.Line("a", 0, (5.0, 1.0, 3.0), values)
    assert line.shown().x == (3.0, 5.0)
    assert line.shown(log_y=True).x == (5.0,)
    assert charts.Line("a", 0, (0.0,), values[:1]).shown(log_x=True).x == ()


def test_clean_arms_are_drawn_in_the_panel_of_every_kind_of_noise():
    from otomatch.studies.plots.figures import DRAWERS

    found = made_up("noise", seeds=1)
    ((drawn, picture),) = (pair for drawer in DRAWERS["noise"] for pair in drawer(found))
    panels = {axes.get_title(): axes for axes in drawn.axes if "R@1" in axes.get_ylabel()}
    assert set(panels) == {"kind: random", "kind: similar"}
    for axes in panels.values():
        assert [list(bars[0].get_xdata()) for bars in axes.containers] == [[0, 20, 40]] * 3
    assert "95 %" in picture.caption


def test_extra_tables_are_drawn_without_zeros(tmp_path):
    from otomatch.studies.plots.figures import draw

    extra = extra_tables()
    extra["plan_approximation"].append(
        {"batch": 1024, "scale": "full", "restricted": 0.0, "averaged": 0.0, "converged": True}
    )
    pictures = draw(replace(EMPTY, extra=extra), tmp_path)
    assert [p.name for p in pictures] == ["plan-approximation", "loss-cost"]
    assert len(list(tmp_path.iterdir())) == 4
