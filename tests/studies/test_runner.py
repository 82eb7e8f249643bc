"""Studies as they are run, continued and repeated."""

import numpy as np
import pytest

from otomatch.errors import ConfigError, RunError
from otomatch.studies import cells
from otomatch.studies import worker as cell_process
from otomatch.studies.catalogue import STUDIES, Arm
from otomatch.studies.runner import run_study
from tests.support.sounds import write_csv, write_labelled_folder
from tests.support.study_runs import (
    BROKEN,
    MATCHING,
    NTXENT,
    QUIET,
    in_this_process,
    study_of,
)
from tests.support.tiny import write_tones


@pytest.mark.slow
def test_a_study_trains_and_measures_every_arm_with_every_seed(tones, settings, in_process):
    found = run_study(study_of(MATCHING, NTXENT), settings(seeds=2), QUIET)
    assert len(in_process) == found.planned == 4
    assert [(o.arm.label, o.seed, o.test) for o in found.outcomes] == [
        (label, seed, f"{tones.name}-test") for seed in (0, 1) for label in ("m-LTM", "NT-Xent")
    ]
    for outcome in found.outcomes:
        assert outcome.values["clips"] == 10
        assert outcome.values["metric_parameters"] == 12 * 13 / 2
        assert outcome.values["peak_mb"] > 50
        assert outcome.values["best_epoch"] == len(outcome.curve) == 1
        assert outcome.values["steps"] == 2  # 20 clips in batches of 8
        for k in (1, 5, 10):
            for side in ("t2a", "a2t"):
                values = outcome.per_clip[f"{side}_r{k}"]
                assert np.mean(values) == pytest.approx(outcome.values[f"{side}_r{k}"])
    assert found.outcomes[0].values["iterations"] > 0
    assert np.isnan(found.outcomes[1].values["iterations"])  # NT-Xent has no plan


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_a_changed_grid_reruns_what_changed(
    settings, in_process
):
    first = run_study(study_of(MATCHING), settings(), QUIET)
    again = run_study(study_of(MATCHING, NTXENT), settings(seeds=2), QUIET)
    assert len(in_process) == 4
    assert len(set(in_process)) == 4
    assert again.outcomes[0].values == first.outcomes[0].values
    run_study(study_of(NTXENT, MATCHING), settings(seeds=2), QUIET)
    assert len(in_process) == 4


@pytest.mark.slow
def test_changed_data_are_another_cell(tiny_bert, settings, in_process, tmp_path):
    data = write_tones(tmp_path / "own", clips=24, splits=("train", "val", "test"))
    run_study(study_of(MATCHING), settings(data), QUIET)
    rows = [line.split(",") for line in (data / "captions.csv").read_text().splitlines()]
    rows[1][1] = "a short whistle"
    write_csv(data / "captions.csv", rows)
    run_study(study_of(MATCHING), settings(data), QUIET)
    assert len(set(in_process)) == 2


@pytest.mark.slow
def test_other_data_to_validate_on_are_another_cell(settings, in_process, tmp_path):
    val = write_tones(tmp_path / "val", clips=8)
    run_study(study_of(MATCHING), settings(), QUIET)
    run_study(study_of(MATCHING), settings(overrides=[f"data.val={str(val)!r}"]), QUIET)
    assert len(set(in_process)) == 2


def test_a_study_of_other_data_is_not_written_over(settings, in_process, tmp_path):
    other = write_tones(tmp_path / "other", clips=24, splits=("train", "val", "test"))
    run_study(study_of(MATCHING), settings(), QUIET)
    with pytest.raises(
        RunError, match=r"holds this study of other data.*choose another output folder"
    ):
        run_study(study_of(MATCHING), settings(other), QUIET)


@pytest.mark.slow
def test_data_that_moved_are_the_same_and_a_stopped_run_on_them_goes_on(
    tiny_bert, settings, in_process, tmp_path, monkeypatch
):
    data = write_tones(tmp_path / "first" / "own", clips=24, splits=("train", "val", "test"))
    monkeypatch.setattr(cell_process, "_cost", lambda *_: 1 / 0)  # stopped before its end
    assert len(run_study(study_of(MATCHING), settings(data), QUIET).failures) == 1
    monkeypatch.undo()
    data.parent.rename(tmp_path / "second")
    moved = tmp_path / "second" / "own"
    found = run_study(study_of(MATCHING), settings(moved, retry=True), QUIET)
    assert found.failures == ()
    assert len({*(p.name for p in (settings().out / "cells").iterdir())}) == 1


@pytest.mark.slow
def test_a_test_set_that_changed_is_measured_again_without_training(
    settings, in_process, tmp_path, monkeypatch
):
    run_study(study_of(MATCHING), settings(), QUIET)
    monkeypatch.setattr(cells, "MEASUREMENT_VERSION", cells.MEASUREMENT_VERSION + 1)
    monkeypatch.setattr(cell_process, "train", None)  # would fail
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert len(in_process) == 2
    assert len(set(in_process)) == 1
    assert len(found.outcomes) == 1


@pytest.mark.slow
def test_a_failed_cell_is_recorded_and_the_rest_goes_on(settings, in_process):
    needy = Arm("needy", {"loss": "needy"}, after="broken")
    study = study_of(BROKEN, needy, NTXENT)
    found = run_study(study, settings(), QUIET)
    assert [o.arm.label for o in found.outcomes] == ["NT-Xent"]
    errors = {f.arm.label: f.error for f in found.failures}
    assert errors["broken"].startswith("DatasetError: ")
    assert "9999 training clips were requested, but there are 20" in errors["broken"]
    assert errors["needy"] == "it needs 'broken', which failed"
    run_study(study, settings(), QUIET)
    assert len(in_process) == 2  # not tried again
    run_study(study, settings(retry=True), QUIET)
    assert len(in_process) == 3  # unless asked to


@pytest.mark.slow
def test_a_measurement_that_failed_does_not_stick_to_the_cell(
    tones, settings, in_process, monkeypatch
):
    def fail(*_):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(cell_process, "save_measurement", fail)
    found = run_study(study_of(MATCHING), settings(), QUIET)
    assert found.failures[0].error.startswith("RuntimeError: no such luck")
    monkeypatch.undo()
    monkeypatch.setattr(cell_process, "train", None)  # would fail
    monkeypatch.setattr(cells.subprocess, "run", in_this_process([]))
    labelled = write_labelled_folder(tones.parent / "labelled")
    found = run_study(study_of(MATCHING), settings(zeroshot=f"esc-50:{labelled}"), QUIET)
    assert found.failures == ()
    assert 0 <= found.outcomes[0].values["zeroshot"] <= 100


def test_a_folder_that_is_no_study_is_left_alone(settings, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="is not empty and holds no studies"):
        run_study(study_of(MATCHING), settings(), QUIET)


def test_transfer_takes_two_data_sets(settings):
    with pytest.raises(ConfigError, match=r"transfer takes 2 data set\(s\), got 1"):
        run_study(STUDIES["transfer"], settings(), QUIET)
