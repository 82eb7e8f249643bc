"""Read what composing scenes has written."""

import csv
from collections.abc import Mapping

import soundfile

from otomatch.audio import Waveform
from otomatch.datasets import CaptionDataset
from otomatch.datasets.scenes.composition import TRUTH_TABLE
from otomatch.datasets.scenes.mixing import RATE


def truth(dataset: CaptionDataset) -> list[dict[str, str]]:
    """Return the rows that describe each scene of a folder."""
    with (dataset.root / TRUTH_TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_scene(dataset: CaptionDataset, row: Mapping[str, str]) -> Waveform:
    """Return the waveform of the scene that a row describes."""
    waveform, rate = soundfile.read(dataset.root / row["file_name"], dtype="float32")
    assert rate == RATE
    return waveform
