"""Training and evaluation on several processes give what one process gives."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from otomatch import AudioTextModel, evaluate, open_dataset, train
from otomatch.training.config import dump_toml, load_config
from otomatch.training.run_folder import read_spectrum
from otomatch.training.step import TrainingStep
from tests.support.processes import Group
from tests.support.runs import STILL, run_log
from tests.support.tiny import tiny_config, write_tones

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning"),
]

MUCH = (
    *STILL,
    "optim.batch=7",
    "optim.drop_last=false",
    "optim.lr=0.003",
    "optim.epochs=3",
    "run.precision=no",  # half precision, where the processor has it, rounds parts otherwise
)
LOSSES = {
    "balanced": (),
    "partial": ("loss.mass=0.8",),
    "trimmed": ("loss.mass=0.8", "loss.target=trimmed"),
    "auto": ("loss.mass=auto", "loss.target=trimmed", "data.noise=0.3"),
    "ntxent": ("loss.name=ntxent",),
    "weighted triplet": ("loss.name=weighted-triplet",),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    group = Group(2, tmp_path_factory.mktemp("pair"))
    yield group
    group.stop()


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    group = Group(4, tmp_path_factory.mktemp("four"))
    yield group
    group.stop()


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), splits=("train", "train", "val", "test"))


def training(config, run, cache):
    """Train in a process of a group."""
    import warnings

    os.environ["OTOMATCH_CACHE"] = str(cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(load_config(config), run, progress=False).report.to_dict()


def stopping(config, run, cache, steps):
    """Train in a process of a group, and fail after so many steps."""
    original, done = TrainingStep.__call__, []

    def step(self, batch, *place):
        if len(done) == steps:
            raise RuntimeError("stopped on purpose")
        done.append(batch)
        return original(self, batch, *place)

    TrainingStep.__call__ = step
    try:
        return training(config, run, cache)
    finally:
        TrainingStep.__call__ = original


def measuring(model, data, cache):
    os.environ["OTOMATCH_CACHE"] = str(cache)
    return evaluate(AudioTextModel.from_pretrained(model), open_dataset(data)).to_dict()


def alike(run, other):
    """Both runs have the same log and weights, up to rounding and what it decides."""
    loose = (
        "seconds",
        "validation_seconds",
        "data_wait",
        "sinkhorn_iterations",
        "marginal_error",
        "metric_smallest",
    )
    jumps = ("score", "t2a_r", "a2t_r")  # on a few clips, rounding may exchange two of them
    for row, twin in zip(run_log(run), run_log(other), strict=True):
        assert row.keys() == twin.keys()
        for key in row.keys() - set(loose):
            if key.startswith(jumps):
                continue
            assert row[key] == pytest.approx(twin[key], rel=2e-3, abs=2e-3), key
    spectra = [read_spectrum(at) for at in (run, other)]
    assert spectra[0] == {
        epoch: pytest.approx(values, rel=2e-3, abs=2e-3) for epoch, values in spectra[1].items()
    }
    first, second = (load_file(at / "checkpoint" / "state.safetensors") for at in (run, other))
    weights = [key for key in first if key.startswith(("model.", "extra."))]
    assert weights
    for key in weights:
        torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=2e-4, msg=key)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_train_the_model_of_one(loss, pair, tones, tiny_bert, cache, tmp_path):
    config = tiny_config(tones, tiny_bert, *MUCH, *LOSSES[loss], "optim.accumulate=2")
    alone = train(config, tmp_path / "alone", progress=False)
    (tmp_path / "config.toml").write_text(dump_toml(config))
    arguments = (tmp_path / "config.toml", tmp_path / "run", cache)
    reports = pair.run(training, [arguments] * 2)
    assert reports[0] == reports[1]
    alike(tmp_path / "run", alone.folder)


def test_four_processes_share_uneven_batches_and_a_text_encoder_that_learns(
    four, tones, tiny_bert, cache, tmp_path
):
    still_text = ("text.trainable=true", "text.dropout=0", "optim.text_encoder_lr=0.001")
    config = tiny_config(tones, tiny_bert, *MUCH, *still_text, "optim.batch=6")  # 6, 6 and 4 pairs
    alone = train(config, tmp_path / "alone", progress=False)
    (tmp_path / "config.toml").write_text(dump_toml(config))
    four.run(training, [(tmp_path / "config.toml", tmp_path / "run", cache)] * 4)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        path.name for path in alone.folder.iterdir()
    }
    alike(tmp_path / "run", alone.folder)


def test_a_run_of_two_processes_goes_on_where_it_stopped(pair, tones, tiny_bert, cache, tmp_path):
    config = tiny_config(tones, tiny_bert, *MUCH, *LOSSES["auto"], "run.checkpoint_minutes=1e-9")
    (tmp_path / "config.toml").write_text(dump_toml(config))
    whole, cut = ((tmp_path / "config.toml", tmp_path / run, cache) for run in ("whole", "cut"))
    pair.run(training, [whole] * 2)
    found = pair.attempt(stopping, [(*cut, 4)] * 2)  # in the second of three steps of epoch 2
    assert all("stopped on purpose" in failure.text for failure in found)
    pair.run(training, [cut] * 2)
    states = [load_file(at / "checkpoint" / "state.safetensors") for at in (whole[1], cut[1])]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_evaluation_split_over_processes_gives_the_report_of_one(
    pair, tones, tiny_bert, cache, tmp_path
):
    result = train(tiny_config(tones, tiny_bert), tmp_path / "run", progress=False)
    alone = evaluate(AudioTextModel.from_pretrained(result.model), tones).to_dict()
    both = pair.run(measuring, [(result.model, tones, cache)] * 2)
    assert both[0] == both[1]
    gap = both[0].pop("modality_gap")
    assert gap == pytest.approx(alone.pop("modality_gap"), rel=1e-5)
    assert both[0] == alone


def test_an_error_of_the_first_process_is_raised_in_all(pair, tones, tiny_bert, cache, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("mine")
    (tmp_path / "config.toml").write_text(dump_toml(tiny_config(tones, tiny_bert)))
    arguments = (tmp_path / "config.toml", tmp_path / "run", cache)
    found = pair.attempt(training, [arguments] * 2)
    assert all("is not empty and contains no run" in failure.text for failure in found)
    assert (tmp_path / "run" / "letter.txt").read_text() == "mine"


def test_torchrun_trains_from_the_command_line(tones, tiny_bert, cache, tmp_path):
    config = tiny_config(tones, tiny_bert, *MUCH)
    (tmp_path / "config.toml").write_text(dump_toml(config))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "otomatch", "train"]
    command += ["--config", str(tmp_path / "config.toml"), "--run-folder", str(run), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["clips"] == 8  # one process prints
    alone = train(config, tmp_path / "alone", progress=False)
    alike(run, alone.folder)
