"""The JSON API: the response of each path."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otomatch import __version__
from otomatch.library import SoundLibrary, find_sounds
from tests.support.sounds import tone, write_audio
from tests.support.web import (
    ODD_NAMES,
    eventually,
    ids,
    make_library,
    served,
    services,
    write_sounds,
)


def names(answer) -> list[str]:
    return [hit["name"] for hit in answer.json()["hits"]]


def test_health_tells_what_is_served(client, library):
    health = client.get("/api/health").json()
    assert health["status"] == "ok"
    assert health["version"] == __version__
    assert (health["library"], health["sounds"], health["windows"]) == ("library", 5, len(library))
    assert health["seconds"] == pytest.approx(2.5)
    assert health["model"].endswith("model")


def test_hits_are_those_of_the_library_with_their_names_and_folders(client, library):
    answer = client.get("/api/search", params={"q": "a deep hum", "k": 3})
    found = answer.json()
    assert found["query"] == {"text": "a deep hum", "like": None, "without": None}
    assert found["total"] == 5
    assert found["seconds"] >= 0
    expected = library.search("a deep hum", k=3)
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
    for hit, other in zip(found["hits"], expected, strict=True):
        assert {key: hit[key] for key in other.to_dict()} == pytest.approx(other.to_dict())
        assert hit["name"] == Path(hit["path"]).name
        inside = Path(hit["path"]).parent.name == "deep"
        assert hit["folder"] == ("sounds/deep" if inside else "sounds")


def test_more_like_this_leaves_the_sound_itself_out(client, library):
    known = ids(library)
    answer = client.get(f"/api/sounds/{known['high.wav']}/similar", params={"start": 0.1})
    assert answer.json()["query"]["like"] == "high.wav"
    assert sorted(names(answer)) == sorted(known.keys() - {"high.wav"})


@pytest.mark.slow
def test_a_negative_term_reaches_every_search(client, library, tmp_path):
    id_ = ids(library)["high.wav"]
    sound = write_audio(tmp_path / "x.wav", tone(500, 0.3)).read_bytes()
    asked = {"not": "a shrill hiss", "k": 5}
    expected = library.search("a tone", without="a shrill hiss", k=5)
    answers = {
        "text": client.get("/api/search", params={"q": "a tone", **asked}),
        "similar": client.get(f"/api/sounds/{id_}/similar", params=asked),
        "sound": client.post("/api/search", data=asked, files={"sound": ("x.wav", sound)}),
    }
    assert [hit["id"] for hit in answers["text"].json()["hits"]] == [hit.id for hit in expected]
    for answer in answers.values():
        assert answer.json()["query"]["without"] == "a shrill hiss"
    alike = library.similar(id_, without="a shrill hiss", k=5)
    assert [hit["id"] for hit in answers["similar"].json()["hits"]] == [hit.id for hit in alike]
    without = client.get("/api/search", params={"q": "a tone", "not": " ", "k": 5}).json()
    assert without["query"]["without"] is None


def test_a_sound_and_a_description_together_are_one_query(client, library, tmp_path):
    path = write_audio(tmp_path / "x.wav", tone(500, 0.3))
    answer = client.post(
        "/api/search", data={"q": "a hiss", "k": 5}, files={"sound": ("x.wav", path.read_bytes())}
    )
    assert answer.json()["query"] == {"text": "a hiss", "like": "x.wav", "without": None}
    expected = library.search("a hiss", audio=path, k=5)
    assert [hit["id"] for hit in answer.json()["hits"]] == [hit.id for hit in expected]


def test_filters_by_folder_and_length_narrow_every_search(client, library, tmp_path):
    folders = {f["name"]: f["path"] for f in client.get("/api/folders").json()["folders"]}
    deep = {"folder": folders["sounds/deep"]}
    known = ids(library)
    searched = client.get("/api/search", params={"q": "hiss", **deep})
    assert sorted(names(searched)) == ["hiss.ogg", "shrill.flac"]
    alike = client.get(f"/api/sounds/{known['high.wav']}/similar", params=deep)
    assert sorted(names(alike)) == ["hiss.ogg", "shrill.flac"]
    sound = write_audio(tmp_path / "x.wav", tone(500, 0.3)).read_bytes()
    sent = client.post("/api/search", data=deep, files={"sound": ("x.wav", sound)})
    assert sorted(names(sent)) == ["hiss.ogg", "shrill.flac"]
    assert names(client.get("/api/search", params={"q": "hiss", "min_duration": 0.6})) == []
    assert len(names(client.get("/api/search", params={"q": "hiss", "max_duration": 0.6}))) == 5


def test_folders_count_the_sounds_in_them_and_below(client):
    folders = client.get("/api/folders").json()["folders"]
    assert [(f["name"], f["sounds"]) for f in folders] == [("sounds", 5), ("sounds/deep", 2)]
    assert all(Path(f["path"]).is_dir() for f in folders)


@pytest.mark.parametrize("address", ["/", "/api/health", "/api/search?q=rain", "/api/folders"])
def test_head_is_answered_wherever_get_is(client, address):
    answer, whole = client.head(address), client.get(address)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == whole.headers["content-type"]


def test_results_follow_a_library_that_grows_and_shrinks(tmp_path, model):
    sounds = write_sounds(tmp_path / "sounds")
    library = make_library(tmp_path, model, sounds)
    with served(library) as client:
        query = {"q": "a high tone", "k": 50}
        assert len(names(client.get("/api/search", params=query))) == 5
        added = write_audio(sounds / "later" / "new.wav", tone(2500, 0.5))
        beside = SoundLibrary.open(tmp_path / "library")  # as another process would
        beside.add(find_sounds(sounds))
        # A catalogue is kept for a moment, see CatalogueKeeper.
        eventually(lambda: client.get("/api/search", params=query).json()["total"] == 6)
        answer = client.get("/api/search", params=query)
        assert {h["name"]: h["folder"] for h in answer.json()["hits"]}["new.wav"] == "sounds/later"
        assert "sounds/later" in str(client.get("/api/folders").json())
        id_ = ids(beside)["new.wav"]
        assert client.get(f"/api/sounds/{id_}/audio").content == added.read_bytes()
        assert beside.remove(added) == 1
        assert "new.wav" not in names(client.get("/api/search", params=query))
        eventually(lambda: client.get("/api/health").json()["sounds"] == 5)
        assert client.get(f"/api/sounds/{id_}/audio").status_code == 404


def test_a_query_is_answered_from_memory_until_the_library_changes(tmp_path, model, monkeypatch):
    library = make_library(tmp_path, model, write_sounds(tmp_path / "sounds"))
    calls = []
    search = SoundLibrary.search
    monkeypatch.setattr(
        SoundLibrary, "search", lambda self, *a, **o: calls.append(a) or search(self, *a, **o)
    )
    with served(library) as client:
        first = client.get("/api/search", params={"q": "rain"}).json()["hits"]
        assert client.get("/api/search", params={"q": " rain "}).json()["hits"] == first
        assert len(calls) == 1
        client.get("/api/search", params={"q": "rain", "k": 2})
        assert len(calls) == 2
        library.add([write_audio(tmp_path / "more.wav", tone(600, 0.5))])
        assert len(client.get("/api/search", params={"q": "rain"}).json()["hits"]) == 6
        assert len(calls) == 3


@pytest.mark.slow
def test_odd_file_names_come_through_whole(tmp_path, model):
    for number, name in enumerate(ODD_NAMES):
        write_audio(tmp_path / "odd <b> %" / name, tone(300 + 50 * number, 0.3))
    library = make_library(tmp_path, model, tmp_path / "odd <b> %")
    with served(library) as client:
        answer = client.get("/api/search", params={"q": "tone"})
        assert sorted(names(answer)) == sorted(ODD_NAMES)
        for hit in answer.json()["hits"]:
            assert hit["folder"] == "odd <b> %"
            sound = client.get(f"/api/sounds/{hit['id']}/audio")
            assert sound.content == Path(hit["path"]).read_bytes()
            sent = client.post("/api/search", files={"sound": (hit["name"], sound.content)})
            assert names(sent)[0] == hit["name"]


@settings(
    max_examples=200, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    text=st.text(max_size=40), without=st.none() | st.text(max_size=9),
    folder=st.none() | st.text(max_size=9) | st.sampled_from(["sounds", "deep", "..", "/", "a/.."]),
    k=st.integers(-3, 300),
    low=st.none() | st.floats(-1, 10), high=st.none() | st.floats(-1, 10),
)  # fmt: skip
def test_any_query_is_answered_or_refused_but_never_fails(
    client, text, without, folder, k, low, high
):
    given_ = {
        "q": text,
        "not": without,
        "folder": folder,
        "k": k,
        "min_duration": low,
        "max_duration": high,
    }
    answer = client.get("/api/search", params={n: v for n, v in given_.items() if v is not None})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        hits = answer.json()["hits"]
        assert len(hits) <= k
        assert all((low or 0) <= hit["duration"] <= (10 if high is None else high) for hit in hits)
    else:
        assert isinstance(answer.json()["detail"], str)


def test_an_empty_library_has_neither_hits_nor_folders_nor_a_map(tmp_path, model):
    with served(SoundLibrary.create(tmp_path / "library", model)) as client:
        assert client.get("/api/search", params={"q": "rain"}).json()["hits"] == []
        assert client.get("/api/folders").json() == {"folders": []}
        assert client.get("/api/health").json()["sounds"] == 0


def test_the_page_is_served_with_what_it_loads(library, tmp_path):
    (tmp_path / "static" / "js").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<!doctype html><title>otomatch</title>")
    (tmp_path / "static" / "js" / "app.js").write_text("export const one = 1;")
    with served(library, static=tmp_path / "static") as client:
        assert client.get("/").text.startswith("<!doctype html>")
        script = client.get("/static/js/app.js")
        assert script.headers["content-type"].partition(";")[0] in (
            "text/javascript", "application/javascript",
        )  # fmt: skip
        assert script.headers["cache-control"] == "no-cache"
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/%2e%2e/%2e%2e/app.py").status_code == 404
        assert client.get("/static/x%00.js").status_code == 404


def test_without_the_page_the_api_still_works(library, tmp_path):
    with served(library, static=tmp_path / "none") as client:
        assert client.get("/").status_code == 404
        assert client.get("/api/health").status_code == 200


def test_what_was_kept_on_disk_is_private_and_gone_at_the_end(library):
    with served(library) as client:
        folder = services(client).receiver._folder.parent
        assert os.stat(folder).st_mode & 0o077 == 0
    assert not folder.exists()
