"""The record of how a study was run."""

import json

import pytest
import torch

from otomatch.datasets import open_dataset
from otomatch.studies.runner import run_study
from tests.support.study_runs import NTXENT, QUIET, study_of


@pytest.mark.slow
def test_the_record_says_how_to_repeat_a_study(tones, settings, in_process):
    given = settings(command="otomatch study losses --data tones")
    about = run_study(study_of(NTXENT), given, QUIET).provenance
    assert about["command"] == "otomatch study losses --data tones"
    assert f"{tones.name}-test (10 clips)" in about["test sets"]
    assert f"torch {torch.__version__.split('+')[0]}" in about["versions"]
    assert "cores" in about["machine"]
    assert open_dataset(given.data[0]).splits == ("test", "train", "val")
    assert json.dumps(about)
