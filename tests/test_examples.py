"""Every example runs as its first line says."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sounds import tone, write_audio
from tests.support.tiny import tiny_model, write_bert

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.mark.slow
def test_matching_loss_falls_to_less_than_half(monkeypatch, capsys):
    run("matching_loss.py", monkeypatch=monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split("KL")[1].split()[0]) for line in lines]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_ddp_matching_loss_gives_the_same_losses_in_one_process_and_in_two(monkeypatch, capsys):
    run("ddp_matching_loss.py", monkeypatch=monkeypatch)
    alone = [float(line.split("KL")[1]) for line in capsys.readouterr().out.splitlines()]
    assert alone[-1] < 0.5 * alone[0]
    script = str(EXAMPLES / "ddp_matching_loss.py")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    done = subprocess.run([sys.executable, *launch], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shared = [float(line.split("KL")[1]) for line in done.stdout.splitlines()]
    assert shared == pytest.approx(alone, abs=0.01)


def test_transport_plan_prints_both_plans(monkeypatch, capsys):
    run("transport_plan.py", monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert "plan.converged=True" in out
    assert "partial" in out


def test_evaluate_embeddings_prints_both_directions(monkeypatch, capsys):
    run("evaluate_embeddings.py", monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert "text to audio: R@1" in out
    assert "100 clips, 500 captions" in out


def test_search_sounds_finds_something(monkeypatch, capsys, tmp_path):
    tiny_model(write_bert(tmp_path / "bert")).save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    places = (tmp_path / "model", tmp_path / "sounds", tmp_path / "library")
    run("search_sounds.py", *places, "a deep hum", monkeypatch=monkeypatch)
    assert "a.wav" in capsys.readouterr().out


def test_no_example_is_longer_than_thirty_lines():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 30, path.name
        assert f"python examples/{path.name}" in path.read_text()
