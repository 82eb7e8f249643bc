"""Sounds of indexing runs, and checks that what a run stored is complete."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from otomatch.library import SoundLibrary
from tests.support.sounds import tone, write_audio

FILES = 24


def write_tones(folder: Path) -> Path:
    for i in range(FILES):
        write_audio(
            folder / f"{i % 3}" / f"{i:02d}.wav", tone(150.0 + 90 * i, 0.3 + 0.25 * (i % 9))
        )
    return folder


def check_whole(rows: list[dict]) -> set[str]:
    """Check that every file has all its windows, each once; return the names of the files."""
    assert max(Counter(row["id"] for row in rows).values(), default=1) == 1
    by_path: dict[str, list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["start"]):
        by_path.setdefault(row["path"], []).append(row)
    for windows in by_path.values():
        assert windows[0]["start"] == 0
        assert windows[-1]["end"] == windows[0]["duration"]
        assert len({row["digest"] for row in windows}) == 1
        assert all(b["start"] - a["start"] <= 0.5 for a, b in pairwise(windows))
        assert [bool(row["words"]) for row in windows] == [True] + [False] * (len(windows) - 1)
    return {Path(path).name for path in by_path}


COLUMNS = ["id", "path", "start", "end", "duration", "digest", "words", "stamp", "root"]


def rows(library: Path) -> list[dict]:
    table = SoundLibrary.open(library).store.rows(COLUMNS)
    return table.sort_by("id").to_pylist()


def expected(folder: Path, place: Path, model: Path) -> list[dict]:
    SoundLibrary.create(place, model).index(folder)
    return rows(place)
