"""Replacing files and folders atomically, and the cache folder."""

import os
import stat
import threading
from pathlib import Path

import pytest

from otomatch.files import PARTIAL, cache_folder, replacing, write_text


def make_folder(path: Path, content: str = "new") -> None:
    path.mkdir()
    (path / "a.txt").write_text(content)
    (path / "sub").mkdir()
    (path / "sub" / "b.txt").write_text(content)


def make_file(path: Path, content: str = "new") -> None:
    path.write_text(content)


def content_of(path: Path) -> dict[str, str] | str:
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_text() for p in path.rglob("*") if p.is_file()}
    return path.read_text()


@pytest.mark.parametrize(
    ("before", "make"),
    [
        (None, make_file),
        (None, make_folder),
        (make_file, make_file),
        (make_file, make_folder),
        (make_folder, make_folder),
    ],
)
def test_a_file_or_folder_takes_the_place_of_what_was_there_and_leaves_nothing_else(
    tmp_path, before, make
):
    target = tmp_path / "deep" / "er" / "target"
    if before is not None:
        target.parent.mkdir(parents=True)
        before(target, "old")
    with replacing(target) as partial:
        assert not partial.exists()
        assert partial.parent == target.parent
        assert partial.name.endswith(PARTIAL)
        make(partial)
        assert target.exists() == (before is not None)
    make(tmp_path / "expected")
    assert content_of(target) == content_of(tmp_path / "expected")
    assert os.listdir(target.parent) == ["target"]


def test_a_folder_is_not_replaced_with_a_file(tmp_path):
    make_folder(tmp_path / "target", "old")
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "target") as partial:
        make_file(partial)
    assert set(content_of(tmp_path / "target").values()) == {"old"}
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("make", [make_file, make_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_content_stays_and_no_temporary_one(tmp_path, make, error):
    def fail(name):
        with replacing(tmp_path / name) as partial:
            make(partial, "half")
            raise error

    make(tmp_path / "old", "old")
    before = content_of(tmp_path / "old")
    for name in ("old", "absent"):
        with pytest.raises(error):
            fail(name)
    assert content_of(tmp_path / "old") == before
    assert os.listdir(tmp_path) == ["old"]


def test_a_folder_that_cannot_be_moved_into_place_leaves_the_old_one(tmp_path, monkeypatch):
    make_folder(tmp_path / "target", "old")
    rename = Path.rename

    def refuse(path, target):
        if path.name.endswith(PARTIAL) and (path / "mine.txt").exists():
            raise PermissionError(13, "refused")
        return rename(path, target)

    def replace():
        with replacing(tmp_path / "target") as partial:
            make_folder(partial, "new")
            (partial / "mine.txt").touch()

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        replace()
    assert set(content_of(tmp_path / "target").values()) == {"old"}
    assert os.listdir(tmp_path) == ["target"]


def test_a_folder_that_another_process_has_created_can_be_kept(tmp_path):
    target = tmp_path / "target"
    with replacing(target, overwrite=False) as partial:
        make_folder(partial, "mine")
        make_folder(target, "theirs")
    assert set(content_of(target).values()) == {"theirs"}
    assert os.listdir(tmp_path) == ["target"]
    with replacing(tmp_path / "other", overwrite=False) as partial:
        make_folder(partial, "mine")
    assert set(content_of(tmp_path / "other").values()) == {"mine"}


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "\U0001f41f" * 63])
@pytest.mark.parametrize("make", [make_file, make_folder])
def test_the_longest_names_can_be_replaced(tmp_path, make, name):
    for content in ("one", "two"):
        with replacing(tmp_path / name) as partial:
            make(partial, content)
    assert "two" in str(content_of(tmp_path / name))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
@pytest.mark.parametrize("durable", [False, True])
def test_the_umask_decides_the_mode_of_a_new_file(tmp_path, umask, mode, durable):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "text")
        with replacing(tmp_path / "b.bin", durable=durable) as partial:
            partial.write_bytes(b"bytes")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.bin")}
    assert modes == {mode}


def test_text_is_written_in_utf_8_with_its_own_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "one\r\ntwo\nthree \u00e9")
    assert (tmp_path / "a.txt").read_bytes() == b"one\r\ntwo\nthree \xc3\xa9"
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\udcff")
    assert (tmp_path / "a.txt").read_text().startswith("one")
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("make", [make_file, make_folder])
@pytest.mark.parametrize("overwrite", [False, True])
def test_two_writers_at_once_never_fail_and_leave_the_whole_of_one(tmp_path, make, overwrite):
    start = threading.Barrier(2)
    errors = []

    def write(content):
        start.wait()
        try:
            for _ in range(100):
                with replacing(tmp_path / "target", overwrite=overwrite) as partial:
                    make(partial, content)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = content_of(tmp_path / "target")
    assert found in ("one", "two") or set(found.values()) in ({"one"}, {"two"})
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTOMATCH_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/otomatch"),
        ({"HOME": "/c"}, "/c/.cache/otomatch"),
    ],
)
def test_the_cache_lies_where_it_is_documented(variables, expected, monkeypatch):
    for name in ("OTOMATCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
