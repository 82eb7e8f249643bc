"""``otomatch data`` and named data sets on the command line, run as a user runs them."""

import json

import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.errors import DatasetError
from otomatch.training.config import load_config
from tests.cli.test_cli import TINY, invoke
from tests.datasets.test_fetch import clotho, server, zenodo  # noqa: F401 (fixtures)
from tests.support.layouts import SHARED, write_audiocaps, write_clotho, write_esc50


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_every_command_about_data_has_help(command):
    assert "Usage" in invoke("data", command, "--help")


def test_check_prints_counts_durations_rates_and_what_is_missing(tmp_path):
    root = write_clotho(tmp_path, clips=(4, 2, 2), seconds=0.5)
    (root / "development" / SHARED).unlink()
    result = CliRunner().invoke(app, ["data", "check", "clotho", str(root)])
    assert result.exit_code == 0
    for text in ("train", "val", "test", "all", "44100", "0.5 to 0.5", "1 files missing"):
        assert text in result.stdout
    assert f"skipped development/{SHARED}" in result.stderr


def test_check_takes_a_folder_or_a_name_and_a_folder_and_gives_json(tmp_path):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.1)
    reports = [
        json.loads(invoke("data", "check", *arguments, "--json", "--decode"))
        for arguments in ((root,), (f"esc-50:{root}",), ("esc50", root))
    ]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["decoded"] is True
    assert reports[0]["labels"] == 4
    assert reports[0]["parts"][-1]["clips"] == 4


def test_check_tells_captions_and_audio_that_several_splits_share(tmp_path):
    root = write_audiocaps(tmp_path, clips=(8, 1, 1), seconds=0.1)
    train = next((root / "waveforms/train").iterdir())
    next((root / "waveforms/test").iterdir()).write_bytes(train.read_bytes())
    out = invoke("data", "check", f"audiocaps:{root}")
    assert "captions occur in several splits" in out
    assert f"waveforms/train/{train.name}" in out


@pytest.mark.usefixtures("clotho")
def test_fetch_puts_clotho_into_a_folder_of_its_name_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = invoke("data", "fetch", "clotho", "--split", "val", "--split", "test")
    assert "evaluation: complete, 2 clips" in out
    assert "4 clips" not in out
    report = json.loads(invoke("data", "check", "clotho:clotho", "--json"))
    assert {part["split"] for part in report["parts"]} == {"val", "test", None}


def test_fetch_tells_what_to_run_for_audiocaps_and_downloads_nothing(tmp_path):
    out = invoke("data", "fetch", "AudioCaps", tmp_path / "caps")
    assert f"aac-datasets-download --root {tmp_path / 'caps'} audiocaps" in out
    assert not (tmp_path / "caps").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fetch", "folder"), "folder cannot be fetched; expected clotho, esc-50 or audiocaps"),
        (("fetch", "wavcaps"), "wavcaps cannot be fetched; expected clotho, esc-50 or audiocaps"),
        (
            ("fetch", "esc-50", "--split", "train"),
            "--split works for clotho only; esc-50 has no splits",
        ),
        (("check", "clotho"), "clotho is the name of a data set; write clotho:FOLDER"),
        (("check", "clotho", "absent"), "no such folder"),
    ],
)
def test_a_mistake_about_data_is_named(arguments, words):
    with pytest.raises(DatasetError, match=words):
        invoke("data", *arguments)


@pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")
def test_clotho_is_trained_and_evaluated_by_its_name(tmp_path, tiny_bert, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clotho(tmp_path / "data", clips=(8, 3, 2), seconds=0.3)
    (tmp_path / "tiny.toml").write_text(TINY.replace("batch = 8", "batch = 4"))
    trained = invoke(
        "train", "--data", "clotho:data", "--run", "run", "--config", "tiny.toml",
        "--set", f"text.encoder={tiny_bert}", "--json",
    )  # fmt: skip
    assert json.loads(trained)["dataset"] == "clotho (test)"
    assert json.loads(trained)["clips"] == 2
    assert load_config(tmp_path / "run/config.toml").data.path == f"clotho:{tmp_path / 'data'}"
    report = json.loads(invoke("evaluate", "run/model", "clotho:data", "--split", "val", "--json"))
    assert (report["clips"], report["captions"]) == (3, 15)


def test_a_folder_that_two_data_sets_may_have_is_refused_with_both_ways_to_name_it(tmp_path):
    root = write_clotho(tmp_path / "data", "mei", clips=(2, 1, 1), seconds=0.1)
    with pytest.raises(DatasetError) as caught:
        invoke("data", "check", root)
    assert f"audiocaps:{root} or clotho:{root}" in str(caught.value)
