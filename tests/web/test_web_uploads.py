"""Uploaded sounds: what is accepted, what is rejected, and that nothing is kept."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from otomatch.web.limits import MEGABYTE, Limits
from otomatch.web.worker import WorkerProcess
from tests.support.sounds import hiss, tone
from tests.support.web import served, services, write_tone


def left(client) -> list[Path]:
    """Return the files in the folder for uploads."""
    return list(services(client).receiver._folder.iterdir())


def sound(format: str = "WAV", seconds: float = 0.5, hertz: float = 3000.0) -> bytes:  # noqa: A002
    file = io.BytesIO()
    soundfile.write(file, tone(hertz, seconds), 32000, format=format)
    return file.getvalue()


def send(client, content: bytes, name: str = "x.wav", **fields):
    return client.post("/api/search", files={"sound": (name, content)}, data=fields)


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64"])
@pytest.mark.parametrize("name", ["high.wav", "blob", "recording.txt"])
def test_a_sound_of_any_format_and_name_finds_its_like(client, format_, name):
    answer = send(client, sound(format_), name, k=2)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["query"] == {"text": None, "like": name, "without": None}
    assert found["hits"][0]["name"] == "high.wav"
    assert len(found["hits"]) == 2


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libopus"), ("a.mp4", "aac")])
def test_recordings_of_a_browser_are_taken(client, tmp_path, name, codec):
    recorded = write_tone(tmp_path / name, codec).read_bytes()
    answer = send(client, recorded, "blob")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 5


@pytest.mark.slow
def test_the_limits_hold_for_one_byte_more_and_not_for_one_less(library):
    content = sound()
    with served(library, limits=Limits(upload_bytes=len(content))) as client:
        assert send(client, content).status_code == 200
        answer = send(client, content + b"\0")
        assert answer.status_code == 413
        assert "trim it to the part" in answer.json()["detail"]
        assert left(client) == []


def test_bytes_are_counted_as_they_come_and_not_as_they_are_announced(library):
    sent = 0

    def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="sound"; filename="x"\r\n\r\n'
        for _ in range(1000):
            sent += 1
            yield bytes(64 << 10)

    with served(library, limits=Limits(upload_bytes=MEGABYTE)) as client:
        answer = client.post(
            "/api/search",
            content=endless(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 413
        assert left(client) == []


@pytest.mark.slow
def test_a_sound_that_lasts_too_long_is_413_at_any_size(library):
    with served(library, limits=Limits(upload_seconds=2.0)) as client:
        assert send(client, sound(seconds=2.0)).status_code == 200
        long = io.BytesIO()
        soundfile.write(long, np.zeros(32000 * 1000, np.float32), 32000, format="FLAC")
        answer = send(client, long.getvalue(), "silence.flac")
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("silence.flac is longer than 2 s")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"once upon a time " * 1000, "cannot be decoded as sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "cannot be decoded as sound"),
        (b"RIFF\xff\xff\xff\x7fWAVEfmt ", "cannot be decoded as sound"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "cannot be decoded as sound"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "cannot be decoded as sound"),
    ],
)
def test_what_is_no_sound_is_422_with_its_name_and_what_to_do(client, content, says):
    answer = send(client, content, "<b>story</b>.wav")
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "<b>story<" in detail or "b>.wav" in detail
    assert says in detail
    assert "received" not in detail  # no path of the server's own


def test_a_header_that_lies_about_its_length_takes_no_memory(client):
    content = bytearray(sound())
    content[4:8] = content[40:44] = b"\xff\xff\xff\x7f"
    answer = send(client, bytes(content))
    assert answer.status_code in (200, 422)


def test_samples_that_are_no_numbers_are_refused(client):
    file = io.BytesIO()
    soundfile.write(file, np.full(16000, np.nan, np.float32), 32000, "FLOAT", format="WAV")
    assert send(client, file.getvalue()).status_code == 422


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"q": "rain"}}, 415),
        ({"data": {"q": "rain"}}, 415),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400),
        ({"files": {"other": ("x.wav", b"x")}}, 400),
        ({"files": {"sound": (None, "text")}}, 400),
        ({"files": [("sound", ("x", b"x")), ("sound", ("y", b"y"))]}, 400),
        ({"files": {"sound": ("x.wav", b"x")}, "data": {"k": "many"}}, 400),
        ({"files": {"sound": ("x.wav", b"x")}, "data": {"q": "x" * 2000}}, 400),
        ({"files": {"sound": ("x.wav", b"x")}, "data": {"q": "x" * 20000}}, 400),
        ({"files": {"sound": ("x.wav", b"x")}, "data": {f"f{i}": "" for i in range(99)}}, 400),
    ],
)
def test_a_form_that_is_wrong_is_refused(client, options, status):
    answer = client.post("/api/search", **options)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)


def test_a_form_with_two_files_is_told_to_have_one(client):
    answer = client.post("/api/search", files=[("sound", ("x", b"x")), ("sound", ("y", b"y"))])
    assert (
        answer.json()["detail"] == "the form contains more than one file; send one sound at a time"
    )


def call(app, messages: list[dict]) -> list[dict]:
    """Return the application's answer to a form of which only the beginning arrives."""
    head = b'--b\r\nContent-Disposition: form-data; name="sound"; filename="x"\r\n\r\n'
    arriving = iter([{"type": "http.request", "body": head, "more_body": True}, *messages])
    sent: list[dict] = []

    async def receive():
        for message in arriving:
            return message
        return await asyncio.sleep(30)

    async def send(message):
        sent.append(message)

    kind = (b"content-type", b"multipart/form-data; boundary=b")
    scope = {
        "type": "http", "method": "POST", "path": "/api/search", "raw_path": b"/api/search",
        "query_string": b"", "headers": [(b"host", b"localhost"), kind], "scheme": "http",
        "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_sound_that_arrives_too_slowly_is_408(library):
    with served(library, limits=Limits(receive_seconds=0.2)) as client:
        start, body = call(client.app, [])[:2]
        assert left(client) == []
    assert start["status"] == 408
    assert b"was not received within 0.2 s" in body["body"]


def test_a_client_that_leaves_in_the_middle_is_no_failure(library, caplog):
    with served(library) as client:
        assert call(client.app, [{"type": "http.disconnect"}])[0]["status"] == 499
        assert services(client).receiver._in_progress == 0
        assert left(client) == []
    assert caplog.text == ""


def test_too_many_sounds_at_once_are_refused(library):
    with served(library, limits=Limits(uploads=0)) as client:
        answer = send(client, sound())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "try again" in answer.json()["detail"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fake", "status", "says"),
    [
        ("hang", 408, "took longer than"),
        ("crash", 422, "crashed the decoder"),
        ("exhaust", 422, "too much memory"),
    ],
)
def test_a_decoder_that_fails_harms_neither_the_server_nor_the_next_sound(
    library, fake, status, says
):
    seconds = 1.0 if fake == "hang" else 10.0
    with served(library, limits=Limits(decode_seconds=seconds)) as client:
        decoder = services(client).decoder
        own = decoder.worker
        decoder.worker = WorkerProcess(f"tests.support.worker_fakes:{fake}", 512 * MEGABYTE)
        try:
            answer = send(client, sound())
            assert (answer.status_code, says in answer.json()["detail"]) == (status, True)
            assert left(client) == []
        finally:
            decoder.worker.close()
        decoder.worker = own
        assert send(client, sound()).status_code == 200


@pytest.mark.slow
def test_a_decoder_that_is_not_installed_is_said_to_be(library, tmp_path):
    recorded = write_tone(tmp_path / "a.webm", "libopus").read_bytes()
    with served(library) as client:
        decoder = services(client).decoder
        decoder.worker = WorkerProcess("tests.support.worker_fakes:without_av")
        answer = send(client, recorded, "a.webm")
        assert answer.status_code == 422
        assert "a.webm may need a decoder" in answer.json()["detail"]
        assert "pip install 'otomatch[codecs]'" in answer.json()["detail"]
        assert send(client, sound()).status_code == 200
        decoder.worker.close()


@pytest.mark.slow
def test_a_studio_recording_of_a_minute_is_taken(client):
    file = io.BytesIO()
    noise = np.stack([hiss(60, rate=48_000), hiss(60, seed=1, rate=48_000)], axis=1)
    soundfile.write(file, noise, 48_000, "PCM_24", format="WAV")
    assert len(file.getvalue()) > 16 * MEGABYTE
    assert send(client, file.getvalue()).status_code == 200


@pytest.mark.slow
def test_noise_of_all_lengths_up_to_the_limit_is_taken(library):
    with served(library, limits=Limits(upload_seconds=3.0)) as client:
        for samples in (1, 100, 1000, 32000, 96000):
            file = io.BytesIO()
            soundfile.write(file, hiss(samples / 32000), 32000, format="WAV")
            answer = send(client, file.getvalue())
            assert answer.status_code == 200, (samples, answer.text)
