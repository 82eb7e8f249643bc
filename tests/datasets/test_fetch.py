"""Fetching data sets from a server on this machine: complete, resumed, refused, reused."""

import hashlib
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from otomatch.datasets import fetch, open_dataset
from otomatch.datasets.fetch import audiocaps_guide, fetch_clotho, fetch_esc50
from otomatch.errors import DatasetError, DownloadError, MissingDependencyError
from tests.support.archives import write_7z, write_zip
from tests.support.layouts import CLOTHO_FOLDERS, write_clotho, write_esc50
from tests.support.sounds import write_audio

SPLITS = tuple(CLOTHO_FOLDERS)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and remembers what was asked for."""

    def do_GET(self):
        self.server.asked.append(Path(self.path.partition("?")[0]).name)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server for ``tmp_path / "published"``."""
    (tmp_path / "published").mkdir()
    handler = partial(Handler, directory=str(tmp_path / "published"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        serving.asked = []
        serving.folder = tmp_path / "published"
        thread = threading.Thread(target=lambda: serving.serve_forever(poll_interval=0.01))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def zenodo(tmp_path_factory) -> Path:
    """Clotho as Zenodo has it, in miniature."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("zenodo")
    write_clotho(source, clips=(3, 2, 2), seconds=0.1)
    for published in CLOTHO_FOLDERS.values():
        write_7z(folder / f"clotho_audio_{published}.7z", source / published)
        for table in source.glob(f"*_{published}.csv"):
            shutil.copy(table, folder)
    return folder


@pytest.fixture
def clotho(server, zenodo, monkeypatch):
    """The server with Clotho."""
    shutil.copytree(zenodo, server.folder, dirs_exist_ok=True)
    sums = {path.name: md5(path) for path in server.folder.iterdir()}
    assert sums.keys() == fetch.CLOTHO_MD5.keys()
    monkeypatch.setattr(fetch, "CLOTHO_MD5", sums)
    monkeypatch.setattr(fetch, "CLOTHO_URL", f"http://127.0.0.1:{server.server_port}")
    return server


@pytest.fixture
def esc50(server, tmp_path, monkeypatch):
    """The server with ESC-50 as GitHub has it, in miniature."""
    source = write_esc50(tmp_path / "source" / "ESC-50-master", seconds=0.1)
    write_zip(server.folder / "master.zip", source.parent)
    monkeypatch.setattr(fetch, "ESC50_URL", f"http://127.0.0.1:{server.server_port}/master.zip")
    monkeypatch.setattr(fetch, "ESC50_CLIPS", 20)
    return server


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324


def interrupt(*_: object) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def quietly(line: str) -> None:
    """Tell nobody."""


def test_clotho_is_fetched_and_opens_and_nothing_else_is_left(clotho, tmp_path):
    said: list[str] = []
    fetch_clotho(tmp_path / "data", SPLITS, said.append, progress=False)
    data = open_dataset("clotho", tmp_path / "data")
    assert (len(data), data.skipped) == (7, ())
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        *CLOTHO_FOLDERS.values(),
        *(name for name in fetch.CLOTHO_MD5 if name.endswith(".csv")),
    }
    assert said[:2] == ["unpacking clotho_audio_development.7z", "development: complete, 3 clips"]


def test_a_second_run_downloads_nothing(clotho, tmp_path):
    fetch_clotho(tmp_path / "data", SPLITS, quietly, progress=False)
    assert len(clotho.asked) == 9
    fetch_clotho(tmp_path / "data", SPLITS, quietly, progress=False)
    assert len(clotho.asked) == 9


def test_only_the_splits_that_are_asked_for_and_not_complete_are_fetched(clotho, tmp_path):
    fetch_clotho(tmp_path / "data", ["test"], quietly, progress=False)
    assert open_dataset("clotho", tmp_path / "data").splits == ("test",)
    clotho.asked.clear()
    fetch_clotho(tmp_path / "data", ["val", "test"], quietly, progress=False)
    assert {name.rpartition("_")[2].partition(".")[0] for name in clotho.asked} == {"validation"}


def test_clotho_in_the_folders_of_another_tool_is_not_fetched_again(clotho, tmp_path):
    write_clotho(tmp_path / "data", "aac", clips=(3, 2, 2), seconds=0.1)
    fetch_clotho(tmp_path / "data", SPLITS, quietly, progress=False)
    assert clotho.asked == []


def test_a_split_that_lost_a_clip_is_completed_and_what_is_there_stays(clotho, tmp_path):
    fetch_clotho(tmp_path / "data", ["train"], quietly, progress=False)
    (tmp_path / "data/development/Night birds 1.wav").unlink()
    (tmp_path / "data/development/my notes.txt").write_text("keep")
    fetch_clotho(tmp_path / "data", ["train"], quietly, progress=False)
    assert open_dataset("clotho", tmp_path / "data").skipped == ()
    assert (tmp_path / "data/development/my notes.txt").read_text() == "keep"


@pytest.mark.parametrize("tables_are_there", [False, True])
def test_what_an_interrupted_run_had_unpacked_does_not_count_and_does_not_disturb(
    clotho, tmp_path, monkeypatch, tables_are_there
):
    if tables_are_there:
        (tmp_path / "data").mkdir()
        shutil.copy(clotho.folder / "clotho_captions_validation.csv", tmp_path / "data")
    move = fetch._move
    monkeypatch.setattr(fetch, "_move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_clotho(tmp_path / "data", ["val"], quietly, progress=False)
    assert not (tmp_path / "data/validation").exists()
    monkeypatch.setattr(fetch, "_move", move)
    clotho.asked.clear()
    fetch_clotho(tmp_path / "data", ["val"], quietly, progress=False)
    assert clotho.asked == []
    assert len(open_dataset("clotho", tmp_path / "data")) == 2


def test_a_file_with_the_wrong_sum_is_refused_and_nothing_looks_complete(
    clotho, tmp_path, monkeypatch
):
    sums = {**fetch.CLOTHO_MD5, "clotho_audio_evaluation.7z": "0" * 32}
    monkeypatch.setattr(fetch, "CLOTHO_MD5", sums)
    with pytest.raises(DownloadError, match="MD5 sum"):
        fetch_clotho(tmp_path / "data", ["test"], quietly, progress=False)
    with pytest.raises(DatasetError):
        open_dataset("clotho", tmp_path / "data")


def test_an_archive_that_lacks_a_clip_of_its_table_is_an_error_that_names_it(
    clotho, tmp_path, monkeypatch
):
    path = clotho.folder / "clotho_audio_validation.7z"
    path.unlink()
    write_audio(tmp_path / "validation" / "Night birds 3.wav")
    write_7z(path, tmp_path / "validation")
    monkeypatch.setitem(fetch.CLOTHO_MD5, path.name, md5(path))
    with pytest.raises(
        DatasetError, match=r"lacks clips .* 1, the first: validation/Night birds 4"
    ):
        fetch_clotho(tmp_path / "data", ["val"], quietly, progress=False)
    assert not (tmp_path / "data/validation").exists()


def test_an_unknown_split_is_refused_before_anything_is_fetched(clotho, tmp_path):
    with pytest.raises(DatasetError, match="no split 'dev'; it has train, val, test"):
        fetch_clotho(tmp_path / "data", ["dev"], quietly)
    assert clotho.asked == []


def test_without_py7zr_the_error_names_the_extra_before_anything_is_fetched(
    clotho, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'otomatch\[datasets\]'"):
        fetch_clotho(tmp_path / "data", SPLITS, quietly)
    assert clotho.asked == []


def test_esc50_is_fetched_once_and_opens(esc50, tmp_path):
    for _ in range(2):
        fetch_esc50(tmp_path / "data", quietly, progress=False)
    assert esc50.asked == ["master.zip"]
    assert len(open_dataset("esc-50", tmp_path / "data")) == 20
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"audio", "meta"}


def test_esc50_with_a_clip_too_few_is_refused_and_its_archive_removed(esc50, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ESC50_CLIPS", 21)
    with pytest.raises(DatasetError, match="does not have 21 clips"):
        fetch_esc50(tmp_path / "data", quietly, progress=False)
    assert not (tmp_path / "data/audio").exists()
    assert not list((tmp_path / "data").rglob("*.zip"))


def test_the_guide_for_audiocaps_leads_to_folders_that_open(tmp_path):
    guide = audiocaps_guide(tmp_path)
    for place in ("AUDIOCAPS/train.csv", "csv_files/train.csv", "waveforms/train/Y*.wav"):
        assert f"{tmp_path}/{place}" in guide
    assert f"otomatch data check audiocaps {tmp_path}" in guide
