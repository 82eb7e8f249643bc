"""Unpacking archives: nothing outside the folder, and clear errors."""

import os
import stat
import zipfile
from types import SimpleNamespace

import py7zr
import pytest

from otomatch.datasets import archives
from otomatch.errors import DownloadError
from tests.support.archives import write_7z, write_zip


@pytest.mark.parametrize("name", ["../evil.txt", "/var/evil.txt", "a/../../evil.txt", "C:\\evil"])
def test_no_member_of_a_zip_archive_may_leave_the_folder(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(name, "evil")
    with pytest.raises(DownloadError, match="would be written outside"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_member_of_a_7z_archive_may_leave_the_folder(tmp_path, monkeypatch):
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writestr("evil", "good.txt")
        monkeypatch.setattr("py7zr.py7zr.check_archive_path", lambda _: True)
        archive.writestr("evil", "../evil.txt")
    with pytest.raises(DownloadError, match="would be written outside"):
        archives.unpack(tmp_path / "a.7z", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_in_archives_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    os.symlink("/etc/passwd", tmp_path / "link")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "link", "link")
    for name in ("a.zip", "a.7z"):
        with pytest.raises(DownloadError, match="'link' is a link"):
            archives.unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".7z"])
def test_a_damaged_archive_is_an_error_that_says_what_to_do(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "noise").write_bytes(os.urandom(5000))
    if suffix == ".zip":
        write_zip(path, tmp_path / "source")
    else:
        write_7z(path, tmp_path / "source")
    whole = path.read_bytes()
    archives.unpack(path, tmp_path / "out")
    for damaged in (whole[:1000], whole[:2000] + bytes(100) + whole[2100:]):
        path.write_bytes(damaged)
        with pytest.raises(DownloadError, match="remove it and download it again"):
            archives.unpack(path, tmp_path / "out")


def test_a_full_disk_is_noticed_before_unpacking(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "zeros").write_bytes(bytes(10_000))
    write_zip(tmp_path / "a.zip", tmp_path / "source")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=9_999))
    with pytest.raises(DownloadError, match="free some space"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
