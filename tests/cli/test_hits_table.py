"""Hits of a search as a table for a terminal."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from otomatch.cli.tables import hits_table, print_reasons
from otomatch.datasets.base import Skipped
from otomatch.library.records import Hit
from otomatch.training.progress import print_skipped, printable
from tests.support.report_tables import shown, table_rows


def hit(path: str, label: str | None = None, caption: str | None = None) -> Hit:
    return Hit("0" * 16, path, 1.0, 2.25, 9.0, 0.12345, 0.9, label, caption)


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
    assert "contain words" not in shown(hits_table([hit("b.wav")], "a dog"))


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
