"""The real tables of AudioCaps and Clotho."""

import csv

import pytest

from otomatch.datasets import open_dataset
from otomatch.datasets.caption_table import read_rows
from otomatch.datasets.clips import assemble
from otomatch.datasets.clotho import CLOTHO
from tests.support.layouts import (
    REAL,
    needs_real_captions,
)
from tests.support.sounds import tone, write_audio


@pytest.mark.slow
@needs_real_captions
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("audiocaps", (49274, 494, 957)), ("clotho", (3839, 1045, 1045))],
)
def test_real_rows_open_with_their_audio_and_are_listed_without_it(tmp_path, name, sizes):
    chosen = {}
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        path = tmp_path / "csv_files" / f"{split}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((REAL / f"{name}_{split}.csv").read_bytes())
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == size
        names = [row["file_name"] for row in rows]
        chosen[split] = names[:2] + [text for text in names if text != text.strip()]
        for text in chosen[split]:
            write_audio(tmp_path / "waveforms" / split / text, tone(440, 0.1))
    data = open_dataset(name, root=tmp_path)
    assert {s: len(data.select(s)) for s in data.splits} == {s: len(c) for s, c in chosen.items()}
    assert len(data) + len(data.skipped) == sum(sizes)
    assert all(entry.missing for entry in data.skipped)
    assert all(len(clip.captions) == 5 for clip in data.select("test").clips)


@needs_real_captions
def test_the_four_names_that_real_splits_of_clotho_share_stay_apart(tmp_path):
    rows, names = [], []
    for split in ("train", "val", "test"):
        namings = CLOTHO.namings(split)
        rows.append(read_rows(REAL / f"clotho_{split}.csv", namings, split))
        names.append({row.names[0].partition("/")[2] for row in rows[-1]})
    shared = (names[0] & names[1]) | (names[0] & names[2]) | (names[1] & names[2])
    assert len(shared) == 4
    kept = [row for part in rows for row in part if row.names[0].partition("/")[2] in shared]
    for row in kept:
        write_audio(tmp_path / row.names[0])
    data = assemble("clotho", tmp_path, kept, "the tables")
    assert [clip.id for clip in data.clips] == [row.names[0] for row in kept]
    assert data.skipped == ()
