"""Decoding: every format, spans, and blocks."""

import importlib.util
import sys

import numpy as np
import pytest
import soundfile

from otomatch.audio import decoders
from otomatch.audio.waveform import decode
from otomatch.errors import AudioError, MissingDecoderError
from tests.support.sounds import RATE, hiss, tone, write_audio, write_container

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="av is not installed")

# Suffix, format and subtype for libsndfile, and the largest deviation of a sample.
FORMATS = [
    (".wav", "WAV", "PCM_16", 1e-4),
    (".wav", "WAV", "PCM_24", 1e-6),
    (".wav", "WAV", "FLOAT", 0),
    (".wav", "WAV", "DOUBLE", 0),
    (".wav", "WAV", "PCM_U8", 0.01),
    (".wav", "WAV", "ULAW", 0.02),
    (".wav", "WAVEX", "PCM_16", 1e-4),
    (".flac", "FLAC", "PCM_16", 1e-4),
    (".aiff", "AIFF", "PCM_16", 1e-4),
    (".aif", "AIFF", "FLOAT", 0),
    (".w64", "W64", "PCM_16", 1e-4),
    (".rf64", "RF64", "PCM_16", 1e-4),
    (".au", "AU", "PCM_16", 1e-4),
    (".caf", "CAF", "PCM_16", 1e-4),
    (".ogg", "OGG", "VORBIS", 0.05),
    (".oga", "OGG", "VORBIS", 0.05),
    (".opus", "OGG", "OPUS", 0.05),
    (".mp3", "MP3", "MPEG_LAYER_III", 0.05),
]


def best_match(found, expected, most=3000):
    """Correlation at the best shift, and the shift: lossy codecs may delay a sound."""
    size = min(len(found), len(expected)) - most
    correlations = [np.corrcoef(found[s : s + size], expected[:size])[0, 1] for s in range(most)]
    return max(correlations), int(np.argmax(correlations))


@pytest.mark.parametrize(("suffix", "kind", "subtype", "deviation"), FORMATS)
def test_every_format_of_libsndfile_is_read(suffix, kind, subtype, deviation, tmp_path):
    rate = 48000 if subtype == "OPUS" else 44100
    sound = tone(440, 0.5, 0.5, rate)
    path = tmp_path / f"sound{suffix}"
    soundfile.write(path, sound, rate, format=kind, subtype=subtype)
    waveform, found = decode(path)
    assert found == rate
    assert waveform.dtype == np.float32
    if deviation < 0.03:
        np.testing.assert_allclose(waveform, sound, rtol=0, atol=deviation)
    else:
        assert abs(len(waveform) - len(sound)) < 0.06 * rate
        assert best_match(waveform, sound, 200)[0] > 0.99


@pytest.mark.slow
@needs_av
@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("a.m4a", "aac", None),
        ("a.mp4", "aac", None),
        ("a.aac", "aac", "adts"),
        ("a.webm", "libopus", None),
        ("a.mkv", "libopus", "matroska"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_containers_are_read_with_av(name, codec, muxer, channels, tmp_path):
    sweep = np.sin(np.cumsum(np.linspace(0.01, 0.3, 48000))).astype(np.float32) * 0.4
    sound = np.stack([sweep, 0.5 * sweep][:channels])
    path = write_container(tmp_path / name, codec, sound, 48000, muxer)
    waveform, rate = decode(path)
    assert rate == 48000
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - 48000) < 4000
    correlation, shift = best_match(waveform, sweep)
    assert correlation > 0.98
    level = np.abs(waveform[shift + 20000 : shift + 30000]).max()
    assert level == pytest.approx(0.4 if channels == 1 else 0.3, abs=0.03)


@needs_av
def test_a_span_of_a_container_is_that_part_of_the_whole(tmp_path):
    path = write_container(tmp_path / "a.webm", "libopus", hiss(2, rate=48000)[None], 48000)
    whole, _ = decode(path)
    part, _ = decode(path, 0.5, 1.25)
    np.testing.assert_array_equal(part, whole[24000:60000])


def test_a_container_without_av_names_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "voice.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A ")
    with pytest.raises(MissingDecoderError, match=r"voice\.m4a.*pip install 'otomatch\[codecs\]'"):
        decode(path)


@needs_av
@pytest.mark.parametrize("content", [b"hello", b"\0\0\0\x20ftypM4A " + bytes(500)])
def test_a_damaged_container_is_an_audio_error(content, tmp_path):
    path = tmp_path / "broken.m4a"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.m4a: cannot be decoded \(Invalid data found"):
        decode(path)


@needs_av
def test_a_video_without_sound_is_an_audio_error(tmp_path):
    import av

    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio stream"):
        decode(path)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mono_is_the_mean_of_the_channels(channels, tmp_path):
    sound = np.stack([hiss(0.2, seed=i) for i in range(channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    waveform, _ = decode(tmp_path / "a.wav")
    np.testing.assert_allclose(waveform, sound.mean(1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_span_is_that_part_of_the_whole(suffix, tmp_path):
    path = write_audio(tmp_path / f"a{suffix}", hiss(3))
    whole, rate = decode(path)
    for start, end in [(0.5, 1.75), (None, 1.0), (2.0, None), (0.0, 99.0)]:
        part, _ = decode(path, start, end)
        expected = whole[round((start or 0) * rate) : None if end is None else round(end * rate)]
        assert len(part) == len(expected)
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("start", "end"), [(5.0, None), (5.0, 6.0), (0.5, 0.5)])
def test_a_span_without_samples_is_an_audio_error(start, end, tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(440, 1))
    with pytest.raises(AudioError, match=rf"no audio samples between {start} and {end} s"):
        decode(path, start, end)


def test_decoding_in_blocks_gives_the_same_samples(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "a.flac", np.stack([hiss(1), hiss(1, seed=1)], 1))
    whole, _ = decode(path)
    monkeypatch.setattr(decoders, "_BLOCK_SAMPLES", 999)
    np.testing.assert_array_equal(decode(path)[0], whole)
