import importlib.util
import struct
import sys

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch import audio
from otomatch.audio import decoders, log_mel
from otomatch.audio.log_mel import LogMel, LogMelConfig, mel_filterbank
from otomatch.audio.waveform import decode, load, resample
from otomatch.datasets.base import Clip
from otomatch.errors import AudioError, InvalidInputError, MissingDecoderError
from tests.support.sounds import RATE, band_level, hiss, silence, tone, write_audio

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


def write_container(path, codec, waveform, rate, options=None, bit_rate=None):
    """Write (channels, samples) with av."""
    import av

    with av.open(str(path), "w", format=options) as container:
        layout = "stereo" if len(waveform) == 2 else "mono"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        for start in range(0, waveform.shape[1], 1024):
            part = np.ascontiguousarray(waveform[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def best_match(found, expected, most=3000):
    """Correlation at the best shift, and the shift: lossy codecs may delay a sound."""
    size = min(len(found), len(expected)) - most
    correlations = [np.corrcoef(found[s : s + size], expected[:size])[0, 1] for s in range(most)]
    return max(correlations), int(np.argmax(correlations))


# --- decoding ----------------------------------------------------------------------------------


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


def decoded_or_named(path):
    """What `decode` gives, or nothing where it names the file as the culprit."""
    try:
        return decode(path)
    except AudioError as error:
        if path.name not in str(error):
            raise
        return np.zeros(0, np.float32), None


# --- files that are not what they seem ---------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        decode(tmp_path / "gone.wav")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        decode(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a"])
def test_an_empty_file_is_named_with_what_to_do(suffix, tmp_path):
    (tmp_path / f"none{suffix}").touch()
    with pytest.raises(AudioError, match=rf"none{suffix}: the file is empty.*replace or remove"):
        decode(tmp_path / f"none{suffix}")


def test_a_file_with_a_header_and_no_samples_is_an_audio_error(tmp_path):
    path = write_audio(tmp_path / "header.wav", silence(0))
    with pytest.raises(AudioError, match=r"header\.wav: has no audio samples"):
        decode(path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_text_with_the_name_of_a_sound_is_an_audio_error(suffix, tmp_path):
    path = tmp_path / f"notes{suffix}"
    path.write_text("this is a shopping list\n" * 200)
    said = "is not a sound file that can be decoded" if suffix == ".mp3" else r"cannot be decoded \(.*\)"
    with pytest.raises(AudioError, match=rf"notes{suffix}: {said}; convert it"):
        decode(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_samples_that_are_no_sound_are_an_audio_error(value, tmp_path):
    sound = tone(440, 0.1)
    sound[100] = value
    soundfile.write(tmp_path / "bad.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad\.wav: has samples that are NaN, infinite"):
        decode(tmp_path / "bad.wav")


def test_a_truncated_wav_gives_the_samples_it_has(tmp_path):
    sound = tone(440, 1)
    path = write_audio(tmp_path / "cut.wav", sound)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 10000])
    np.testing.assert_allclose(decode(path)[0], sound[:10000], rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".aiff", ".opus"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_truncated_file_gives_samples_or_an_audio_error(suffix, share, tmp_path):
    path = tmp_path / f"cut{suffix}"
    soundfile.write(path, hiss(2, rate=48000), 48000, format="OGG" if suffix == ".opus" else None)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    waveform, _ = decoded_or_named(path)
    assert len(waveform) <= 97000


def wav_header(channels, rate, samples, data):
    width = 2 * channels
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * width % 2**32, width, 16)
    size = struct.pack("<I", samples)
    return b"RIFF" + size + b"WAVEfmt " + head + b"data" + size + data


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".w64", ".au"])
def test_a_header_that_claims_a_huge_length_asks_for_no_memory(suffix, tmp_path):
    path = write_audio(tmp_path / f"huge{suffix}", hiss(0.5))
    content = bytearray(path.read_bytes())
    if suffix == ".wav":
        content = wav_header(1, RATE, 2**32 - 9, bytes(content[44:]))
    elif suffix == ".flac":  # 36 bits of total samples in STREAMINFO
        content[21:26] = bytes([content[21] | 0x0F, 255, 255, 255, 255])
    elif suffix == ".w64":
        content[16:24] = struct.pack("<Q", 2**62)
    else:
        content[8:12] = b"\xff\xff\xff\xfe"
    path.write_bytes(content)
    waveform, _ = decoded_or_named(path)
    assert len(waveform) <= 2**17


@pytest.mark.parametrize(("channels", "rate"), [(1, 2**31 - 1), (500, 32000), (1, 1)])
def test_a_header_with_an_odd_rate_or_many_channels_asks_for_no_memory(channels, rate, tmp_path):
    path = tmp_path / "odd.wav"
    path.write_bytes(wav_header(channels, rate, 2000, bytes(2000)))
    waveform, found = decoded_or_named(path)
    assert found in (rate, None)
    assert len(waveform) in (1000 // channels, 0)


# --- resampling --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_resampling_keeps_a_tone_its_level_and_its_length(rate):
    waveform = resample(tone(1000, 1, 0.5, rate), rate, RATE)
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - RATE) <= 1
    np.testing.assert_allclose(waveform[3000:29000], tone(1000, 1, 0.5)[3000:29000], atol=2e-3)
    level = band_level(waveform, 1000)
    assert level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert band_level(waveform, 5000, 2000) < level - 50


def test_resampling_removes_what_the_new_rate_cannot_hold():
    assert np.abs(resample(tone(20000, 1, 0.5, 48000), 48000, RATE)[1000:-1000]).max() < 1e-3


def test_the_same_rate_is_left_alone():
    sound = hiss(0.1)
    assert resample(sound, RATE, RATE) is sound


@given(samples=st.integers(1, 300), rate=st.sampled_from([8000, 22050, 44100, 192000]))
@settings(max_examples=40, deadline=None)
def test_the_shortest_sounds_can_be_resampled(samples, rate):
    waveform = resample(np.full(samples, 0.1, np.float32), rate, RATE)
    assert abs(len(waveform) - samples * RATE / rate) <= 1
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize(("rate", "target"), [(0, RATE), (RATE, -1)])
def test_a_rate_that_is_not_positive_is_refused(rate, target):
    with pytest.raises(InvalidInputError, match="positive"):
        resample(hiss(0.1), rate, target)


def test_load_decodes_and_resamples(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(700, 1, rate=22050), 22050)
    assert band_level(load(path, RATE), 700) > -15
    assert abs(len(load(path, RATE, 0.25, 0.75)) - RATE // 2) <= 1


# --- waveforms in memory -----------------------------------------------------------------------


def test_waveforms_of_many_kinds_become_mono_float32():
    sound = hiss(0.1)
    for waveform in (sound, sound.astype(np.float64), torch.from_numpy(sound), sound.tolist()):
        mono = audio.as_mono(waveform)
        assert mono.dtype == np.float32
        np.testing.assert_array_equal(mono, sound)
    stereo = torch.from_numpy(np.stack([sound, -sound / 2])).requires_grad_()
    np.testing.assert_allclose(audio.as_mono(stereo), sound / 4, atol=1e-7)
    np.testing.assert_allclose(audio.as_mono(np.stack([sound] * 3)[:, ::2]), sound[::2])


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.float32(1), r"got \(\)"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.zeros((400, 2)), "transpose"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros(10, np.int16), "int16; divide"),
    ],
)
def test_a_waveform_that_is_none_is_refused(waveform, message):
    with pytest.raises(AudioError, match=message):
        audio.as_mono(waveform)


# --- log-mel spectrograms ----------------------------------------------------------------------

CONFIGS = [
    LogMelConfig(),
    LogMelConfig(hop=640),
    LogMelConfig(sample_rate=16000, n_fft=512, hop=160, mels=128, low=0, high=8000),
    LogMelConfig(sample_rate=44100, n_fft=2048, hop=441, mels=40, low=20, high=20000),
]


def librosa_log_mel(waveform, c):
    power = librosa.feature.melspectrogram(
        y=waveform, sr=c.sample_rate, n_fft=c.n_fft, hop_length=c.hop, n_mels=c.mels,
        fmin=c.low, fmax=c.high, center=True, pad_mode="reflect", power=2.0,
        norm="slaney", htk=False,
    )  # fmt: skip
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T


@pytest.mark.parametrize("config", CONFIGS)
def test_the_filterbank_equals_librosas(config):
    c = config
    found = mel_filterbank(c.sample_rate, c.n_fft, c.mels, c.low, c.high)
    expected = librosa.filters.mel(
        sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.mels, fmin=c.low, fmax=c.high
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.345])
def test_log_mel_equals_librosas(config, seconds):
    rate = config.sample_rate
    sound = hiss(seconds, 0.1, rate=rate) + tone(1000, seconds, 0.5, rate)
    sound[: len(sound) // 3] *= 1e-4
    found = LogMel(config)(torch.from_numpy(sound)).numpy()
    expected = librosa_log_mel(sound, config)
    assert found.shape == expected.shape == (len(sound) // config.hop + 1, config.mels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_log_mel_of_real_recordings_equals_librosas(esc10):
    for path in sorted((esc10).rglob("*.wav"))[:3] or sorted(esc10.rglob("*.ogg"))[:3]:
        waveform = load(path, RATE)
        found = LogMel()(torch.from_numpy(waveform)).numpy()
        np.testing.assert_allclose(found, librosa_log_mel(waveform, LogMelConfig()), atol=5e-3)


def test_log_mel_of_silence_is_its_floor():
    torch.testing.assert_close(LogMel()(torch.zeros(5000)), torch.full((16, 64), -100.0))


def test_log_mel_of_a_batch_is_that_of_each():
    batch = torch.from_numpy(np.stack([hiss(0.5, seed=i) for i in range(6)]).reshape(2, 3, -1))
    found = LogMel()(batch)
    assert found.shape == (2, 3, 51, 64)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], LogMel()(batch[i, j]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 320, 513, 1023])
def test_a_sound_shorter_than_a_window_is_padded_with_silence(samples):
    sound = torch.from_numpy(hiss(1)[:samples])
    padded = torch.nn.functional.pad(sound, (0, 1024 - samples))
    torch.testing.assert_close(LogMel()(sound), LogMel()(padded))
    assert LogMel()(sound).shape == (4, 64)


def test_an_hour_in_blocks_equals_an_hour_at_once(monkeypatch):
    config = LogMelConfig(sample_rate=2000, n_fft=64, hop=40, mels=8, high=1000)
    hour = torch.randn(3600 * 2000, generator=torch.Generator().manual_seed(0))
    blocks = LogMel(config)(hour)
    assert blocks.shape == (180_001, 8)
    monkeypatch.setattr(log_mel, "_BLOCK_FRAMES", 10**9)
    torch.testing.assert_close(blocks, LogMel(config)(hour), rtol=0, atol=1e-3)


def test_a_clip_knows_no_span_that_is_none(tmp_path):
    with pytest.raises(InvalidInputError, match="0 <= start < end"):
        Clip(tmp_path / "a.wav", ("a",), "a", start=2.0, end=1.0)
