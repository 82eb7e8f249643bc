import csv
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.cli.remedies import message
from otomatch.errors import ConfigError, OccupiedFolderError
from otomatch.studies import cells
from otomatch.studies import worker as cell
from otomatch.training.config import dump_toml
from tests.support.tiny import tiny_config, write_tones


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    splits = ("train", "train", "val", "test")
    return write_tones(tmp_path_factory.mktemp("tones"), clips=24, splits=splits)


@pytest.fixture
def study(tones, tiny_bert, tmp_path, monkeypatch):
    """Runs `otomatch study` with tiny models, in this process."""

    def run(command, **_):
        return SimpleNamespace(returncode=cell.main(cells.Path(command[4]), quiet=True))

    monkeypatch.setattr(cells.subprocess, "run", run)
    base = tmp_path / "base.toml"
    base.write_text(dump_toml(tiny_config(tones, tiny_bert, "optim.epochs=1")))

    def invoke(name, *options):
        given = ["--config", str(base), "--out", str(tmp_path / "out"), "--seeds", "1", "--quick"]
        return CliRunner().invoke(app, ["study", name, *given, *options])

    return invoke


def test_help_names_every_study_and_shows_how_to_run_one():
    found = CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "120"}).output
    for name in ("losses", "metric", "epsilon", "noise", "batch", "scale", "transfer"):
        assert name in found
    assert "otomatch study losses --data scenes:data/esc-50 --quick" in found


@pytest.mark.slow
def test_a_study_writes_its_rows_and_pages_and_says_where(study, tones, tmp_path):
    done = study("epsilon", "--data", str(tones))
    assert done.exit_code == 0, done.output
    folder = tmp_path / "out" / "epsilon-quick"
    assert f"6 of 6 runs done: {folder / 'index.html'}" in done.output
    written = {path.name for path in folder.iterdir()}
    assert {"rows.csv", "summary.md", "index.html", "plots"} <= written
    header, *rows = (folder / "rows.csv").read_text().splitlines()
    assert header.startswith("study,arm,epsilon,scale,seed,test")
    assert len(rows) == 6


@pytest.mark.slow
def test_the_study_of_the_batch_measures_plans_and_costs_once(study, tones, tmp_path, monkeypatch):
    from otomatch.studies import extra_tables

    monkeypatch.setattr(extra_tables, "COST_BATCHES", (8,))
    monkeypatch.setattr(extra_tables, "COMPARED_LOSSES", ("ntxent",))
    assert study("batch", "--data", str(tones)).exit_code == 0
    path = tmp_path / "out" / "batch-quick" / "extra.json"
    tables = cells.json.loads(path.read_text())
    assert [row["batch"] for row in tables["loss_cost"]["rows"]] == [8]
    assert tables["loss_cost"]["rows"][0]["seconds"] > 0
    plans = tables["plan_approximation"]
    assert {row["scale"] for row in plans["rows"]} == {"full", "batch"}
    assert (tmp_path / "out" / "cells" / plans["of"]).is_dir()
    monkeypatch.setattr(extra_tables, "measure_loss_cost", None)  # would fail
    assert study("batch", "--data", str(tones)).exit_code == 0


def test_a_study_with_failed_runs_ends_with_1_and_names_the_error(study, tones):
    done = study("losses", "--data", str(tones), "--set", "data.clips=9999")
    assert done.exit_code == 1
    assert "9999 training clips were requested, but there are 12" in done.output
    assert "0 of 9 runs done" in done.output


def test_an_output_folder_that_holds_something_else_names_the_option_to_choose_another(
    study, tones, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    done = study("losses", "--data", str(tones))
    assert isinstance(done.exception, OccupiedFolderError)
    assert message(done.exception).endswith("Choose another folder with --out")


def test_an_interrupted_study_says_how_to_go_on(study, tones, monkeypatch):
    monkeypatch.setattr(cells.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=130))
    done = study("losses", "--data", str(tones))
    assert (done.exit_code, "The same command resumes" in done.output) == (130, True)


@pytest.mark.parametrize(("name", "times"), [("losses", 2), ("transfer", 1)])
def test_the_number_of_data_sets_must_suit_the_study(study, tones, name, times):
    done = study(name, *["--data", str(tones)] * times)
    assert isinstance(done.exception, ConfigError)
    assert f"the study {name} takes {3 - times} data set(s), got {times}" in str(done.exception)


@pytest.mark.slow
def test_transfer_measures_every_model_on_both_kinds_of_data(study, tones, tmp_path):
    write_tones(tmp_path / "others", clips=16, splits=("train", "val", "test", "train"))
    (tmp_path / "birds").symlink_to(tones)
    places = ["--data", str(tmp_path / "birds"), "--data", str(tmp_path / "others")]
    done = study("transfer", *places)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "transfer-quick" / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["train"], row["test"]) for row in rows} == {
        (method, train, test)
        for method in ("m-LTM", "NT-Xent")
        for train in (tones.name, "others")
        for test in (f"{tones.name}-test", "others-test")
    }
