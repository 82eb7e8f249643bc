"""Invalid requests and server errors, all answered in the same form."""

import json
import shutil
from pathlib import Path

import pytest

from otomatch.library import SoundLibrary
from tests.support.web import ids, make_library, served, services, write_sounds


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "q is missing"),
        ("q=", "q is blank; describe a sound"),
        ("q=%20%09", "q is blank; describe a sound"),
        ("q=rain&k=0", "k: input should be greater than or equal to 1, got '0'"),
        ("q=rain&k=201", "k: input should be less than or equal to 200, got '201'"),
        ("q=rain&k=many", "k: input should be a valid integer"),
        ("q=rain&min_duration=-1", "min_duration: input should be greater"),
        ("q=rain&max_duration=nan", "max_duration: input should be a finite number"),
        ("q=rain&min_duration=5&max_duration=2", "min_duration (5 s) is larger than"),
        (f"q={'x' * 1001}", "q: string should have at most 1000 characters"),
    ],
)
def test_a_wrong_query_is_refused_with_what_was_found(client, query, says):
    answer = client.get(f"/api/search?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("what", ["audio", "spectrogram", "similar"])
@pytest.mark.parametrize("id_", ["0123456789abcdef", "x' OR '1'='1", "%00", "..%2f..%2fetc", "ü"])
def test_an_unknown_id_is_404_and_never_a_path(client, what, id_):
    answer = client.get(f"/api/sounds/{id_}/{what}")
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_what_does_not_exist_is_404_in_the_one_form(client):
    for address in ("/api/nothing", "/nothing", "/api/search/", "/docs", "/redoc", "/openapi.json"):
        answer = client.get(address)
        assert answer.status_code == 404, address
        assert list(answer.json()) == ["detail"]
        assert "/api/openapi.json describes" in answer.json()["detail"]
    refused = client.delete("/api/search")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert "the Allow header lists" in refused.json()["detail"]


def test_a_failure_is_500_in_the_one_form_and_tells_no_secrets(library, monkeypatch, caplog):
    monkeypatch.setattr(SoundLibrary, "search", lambda *_, **__: json.loads("{secret"))
    with served(library) as client:
        answer = client.get("/api/search", params={"q": "rain"})
    assert answer.status_code == 500
    assert answer.json() == {
        "detail": "the server failed unexpectedly; see its log for the details"
    }
    assert "X-Content-Type-Options" in answer.headers
    assert "JSONDecodeError" in caplog.text


def test_a_library_that_is_no_more_is_said_to_be(tmp_path, model):
    library = make_library(tmp_path, model, write_sounds(tmp_path / "sounds"))
    id_ = ids(library)["high.wav"]
    with served(library) as client:
        assert client.get("/api/health").status_code == 200
        shutil.rmtree(tmp_path / "library")
        for address in (
            "/api/search?q=rain", f"/api/sounds/{id_}/similar", f"/api/sounds/{id_}/audio",
            "/api/map", "/api/folders", "/api/health",
        ):  # fmt: skip
            answer = client.get(address)
            assert answer.status_code == 503, address
            assert "deleted, moved or damaged while it was being served" in answer.json()["detail"]
            assert "restart the server" in answer.json()["detail"]


def test_a_library_that_is_damaged_is_said_to_be(tmp_path, model):
    library = make_library(tmp_path, model, write_sounds(tmp_path / "sounds"))
    for path in (tmp_path / "library" / "sounds.lance").rglob("*.lance"):
        path.write_bytes(b"x")
    with served(library) as client:
        answer = client.get("/api/search?q=rain")
        assert answer.status_code == 503
        assert "damaged" in answer.json()["detail"]


def test_a_sound_that_was_removed_a_moment_ago_is_404(tmp_path, model, monkeypatch):
    library = make_library(tmp_path, model, write_sounds(tmp_path / "sounds"))
    id_ = ids(library)["high.wav"]
    with served(library) as client:
        assert client.get("/api/health").status_code == 200
        monkeypatch.setattr(services(client).catalogues, "_next", float("inf"))  # not read again
        library.remove(tmp_path / "sounds" / "high.wav")
        answer = client.get(f"/api/sounds/{id_}/similar")
        assert answer.status_code == 404
        assert "search again" in answer.json()["detail"]


@pytest.mark.parametrize("sign", ["\0", "\x01", "\x1b", "\x7f", "\x9f"])
@pytest.mark.parametrize("field", ["q", "not", "folder"])
def test_control_characters_are_refused_alike_wherever_they_stand(client, library, field, sign):
    sound = {"sound": ("x.wav", Path(library.sounds()[0].path).read_bytes())}
    place = f"/api/sounds/{ids(library)['high.wav']}/similar"
    for text in (sign, f"a{sign}b"):
        asked = {"q": "rain", field: text}
        answers = [client.get("/api/search", params=asked)]
        answers.append(client.post("/api/search", data=asked, files=sound))
        if field != "q":
            answers.append(client.get(place, params={field: text}))
        for answer in answers:
            assert answer.status_code == 400
            assert f"{field} contains control characters" in answer.json()["detail"]
