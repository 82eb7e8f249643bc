"""Playlists and players."""

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError, LibraryError, MissingDependencyError
from otomatch.library import as_m3u8, find_player, write_playlist
from otomatch.library.playing import PLAYERS
from otomatch.library.records import Hit
from tests.support.sounds import tone, write_audio

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1)


def hit(path: str, start: float = 0.0, end: float = 1.0, duration: float = 3.0) -> Hit:
    return Hit("0" * 16, path, start, end, duration, 0.5, 0.5)


def test_a_playlist_has_title_length_start_and_path():
    assert as_m3u8([hit("/x/rain 1.wav", 61.5, 71.5, 3605.0)]) == (
        "#EXTM3U\n"
        "#EXTINF:3605,rain 1.wav (1:02-1:12)\n"
        "#EXTVLCOPT:start-time=61.500\n"
        "/x/rain 1.wav\n"
    )
    assert as_m3u8([]) == "#EXTM3U\n"


@given(name=NAMES)
def test_no_name_can_break_a_playlist_and_every_path_can_be_read_back(name):
    path = f"/sounds/{name}"
    lines = as_m3u8([hit(path), hit("/sounds/last.wav")]).splitlines()
    assert len(lines) == 7
    assert lines[6] == "/sounds/last.wav"
    assert [line.partition(":")[0] for line in lines[1:3]] == ["#EXTINF", "#EXTVLCOPT"]
    read = unquote(urlsplit(lines[3]).path) if lines[3].startswith("file:") else lines[3]
    assert read == str(Path(path).absolute())


def test_a_playlist_is_written_as_utf_8_and_only_under_its_own_ending(tmp_path):
    write_playlist([hit("/雨/é.wav")], tmp_path / "hits.m3u8")
    assert "/雨/é.wav" in (tmp_path / "hits.m3u8").read_text(encoding="utf-8")
    with pytest.raises(InvalidInputError, match="m3u8"):
        write_playlist([], tmp_path / "hits.wav")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_playlist([], tmp_path / "none" / "hits.m3u8")


def install(folder: Path, name: str, script: str) -> None:
    """A player that is a shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_a_player_gets_the_span_as_wav(tmp_path, bin_folder):
    sound = np.concatenate([tone(300, 1.0), tone(3000, 1.0)])
    path = write_audio(tmp_path / "two.flac", sound)
    install(bin_folder, "aplay", f'/bin/cp "$2" {tmp_path}/played.wav; echo "$1" > {tmp_path}/args')
    find_player()(hit(str(path), 1.0, 2.0))
    played, rate = soundfile.read(tmp_path / "played.wav")
    assert rate == 32000
    np.testing.assert_allclose(played, sound[32000:], atol=1e-3)
    assert (tmp_path / "args").read_text() == "-q\n"


def test_the_best_player_is_taken(tmp_path, bin_folder):
    path = write_audio(tmp_path / "a.wav", tone(300, 0.2))
    for name in reversed(PLAYERS):
        install(bin_folder, name, f"echo {name} > {tmp_path}/who")
        find_player()(hit(str(path)))
        assert (tmp_path / "who").read_text().strip() == name


def test_no_player_and_one_that_fails_are_clear_errors(tmp_path, bin_folder):
    with pytest.raises(MissingDependencyError, match=r"ffplay.*install"):
        find_player()
    install(bin_folder, "mpv", "echo no audio device >&2; exit 2")
    path = write_audio(tmp_path / "a.wav", tone(300, 0.2))
    with pytest.raises(LibraryError, match=r"mpv cannot play .*no audio device"):
        find_player()(hit(str(path)))


def test_a_playlist_that_is_a_symbolic_link_is_written_where_it_leads(tmp_path):
    target, link = tmp_path / "real.m3u8", tmp_path / "link.m3u8"
    target.write_text("old")
    link.symlink_to(target)
    write_playlist([hit("/x/rain.wav")], link)
    assert link.is_symlink()
    assert target.read_text().startswith("#EXTM3U")
