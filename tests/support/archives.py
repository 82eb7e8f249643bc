"""Write archives."""

import zipfile
from pathlib import Path

import py7zr


def write_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))


def write_7z(path: Path, folder: Path) -> None:
    fast = [{"id": py7zr.FILTER_LZMA2, "preset": 1}]
    with py7zr.SevenZipFile(path, "w", filters=fast) as archive:
        archive.writeall(folder, folder.name)
