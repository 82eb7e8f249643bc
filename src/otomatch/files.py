"""Atomic replacement of files and folders, the cache folder, and downloads that resume.

The cache folder is ``$OTOMATCH_CACHE`` if set, else ``$XDG_CACHE_HOME/otomatch``, else
``~/.cache/otomatch``. It can be deleted at any time.
"""

import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from otomatch.errors import DownloadError

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = 30  # without receiving a byte

PARTIAL = ".partial"
"""Suffix of the temporary files and folders of `replacing`; a killed process may leave one."""


@contextmanager
def replacing(path: Path, *, durable: bool = False, overwrite: bool = True) -> Iterator[Path]:
    """Replace a file or folder atomically with one written to a temporary path beside it.

    If an error is raised, the temporary file or folder is removed and ``path`` stays as it was.
    Temporary names are unique, so several processes may replace the same path at once, and the last
    one wins. An existing folder is moved aside just before the new one takes its place; for an
    instant there is none.

    Args:
        path: File or folder to replace. Its parent folder is created if needed.
        durable: Flush the new file to disk before it replaces the old one; for files only.
        overwrite: Replace an existing folder. If False, an existing folder is kept and the new one
            discarded, so that ``path`` never goes missing; for folders only.

    Yields:
        Path at which to create the new file or folder.

    Raises:
        OSError: The file or folder cannot be written or replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        if partial.is_dir():
            _replace_folder(path, partial, overwrite)
        else:
            partial.replace(path)
    finally:
        _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to a file in UTF-8, replacing the file atomically as `replacing` does."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def _beside(path: Path) -> Path:
    # A file name may have up to 255 bytes, so a long one is cut to make room for the random part.
    stem = path.name.encode()[:200].decode(errors="ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(4)}{PARTIAL}")


def _replace_folder(path: Path, partial: Path, overwrite: bool) -> None:
    old = _beside(path)
    while True:
        if overwrite:
            with suppress(FileNotFoundError):
                path.rename(old)
        try:
            partial.rename(path)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
            if not overwrite:
                return
            _remove(old)  # another process has put its folder there, which is replaced next
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the folder for downloaded and computed files."""
    if "OTOMATCH_CACHE" in os.environ:
        return Path(os.environ["OTOMATCH_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "otomatch"


def file_md5(path: Path) -> str:
    """Return the MD5 sum of a file as 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, name: str, md5: str | None, folder: Path, progress: bool = True) -> Path:
    """Download a file unless it is already there.

    Bytes received so far are kept as ``name.part``, and an interrupted download resumes from them.
    Several processes that ask for the same file download it once.

    Args:
        url: Address of the file (http or https).
        name: File name in ``folder``.
        md5: Published MD5 sum, 32 hex digits; None to skip the check.
        folder: Folder to save the file in; created if needed.
        progress: Show a progress bar if standard error is a terminal.

    Returns:
        Path of the complete, checked file.

    Raises:
        DownloadError: The file cannot be downloaded, or its MD5 sum differs from ``md5``. An
            existing file with another sum is left as it is.
    """
    path = folder / name
    if path.is_file():
        return _checked(path, md5, f"move it away to download it from {url}")
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():  # another process may have finished it meanwhile
                _fetch(url, path, md5, progress)
    except OSError as error:  # network (requests' errors are subclasses) or disk
        raise DownloadError(
            f"{url} cannot be downloaded: {error}. Try again (the download resumes where it "
            f"stopped), or get the file by hand and save it as {path}"
        ) from error
    return path


def _fetch(url: str, path: Path, md5: str | None, progress: bool) -> None:
    import requests

    part = path.with_name(f"{path.name}.part")
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, progress)
            break
        except requests.RequestException:
            if part.stat().st_size <= before:  # try again only while requests make progress
                raise
    try:
        _checked(part, md5, f"the file from {url} was removed; try again")
    except DownloadError:
        part.unlink()
        raise
    part.replace(path)


def _receive(url: str, part: Path, progress: bool) -> None:
    """Request the missing rest of the partial file once, and append it."""
    import requests
    from pooch import HTTPDownloader

    with ExitStack() as opened:
        file = opened.enter_context(part.open("ab"))
        done = file.tell()

        def restart_if_not_resumed(response: Any, **_: Any) -> None:
            opened.callback(response.close)
            if response.status_code == requests.codes.ok:  # the whole file, not a part
                file.truncate(0)

        # Compressed transfers would break the byte count of the range.
        headers = {"User-Agent": "otomatch", "Accept-Encoding": "identity"}
        receive = HTTPDownloader(
            progressbar=progress and sys.stderr.isatty(),
            chunk_size=_CHUNK_BYTES,
            timeout=_TIMEOUT_SECONDS,
            headers=headers | ({"Range": f"bytes={done}-"} if done else {}),
            hooks={"response": restart_if_not_resumed},
        )
        try:
            receive(url, file, None)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.range_not_satisfiable:
                raise
            if (
                error.response.headers.get("Content-Range") != f"bytes */{done}"
            ):  # else the file is complete
                file.truncate(0)
                raise


def _checked(path: Path, md5: str | None, advice: str) -> Path:
    if md5 is not None and (found := file_md5(path)) != md5.lower():
        raise DownloadError(f"{path} has the MD5 sum {found}, expected {md5}; {advice}")
    return path
