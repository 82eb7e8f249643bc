"""Tags inside files: read from every format, cleaned, bounded, and never in the way."""

import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.library import SoundLibrary
from otomatch.library.indexing.tags import read_tags
from tests.support.sounds import tone, write_audio

FIELDS = {"title": "Rain on a Tin Roof", "artist": "Zoë Ōta", "comment": "slow; distant thunder"}
TEXT = "Rain on a Tin Roof; Zoë Ōta; slow; distant thunder"


def write_tagged(path: Path, fields: dict[str, str], subtype: str | None = None) -> Path:
    with soundfile.SoundFile(path, "w", 32000, 1, subtype) as file:
        for name, value in fields.items():
            setattr(file, name, value)
        file.write(tone(440, 0.3))
    return path


def write_container(path: Path, fields: dict[str, str], codec: str) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        container.metadata.update(fields)
        rate = 48000
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(tone(440, 0.02, rate=rate)[None]), format="fltp", layout="mono"
        )
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def with_chunks(path: Path, *chunks: bytes, first: bool = True) -> Path:
    """A WAV with more chunks, before its samples or after them."""
    write_audio(path)
    data = path.read_bytes()
    place = 12 if first else len(data)
    body = data[8:place] + b"".join(chunks) + data[place:]
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def info(fields: dict[bytes, bytes]) -> bytes:
    return chunk(b"LIST", b"INFO" + b"".join(chunk(k, v + b"\0") for k, v in fields.items()))


def bext(description: bytes, originator: bytes = b"") -> bytes:
    fixed = description.ljust(256, b"\0") + originator.ljust(32, b"\0") + bytes(32 + 18 + 8 + 2)
    return chunk(b"bext", fixed + bytes(64 + 190))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.caf"])
def test_tags_of_every_format_are_read(tmp_path, name):
    if name == "a.mp3":  # this writer of ID3 knows no letters but these
        fields = {**FIELDS, "artist": "Zoe"}
        assert read_tags(write_tagged(tmp_path / name, fields)) == TEXT.replace("Zoë Ōta", "Zoe")
    else:
        assert read_tags(write_tagged(tmp_path / name, FIELDS)) == TEXT


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mkv", "aac"), ("a.webm", "libopus")]
)
def test_tags_of_containers_are_read(tmp_path, name, codec):
    text = read_tags(
        write_container(tmp_path / name, FIELDS, "libopus" if codec == "opus" else codec)
    )
    assert text is not None
    for value in FIELDS.values():
        assert value in text


def test_a_broadcast_wav_tells_its_description_and_originator(tmp_path):
    for place in (True, False):
        path = with_chunks(tmp_path / "a.wav", bext(b"Gravel steps", b"FieldRec"), first=place)
        assert read_tags(path) == "Gravel steps; FieldRec"
        assert soundfile.info(path).frames == 3200


def test_keywords_and_comments_of_riff_info_are_read_whatever_their_encoding(tmp_path):
    fields = {b"INAM": "Étude".encode(), b"IKEY": b"foley, shoes", b"ISFT": b"Encoder 1.0"}
    assert read_tags(with_chunks(tmp_path / "a.wav", info(fields))) == "Étude; foley, shoes"
    latin = with_chunks(tmp_path / "b.wav", bext("Schritte auf Kies, müde".encode("latin-1")))
    assert read_tags(latin) == "Schritte auf Kies, müde"


def test_an_id3_chunk_in_a_wav_is_read(tmp_path):
    text = b"\x03" + "ドラム".encode()
    frame = b"TIT2" + struct.pack(">I", len(text)) + b"\0\0" + text
    size = len(frame)
    header = b"ID3\x04\0\0" + bytes([0, 0, size >> 7, size & 127])
    assert read_tags(with_chunks(tmp_path / "a.wav", chunk(b"id3 ", header + frame))) == "ドラム"


def test_values_are_clean_and_bounded(tmp_path):
    evil = "ab\x07c\u202egnp.exe\n<b>&amp;</b>"
    fields = {name: f"{name} {'x' * 9000}" for name in ("comment", "album", "genre", "artist")}
    text = read_tags(write_tagged(tmp_path / "a.flac", {"title": evil, **fields}))
    assert "ab cgnp.exe <b>&amp;</b>" in text.split("; ")
    assert max(map(len, text.split("; "))) == 500
    assert len(text) == 2000
    assert not any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text)


def test_a_value_that_two_kinds_of_tags_give_is_told_once(tmp_path):
    path = with_chunks(
        tmp_path / "a.wav", bext(b"Wind"), info({b"ICMT": b"Wind", b"INAM": b"Gust"})
    )
    assert read_tags(path) == "Wind; Gust"


def test_pictures_are_neither_loaded_nor_shown(tmp_path):
    picture = b"\x03\0\0\0image/png\0\x03\0" + b"\x89PNG" * 1000
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    title = b"TIT2" + struct.pack(">I", 5) + b"\0\0" + b"\x03Rain"
    body = frame + title
    size = len(body)
    header = b"ID3\x03\0\0" + bytes(
        [size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]
    )
    write_audio(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(header + body + (tmp_path / "a.mp3").read_bytes())
    assert read_tags(tmp_path / "a.mp3") == "Rain"


def test_sounds_without_tags_have_none(tmp_path):
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.caf", "a.w64", "a.au"):
        assert read_tags(write_audio(tmp_path / name)) is None


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"LIST", b"INFO" + b"INAM" + struct.pack("<I", 2**32 - 1) + b"x"),
        chunk(b"LIST", b"INFOINA"),
        b"LIST" + struct.pack("<I", 2**32 - 2) + b"INFO",
        chunk(b"id3 ", b"ID3\x04\0\x40" + b"\x7f" * 4),
        chunk(b"bext", b"short"),
    ],
    ids=["lying field", "half a field", "lying list", "lying id3", "short bext"],
)
def test_broken_tags_never_keep_a_file_out(tmp_path, small_model, broken):
    path = with_chunks(tmp_path / "sounds" / "a.wav", broken, first=False)
    library = SoundLibrary.create(tmp_path / "library", small_model)
    report = library.index(path.parent)
    assert (report.added, report.skipped) == (1, ())


def test_a_tag_of_a_gigabyte_is_not_read(tmp_path):
    import resource

    path = with_chunks(tmp_path / "a.wav", bext(b"Gravel steps"))
    with path.open("ab") as file:
        file.write(b"LIST" + struct.pack("<I", 2**30) + b"INFO")
        file.truncate(2**30 + 2**16)  # a hole: it takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_tags(path) == "Gravel steps"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=400), name=st.sampled_from(["a.wav", "a.flac", "a.mp3", "a.ogg"]))
def test_whatever_bytes_a_file_has_its_tags_are_text_or_none(tmp_path_factory, noise, name):
    heads = {"a.wav": b"RIFF\xff\0\0\0WAVE", "a.flac": b"fLaC", "a.mp3": b"ID3", "a.ogg": b"OggS"}
    path = tmp_path_factory.mktemp("t") / name
    path.write_bytes(heads[name] + noise)
    text = read_tags(path)
    assert text is None or (0 < len(text) <= 2000 and text.encode())


def test_tags_are_searchable_text_and_travel_into_sounds_and_hits(tmp_path, small_model):
    (tmp_path / "sounds").mkdir()
    write_tagged(tmp_path / "sounds" / "x.flac", FIELDS)
    library = SoundLibrary.create(tmp_path / "library", small_model)
    library.index(tmp_path / "sounds")
    assert library.sounds()[0].tags == TEXT
    assert library.search("rain", k=1)[0].tags == TEXT
    assert library.store.rows(["words"])["words"].to_pylist() == [f"sounds x {TEXT}"]
