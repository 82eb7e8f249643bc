"""Sound files for libraries, and what a library says about them."""

import os
from dataclasses import astuple
from pathlib import Path

import pytest

from otomatch.library import SoundLibrary
from tests.support.sounds import hiss, tone, write_audio


def write_pitches(folder: Path) -> Path:
    """Write four tones of half a second, and a hiss in a folder below."""
    for i, hertz in enumerate((200.0, 800.0, 3000.0, 9000.0)):
        write_audio(folder / f"{i}.wav", tone(hertz, 0.5))
    write_audio(folder / "deep" / "hiss.flac", hiss(0.5))
    return folder


def write_growing_tones(folder: Path) -> Path:
    """Write three tones of 0.5, 1.5 and 2.5 s."""
    for i, hertz in enumerate((200.0, 800.0, 3000.0)):
        write_audio(folder / f"{i}.wav", tone(hertz, 0.5 + i))
    return folder


def write_odd_names(folder: Path) -> Path:
    """Write three sounds, one of them under a name with quotes, a comma and a line break."""
    write_audio(folder / "deep" / "hum.wav", tone(200, 2.0))
    write_audio(folder / 'it\'s, "odd"\n.wav', tone(900, 0.5))
    write_audio(folder / "hiss.flac", hiss(1.0))
    return folder


def counts(report) -> tuple[int, ...]:
    """Return added, changed, moved, removed and unchanged; check that nothing was skipped."""
    assert report.skipped == ()
    return astuple(report)[:5]


def vectors(library: SoundLibrary) -> dict[str, list]:
    """Return the vectors and all else that depends on the audio, by file name."""
    rows = library.store.rows().to_pylist()
    keys = ("start", "end", "duration", "digest", "vector", "ref_mean", "ref_std")
    found: dict[str, list] = {}
    for row in sorted(rows, key=lambda row: row["start"]):
        found.setdefault(Path(row["path"]).name, []).append([row[key] for key in keys])
    return found


def paths(library: SoundLibrary) -> list[str]:
    return [Path(sound.path).name for sound in library.sounds()]


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make listing a folder fail as if permissions forbade it (they do not apply to root)."""
    real = os.scandir

    def scandir(path):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
