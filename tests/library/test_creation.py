"""Libraries that are created, opened, moved, damaged, or belong to another model."""

import shutil
from pathlib import Path

import pytest

from otomatch.errors import LibraryError, MissingLibraryError, ModelError
from otomatch.library import SoundLibrary, find_sounds, open_or_create
from tests.support.library_sounds import write_pitches
from tests.support.tiny import tiny_model


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_pitches(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, model_folder: Path, sounds: Path) -> SoundLibrary:
    opened = SoundLibrary.create(tmp_path / "library", model_folder)
    opened.add(find_sounds(sounds))
    return opened


def test_a_library_is_self_contained(library, tmp_path, model_folder, sounds):
    expected = library.search("a shrill hiss", k=3)
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "library", moved)
    assert SoundLibrary.open(moved).search("a shrill hiss", k=3) == expected


@pytest.mark.slow
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
    with pytest.raises(MissingLibraryError, match="no library; check the name, or create"):
        SoundLibrary.open(tmp_path / "none")
    with pytest.raises(MissingLibraryError, match="give a model"):
        open_or_create(tmp_path / "none", None)
    with pytest.raises(ModelError):
        open_or_create(tmp_path / "none", tmp_path / "no-model")
    assert not (tmp_path / "none").exists()


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
