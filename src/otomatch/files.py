"""Files: the cache folder, downloads that resume, and atomic replacement of files and folders.

The cache is ``$OTOMATCH_CACHE``, else ``$XDG_CACHE_HOME/otomatch``, else ``~/.cache/otomatch``. It
can be deleted at any time.
"""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from otomatch.errors import DownloadError

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = 30  # without a byte


PARTIAL = ".partial"
"""Ending of the temporary names that `replacing` uses; a kill can leave such a file or folder."""


@contextmanager
def replacing(path: Path, *, durable: bool = False, overwrite: bool = True) -> Iterator[Path]:
    """Replace a file or folder atomically with what is written to a temporary path beside it.

    The temporary name is unique, so that several processes may replace the same path at once; the
    last one wins. If an error is raised, the temporary file or folder is removed and ``path`` stays
    as it was. A folder that exists is moved aside first, so that for an instant there is none.

    Args:
        path: File or folder to replace; its parent folder is created if needed.
        durable: Flush the file to disk before it replaces the old one.
        overwrite: Replace a folder that exists. If False, a folder that another process has created
            in the meantime is kept and the new one discarded, so that there is never none.

    Yields:
        Path to write the new file or folder to; it does not exist yet.

    Raises:
        OSError: Something cannot be written or replaced.
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
    """Replace a file atomically with ``text`` in UTF-8, as `replacing` does."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def _beside(path: Path) -> Path:
    # Names may be up to 255 bytes long, so a long one is cut before the random part is added.
    stem = path.name.encode()[:200].decode(errors="ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(4)}{PARTIAL}")


def _replace_folder(path: Path, partial: Path, overwrite: bool) -> None:
    old = _beside(path)
    if path.exists():
        if not overwrite:
            return
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if overwrite or not path.exists():
            raise
    shutil.rmtree(old, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where downloaded and computed files are kept."""
    if "OTOMATCH_CACHE" in os.environ:
        return Path(os.environ["OTOMATCH_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "otomatch"


def file_md5(path: Path) -> str:
    """Md5 sum of a file, as 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, name: str, md5: str | None, folder: Path, progress: bool = True) -> Path:
    """Fetch a file, unless it is there; several processes that ask for it fetch it once.

    What was received is kept as ``name.part``, and an interrupted download goes on from there.

    Args:
        url: where it is published (http or https).
        name: what to call it in the folder.
        md5: its published sum, 32 hex digits; None if there is none, and nothing is checked.
        folder: where to keep it; made if need be.
        progress: show a progress bar, if standard error is a terminal.

    Returns:
        Path of the complete file, whose sum is right.

    Raises:
        DownloadError: the file cannot be had, or one that is there has another sum (it is left
            as it is).
    """
    path = folder / name
    if path.is_file():
        return _checked(path, md5, f"move it away to have it fetched from {url}")
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():  # else another process was faster
                _fetch(url, path, md5, progress)
    except OSError as error:  # of the network (requests' errors are among them) or of the disk
        raise DownloadError(
            f"{url} cannot be downloaded: {error}. Try again (what was received is kept, and the "
            f"download goes on from there), or get the file by hand and save it as {path}"
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
            if part.stat().st_size <= before:  # a connection that was cut after some bytes is
                raise  # worth another request, one that brings nothing is not
    try:
        _checked(part, md5, f"it came from {url} and is removed; try again")
    except DownloadError:
        part.unlink()
        raise
    part.replace(path)


def _receive(url: str, part: Path, progress: bool) -> None:
    """Append to the partial file what it lacks, in one request."""
    import requests
    from pooch import HTTPDownloader

    with ExitStack() as opened:
        file = opened.enter_context(part.open("ab"))
        done = file.tell()

        def begin_anew_if_not_resumed(response: Any, **_: Any) -> None:
            opened.callback(response.close)
            if response.status_code == requests.codes.ok:  # the whole, not the partial content
                file.truncate(0)

        # Compressed in transit, the bytes could not be counted.
        headers = {"User-Agent": "otomatch", "Accept-Encoding": "identity"}
        receive = HTTPDownloader(
            progressbar=progress and sys.stderr.isatty(),
            chunk_size=_CHUNK_BYTES,
            timeout=_TIMEOUT_SECONDS,
            headers=headers | ({"Range": f"bytes={done}-"} if done else {}),
            hooks={"response": begin_anew_if_not_resumed},
        )
        try:
            receive(url, file, None)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.range_not_satisfiable:
                raise
            if error.response.headers.get("Content-Range") != f"bytes */{done}":  # not complete
                file.truncate(0)
                raise


def _checked(path: Path, md5: str | None, advice: str) -> Path:
    if md5 is not None and (found := file_md5(path)) != md5.lower():
        raise DownloadError(f"{path} has the md5 sum {found}, expected {md5}; {advice}")
    return path
