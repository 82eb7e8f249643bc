"""The folder of a run: its claim, and its spectrum with a row per epoch in order."""

import pytest

from otomatch.errors import RunError
from otomatch.training.config import load_config
from otomatch.training.run_folder import (
    check_folder,
    claim_folder,
    read_spectrum,
    write_spectrum,
)


def test_rows_come_back_by_epoch_in_seven_digits(tmp_path):
    write_spectrum(tmp_path, 1, [3.0, 1.23456789, -1e-19])
    write_spectrum(tmp_path, 2, [2.0, 1.0, 0.0])
    assert read_spectrum(tmp_path) == {1: [3.0, 1.234568, -1e-19], 2: [2.0, 1.0, 0.0]}
    assert [path.name for path in tmp_path.iterdir()] == ["spectrum.csv"]


def test_an_epoch_written_again_replaces_its_row_and_those_after_it(tmp_path):
    for epoch in (1, 2, 9, 10, 11):
        write_spectrum(tmp_path, epoch, [float(epoch)])
    before = (tmp_path / "spectrum.csv").read_bytes()
    write_spectrum(tmp_path, 9, [0.5])
    assert read_spectrum(tmp_path) == {1: [1.0], 2: [2.0], 9: [0.5]}
    for epoch in (9, 10, 11):
        write_spectrum(tmp_path, epoch, [float(epoch)])
    assert (tmp_path / "spectrum.csv").read_bytes() == before


def test_a_folder_without_a_spectrum_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"no run.*give the folder of a run"):
        read_spectrum(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(RunError, match=r"run without one.*train it again with this version"):
        read_spectrum(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "epoch,eigenvalue_1\n", "epoch,eigenvalue_1\n1,x\n", "epoch\n1,2\n2,3,4\n", "a\n\n"],
)
def test_a_spectrum_that_is_malformed_is_named(text, tmp_path):
    (tmp_path / "spectrum.csv").write_text(text)
    with pytest.raises(RunError, match=r"spectrum\.csv (is malformed|has no rows)"):
        read_spectrum(tmp_path)


def test_what_a_killed_process_left_half_written_is_removed_when_the_run_is_claimed(tmp_path):
    config, run = load_config(), tmp_path / "run"
    check_folder(run, config)
    claim_folder(run, config, "fingerprint", None)
    (run / "model").mkdir()
    left = [run / ".log.csv.0a1b.partial", run / "model" / ".README.md.2c3d.partial"]
    for path in left:
        path.write_text("half")
    (run / ".model.4e5f.partial" / "text").mkdir(parents=True)
    (run / "log.csv").write_text("epoch\n")
    check_folder(run, config)
    claim_folder(run, config, "fingerprint", None)
    assert {path.name for path in run.rglob("*")} == {
        "config.toml",
        "data.sha256",
        "log.csv",
        "model",
    }
