"""Runs that are killed with SIGKILL and resumed."""

import json
import re

import numpy as np
import pytest
from safetensors.torch import load_file

from otomatch.training.config import dump_toml
from otomatch.training.run_folder import read_spectrum
from tests.support import killing
from tests.support.runs import run_log
from tests.support.tiny import tiny_config

# Models this small, trained this briefly, may well look ill.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning"),
]


LONG = (
    "optim.epochs=3",
    "run.seed=2",
    "text.trainable=true",
    "optim.text_encoder_lr=0.003",
    "optim.batch=7",
    "optim.drop_last=false",
    "optim.accumulate=2",
    "data.noise=0.3",
    "loss.mass=auto",
    "loss.target=trimmed",
)
"""Every kind of state: estimated weights, accumulated gradients, a trained text encoder."""
OFTEN = "run.checkpoint_minutes=1e-9"


def outcome(run):
    """Everything a run computed: best model, last state, spectrum, the log but for its times."""
    times = ("seconds", "validation_seconds", "data_wait")
    log = [{k: v for k, v in row.items() if k not in times} for row in run_log(run)]
    model = {path.name: path.read_bytes() for path in run.glob("model/**/*.safetensors")}
    state = load_file(run / "checkpoint" / "state.safetensors")
    spectrum = (run / "spectrum.csv").read_bytes()
    return log, model, spectrum, {key: value.tolist() for key, value in state.items()}


@pytest.fixture(scope="module")
def uninterrupted(tones, tiny_bert, tmp_path_factory):
    """Configurations, outcome and events of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    for name, overrides in (("rarely", LONG), ("often", (*LONG, OFTEN))):
        (folder / f"{name}.toml").write_text(dump_toml(tiny_config(tones, tiny_bert, *overrides)))
    assert killing.wait(killing.start(folder / "rarely.toml", folder / "run")) == 0
    process = killing.start(folder / "often.toml", folder / "events", events=folder / "events.json")
    assert killing.wait(process) == 0
    events = json.loads((folder / "events.json").read_text())
    return folder, outcome(folder / "run"), events


def test_writing_checkpoints_within_epochs_changes_nothing(uninterrupted):
    folder, expected, _ = uninterrupted
    assert outcome(folder / "events") == expected


@pytest.mark.parametrize(
    ("moment", "occurrence"),
    [
        (r"rename .*config\.toml\..*partial", 0),
        ("step", 0),
        ("step", 4),
        (r"rename .*state\.safetensors\..*partial", 0),
        (r"rename .*state\.safetensors\..*partial", 5),
        (r"open .*log\.csv\..*partial", -1),
        (r"open .*spectrum\.csv\..*partial", 1),
        (r"rename .*spectrum\.csv\..*partial", 1),
        (r"rename .*/\.model\..*partial", 0),
        (r"rename .*/\.model\..*partial", -1),
        (r"open .*report\.json", 0),
        (r"open .*model/\.README\.md", -1),
    ],
)
def test_a_run_killed_at_a_bad_moment_and_resumed_gives_the_same_bits(
    moment, occurrence, uninterrupted, tmp_path
):
    folder, expected, events = uninterrupted
    matching = [i for i, event in enumerate(events) if re.search(moment, event)]
    die_at = matching[occurrence]
    config = folder / "often.toml"
    assert killing.wait(killing.start(config, tmp_path / "run", die_at)) == -9
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_row_of_the_spectrum_that_a_kill_left_before_its_checkpoint_is_written_anew(
    uninterrupted, tmp_path
):
    folder, expected, events = uninterrupted
    config, run = folder / "often.toml", tmp_path / "run"
    rows = [
        i
        for i, event in enumerate(events)
        if re.search(r"rename .*spectrum\.csv\..*partial", event)
    ]
    assert killing.wait(killing.start(config, run, die_at=rows[1] + 1)) == -9
    assert list(read_spectrum(run)) == [1, 2]
    assert [row["epoch"] for row in run_log(run)] == [1]
    with (run / "spectrum.csv").open("a") as file:  # and one that nothing in this run computes
        file.write(f"3{',7' * 12}\n")
    assert killing.wait(killing.start(config, run)) == 0
    assert outcome(run) == expected


@pytest.mark.parametrize("how_often", ["rarely", "often"])
def test_a_run_killed_again_and_again_gives_the_same_bits(how_often, uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    moments = iter(np.random.default_rng(0).integers(8, 40, size=60).tolist())
    config, codes = folder / f"{how_often}.toml", [-9]
    while codes[-1] == -9:
        codes.append(killing.wait(killing.start(config, tmp_path / "run", next(moments))))
    assert codes[-1] == 0
    assert len(codes) > 4
    assert outcome(tmp_path / "run") == expected


def test_a_run_killed_from_outside_at_any_time_gives_the_same_bits(uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    rng = np.random.default_rng(1)
    config, kills = folder / "often.toml", 0
    for _ in range(4):
        process = killing.start(config, tmp_path / "run")
        process.join(float(rng.uniform(0.05, 0.5)))
        process.kill()
        process.join()
        kills += process.exitcode == -9
    assert kills
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_killed_run_with_a_frozen_clap_gives_the_same_bits(tones, tiny_clap, tmp_path):
    clap = f"clap:{tiny_clap}"
    overrides = [
        f"audio.encoder={clap!r}",
        "audio.settings={}",
        "audio.trainable=false",
        f"text.encoder={clap!r}",
        "text.trainable=true",
        "text.dropout=0.2",
        "model.window_seconds=1",
    ]
    config, events = tmp_path / "config.toml", tmp_path / "events.json"
    config.write_text(dump_toml(tiny_config(tones, tiny_clap, *overrides, OFTEN)))
    assert killing.wait(killing.start(config, tmp_path / "whole", events=events)) == 0
    steps = [i for i, name in enumerate(json.loads(events.read_text())) if name.startswith("step")]
    assert killing.wait(killing.start(config, tmp_path / "run", die_at=steps[4])) == -9
    assert killing.wait(killing.start(config, tmp_path / "run")) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
