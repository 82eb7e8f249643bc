"""The sound library: what is indexed, found, refused and skipped."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from otomatch import audio
from otomatch.errors import AudioError, InvalidInputError, LibraryError, ModelError
from otomatch.library import SoundFile, SoundLibrary, find_sounds, open_or_create
from otomatch.models.audio_text_model import AudioTextModel
from tests.support.sounds import hiss, tone, write_audio, write_csv
from tests.support.tiny import tiny_model, write_bert


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    tiny_model(write_bert(folder / "bert")).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def model(model_folder: Path) -> AudioTextModel:
    return AudioTextModel.from_pretrained(model_folder)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for i, hertz in enumerate((200.0, 800.0, 3000.0, 9000.0)):
        write_audio(tmp_path / "sounds" / f"{i}.wav", tone(hertz, 0.5))
    write_audio(tmp_path / "sounds" / "deep" / "hiss.flac", hiss(0.5))
    return tmp_path / "sounds"


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


def test_a_library_is_self_contained(library, tmp_path, model_folder, sounds):
    expected = library.search("a shrill hiss", k=3)
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "library", moved)
    assert SoundLibrary.open(moved).search("a shrill hiss", k=3) == expected


def test_vectors_of_another_model_are_refused(library, tmp_path, model_folder):
    other = tiny_model(model_folder.parent / "bert", seed=1)
    with pytest.raises(LibraryError, match="another model"):
        SoundLibrary.open(tmp_path / "library", other)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(LibraryError, match="another model"):
        open_or_create(tmp_path / "library", tmp_path / "other")


def test_a_library_whose_own_copy_was_exchanged_is_refused(library, tmp_path, model_folder):
    tiny_model(model_folder.parent / "bert", seed=1).save_pretrained(tmp_path / "library/model")
    with pytest.raises(LibraryError, match="another model"):
        SoundLibrary.open(tmp_path / "library").search("rain")


def test_the_same_model_from_another_folder_is_accepted(library, tmp_path, model_folder):
    shutil.copytree(model_folder, tmp_path / "copy")
    assert len(open_or_create(tmp_path / "library", tmp_path / "copy")) == 5


def test_creating_over_something_is_refused(library, tmp_path, model_folder):
    with pytest.raises(LibraryError, match="already exists"):
        SoundLibrary.create(tmp_path / "library", model_folder)


def test_opening_nothing_says_how_to_make_a_library(tmp_path):
    with pytest.raises(LibraryError, match="no library; check the name, or create"):
        SoundLibrary.open(tmp_path / "none")
    with pytest.raises(LibraryError, match="give a model"):
        open_or_create(tmp_path / "none", None)
    with pytest.raises(ModelError):
        open_or_create(tmp_path / "none", tmp_path / "no-model")
    assert not (tmp_path / "none").exists()


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


def test_a_table_of_labels_is_read_too(tmp_path):
    write_audio(tmp_path / "audio" / "1-a.wav")
    write_csv(tmp_path / "esc10.csv", [["file_name", "fold", "label"], ["1-a.wav", 1, "dog bark"]])
    assert find_sounds(tmp_path)[0].label == "dog bark"


def test_sounds_are_found_in_sub_folders_by_ending_and_pattern(sounds):
    (sounds / "notes.txt").write_text("no sound")
    assert [f.path.name for f in find_sounds(sounds)] == [
        "0.wav", "1.wav", "2.wav", "3.wav", "hiss.flac",
    ]  # fmt: skip
    assert [f.path.name for f in find_sounds(sounds, "[12].*")] == ["1.wav", "2.wav"]
    assert find_sounds(sounds)[0] == SoundFile((sounds / "0.wav").resolve(), root=sounds.resolve())


def test_a_folder_without_sounds_is_a_clear_error(tmp_path):
    with pytest.raises(LibraryError, match="no sound file"):
        find_sounds(tmp_path)
    with pytest.raises(LibraryError, match="no such folder"):
        find_sounds(tmp_path / "none")


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


def test_files_of_one_name_in_two_folders_keep_their_own_labels(tmp_path):
    for folder in ("a", "b"):
        write_audio(tmp_path / folder / "1.wav")
    header = ["file_name", "caption", "label"]
    rows = [["a/1.wav", "a dog barks", "dog"], ["b/1.wav", "a cat mews", "cat"]]
    write_csv(tmp_path / "captions.csv", [header, *rows])
    assert [file.label for file in find_sounds(tmp_path)] == ["dog", "cat"]


def test_creating_goes_on_after_it_was_interrupted(tmp_path, model_folder):
    shutil.copytree(model_folder, tmp_path / "library" / "model")
    (tmp_path / "library" / "model" / "model.safetensors").write_bytes(b"half")
    assert len(open_or_create(tmp_path / "library", model_folder)) == 0
    assert SoundLibrary.open(tmp_path / "library").search("rain") == []


def test_a_folder_of_something_else_is_no_place_for_a_library(tmp_path, model_folder):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "thesis.txt").write_text("years of work")
    with pytest.raises(LibraryError, match="something else"):
        SoundLibrary.create(tmp_path / "library", model_folder)
    assert (tmp_path / "library" / "thesis.txt").is_file()


def test_a_library_by_its_uri_is_made_and_opened(tmp_path, model_folder, sounds):
    uri = (tmp_path / "library").as_uri()
    with pytest.raises(LibraryError, match="no library"):
        SoundLibrary.open(uri)
    open_or_create(uri, model_folder).add(find_sounds(sounds))
    assert len(SoundLibrary.open(uri).search("a deep hum", k=3)) == 3


@pytest.mark.parametrize("lost", ["sounds.lance/data", "sounds.lance"])
def test_a_library_that_is_damaged_or_gone_is_a_clear_error(library, tmp_path, lost):
    opened = SoundLibrary.open(tmp_path / "library")
    _ = opened.model
    shutil.rmtree(tmp_path / "library" / lost)
    for ask in (lambda: opened.search("rain"), opened.info, opened.sounds):
        with pytest.raises(LibraryError, match=r"library: cannot be read .* new library"):
            ask()


def test_a_library_that_lost_its_model_says_so_and_asks_nobody_else(library, tmp_path):
    shutil.rmtree(tmp_path / "library" / "model")
    with pytest.raises(LibraryError, match=r"copy of the model .* is missing"):
        SoundLibrary.open(tmp_path / "library").search("rain")


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_a_query_that_is_no_text_is_a_clear_error(library, text):
    for query in ({"text": text}, {"text": "rain", "without": text}):
        with pytest.raises(InvalidInputError, match="is not valid text"):
            library.search(**query)
