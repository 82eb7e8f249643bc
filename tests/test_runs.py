"""Scripts for the published figures: each runs from end to end, in miniature."""

import json
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from otomatch.training.config import load_config
from tests.support.commands import served
from tests.support.layouts import write_audiocaps, write_clotho, write_esc50

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
SCRIPTS = sorted(path.stem for path in RUNS.glob("*.sh") if path.stem != "common")
LOSSES = ("m-LTM", "triplet (hardest)", "weighted triplet", "NT-Xent")
NOISY = ("NT-Xent", "triplet (hardest)", "m-LTM", "m-LTM, partial", "m-LTM, trimmed (ours)")
SYSTEMS = {  # what each script measures, in the order of its table
    "audiocaps": LOSSES,
    "clotho": LOSSES,
    "esc50_zeroshot": LOSSES,
    "audiocaps_noise": tuple(f"noise 0.6, {loss}" for loss in NOISY),
    "audiocaps_epsilon": ("m-LTM, epsilon 0.05", "m-LTM, epsilon 0.5"),
}
SMALL = (
    "audio.encoder=small audio.settings={channels=[4,6,8,8],hidden=8} "
    "model.dim=12 model.hidden=16 optim.batch=4 optim.epochs=1"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Iterator[dict[str, Any]]:
    """Return an environment with miniature data sets, in which every script is fast."""
    root = tmp_path_factory.mktemp("runs")
    write_audiocaps(root / "audiocaps", clips=(8, 3, 3))
    write_clotho(root / "clotho", clips=(8, 3, 3))
    write_esc50(root / "esc-50", folds=(1,))
    with served(root) as command:
        yield {
            **os.environ,
            "OTOMATCH": command,
            "PYTHON": sys.executable,
            "EXTRA": f"{SMALL} text.encoder={tiny_bert}",
            "ESC50": root / "esc-50",
            "NOISES": "0.6",
            "EPSILONS": "0.05 0.5",
            "OUT": root / "out",
            "ROOT": root,
        }


def start(script: str, place: dict[str, Any], **variables: object):
    """Run a script, which writes only below OUT; these tests share one OUT, as users may."""
    data = "clotho" if script == "clotho" else "audiocaps"
    environment = {**place, "DATA": place["ROOT"] / data, **variables}
    return subprocess.run(
        [RUNS / f"{script}.sh"],
        env={name: str(value) for name, value in environment.items()},
        cwd=place["ROOT"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(place) -> Callable[[str], str]:
    """Return the output of a script that runs to its end; each runs once."""

    @cache
    def run(script: str) -> str:
        done = start(script, place)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def table(text: str) -> list[dict[str, str]]:
    """Return the rows of the Markdown table in a text, by column title."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


def written(out: Path) -> dict[str, int]:
    """Return the modification time of each model, checkpoint and zero-shot report."""
    patterns = ("model.safetensors", "state.safetensors", "*-seed-*.json")
    return {str(p): p.stat().st_mtime_ns for name in patterns for p in out.rglob(name)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_ends_with_its_table_and_started_again_trains_nothing(script, place, finished):
    first = finished(script)
    kept = (place["OUT"] / f"{script}.md").read_text()
    assert first.endswith(kept)
    measured = [row for row in table(kept) if "(published)" not in row["system"]]
    assert [(row.pop("system"), row.pop("ranked by")) for row in measured] == [
        (system, by) for system in SYSTEMS[script] for by in ("distance", "plan")
    ]
    dataset = {"clotho": "clotho (test)", "esc50_zeroshot": "esc-50"}.get(
        script, "audiocaps (test)"
    )
    assert {row.pop("measured on").partition(" of ")[2] for row in measured} == {dataset}
    for row, plan in zip(measured[::2], measured[1::2], strict=True):
        assert plan.pop("gap", "") == ""
        assert all(float(figure) >= 0 for figure in (*row.values(), *plan.values()))
    before = written(place["OUT"])
    assert start(script, place).returncode == 0
    assert written(place["OUT"]) == before
    assert (place["OUT"] / f"{script}.md").read_text() == kept


def test_the_table_has_the_mean_over_seeds_and_their_spread(place):
    done = start("audiocaps_epsilon", place, EPSILONS="0.05", SEEDS="0 1")
    assert done.returncode == 0, done.stderr
    runs = [place["OUT"] / f"audiocaps_epsilon/0.05/seed-{seed}" for seed in (0, 1)]
    assert [load_config(run / "config.toml").run.seed for run in runs] == [0, 1]
    reports = [json.loads((run / "report.json").read_text()) for run in runs]
    row = table(done.stdout)[0]
    assert row["seeds"] == "2"
    for title, values in {
        "T2A R@5": [report["text_to_audio"]["recall"]["5"] for report in reports],
        "A2T R@1": [report["audio_to_text"]["recall"]["1"] for report in reports],
    }.items():
        assert row[title] == f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def test_what_a_script_varies_is_what_its_runs_are_trained_with(place, finished):
    finished("audiocaps_noise")
    runs = (place["OUT"] / "audiocaps_noise" / "0.6").glob("*/seed-0/config.toml")
    configs = {path.parents[1].name: load_config(path) for path in runs}
    assert {config.data.noise for config in configs.values()} == {0.6}
    assert {name: config.loss.name for name, config in configs.items()} == {
        "nt-xent": "ntxent", "triplet": "triplet",
        "m-ltm": "matching", "partial": "matching", "trimmed": "matching",
    }  # fmt: skip
    matching = {name: configs[name].loss for name in ("m-ltm", "partial", "trimmed")}
    assert {name: (loss.mass, loss.target) for name, loss in matching.items()} == {
        "m-ltm": (None, "full"), "partial": (0.95, "full"), "trimmed": ("auto", "trimmed"),
    }  # fmt: skip


def test_baselines_on_clotho_take_whole_clips_as_m_ltm_does(place, finished):
    finished("clotho")
    for folder in (place["OUT"] / "clotho").iterdir():
        config = load_config(folder / "seed-0" / "config.toml")
        assert (config.model.window_seconds, config.augment.time_share) == (30, 0.028), folder


def test_sounds_of_another_folder_are_classified_anew(place, tmp_path):
    write_esc50(tmp_path / "other", classes=("dog", "rooster"), folds=(1, 2, 3))
    done = start("esc50_zeroshot", place, ESC50=tmp_path / "other")
    assert done.returncode == 0, done.stderr
    measured = [row for row in table(done.stdout) if "(published)" not in row["system"]]
    assert {row["measured on"] for row in measured} == {"6 clips of esc-50"}


def test_a_step_that_fails_ends_the_script_without_a_table(place, tmp_path):
    real = f"{sys.executable} -m otomatch"
    done = start("audiocaps", place, OUT=tmp_path, OTOMATCH=real, EXTRA="optim.epoch=1")
    assert done.returncode == 1
    assert "optim.epoch = 1: unknown key" in done.stderr
    assert done.stdout.count("== ") == 1  # no second training was begun
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "variables", "message"),
    [
        (
            "audiocaps",
            {"DATA": "nowhere"},
            "no folder nowhere; set DATA to the folder of audiocaps",
        ),
        ("esc50_zeroshot", {"ESC50": "no"}, "or get it: otomatch data fetch esc-50 no"),
        ("clotho", {"DATA": "empty"}, "to get it: otomatch data fetch clotho empty"),
        ("clotho", {"EXTRA": "optim.batch=9 run.seed=1"}, "run.seed=1, but this script chooses"),
        ("audiocaps_noise", {"EXTRA": "loss.mass=0.9"}, "loss.mass=0.9, but this script chooses"),
        ("audiocaps_noise", {"EXTRA": "schedule.mass_epochs=1"}, "this script chooses schedule"),
        ("audiocaps_noise", {"EXTRA": "mismatch.unit=clip"}, "but this script chooses mismatch"),
        (
            "audiocaps_epsilon",
            {"EXTRA": "loss.epsilon=1"},
            "loss.epsilon=1, but this script chooses",
        ),
    ],
)
def test_a_script_says_what_is_missing_or_refused_before_long_work(
    script, variables, message, place, tmp_path
):
    (Path(place["ROOT"]) / "empty").mkdir(exist_ok=True)
    done = start(script, place, OUT=tmp_path / "out", **variables)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_page_names_every_script_variable_and_published_figure():
    page = (RUNS / "README.md").read_text(encoding="utf-8")
    assert [script for script in SCRIPTS if f"`{script}.sh`" not in page] == []
    source = "".join(path.read_text() for path in RUNS.glob("*.sh"))
    variables = set(re.findall(r"\$\{([A-Z0-9]+):-", source))
    assert variables == {
        "DATA", "ESC50", "EPSILONS", "EXTRA", "NOISES", "OTOMATCH", "OUT", "PYTHON", "SEEDS"
    }  # fmt: skip
    assert [variable for variable in variables if f"`{variable}`" not in page] == []
    published = tomllib.loads((RUNS / "published.toml").read_text())
    assert sorted(published) == SCRIPTS
    figures = [f for part in published.values() for s in part["systems"] for f in s["figures"]]
    assert [figure for figure in figures if figure not in page] == []


def test_every_configuration_that_a_script_names_exists():
    source = "".join(path.read_text() for path in RUNS.glob("*.sh"))
    named = set(re.findall(r"\b(?:audiocaps|clotho)-[a-z0-9-]+", source))
    assert len(named) == 6
    assert [name for name in named if not (ROOT / f"configs/{name}.toml").is_file()] == []
