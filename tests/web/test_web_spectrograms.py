"""Spectrograms: content, size, time and memory."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib import colormaps
from PIL import Image

from otomatch.studies.resources import give_back_freed_memory, memory_growth
from otomatch.web.api_errors import ApiError
from otomatch.web.open_files import open_sound
from otomatch.web.spectrograms import draw_spectrogram, palette
from tests.support.sounds import hiss, silence, tone, write_audio
from tests.support.web import ids, sound_of, write_tone


def draw(path: Path, start=None, end=None, width=200, height=96) -> np.ndarray:
    """Return shades of 0 to 255, with rows from high to low frequencies."""
    with open_sound(sound_of(path)) as source:
        image = Image.open(io.BytesIO(draw_spectrogram(source, start, end, width, height)))
    assert (image.size, image.mode) == ((width, height), "P")
    return np.asarray(image)


def test_the_palette_is_magma_and_its_lightness_rises_evenly():
    colours = palette() / 255
    magma = colormaps["magma"](np.arange(256))[:, :3]
    assert np.abs(colours - magma).max() < 0.05
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(np.maximum(luminance, 0.008856)) - 16
    steps = np.diff(lightness)
    assert steps.min() > -0.01
    assert steps[16:].max() < 2.5 * steps[16:].mean()


def test_a_higher_tone_is_drawn_higher(tmp_path):
    rows = [
        draw(write_audio(tmp_path / f"{hertz}.wav", tone(hertz, 1.0))).sum(axis=1).argmax()
        for hertz in (100, 400, 1600, 6400, 12800)
    ]
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) == 5
    assert rows[0] > 80
    assert rows[-1] < 15


def test_time_runs_from_left_to_right_and_a_span_is_cut_out(tmp_path):
    path = write_audio(tmp_path / "a.wav", np.concatenate([silence(1.0), tone(1000, 1.0)]))
    loud = draw(path).max(axis=0) > 128
    assert not loud[:90].any()
    assert loud[110:].all()
    assert (draw(path, 1.2, 1.8).max(axis=0) > 128).all()
    assert not (draw(path, 0.0, 0.8).max(axis=0) > 128).any()


def test_long_sounds_are_sampled_and_show_the_same(tmp_path):
    parts = [silence(100.0, 8000), hiss(100.0, rate=8000), silence(100.0, 8000)]
    path = write_audio(tmp_path / "long.flac", np.concatenate(parts), 8000)
    loud = draw(path).mean(axis=0) > 128
    assert not loud[:65].any()
    assert loud[68:132].all()
    assert not loud[135:].any()
    assert (draw(path, 110.0, 190.0).mean(axis=0) > 128).all()


@pytest.mark.slow
def test_containers_are_drawn_too_short_or_long(tmp_path):
    for seconds in (1.0, 130.0):
        path = write_tone(tmp_path / f"{seconds:g}.m4a", "aac", seconds)
        sound = sound_of(write_audio(tmp_path / "x.wav", tone(440, seconds, rate=8000), 8000))
        with open_sound(type(sound)(sound.id, str(path), sound.root, seconds, 1)) as source:
            image = Image.open(io.BytesIO(draw_spectrogram(source, None, None, 100, 64)))
        assert (np.asarray(image)[:, 3:-3].max(axis=0) > 200).all()


@pytest.mark.parametrize("samples", [1, 10, 500, 5000])
@pytest.mark.parametrize("rate", [8000, 44100, 192_000])
def test_the_shortest_sounds_are_drawn(tmp_path, samples, rate):
    path = write_audio(tmp_path / "a.wav", hiss(samples / rate, rate=rate), rate)
    assert draw(path, width=16, height=16).max() > 150


def test_silence_is_dark(tmp_path):
    assert draw(write_audio(tmp_path / "a.wav", silence(1.0))).max() == 0


@pytest.mark.slow
def test_an_hour_is_drawn_in_a_moment_without_being_held(tmp_path):
    give_back_freed_memory()
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        block = np.repeat(hiss(60, rate=48_000)[:, None], 2, 1)
        for _ in range(60):
            file.write(block)
    draw(path, 0, 1)  # first calls load code
    began = time.process_time()
    assert not memory_growth(lambda: draw(path, width=800)) > 60  # 1400 MB as float32
    assert time.process_time() - began < 20
    path.unlink()


def test_a_span_outside_the_sound_is_400(tmp_path, client, library):
    with pytest.raises(ApiError, match="is empty"):
        draw(write_audio(tmp_path / "a.wav", tone(440, 0.5)), 0.5, 0.9)
    place = f"/api/sounds/{ids(library)['high.wav']}/spectrogram"
    for span in ({"start": 3}, {"start": 0.3, "end": 0.2}, {"end": 0}):
        assert client.get(place, params=span).status_code == 400
    assert client.get(place, params={"start": 0.2, "end": 99}).status_code == 200


@pytest.mark.parametrize("size", [{"width": 15}, {"width": 2049}, {"height": 15}, {"height": 513}])
def test_sizes_are_bounded(client, library, size):
    answer = client.get(f"/api/sounds/{ids(library)['high.wav']}/spectrogram", params=size)
    assert answer.status_code == 400
    assert next(iter(size)) in answer.json()["detail"]


def test_a_picture_is_small_and_private(client, library):
    answer = client.get(f"/api/sounds/{ids(library)['hiss.ogg']}/spectrogram")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert Image.open(io.BytesIO(answer.content)).size == (800, 128)
    assert len(answer.content) < 100_000
