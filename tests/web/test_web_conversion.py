"""Formats that browsers can play, and conversion of the others."""

import numpy as np
import pytest
import soundfile

from otomatch.studies.resources import give_back_freed_memory, memory_growth
from otomatch.web.conversion import Conversions, convert
from otomatch.web.limits import MEGABYTE, Limits
from otomatch.web.open_files import open_sound
from tests.support.sounds import hiss, tone, write_audio
from tests.support.web import audio_path, make_library, served, services, sound_of, write_tone

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


@pytest.mark.parametrize("name", BROWSER_FORMATS)
def test_formats_that_browsers_play_go_as_they_are(model, tmp_path, name):
    subtype, kind = BROWSER_FORMATS[name]
    path = tmp_path / "sounds" / name
    path.parent.mkdir()
    container = "OGG" if path.suffix == ".opus" else None
    soundfile.write(path, tone(440, 0.5, rate=48000), 48000, subtype=subtype, format=container)
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(audio_path(library, name))
        assert (answer.content, answer.headers["content-type"]) == (path.read_bytes(), kind)


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_converted_and_keep_their_samples(model, tmp_path, name):
    path = tmp_path / "sounds" / name
    path.parent.mkdir()
    original = np.stack([tone(440, 0.5, rate=44100), tone(660, 0.5, rate=44100)], axis=1)
    soundfile.write(path, original, 44100, subtype=OTHER_FORMATS[name])
    library = make_library(tmp_path, model, path.parent)
    with served(library) as client:
        answer = client.get(audio_path(library, name))
        assert answer.headers["content-type"] == "audio/flac"
        assert f"{path.stem}.flac" in answer.headers["content-disposition"]
        part = client.get(audio_path(library, name), headers={"Range": "bytes=100-"})
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
        answer = client.get(audio_path(library, path.name))
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
        answer = client.get(audio_path(library, name))
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
    with open_sound(sound_of(path)) as source:
        convert(source, tmp_path / "out", MEGABYTE)
    got, rate = soundfile.read(tmp_path / "out", always_2d=True)
    assert (rate, got.shape[1]) == (48_000, 1)
    assert len(got) == pytest.approx(24_000, abs=2)
    np.testing.assert_allclose(
        got[2000:-2000, 0], tone(1000, 0.5, rate=48_000)[2000:-2000], atol=2e-3
    )


@pytest.mark.slow
def test_memory_of_a_conversion_does_not_grow_with_the_length(tmp_path):
    give_back_freed_memory()
    growth = {}
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.aiff"
        with soundfile.SoundFile(path, "w", 96_000, 2, "PCM_16") as file:
            block = np.repeat(hiss(10, rate=96_000)[:, None], 2, 1)
            for _ in range(6 * minutes):
                file.write(block)
        with open_sound(sound_of(path)) as source:
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
        sources.append(open_sound(sound_of(path, str(number) * 16)))
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
        answer = client.get(audio_path(library, "a.aiff"))
        assert answer.status_code == 413
        assert "open the file itself" in answer.json()["detail"]
        folder = services(client).media._conversions._folder
        assert list(folder.iterdir()) == []


@pytest.mark.slow
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
        answer = client.get(audio_path(library, "a.aiff"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "has free disk space" in answer.json()["detail"]
