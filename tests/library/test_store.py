"""The table on disk: its growth, versions and indexes, and errors of LanceDB."""

import json
import shutil
from pathlib import Path

import pytest

from otomatch.errors import LibraryError
from otomatch.library import SoundLibrary, connection, table_indexes
from otomatch.library import store as stores
from otomatch.library.indexing import writing
from tests.support.index_runs import FILES, expected, write_tones
from tests.support.sounds import hiss, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "sounds")


@pytest.fixture
def library(tmp_path: Path, small_model: Path) -> Path:
    SoundLibrary.create(tmp_path / "library", small_model)
    return tmp_path / "library"


@pytest.mark.slow
def test_many_small_runs_do_not_grow_the_folder_without_bound(
    library, sounds, tmp_path, small_model, monkeypatch
):
    monkeypatch.setattr(table_indexes, "_KEPT_SECONDS", 0.0)
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    for i in range(20):
        write_audio(sounds / "0" / "00.wav", hiss(0.5, seed=i))
        assert opened.index(sounds).changed == 1
    expected(sounds, tmp_path / "fresh", small_model)
    once = SoundLibrary.open(tmp_path / "fresh").store
    assert len(opened.store.table.list_versions()) <= 4
    table, fresh = (connection.disk_size(store.uri) for store in (opened.store, once))
    assert table < 1.5 * fresh


def test_a_version_stays_readable_for_a_while_after_it_was_replaced(library, sounds):
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    old = opened.store.version
    write_audio(sounds / "0" / "00.wav", hiss(0.5))
    opened.index(sounds)
    table = connection.connect(library).open_table(connection.TABLE)
    table.checkout(old)
    assert table.count_rows() > FILES
    assert len(table.search().limit(None).to_arrow()) == table.count_rows()


def test_versions_are_dropped_only_when_replaced_for_a_minute():
    from datetime import datetime, timedelta

    def versions(*ages: float) -> list[dict]:
        now = datetime.now()
        return [{"timestamp": now - timedelta(seconds=age)} for age in ages]

    # Replaced 3000 s ago; replaced 10 s ago; the latest.
    kept = table_indexes._unread_age(versions(4000, 3000, 10)).total_seconds()
    assert 3000 <= kept < 3001
    assert table_indexes._unread_age(versions(30, 20, 10)).total_seconds() >= 60
    assert 4000 <= table_indexes._unread_age(versions(4000)).total_seconds() < 4001


def test_a_vector_index_appears_stays_up_to_date_and_finds_what_filters_leave(
    library, sounds, monkeypatch
):
    monkeypatch.setattr(table_indexes, "VECTOR_INDEX_WINDOWS", 45)
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    assert len(opened) >= 45
    table = opened.store.table
    (found,) = (index for index in table.list_indices() if index.columns == ["vector"])
    assert (found.columns, found.index_type) == (["vector"], "IvfFlat")
    write_audio(sounds / "0" / "new.wav", hiss(0.5))
    opened.index(sounds)
    stats = table.index_stats(found.name)
    assert (stats.num_indexed_rows, stats.num_unindexed_rows) == (len(opened), 0)
    everything = {hit.path: hit.distance for hit in opened.search("rain", k=100)}
    assert len(everything) == FILES + 1
    for folder in ("0", "1", "2"):
        inside = {p: d for p, d in everything.items() if Path(p).parent.name == folder}
        hits = opened.search("rain", folder=sounds / folder, k=100)
        assert {hit.path: hit.distance for hit in hits} == pytest.approx(inside, abs=1e-5)


def test_a_small_library_has_an_index_of_its_words_and_none_of_vectors(library, sounds):
    opened = SoundLibrary.open(library)
    opened.index(sounds)
    assert [index.columns for index in opened.store.table.list_indices()] == [["words"]]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("lance error: IO: No space left on device (os error 28)"), "disk is full"),
        (PermissionError(13, "Permission denied"), "read-only"),
        (RuntimeError("lance error: something else\nmore"), "something else"),
    ],
)
def test_a_library_that_cannot_be_written_is_a_clear_error(
    library, sounds, monkeypatch, error, message
):
    def fail(*_):
        raise error

    monkeypatch.setattr(stores.Store, "write", fail)
    with pytest.raises(LibraryError, match=f"cannot be written.*{message}"):
        SoundLibrary.open(library).index(sounds)


def test_an_error_of_lancedb_is_known_as_such_and_one_of_the_model_stays_what_it_is(
    library, sounds, monkeypatch
):
    opened = SoundLibrary.open(library)

    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "new_rows", fail)
        with pytest.raises(RuntimeError, match="CUDA error"):
            opened.index(sounds)
    opened.index(sounds)
    shutil.rmtree(library / "sounds.lance" / "data")
    rows = opened.store.table.schema.empty_table()
    for write in (lambda: opened.store.delete(["x"]), lambda: opened.store.write(rows)):
        with pytest.raises(LibraryError, match="cannot be written"), opened.store.writing():
            write()


def test_a_library_of_another_format_is_a_clear_error(library):
    store = stores.Store.open(library)
    changed = {**store.metadata, "format": "otomatch-library/1"}
    about = {stores._METADATA_KEY: json.dumps(changed).encode()}
    schema = store.table.schema.with_metadata(about)
    connection.connect(library).create_table(connection.TABLE, schema=schema, mode="overwrite")
    with pytest.raises(LibraryError, match=r"format otomatch-library/1.*new library"):
        SoundLibrary.open(library)
