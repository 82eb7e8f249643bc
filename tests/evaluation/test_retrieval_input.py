"""Reports of retrieval as JSON, arguments that are refused, and memory."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch.errors import InvalidInputError
from otomatch.evaluation.ranks import rank_scores
from otomatch.evaluation.retrieval import (
    DirectionReport,
    RetrievalReport,
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
from tests.support.retrieval_cases import (
    random_embeddings,
)


def test_a_report_survives_json_with_whole_numbers_as_keys():
    audio, text, text_clip = random_embeddings()
    report = evaluate_embeddings(audio, text, text_clip)
    report = replace(report, transductive=evaluate_scores(audio @ text.T, text_clip))
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    again = RetrievalReport.from_dict(json.loads(json.dumps(data)))
    assert again == report
    assert again.transductive.text_to_audio.recall.keys() == {1, 5, 10}
    assert (again.clips, again.captions) == (40, 130)


@pytest.mark.parametrize(
    "broken", [{}, {"recall": {"one": 1}}, {"recall": [1]}, None, {"queries": "many"}]
)
def test_a_malformed_report_is_refused(broken):
    good = evaluate_scores(np.eye(2), [0, 1]).to_dict()
    direction = broken and {**good["text_to_audio"], **broken}
    with pytest.raises(InvalidInputError, match="report"):
        DirectionReport.from_dict(direction)
    with pytest.raises(InvalidInputError, match="report"):
        RetrievalReport.from_dict({**good, "audio_to_text": direction})


AUDIO, TEXT, OWNER = np.eye(3), np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("audio", "text", "owner", "message"),
    [
        (np.where(AUDIO == 1, np.nan, 0), TEXT, OWNER, "3 of 3 audio rows"),
        (AUDIO, np.where(TEXT == 1, np.inf, 0), OWNER, "4 of 4 text rows"),
        (AUDIO, TEXT[:, :2], OWNER, "3 dimensions and text 2"),
        (AUDIO[0], TEXT, OWNER, "two dimensions"),
        (AUDIO[:0], TEXT, OWNER, "neither empty"),
        (AUDIO, TEXT[:0], [], "neither empty"),
        (AUDIO * 1j, TEXT, OWNER, "expected real numbers"),
        (AUDIO.astype(str), TEXT, OWNER, "expected real numbers"),
        (AUDIO, torch.tensor(TEXT) > 0, OWNER, "expected real numbers"),
        (AUDIO, TEXT, OWNER[:3], "3 entries for 4 captions"),
        (AUDIO, TEXT, [0, 1, 2, 3], "row 3; expected 0 to 2"),
        (AUDIO, TEXT, [-1, 1, 2, 2], "row -1"),
        (AUDIO, TEXT, [0.0, 1.0, 2.0, 2.0], "whole row numbers"),
        (AUDIO, TEXT, [[], [], [], []], "names no clip"),
        (AUDIO, TEXT, 0, "expected a sequence with a row"),
        (AUDIO, TEXT, np.array(0), "expected a sequence with a row"),
    ],
)
def test_bad_input_is_refused_with_its_cause(audio, text, owner, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate_embeddings(audio, text, owner)


def test_bad_scores_and_options_are_refused_with_their_cause():
    with pytest.raises(InvalidInputError, match="NaN"):
        evaluate_scores(np.array([[0.0, np.nan]]), [0, 0])
    with pytest.raises(InvalidInputError, match="2 entries for 3 captions"):
        evaluate_scores(np.zeros((2, 3)), [0, 1])
    for tolerance in (-1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="tolerance"):
            rank_scores(AUDIO, [0, 1, 2], tolerance=tolerance)
    for options in ({"block": 0}, {"ks": (0,)}, {"map_ks": (1.5,)}):
        with pytest.raises(InvalidInputError, match=">= 1"):
            evaluate_embeddings(AUDIO, TEXT, OWNER, **options)


def test_the_modality_gap_refuses_other_dimensions_and_nan():
    with pytest.raises(InvalidInputError, match="dimensions"):
        modality_gap(AUDIO, TEXT[:, :2])
    with pytest.raises(InvalidInputError, match="text contains NaN"):
        modality_gap(AUDIO, TEXT * np.nan)


MEASURE = """
import sys, torch
from otomatch.evaluation.retrieval import evaluate_embeddings

def kilobytes(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1])

clips, captions, dim = map(int, sys.argv[1:])
evaluate_embeddings(torch.randn(2, dim), torch.randn(2, dim), [0, 1])
audio, text = torch.randn(clips, dim), torch.randn(captions, dim)
before = kilobytes("VmRSS")
evaluate_embeddings(audio, text, torch.arange(captions) % clips)
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("clips", "captions", "dim", "megabytes"),
    [
        (1000, 5000, 1024, 150),  # with the inputs and torch itself under 500 MB
        (3000, 12000, 16, 100),  # the full matrix of distances would take 288 MB
    ],
)
def test_streaming_needs_little_memory(clips, captions, dim, megabytes):
    command = [sys.executable, "-c", MEASURE, str(clips), str(captions), str(dim)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(found.stdout) / 1024 < megabytes
