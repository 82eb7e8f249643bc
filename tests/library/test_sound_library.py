"""The sound library: files that are added, searched and skipped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch import audio
from otomatch.errors import AudioError, InvalidInputError
from otomatch.library import SoundFile, SoundLibrary, find_sounds
from otomatch.models.audio_text_model import AudioTextModel
from tests.support.library_sounds import write_pitches
from tests.support.sounds import tone, write_audio, write_csv


@pytest.fixture(scope="module")
def model(model_folder: Path) -> AudioTextModel:
    return AudioTextModel.from_pretrained(model_folder)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_pitches(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, model_folder: Path, sounds: Path) -> SoundLibrary:
    opened = SoundLibrary.create(tmp_path / "library", model_folder)
    opened.add(find_sounds(sounds))
    return opened


def names(hits) -> list[str]:
    return [Path(hit.path).name for hit in hits]


def test_distances_of_hits_are_the_learned_ones(library, sounds, model):
    files = find_sounds(sounds)
    vectors = model.embed_audio([file.path for file in files])
    distances = model.distance(vectors, model.embed_text(["a deep hum"]))[:, 0].tolist()
    expected = {str(file.path): distance for file, distance in zip(files, distances, strict=True)}
    hits = library.search("a deep hum", k=5)
    assert {hit.path for hit in hits} == expected.keys()
    for hit in hits:
        assert hit.distance == pytest.approx(expected[hit.path], abs=1e-4)


def test_a_sound_finds_itself_first_at_distance_zero(library, sounds):
    for file in find_sounds(sounds):
        hit = library.search(audio=file.path, k=1)[0]
        assert hit.path == str(file.path)
        assert hit.distance < 1e-2


def test_a_waveform_in_memory_is_a_query_too(library, sounds):
    waveform, rate = audio.decode(sounds / "2.wav")
    assert names(library.search(audio=(waveform, rate), k=1)) == ["2.wav"]


def test_k_limits_the_hits_and_a_larger_k_gives_them_all(library):
    assert len(library.search("a high tone", k=2)) == 2
    assert len(library.search("a high tone", k=100)) == 5


def test_hits_of_one_file_are_merged_at_its_best_window(tmp_path, model_folder, model):
    long = np.concatenate([tone(200, 1.0), tone(9000, 1.0), tone(200, 2.0)])
    path = write_audio(tmp_path / "sounds" / "long.wav", long)
    other = write_audio(tmp_path / "sounds" / "other.wav", tone(800, 0.7))
    library = SoundLibrary.create(tmp_path / "library", model_folder)
    library.add([path, other])
    assert len(library) == 8  # seven windows of a second, half of which overlap, and a short file
    hits = library.search(audio=(tone(9000, 1.0), 32000), k=5)
    assert names(hits) == ["long.wav", "other.wav"]
    assert (hits[0].start, hits[0].end) == (1.0, 2.0)


def test_unchanged_files_are_not_embedded_again(library, sounds, monkeypatch):
    monkeypatch.setattr(AudioTextModel, "embed_features", None)
    report = library.add(find_sounds(sounds))
    assert (report.added, report.unchanged) == (0, 5)


def test_a_changed_file_replaces_all_its_windows(tmp_path, model_folder):
    path = write_audio(tmp_path / "a.wav", tone(440, 3.5))
    library = SoundLibrary.create(tmp_path / "library", model_folder)
    library.add([path])
    assert len(library) == 6
    write_audio(path, tone(3000, 0.5))
    report = library.add([path])
    assert (report.added, len(library)) == (1, 1)


def test_adding_the_same_files_twice_at_once_stores_each_once(tmp_path, model_folder, sounds):
    SoundLibrary.create(tmp_path / "library", model_folder)
    first, second = (SoundLibrary.open(tmp_path / "library") for _ in range(2))
    first.add(find_sounds(sounds))
    real, before = second.store.files, [{}, {}]  # as if it had looked before the first one wrote
    second.store.files = lambda: before.pop() if before else real()
    report = second.add(find_sounds(sounds))
    assert (report.added, report.unchanged, before) == (0, 5, [])
    assert len(SoundLibrary.open(tmp_path / "library")) == 5


def test_unreadable_files_are_skipped_and_named(library, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    good = write_audio(tmp_path / "good.wav", tone(500, 0.5))
    report = library.add([broken, good, tmp_path / "gone.wav"])
    assert report.added == 1
    assert [Path(entry.name).name for entry in report.skipped] == ["broken.wav", "gone.wav"]


def test_relative_files_are_kept_under_their_absolute_names(library, sounds, monkeypatch):
    monkeypatch.chdir(sounds.parent)
    write_audio(sounds / "new.wav", tone(700, 0.3))
    report = library.add(
        [SoundFile(Path("sounds/new.wav"), "x", root=Path("sounds")), "sounds/0.wav"]
    )
    assert (report.added, report.unchanged, len(library.sounds())) == (1, 1, 6)
    assert {sound.root for sound in library.sounds()} == {str(sounds)}
    assert all(Path(sound.path).is_absolute() for sound in library.sounds())


@pytest.mark.parametrize("kind", [str, Path, SoundFile])
def test_a_single_file_is_one_file(library, sounds, kind):
    path = write_audio(sounds / "new.wav", tone(700, 0.3))
    report = library.add(kind(path))
    assert (report.added, report.skipped) == (1, ())


def test_a_nul_in_a_name_is_said_and_nothing_else_stops(library, sounds):
    path = write_audio(sounds / "new.wav", tone(700, 0.3))
    report = library.add(["a\0b.wav", SoundFile(Path("/c\0.wav")), path])
    assert (report.added, len(report.skipped)) == (1, 2)
    assert all("contains a NUL" in entry.reason for entry in report.skipped)
    for refused in (library.remove, library.index, find_sounds):
        with pytest.raises(InvalidInputError, match="contains a NUL"):
            refused("a\0b")


@pytest.mark.parametrize(
    "name", ["it's.wav", 'a "b".wav', "<i>x</i>.wav", "ドラム 🥁.wav", "a;--.wav"]
)
def test_odd_file_names_are_kept_as_they_are(library, tmp_path, name):
    path = write_audio(tmp_path / "odd" / name, tone(640, 0.5))
    library.add([path])
    write_audio(path, tone(650, 0.4))
    library.add([path])
    assert library.search(audio=path, k=1)[0].path == str(path)
    assert len(library) == 6


def test_an_empty_library_has_no_hits(tmp_path, model_folder):
    assert SoundLibrary.create(tmp_path / "library", model_folder).search("rain") == []


@pytest.mark.parametrize("query", [{}, {"without": "rain"}, {"text": "  "}, {"text": ""}])
def test_a_query_that_says_something_is_needed(library, query):
    with pytest.raises(InvalidInputError):
        library.search(**query)


def test_wrong_queries_are_clear_errors(library, tmp_path):
    with pytest.raises(InvalidInputError, match="k is 0"):
        library.search("rain", k=0)
    with pytest.raises(AudioError, match="no such file"):
        library.search(audio=tmp_path / "none.wav")


def test_labels_and_captions_of_the_folder_travel_into_the_hits(tmp_path, model_folder):
    folder = tmp_path / "clips"
    write_audio(folder / "audio" / "a.wav", tone(440, 0.5))
    header = ["file_name", "caption", "label"]
    write_csv(folder / "captions.csv", [header, ["a.wav", "a deep hum", "hum"]])
    library = SoundLibrary.create(tmp_path / "library", model_folder)
    library.add(find_sounds(folder))
    hit = library.search("rain", k=1)[0]
    assert (hit.label, hit.caption) == ("hum", "a deep hum")
    json.dumps(hit.to_dict())


def test_vectors_are_stored_whitened(library, sounds, model):
    table = library.store.table.search().limit(None).to_arrow()
    row = table["path"].to_pylist().index(str((sounds / "1.wav").resolve()))
    expected = model.whiten(model.embed_audio([sounds / "1.wav"]))[0]
    torch.testing.assert_close(
        torch.tensor(table["vector"][row].as_py()), expected, atol=1e-5, rtol=0
    )


def test_folders_that_overlap_store_each_file_once(tmp_path, model_folder, sounds):
    library = SoundLibrary.create(tmp_path / "library", model_folder)
    report = library.add([*find_sounds(sounds), *find_sounds(sounds / "deep")])
    assert (report.added, len(library)) == (5, 5)


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_a_query_that_is_no_text_is_a_clear_error(library, text):
    for query in ({"text": text}, {"text": "rain", "without": text}):
        with pytest.raises(InvalidInputError, match="is not valid text"):
            library.search(**query)
