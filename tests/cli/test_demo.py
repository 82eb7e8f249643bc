"""The demonstration, in small: every part runs, and a second run reuses what is there."""

import io

import pytest
from rich.console import Console

from otomatch.cli import demo, demonstration
from otomatch.cli.demonstration import QUERIES, run_demo
from tests.support.sounds import needs_midi


def small_demo(folder, bert) -> str:
    console = Console(file=io.StringIO(), width=200)
    overrides = [
        f"text.encoder={str(bert)!r}",
        "audio.settings={channels = [4, 6, 8, 8], hidden = 8}",
        "model.dim=12",
        "model.hidden=16",
        "optim.batch=8",
        "optim.epochs=1",
        "data.val_share=0.2",
    ]
    run_demo(folder, console, clips=(24, 10), overrides=overrides)
    return console.file.getvalue()


@pytest.mark.slow
@needs_midi
def test_the_demonstration_trains_evaluates_and_searches_and_reuses_what_is_there(
    tiny_bert, tmp_path
):
    out = small_demo(tmp_path / "demo", tiny_bert)
    for text in ("10 scenes, 50 captions", "chance", "transductive", "search", "--show-config"):
        assert text in out
    for query in QUERIES:
        assert query in out
    model = tmp_path / "demo" / "run" / "model" / "model.safetensors"
    scene = tmp_path / "demo" / "train" / "audio" / "000000.flac"
    before = [path.stat().st_mtime_ns for path in (model, scene)]
    again = small_demo(tmp_path / "demo", tiny_bert)
    assert [path.stat().st_mtime_ns for path in (model, scene)] == before
    assert out.split("What to type next")[1] == again.split("What to type next")[1]


@pytest.mark.parametrize(
    ("terminal", "serve", "served"),
    [(True, None, 1), (False, None, 0), (True, False, 0), (False, True, 1)],
)
def test_it_ends_with_the_page_in_a_terminal_or_when_asked(
    terminal, serve, served, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(demonstration, "run_demo", lambda folder, _: folder / "library")
    monkeypatch.setattr(demo, "serve_library", seen.append)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(demo.sys, stream, _Stream(terminal))
    demo.demo(tmp_path, serve)
    assert seen == [tmp_path / "library"] * served


class _Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: terminal
