"""What a library says about itself, what is removed from it, and exports for other programs."""

import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from otomatch.datasets.base import Skipped
from otomatch.errors import InvalidInputError, LibraryError
from otomatch.library import SoundLibrary
from otomatch.library.contents import mean_vectors
from otomatch.library.exporting import write_skipped
from tests.support.library_sounds import write_odd_names


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_odd_names(tmp_path / "my sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path, sounds: Path) -> SoundLibrary:
    made = SoundLibrary.create(tmp_path / "library", small_model, hop=0.25)
    made.index(sounds)
    return made


def test_info_says_what_is_there(library, sounds, small_model, tmp_path):
    info = library.info()
    assert (info.sounds, info.windows, info.seconds) == (3, 7, pytest.approx(3.5))
    assert info.roots == (str(sounds),)
    assert (info.window, info.hop) == (1.0, 0.25)
    assert (info.model, info.fingerprint) == (str(small_model), library.model.fingerprint)
    files = [path for path in (tmp_path / "library").rglob("*") if path.is_file()]
    assert info.bytes == sum(path.stat().st_size for path in files)
    assert info.created <= info.updated
    json.dumps(info.to_dict())
    assert "T" in info.updated


def test_info_of_an_empty_library_is_all_zeros(tmp_path, small_model):
    info = SoundLibrary.create(tmp_path / "empty", small_model).info()
    assert (info.sounds, info.windows, info.seconds, info.roots) == (0, 0, 0.0, ())


def test_parquet_read_back_equals_the_table(library, tmp_path):
    assert library.export(tmp_path / "out.parquet") == 7
    back = pq.read_table(tmp_path / "out.parquet").sort_by("id")
    table = library.store.rows().sort_by("id")
    assert back.column_names == table.column_names
    for name in table.column_names:
        assert back[name].to_pylist() == table[name].to_pylist(), name
    assert json.loads(back.schema.metadata[b"otomatch"])["window"] == 1.0


def test_csv_has_a_row_for_each_window_and_survives_odd_names(library, tmp_path):
    library.export(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 7
    assert "vector" not in found[0]
    assert {row["path"] for row in found} == {sound.path for sound in library.sounds()}
    starts = sorted(float(row["start"]) for row in found if row["path"].endswith("hum.wav"))
    np.testing.assert_allclose(starts, [0, 0.25, 0.5, 0.75, 1.0])


def test_export_replaces_a_file_only_when_all_is_written(library, tmp_path, monkeypatch):
    out = tmp_path / "out.parquet"
    out.write_text("before")

    def fail(columns):
        yield from real(columns)
        raise OSError(28, "No space left on device")

    real = library.store.batches
    monkeypatch.setattr(library.store, "batches", fail)
    with pytest.raises(LibraryError, match=r"out\.parquet: cannot be written \(No space"):
        library.export(out)
    assert out.read_text() == "before"
    assert list(tmp_path.glob(".*")) == []


def test_export_refuses_other_names(library, tmp_path):
    with pytest.raises(InvalidInputError, match=r"ends in \.parquet or \.csv"):
        library.export(tmp_path / "out.json")
    with pytest.raises(LibraryError, match="cannot be written"):
        library.export(tmp_path / "none" / "out.csv")


def test_removing_a_file_or_a_folder_leaves_the_rest_and_the_files(library, sounds):
    assert library.remove(sounds / "hiss.flac") == 1
    assert library.remove(sounds / "de") == 0
    assert library.remove(str(sounds / "deep") + "/") == 1
    assert len(library.sounds()) == 1
    assert (sounds / "deep" / "hum.wav").is_file()
    assert library.remove(sounds.parent) == 1
    assert len(library) == 0


def test_lists_and_exports_go_through_devices_and_never_make_a_folder(library, tmp_path):
    pipe = tmp_path / "skipped.csv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(pipe.read_text)
        write_skipped(pipe, [Skipped("a.wav", "empty")])
    assert text.result() == "file,reason\na.wav,empty\n"
    assert pipe.is_fifo()
    for write in (lambda path: library.export(path), lambda path: write_skipped(path, [])):
        with pytest.raises(LibraryError, match=r"cannot be written \(there is no folder .*none"):
            write(tmp_path / "none" / "out.csv")
    assert not (tmp_path / "none").exists()


def test_mean_vectors_are_the_means_of_each_file_s_windows(library):
    sounds, means = mean_vectors(library.store)
    assert sounds == library.sounds()
    rows = library.store.rows(["file_id", "vector"]).to_pylist()
    for sound, mean in zip(sounds, means, strict=True):
        vectors = [row["vector"] for row in rows if row["file_id"] == sound.id]
        assert len(vectors) == sound.windows
        np.testing.assert_allclose(mean, np.mean(vectors, axis=0), atol=1e-6)


def test_records_can_be_used_without_loading_torch_or_lancedb():
    code = "import sys, otomatch.library.records; print({'torch', 'lancedb'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
