"""Output files of studies: every study, whole or in part, as CSV, Markdown, pictures and a page."""

import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from otomatch.studies import output
from otomatch.studies.catalogue import Arm
from otomatch.studies.results import Results
from otomatch.studies.summary import sections, summary_markdown
from tests.support.study_results import STUDIES, asking, empty, failed, made_up, read_rows

HOSTILE = 'a <b> & "c" | `d` *e* \\ $f$'
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


def cell_texts(found: Results) -> list[str]:
    """All cells of all tables, header by header and row by row."""
    tables = [table for section in sections(found) for table in section.tables]
    return [cell for t in tables for row in (t.header, *t.rows) for cell in row]


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_every_study_writes_tables_pictures_and_a_page_whose_links_exist(study, tmp_path):
    found = made_up(study, seeds=1)
    output.write_results(found, tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)
    assert {"rows.csv", "summary.md"} <= set(page.links)
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures
    assert {f"plots/{name}" for name in pictures} <= set(page.links)
    assert {Path(name).suffix for name in pictures} == {".png", ".svg"}
    assert all(len(alt) > 40 for alt in page.alts)
    assert page.cells == cell_texts(found)
    assert not list(tmp_path.rglob("*.partial"))
    assert len(read_rows((tmp_path / "rows.csv").read_text(encoding="utf-8"))) == len(
        found.outcomes
    )


def test_the_page_runs_nothing_and_asks_for_nothing_from_elsewhere(tmp_path):
    output.write_results(made_up("losses", seeds=1), tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text


def test_a_study_without_any_outcome_writes_what_it_asks_and_what_is_missing(tmp_path):
    output.write_results(empty(), tmp_path)
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "Does it?" in summary
    assert "Of 6 runs, 0 are done, 0 failed and 6 are missing." in summary
    assert "Run the same study again to continue" in summary
    assert Page((tmp_path / "index.html").read_text(encoding="utf-8")).alts == []
    assert read_rows((tmp_path / "rows.csv").read_text(encoding="utf-8")) == []


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("kept", ["one outcome", "nothing measured"])
def test_parts_of_a_study_can_be_written(study, kept, tmp_path):
    found = replace(made_up(study, seeds=1), extra={})
    if kept == "one outcome":
        outcomes = list(found.outcomes[:1])
    else:
        blank = dict.fromkeys(found.outcomes[0].values, math.nan)
        outcomes = [replace(o, values=blank, per_clip={}, curve=()) for o in found.outcomes]
    output.write_results(replace(found, outcomes=tuple(outcomes)), tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)
    assert len(read_rows((tmp_path / "rows.csv").read_text(encoding="utf-8"))) == len(outcomes)
    assert bool(page.alts) == (kept == "one outcome")


@pytest.mark.slow
def test_names_with_markup_come_out_as_they_are(tmp_path):
    arms = [Arm(HOSTILE, {"loss": HOSTILE}), Arm("m-LTM", {"loss": "m-LTM"})]
    found = made_up("losses", arms, seeds=1)
    found = replace(found, study=asking("losses", HOSTILE), provenance={HOSTILE: HOSTILE})
    found = failed(found, Arm(HOSTILE + "2", {"loss": HOSTILE}), f"{HOSTILE}\ntraceback")
    output.write_results(found, tmp_path)
    rows = read_rows((tmp_path / "rows.csv").read_text(encoding="utf-8"))
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


@pytest.mark.slow
def test_svgs_are_the_same_bytes_every_time(tmp_path):
    found = made_up("losses", seeds=1)
    for name in ("first", "second"):
        output.write_results(found, tmp_path / name)
    first, second = (tmp_path / name / "plots" / "quality.svg" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert ElementTree.parse(first).getroot().tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.slow
def test_pictures_that_later_results_lack_are_removed_and_other_files_stay(tmp_path):
    output.write_results(made_up("losses", seeds=1), tmp_path)
    mine = tmp_path / "plots" / "notes.txt"
    mine.write_text("mine", encoding="utf-8")
    output.write_results(empty(), tmp_path)
    assert list((tmp_path / "plots").iterdir()) == [mine]


def test_without_matplotlib_all_but_the_plots_is_written_and_the_summary_says_so(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(output, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = made_up("losses", seeds=1)
    output.write_results(found, tmp_path)
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "otomatch[plots]" in summary
    assert "otomatch[plots]" not in summary_markdown(found)
    assert not list((tmp_path / "plots").iterdir())
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert all((tmp_path / link).is_file() for link in page.links)
