"""Files that are not what they seem: named in an error, and never more memory than they have."""

import struct

import numpy as np
import pytest
import soundfile

from otomatch.audio.waveform import decode
from otomatch.errors import AudioError
from tests.support.sounds import RATE, hiss, silence, tone, write_audio


def decoded_or_named(path):
    """What `decode` gives, or nothing where it names the file as the culprit."""
    try:
        return decode(path)
    except AudioError as error:
        if path.name not in str(error):
            raise
        return np.zeros(0, np.float32), None


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
    said = (
        "is not a sound file that can be decoded"
        if suffix == ".mp3"
        else r"cannot be decoded \(.*\)"
    )
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
