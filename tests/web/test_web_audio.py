"""Audio as it is served: ranges, caching, and files that changed after they were indexed."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otomatch.library import SoundLibrary, find_sounds
from otomatch.web.api_errors import ApiError
from otomatch.web.open_files import open_sound
from tests.support.sounds import tone, write_audio
from tests.support.web import audio_path, ids, make_library, served, sound_of


def test_the_whole_sound_comes_with_its_length_its_type_and_a_private_tag(client, library):
    answer = client.get(audio_path(library, "low tone.wav"))
    original = Path(library.sound(ids(library)["low tone.wav"]).path).read_bytes()
    assert answer.content == original
    headers = answer.headers
    assert headers["content-type"] == "audio/wav"
    assert headers["content-length"] == str(len(original))
    assert headers["accept-ranges"] == "bytes"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["content-disposition"] == "inline; filename*=UTF-8''low%20tone.wav"
    head = client.head(audio_path(library, "low tone.wav"))
    assert (head.content, head.headers["content-length"]) == (b"", str(len(original)))


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(cuts=st.lists(st.integers(1, 32043), min_size=1, max_size=6, unique=True))
def test_ranges_side_by_side_are_the_whole(client, library, cuts):
    place = audio_path(library, "low tone.wav")
    whole = client.get(place).content
    edges = [0, *sorted(cuts), len(whole)]
    parts = []
    for first, last in pairwise(edges):
        answer = client.get(place, headers={"Range": f"bytes={first}-{last - 1}"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole)}"
        parts.append(answer.content)
    assert b"".join(parts) == whole
    assert client.get(place, headers={"Range": f"bytes={cuts[0]}-"}).content == whole[cuts[0] :]
    assert client.get(place, headers={"Range": f"bytes=-{cuts[0]}"}).content == whole[-cuts[0] :]


def test_several_ranges_come_in_parts(client, library):
    place = audio_path(library, "low tone.wav")
    whole = client.get(place).content
    answer = client.get(place, headers={"Range": "bytes=0-9,100-199"})
    assert answer.status_code == 206
    boundary = re.fullmatch(
        r"multipart/byteranges; boundary=(\w+)", answer.headers["content-type"]
    ).group(1)
    parts = answer.content.split(f"--{boundary}".encode())[1:3]
    bodies = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts]
    assert bodies == [whole[:10], whole[100:200]]


@pytest.mark.parametrize(
    ("asked", "status"),
    [("bytes=999999-", 416), ("bytes=-0", 416), ("bytes=9-2", 400), ("lines=1-2", 400)],
)
def test_an_impossible_range_is_refused_in_the_one_form(client, library, asked, status):
    answer = client.get(audio_path(library, "low tone.wav"), headers={"Range": asked})
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    if status == 416:
        assert answer.headers["content-range"] == "bytes */32044"


def test_a_client_that_has_the_sound_is_told_so_until_it_changes(model, tmp_path):
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    library = make_library(tmp_path, model, tmp_path / "sounds")
    with served(library) as client:
        place = audio_path(library, "a.wav")
        tag = client.get(place).headers["etag"]
        again = client.get(place, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        other = client.get(place, headers={"Range": "bytes=0-9", "If-Range": '"old"'})
        assert other.status_code == 200
        write_audio(path, tone(880, 0.25))
        assert client.get(place, headers={"If-None-Match": tag}).content == path.read_bytes()


@pytest.fixture
def played(tmp_path, model):
    """Yield a library of one sound, the sound's file and a client."""
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        yield library, path, client


@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_a_file_deleted_after_indexing_is_404(played, what):
    library, path, client = played
    path.unlink()
    answer = client.get(f"/api/sounds/{ids(library)['a.wav']}/{what}")
    assert answer.status_code == 404
    assert "index its folder again" in answer.json()["detail"]


@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_a_link_put_in_place_of_the_file_is_not_followed_outside(played, tmp_path, what):
    library, path, client = played
    secret = write_audio(tmp_path / "private" / "secret.wav", tone(880, 0.5))
    path.unlink()
    path.symlink_to(secret)
    answer = client.get(f"/api/sounds/{ids(library)['a.wav']}/{what}")
    assert answer.status_code == 403
    assert "leads outside the folder" in answer.json()["detail"]


def test_a_folder_exchanged_for_a_link_is_not_followed(played, tmp_path):
    library, path, client = played
    secret = write_audio(tmp_path / "private" / "a.wav", tone(880, 0.5))
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)
    assert client.get(audio_path(library, "a.wav")).status_code == 403


def test_links_inside_the_indexed_folder_are_followed(tmp_path, model):
    path = write_audio(tmp_path / "sounds" / "deep" / "a.wav", tone(440, 0.5))
    (tmp_path / "sounds" / "link.wav").symlink_to(path)
    library = SoundLibrary.create(tmp_path / "library", model)
    library.add(find_sounds(tmp_path / "sounds"))
    with served(library) as client:
        for name in ids(library):
            assert client.get(audio_path(library, name)).content == path.read_bytes()


def test_pipes_folders_and_circles_in_place_of_the_file_are_refused(played):
    library, path, client = played
    for put in (
        lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to(path),
    ):  # fmt: skip
        path.rmdir() if path.is_dir() else path.unlink()
        put()
        assert client.get(audio_path(library, "a.wav")).status_code == 404


def test_a_file_exchanged_between_look_and_opening_is_refused(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    secret = write_audio(tmp_path / "secret.wav", tone(880, 0.5))
    opening = os.open
    monkeypatch.setattr(os, "open", lambda _path, *rest: opening(secret, *rest))
    with pytest.raises(ApiError, match="no longer exists"):
        open_sound(sound_of(path))


def test_a_file_that_is_no_sound_any_more_is_422_and_named(played):
    library, path, client = played
    path.write_bytes(b"once upon a time" * 100)
    for what in ("audio", "spectrogram"):
        answer = client.get(f"/api/sounds/{ids(library)['a.wav']}/{what}")
        assert answer.status_code == 422
        assert str(path) in answer.json()["detail"]
        assert "/proc" not in answer.json()["detail"]


def test_no_file_stays_open(client, library):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system does not list open files")
    root = library.sounds()[0].root

    def opened() -> int:
        """Number of open sounds; other tests of this process have files of their own open."""
        links = (os.path.realpath(descriptor) for descriptor in descriptors.iterdir())
        return sum(link.startswith(root) for link in links)

    place = audio_path(library, "low tone.wav")
    with Path(library.sounds()[0].path).open("rb"):
        assert opened() >= 1
    for _ in range(20):
        client.get(place, headers={"Range": "bytes=0-99"})
        client.get(place, headers={"Range": "bytes=999999-"})
        client.get(place, headers={"If-None-Match": client.get(place).headers["etag"]})
        client.get(place.replace("audio", "spectrogram"))
    assert opened() < 5  # the last ones may still be closing; a leak would leave at least 20
