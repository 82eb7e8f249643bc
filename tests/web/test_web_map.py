"""The map: positions, clusters, labels, and when it is computed again."""

import json
from pathlib import Path

import numpy as np
import pytest

from otomatch.library import SoundLibrary
from otomatch.web import map_keeper
from otomatch.web.map_layout import cluster, cluster_labels, compute_map, project, words_of
from otomatch.web.schemas import SoundMap
from tests.support.sounds import tone, write_audio
from tests.support.web import (
    ids,
    make_library,
    served,
    services,
    wait_for_map,
    write_sounds,
)
from tests.web.test_web_api import names


def groups(sizes, dim=20, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors around one centre per size, and the number of each vector's centre."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    centres = 10 * rng.standard_normal((len(sizes), dim))
    vectors = centres[owner] + rng.standard_normal((len(owner), dim))
    return vectors.astype(np.float32), owner


def nearest_share(places, owner) -> float:
    """Return the share of sounds whose nearest neighbour on the map belongs to their group."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((owner[distances.argmin(axis=1)] == owner).mean())


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 10, 11, 40])
def test_libraries_of_any_size_have_a_map_within_its_frame(n):
    vectors, _ = groups([n])
    found, _ = compute_map({"vectors": vectors, "texts": ["a tone"] * n})
    places = np.array(found["places"])
    assert places.shape == (n, 2)
    assert places.min() >= 0
    assert places.max() <= 1
    assert len(np.unique(places, axis=0)) == n
    assert len(found["clusters"]) == n
    assert len(found["labels"]) == max(found["clusters"]) + 1


def test_sounds_that_are_all_the_same_lie_side_by_side():
    places = project(np.ones((12, 4), np.float32))
    assert len(np.unique(places, axis=0)) == 12
    assert np.isfinite(places).all()
    assert set(cluster(np.ones((12, 4), np.float32))) == {0}


def test_what_is_alike_lies_together():
    vectors, owner = groups([40, 30, 20, 10])
    assert nearest_share(project(vectors), owner) == 1.0


def test_sounds_that_are_no_landmarks_lie_among_their_like():
    vectors, owner = groups([60, 60, 60])
    places = project(vectors, landmarks=50)
    assert nearest_share(places, owner) > 0.98


def test_the_same_library_gives_the_same_map():
    vectors, _ = groups([30, 30])
    job = {"vectors": vectors, "texts": ["x"] * 60}
    assert compute_map(job) == compute_map(job)


@pytest.mark.parametrize("sizes", [(50, 30), (40, 30, 20), (30, 25, 20, 15, 10)])
def test_clusters_are_the_groups_the_largest_first(sizes):
    vectors, owner = groups(sizes)
    np.testing.assert_array_equal(cluster(vectors), owner)


def test_labels_are_the_words_that_set_a_cluster_apart():
    texts = [
        *[f"Animals DogBark_{n:02d} loud field" for n in range(10)],
        *[f"Weather heavy rain {n} field" for n in range(8)],
        *[f"{n:08d}" for n in range(4)],
    ]
    labels = cluster_labels(texts, np.repeat([0, 1, 2], [10, 8, 4]))
    assert set(labels[0].split(", ")) <= {"animals", "bark", "dog", "loud"}
    assert set(labels[1].split(", ")) <= {"heavy", "rain", "weather"}
    assert labels[2] == "group 3"
    assert all("field" not in label for label in labels)


def test_words_are_those_that_say_something():
    assert words_of("The_DogBark-03 at 44kHz.wav of a träne 雨音") == [
        "dog", "bark", "träne", "雨音",
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path, model) -> Path:
    make_library(tmp_path, model, write_sounds(tmp_path / "sounds"))
    return tmp_path


@pytest.mark.slow
def test_the_map_is_computed_aside_kept_and_made_anew_when_the_library_changes(place, monkeypatch):
    library = SoundLibrary.open(place / "library")
    with served(library) as client:
        services(client).map._pause = 0.0
        assert client.get("/api/map").json() == {"state": "computing", "points": [], "clusters": []}
        found = wait_for_map(client)
        assert found["state"] == "ready"
        assert {p["name"]: p["id"] for p in found["points"]} == ids(library)
        assert all(0 <= p[axis] <= 1 for p in found["points"] for axis in "xy")
        sizes = {c["id"]: c["size"] for c in found["clusters"]}
        assert sum(sizes.values()) == 5
        assert {p["cluster"] for p in found["points"]} == set(sizes)
        assert client.get("/api/map").json() == found
        library.add([write_audio(place / "more.wav", tone(5000, 0.5))])
        stale = client.get("/api/map").json()
        assert (stale["state"], len(stale["points"])) == ("computing", 5)
        assert len(wait_for_map(client)["points"]) == 6
    kept = (place / "library" / "map.json").stat()
    with served(SoundLibrary.open(place / "library")) as client:
        # Read from the disk: nothing is computed.
        monkeypatch.setattr(map_keeper, "WorkerProcess", None)
        assert len(wait_for_map(client)["points"]) == 6
    assert (place / "library" / "map.json").stat().st_mtime_ns == kept.st_mtime_ns
    SoundLibrary.open(place / "library").search("rain")  # the file does no harm there


@pytest.mark.slow
def test_sounds_whose_folder_was_moved_are_on_the_map_by_their_new_ids(tmp_path, model):
    before, after = tmp_path / "a", tmp_path / "b"
    stays = write_audio(write_sounds(before) / "! first.wav", tone(5000, 0.5))
    library = SoundLibrary.create(tmp_path / "library", model)
    library.index([before])
    with served(library) as client:
        services(client).map._pause = 0.0
        assert {p["id"] for p in wait_for_map(client)["points"]} == set(ids(library).values())
        before.rename(after)
        before.mkdir()
        (after / stays.name).rename(stays)
        assert library.index([before, after]).moved == 5  # same vectors, words and order
        assert {p["id"] for p in wait_for_map(client)["points"]} == set(ids(library).values())
    with served(SoundLibrary.open(tmp_path / "library")) as client:
        assert {p["id"] for p in wait_for_map(client)["points"]} == set(ids(library).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"digest": 1}', '{"digest": "x", "map": 3}', "\0\xff"]
)
def test_a_broken_file_is_no_map(place, content):
    (place / "library" / "map.json").write_text(content)
    keeper = map_keeper.MapKeeper(SoundLibrary.open(place / "library"), place / "library")
    assert keeper._read("x") is None


@pytest.mark.slow
def test_a_broken_file_is_made_again(place):
    (place / "library" / "map.json").write_text("{")
    with served(SoundLibrary.open(place / "library")) as client:
        assert wait_for_map(client)["state"] == "ready"
    assert json.loads((place / "library" / "map.json").read_text())["map"]["state"] == "ready"


@pytest.mark.slow
def test_a_library_that_can_only_be_read_has_a_map_all_the_same(place, monkeypatch):
    refused = []

    def refuse(path, _text):
        refused.append(path)
        raise PermissionError("read-only")

    monkeypatch.setattr(map_keeper, "write_text", refuse)
    with served(SoundLibrary.open(place / "library")) as client:
        assert wait_for_map(client)["state"] == "ready"
    assert refused == [place / "library" / "map.json"]
    assert not refused[0].exists()


def test_the_map_of_a_library_that_was_deleted_meanwhile_does_not_bring_its_folder_back(place):
    keeper = map_keeper.MapKeeper(SoundLibrary.open(place / "library"), place / "gone")
    keeper._write("x", SoundMap(state="ready", points=[], clusters=[]))
    assert not (place / "gone").exists()


def test_an_empty_library_has_an_empty_map(tmp_path, model):
    with served(SoundLibrary.create(tmp_path / "library", model)) as client:
        assert wait_for_map(client) == {"state": "empty", "points": [], "clusters": []}


@pytest.mark.slow
def test_a_map_that_cannot_be_made_says_so_and_harms_nothing(place, monkeypatch, caplog):
    monkeypatch.setattr(map_keeper, "TARGET", "otomatch.web.map_layout:no_such_function")
    with served(SoundLibrary.open(place / "library")) as client:
        assert wait_for_map(client)["state"] == "failed"
        assert len(names(client.get("/api/search", params={"q": "rain"}))) == 5
    assert "could not be computed" in caplog.text


@pytest.mark.slow
def test_the_end_of_the_server_ends_the_computation(place, monkeypatch):
    monkeypatch.setattr(map_keeper, "TARGET", "tests.support.worker_fakes:hang")
    with served(SoundLibrary.open(place / "library")) as client:
        client.get("/api/map")
        keeper = services(client).map
        for _ in range(200):
            client.get("/api/health")
            if keeper._worker is not None and keeper._worker.pid:
                break
        worker = keeper._worker
    assert worker.pid is None
