"""Cells as planned from a study and its settings."""

from dataclasses import replace

import pytest

from otomatch.errors import ConfigError
from otomatch.studies.catalogue import Arm
from otomatch.studies.planning import StudySettings, base_config, plan_cells
from otomatch.studies.runner import run_study
from tests.support.study_runs import MATCHING, NTXENT, QUIET, prepared, study_of


@pytest.mark.parametrize("override", ["run.seed=3", "data.path=x", "data.pairs=x.csv"])
def test_what_a_study_chooses_itself_is_refused(settings, override):
    with pytest.raises(ConfigError, match=f"override {override} is not allowed: a study sets"):
        run_study(study_of(MATCHING), settings(overrides=[override]), QUIET)


def test_an_override_that_an_arm_does_not_know_names_the_arm(settings):
    with pytest.raises(ConfigError, match=r"NT-Xent: .*\n.*loss\.epsilon = 0\.03: unknown key"):
        run_study(study_of(MATCHING, NTXENT), settings(overrides=["loss.epsilon=0.03"]), QUIET)


def test_another_encoder_is_not_given_the_settings_of_the_default_one(tones):
    given = StudySettings([str(tones)], tones, overrides=["audio.encoder=Cnn10"])
    assert base_config(given).audio.settings == {}
    assert base_config(StudySettings([str(tones)], tones)).audio.settings["channels"][0] == 16


@pytest.mark.slow
def test_an_arm_trains_with_the_pairs_that_another_judged(settings, in_process):
    auto = Arm(
        "auto",
        {"loss": "auto"},
        ("loss.target=trimmed", "loss.mass=auto", "data.noise=0.5", "optim.epochs=2"),
    )
    audit = Arm(
        "audit", {"loss": "audit"}, ("data.noise=0.5", "data.min_weight=0.01"), after="auto"
    )
    study = study_of(auto, audit)
    found = run_study(study, settings(), QUIET)
    assert found.failures == ()
    assert len(found.outcomes) == 2
    data = prepared(settings())
    first, second = plan_cells(study, settings(), data)
    assert second.config.data.pairs == str(first.folder / "run" / "pairs.csv")
    other = replace(auto, overrides=(*auto.overrides, "optim.lr=0.02"))
    keys = [cell.key for cell in plan_cells(study_of(other, audit), settings(), data)]
    assert not {first.key, second.key} & set(keys)  # it depends on what was judged
