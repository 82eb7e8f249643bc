"""How a file is recognised: by its path, by its size and modification time, and by its content."""

import hashlib
from pathlib import Path


def file_id(path: str | Path) -> str:
    """Return the id of a path in the library, 16 hex digits."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


def row_id(path: Path, start: float) -> str:
    """Return the id of the window of a file that starts at ``start`` seconds, 64 hex digits."""
    return hashlib.sha256(f"{path}\0{start}".encode()).hexdigest()


def file_stamp(path: Path) -> str:
    """Return a file's size and modification time, which show whether it may have changed."""
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def content_digest(path: Path) -> str:
    """Return a hash of a file's bytes, 32 hex digits, which is the same under any name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
