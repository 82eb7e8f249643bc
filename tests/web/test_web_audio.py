"""Sounds as they are served: ranges, formats, conversions, files that are not what they were."""

import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otomatch.library import SoundLibrary, find_sounds
from otomatch.library.records import Sound
from otomatch.studies.resources import give_back_freed_memory, memory_growth
from otomatch.web.conversion import Conversions, convert
from otomatch.web.limits import MEGABYTE, Limits
from otomatch.web.open_files import open_sound
from otomatch.web.problems import Problem
from tests.audio.test_audio import write_container
from tests.support.sounds import hiss, tone, write_audio
from tests.support.web import ids, make_library, served, services, write_model, write_sounds

BROWSER_FORMATS = {
    "16.wav": ("PCM_16", "audio/wav"), "24.wav": ("PCM_24", "audio/wav"),
    "float.wav": ("FLOAT", "audio/wav"), "8.wav": ("PCM_U8", "audio/wav"),
    "a.flac": ("PCM_24", "audio/flac"), "a.mp3": ("MPEG_LAYER_III", "audio/mpeg"),
    "a.ogg": ("VORBIS", "audio/ogg"), "a.opus": ("OPUS", "audio/ogg"),
}  # fmt: skip
OTHER_FORMATS = {
    "a.aiff": "PCM_16", "a.au": "PCM_24", "a.caf": "ALAC_16", "a.w64": "PCM_16", "a.rf64": "FLOAT",
    "adpcm.wav": "MS_ADPCM", "64.wav": "DOUBLE", "32.wav": "PCM_32", "ulaw.wav": "ULAW",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_bert) -> Path:
    return write_model(tmp_path_factory.mktemp("web"), tiny_bert)


@pytest.fixture(scope="module")
def library(tmp_path_factory, model) -> SoundLibrary:
    folder = tmp_path_factory.mktemp("audio")
    return make_library(folder, model, write_sounds(folder / "sounds"))


@pytest.fixture(scope="module")
def client(library):
    with served(library) as client:
        yield client


def address(library: SoundLibrary, name: str) -> str:
    return f"/api/sounds/{ids(library)[name]}/audio"


def one(path: Path, id_: str = "0" * 16) -> Sound:
    info = soundfile.info(path)
    return Sound(id_, str(path), str(path.parent), info.duration, 1)


def write_tone(path: Path, codec: str, seconds: float = 1.0) -> Path:
    """A stereo tone of 1 kHz in a container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.stack([tone(1000, seconds, rate=48000)] * 2)
    return write_container(path, codec, sound, 48000, bit_rate=128_000 if codec != "alac" else None)


def test_the_whole_sound_comes_with_its_length_its_type_and_a_private_tag(client, library):
    answer = client.get(address(library, "low tone.wav"))
    original = Path(library.sound(ids(library)["low tone.wav"]).path).read_bytes()
    assert answer.content == original
    headers = answer.headers
    assert headers["content-type"] == "audio/wav"
    assert headers["content-length"] == str(len(original))
    assert headers["accept-ranges"] == "bytes"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["content-disposition"] == "inline; filename*=UTF-8''low%20tone.wav"
    head = client.head(address(library, "low tone.wav"))
    assert (head.content, head.headers["content-length"]) == (b"", str(len(original)))


@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(cuts=st.lists(st.integers(1, 32043), min_size=1, max_size=6, unique=True))
def test_ranges_side_by_side_are_the_whole(client, library, cuts):
    place = address(library, "low tone.wav")
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
    place = address(library, "low tone.wav")
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
    answer = client.get(address(library, "low tone.wav"), headers={"Range": asked})
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    if status == 416:
        assert answer.headers["content-range"] == "bytes */32044"


def test_a_client_that_has_the_sound_is_told_so_until_it_changes(model, tmp_path):
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    library = make_library(tmp_path, model, tmp_path / "sounds")
    with served(library) as client:
        place = address(library, "a.wav")
        tag = client.get(place).headers["etag"]
        again = client.get(place, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        other = client.get(place, headers={"Range": "bytes=0-9", "If-Range": '"old"'})
        assert other.status_code == 200
        write_audio(path, tone(880, 0.25))
        assert client.get(place, headers={"If-None-Match": tag}).content == path.read_bytes()


@pytest.mark.parametrize("name", BROWSER_FORMATS)
def test_formats_that_browsers_play_go_as_they_are(model, tmp_path, name):
    subtype, kind = BROWSER_FORMATS[name]
    path = tmp_path / "sounds" / name
    path.parent.mkdir()
    container = "OGG" if path.suffix == ".opus" else None
    soundfile.write(path, tone(440, 0.5, rate=48000), 48000, subtype=subtype, format=container)
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(address(library, name))
        assert (answer.content, answer.headers["content-type"]) == (path.read_bytes(), kind)


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_converted_and_keep_their_samples(model, tmp_path, name):
    path = tmp_path / "sounds" / name
    path.parent.mkdir()
    original = np.stack([tone(440, 0.5, rate=44100), tone(660, 0.5, rate=44100)], axis=1)
    soundfile.write(path, original, 44100, subtype=OTHER_FORMATS[name])
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(address(library, name))
        assert answer.headers["content-type"] == "audio/flac"
        assert f"{path.stem}.flac" in answer.headers["content-disposition"]
        part = client.get(address(library, name), headers={"Range": "bytes=100-"})
        assert part.content == answer.content[100:]
    (tmp_path / "got.flac").write_bytes(answer.content)
    got, rate = soundfile.read(tmp_path / "got.flac", always_2d=True)
    decoded, _ = soundfile.read(path, always_2d=True)
    assert (rate, got.shape) == (44100, decoded.shape)
    np.testing.assert_allclose(got, decoded, atol=2**-14)


def test_wave_files_by_another_name_are_known_by_what_they_hold(model, tmp_path):
    path = tmp_path / "sounds" / "really-flac.wav"
    path.parent.mkdir()
    soundfile.write(path, tone(440, 0.5), 32000, format="FLAC")
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(address(library, path.name))
    assert answer.headers["content-type"] == "audio/flac"
    assert answer.content == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("a.m4a", "aac", "audio/mp4"), ("a.webm", "libopus", "audio/webm"),
        ("a.aac", "aac", "audio/aac"), ("lossless.m4a", "alac", None), ("a.mkv", "libopus", None),
        ("a.mov", "aac", None), ("a.wma", "wmav2", None),
    ],
)  # fmt: skip
def test_containers_are_served_by_their_codec(model, tmp_path, name, codec, kind):
    path = write_tone(tmp_path / "sounds" / name, codec)
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(address(library, name))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == (kind or "audio/flac")
    if kind:
        assert answer.content == path.read_bytes()
    else:
        (tmp_path / "got.flac").write_bytes(answer.content)
        got, rate = soundfile.read(tmp_path / "got.flac", always_2d=True)
        got = got.mean(axis=1)
        peak = np.abs(np.fft.rfft(got)).argmax() * rate / len(got)
        assert peak == pytest.approx(1000, abs=5)


def test_high_rates_and_many_channels_become_what_browsers_play(tmp_path):
    rates, channels = 384_000, 6
    path = tmp_path / "a.wav"
    soundfile.write(path, np.repeat(tone(1000, 0.5, rate=rates)[:, None], channels, 1), rates)
    with open_sound(one(path)) as source:
        convert(source, tmp_path / "out", MEGABYTE)
    got, rate = soundfile.read(tmp_path / "out", always_2d=True)
    assert (rate, got.shape[1]) == (48_000, 1)
    assert len(got) == pytest.approx(24_000, abs=2)
    np.testing.assert_allclose(
        got[2000:-2000, 0], tone(1000, 0.5, rate=48_000)[2000:-2000], atol=2e-3
    )


def test_memory_of_a_conversion_does_not_grow_with_the_length(tmp_path):
    give_back_freed_memory()
    growth = {}
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.aiff"
        with soundfile.SoundFile(path, "w", 96_000, 2, "PCM_16") as file:
            block = np.repeat(hiss(10, rate=96_000)[:, None], 2, 1)
            for _ in range(6 * minutes):
                file.write(block)
        with open_sound(one(path)) as source:
            growth[minutes] = memory_growth(
                lambda: convert(source, tmp_path / "out", 1024 * MEGABYTE)
            )
    # Ten minutes are 460 MB as float32.
    assert not growth[10] > growth[1] + 20


def test_conversions_are_made_once_bounded_and_the_least_used_go(tmp_path):
    kept = Conversions(tmp_path, 300_000)
    sources = []
    for number in range(4):
        path = tmp_path / f"{number}.aiff"
        soundfile.write(path, hiss(1.0, seed=number, rate=44100), 44100)
        sources.append(open_sound(one(path, str(number) * 16)))
    for source in sources[:3]:
        kept.make(source)
        with kept.open(sources[0].stamp):  # used again and again
            pass
    made = (tmp_path / sources[0].stamp).stat()
    kept.make(sources[0])
    assert (tmp_path / sources[0].stamp).stat().st_mtime_ns == made.st_mtime_ns
    reading = kept.open(sources[2].stamp)
    kept.make(sources[3])
    assert kept.total <= 300_000
    assert kept.open(sources[1].stamp) is None
    assert kept.open(sources[0].stamp) is not None
    soundfile.info(reading.path)  # is read to its end although it may have been deleted
    assert sum(p.stat().st_size for p in tmp_path.iterdir() if p.suffix != ".aiff") == kept.total
    for source in sources:
        source.close()


def test_a_conversion_that_would_be_too_large_is_refused_and_leaves_nothing(model, tmp_path):
    write_audio(tmp_path / "sounds" / "a.aiff", hiss(4.0))
    library = make_library(tmp_path, model, tmp_path / "sounds")
    with served(library, limits=Limits(converted_bytes=100_000)) as client:
        answer = client.get(address(library, "a.aiff"))
        assert answer.status_code == 413
        assert "open the file itself" in answer.json()["detail"]
        folder = services(client).media._conversions._folder
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), soundfile.LibsndfileError(2), AssertionError()],
)
def test_a_conversion_that_finds_the_disk_full_is_503(model, tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    write_audio(tmp_path / "sounds" / "a.aiff", hiss(0.5))
    library = make_library(tmp_path, model, tmp_path / "sounds")
    monkeypatch.setattr(soundfile.SoundFile, "write", refuse)
    with served(library) as client:
        answer = client.get(address(library, "a.aiff"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "has free disk space" in answer.json()["detail"]


@pytest.fixture
def played(tmp_path, model):
    """A library of one sound, its file, a client."""
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
    assert client.get(address(library, "a.wav")).status_code == 403


def test_links_inside_the_indexed_folder_are_followed(tmp_path, model):
    path = write_audio(tmp_path / "sounds" / "deep" / "a.wav", tone(440, 0.5))
    (tmp_path / "sounds" / "link.wav").symlink_to(path)
    library = SoundLibrary.create(tmp_path / "library", model)
    library.add(find_sounds(tmp_path / "sounds"))
    with served(library) as client:
        for name in ids(library):
            assert client.get(address(library, name)).content == path.read_bytes()


def test_pipes_folders_and_circles_in_place_of_the_file_are_refused(played):
    library, path, client = played
    for put in (
        lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to(path),
    ):  # fmt: skip
        path.rmdir() if path.is_dir() else path.unlink()
        put()
        assert client.get(address(library, "a.wav")).status_code == 404


def test_a_file_exchanged_between_look_and_opening_is_refused(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "sounds" / "a.wav", tone(440, 0.5))
    secret = write_audio(tmp_path / "secret.wav", tone(880, 0.5))
    opening = os.open
    monkeypatch.setattr(os, "open", lambda _path, *rest: opening(secret, *rest))
    with pytest.raises(Problem, match="no longer exists"):
        open_sound(one(path))


def test_a_file_that_is_no_sound_any_more_is_422_and_named(played):
    library, path, client = played
    path.write_bytes(b"once upon a time" * 100)
    for what in ("audio", "spectrogram"):
        answer = client.get(f"/api/sounds/{ids(library)['a.wav']}/{what}")
        assert answer.status_code == 422
        assert str(path) in answer.json()["detail"]
        assert "/proc" not in answer.json()["detail"]


def test_no_file_stays_open(client, library):
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not list open files")
    place = address(library, "low tone.wav")
    client.get(place)
    before = opened()
    for _ in range(20):
        client.get(place, headers={"Range": "bytes=0-99"})
        client.get(place, headers={"Range": "bytes=999999-"})
        client.get(place, headers={"If-None-Match": client.get(place).headers["etag"]})
        client.get(place.replace("audio", "spectrogram"))
    assert opened() <= before + 1
