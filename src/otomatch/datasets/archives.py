"""Unpack zip and 7z archives without writing anything outside the target folder."""

import lzma
import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from otomatch.errors import DownloadError, MissingDependencyError


def require_unpacker(suffix: str) -> None:
    """Raise MissingDependencyError if archives with this suffix cannot be unpacked."""
    if suffix == ".7z":
        _py7zr()


def unpack(archive: Path, target: Path) -> Path:
    """Unpack an archive (``.zip`` or ``.7z``) into an empty folder, and return the folder.

    Anything that is in the folder, such as the rest of an earlier attempt, is removed first.

    Raises:
        DownloadError: The archive is damaged, one of its members is a link or would be written
            outside the folder, or the disk has too little space.
        MissingDependencyError: The archive is 7z, and py7zr is not installed.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        (_unpack_7z if archive.suffix == ".7z" else _unpack_zip)(archive, target)
    except (zipfile.BadZipFile, lzma.LZMAError, EOFError) as error:
        raise DownloadError(
            f"{archive} cannot be unpacked ({error}); remove it and download it again"
        ) from error
    return target


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        links = (member.filename for member in members if _is_link(member))
        _check_members(archive, target, (m.filename for m in members), links)
        _check_space(archive, target, sum(member.file_size for member in members))
        file.extractall(target)


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _unpack_7z(archive: Path, target: Path) -> None:
    py7zr = _py7zr()
    try:
        with py7zr.SevenZipFile(archive) as file:
            links = (member.filename for member in file.files if member.is_symlink)
            _check_members(archive, target, file.getnames(), links)
            _check_space(archive, target, file.archiveinfo().uncompressed)
            file.extractall(target)
    except py7zr.exceptions.ArchiveError as error:
        raise EOFError(str(error)) from error


def _py7zr() -> Any:
    try:
        import py7zr
    except ImportError as error:
        raise MissingDependencyError(
            "unpacking 7z archives needs py7zr; install it with: pip install 'otomatch[datasets]'"
        ) from error
    return py7zr


def _check_members(archive: Path, target: Path, names: Iterable[str], links: Iterable[str]) -> None:
    for name in names:
        windows = PureWindowsPath(name)
        if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts:
            raise DownloadError(
                f"{archive}: the member {name!r} would be written outside {target}; remove the "
                "archive, it cannot be trusted"
            )
    for name in links:
        raise DownloadError(
            f"{archive}: the member {name!r} is a link; remove the archive, it cannot be trusted"
        )


def _check_space(archive: Path, target: Path, size: int) -> None:
    free = shutil.disk_usage(target).free
    if size > free:
        raise DownloadError(
            f"{archive.name} needs {size / 1e9:.1f} GB to unpack, but {target} has "
            f"{free / 1e9:.1f} GB left; free some space and try again"
        )
