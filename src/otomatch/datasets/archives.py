"""Unpacking zip and 7z archives so that nothing can be written outside the target."""

import lzma
import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from otomatch.errors import DownloadError, MissingDependencyError


def require_unpacker(suffix: str) -> None:
    """Raise MissingDependencyError if archives of this kind (``.zip``, ``.7z``) cannot be read."""
    if suffix == ".7z":
        _py7zr()


def unpack(archive: Path, target: Path) -> Path:
    """Unpack an archive (``.zip`` or ``.7z``) into a folder of its own; returns that folder.

    What an earlier attempt left in the folder is removed first.

    Raises:
        DownloadError: it is damaged, it has a member that would lie outside the folder or is a
            link, or the disk has no room for it.
        MissingDependencyError: py7zr, which reads 7z, is not installed.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        (_unpack_7z if archive.suffix == ".7z" else _unpack_zip)(archive, target)
    except (zipfile.BadZipFile, lzma.LZMAError, EOFError) as error:
        raise DownloadError(
            f"{archive} cannot be unpacked ({error}); remove it and run the command again"
        ) from error
    return target


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        links = (member.filename for member in members if _is_link(member))
        _refuse(archive, target, (m.filename for m in members), links)
        _need_room(archive, target, sum(member.file_size for member in members))
        file.extractall(target)


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _unpack_7z(archive: Path, target: Path) -> None:
    py7zr = _py7zr()
    try:
        with py7zr.SevenZipFile(archive) as file:
            links = (member.filename for member in file.files if member.is_symlink)
            _refuse(archive, target, file.getnames(), links)
            _need_room(archive, target, file.archiveinfo().uncompressed)
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


def _refuse(archive: Path, target: Path, names: Iterable[str], links: Iterable[str]) -> None:
    for name in names:
        windows = PureWindowsPath(name)
        if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts:
            raise DownloadError(
                f"{archive}: the member {name!r} would be written outside {target}; the archive is "
                "not what it should be: remove it"
            )
    for name in links:
        raise DownloadError(f"{archive}: the member {name!r} is a link; remove the archive")


def _need_room(archive: Path, target: Path, size: int) -> None:
    free = shutil.disk_usage(target).free
    if size > free:
        raise DownloadError(
            f"{archive.name} needs {size / 1e9:.1f} GB to unpack, but {target} has "
            f"{free / 1e9:.1f} GB left; make room and run the command again"
        )
