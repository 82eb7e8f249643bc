"""Full-text search in the words of names and tags."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.library.search.fulltext import ensure_word_index, match_words
from otomatch.library.table_indexes import refresh_word_index
from tests.support.libraries import Drawn, draw

WORDS = [
    "dog bark loud", "cat mews", "rainfall on roofs", "犬の鳴き声 ドラム", "Café Müller",
    "собака лает",
    "the sound of a recording", "barking dogs outside", "강아지 짖는 소리", "", "ABC-12 take 7",
]  # fmt: skip


@pytest.fixture(scope="module", params=["no index", "an index", "a stale index"])
def drawn(request, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    files = [(f"/s/{i}.wav", "/s", words) for i, words in enumerate(WORDS)]
    library = Drawn(tmp_path_factory.mktemp("words") / "library", files)
    if request.param == "a stale index":
        library.store.delete("path != '/s/9.wav'")
        refresh_word_index(library.store)
        library.store.write([row for row in library.rows if row["path"] != "/s/9.wav"])
    elif request.param == "an index":
        refresh_word_index(library.store)
    return library


def found(library: Drawn, text: str, **options) -> set[str]:
    assert ensure_word_index(library.store)
    scores = match_words(library.store, text, None, 100, **options)
    place = {row["file_id"]: index for index, row in enumerate(library.rows)}
    return {WORDS[place[id_]] for id_ in scores}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mews", {"cat mews"}),
        ("a LOUD noise", {"dog bark loud"}),
        ("dog", {"dog bark loud"}),
        ("cat", {"cat mews"}),
        ("лает", {"собака лает"}),
        ("강아지", {"강아지 짖는 소리"}),
        ("ABC-12", {"ABC-12 take 7"}),
    ],
)
def test_words_are_found_with_and_without_an_index(drawn, text, words):
    assert words <= found(drawn, text)


@pytest.mark.parametrize("text", ["", "   ", '"', "the of a", "zebra", "'; DROP TABLE sounds; --"])
def test_nothing_is_found_by_stop_words_signs_and_words_that_are_nowhere(drawn, text):
    assert found(drawn, text) == set()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    files = [(f"/s/{i}.wav", "/s", words) for i, words in enumerate(WORDS)]
    library = Drawn(tmp_path_factory.mktemp("fresh") / "library", files)
    refresh_word_index(library.store)
    return library


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dogs", {"dog bark loud", "barking dogs outside"}),
        ("bark", {"dog bark loud", "barking dogs outside"}),
        ("犬", {"犬の鳴き声 ドラム"}),
        ("鳴き声", {"犬の鳴き声 ドラム"}),
        (unicodedata.normalize("NFD", "ドラム"), {"犬の鳴き声 ドラム"}),
        ("cafe muller", {"Café Müller"}),
        ("the sound of a recording", set()),
        ("dog:bark* AND (cat OR [", {"dog bark loud", "barking dogs outside", "cat mews"}),
    ],
)
def test_the_index_knows_stems_accents_and_japanese(fresh, text, words):
    assert found(fresh, text) == words


def test_every_word_may_be_asked_for(fresh):
    assert found(fresh, "the dog barks outside", match_all=True) == {"barking dogs outside"}
    assert found(fresh, "dog zebra", match_all=True) == set()


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_is_syntax(fresh, text):
    assert found(fresh, text) <= set(WORDS)


def test_refreshing_twice_changes_nothing_and_an_index_of_another_kind_is_replaced(tmp_path):
    from lancedb.index import FTS

    library = Drawn(tmp_path / "library", [("/s/1.wav", "/s", "犬の鳴き声")])
    library.store.table.create_index("words", config=FTS())
    assert match_words(library.store, "犬", None, 9) == {}
    refresh_word_index(library.store)
    assert len(match_words(library.store, "犬", None, 9)) == 1
    version = library.store.version
    refresh_word_index(library.store)
    assert library.store.version == version


def test_a_library_that_cannot_be_written_is_searched_by_sound_alone(tmp_path, monkeypatch):
    library = Drawn(tmp_path / "library", [("/s/1.wav", "/s", "dog"), ("/s/2.wav", "/s", "cat")])

    def refuse(*arguments, **options):
        raise RuntimeError("lance error: LanceError(IO): Read-only file system (os error 30)")

    monkeypatch.setattr(library.store.table, "create_index", refuse)
    query = draw(1)[0]
    assert library.search(query, words="cat") == library.search(query)
    monkeypatch.undo()
    assert library.search(query, words="cat")[0].path == "/s/2.wav"
