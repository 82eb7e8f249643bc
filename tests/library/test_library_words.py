"""Words of names and tags: full-text search, fusion of rankings, folders as filters."""

import math
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.library.search.filters import SearchFilters
from otomatch.library.search.fulltext import ensure_word_index, match_words
from otomatch.library.search.fusion import competition_ranks, fuse
from otomatch.library.table_indexes import refresh_word_index
from tests.support.libraries import Drawn, draw
from tests.support.oracles import naive_rrf

WORDS = [
    "dog bark loud", "cat mews", "rainfall on roofs", "犬の鳴き声 ドラム", "Café Müller",
    "собака лает",
    "the sound of a recording", "barking dogs outside", "강아지 짖는 소리", "", "ABC-12 take 7",
]  # fmt: skip
ODD = [
    "/s/a%b/1.wav",
    "/s/a_b/2.wav",
    "/s/a'b/3.wav",
    "/s/aXb/4.wav",
    "/s/雨/5.wav",
    "/s/r/s/6.wav",
]
OTHER = "/other/s/7.wav"


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


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    files = [(path, "/s", "x") for path in ODD] + [(OTHER, "/other", "x")]
    return Drawn(tmp_path_factory.mktemp("odd") / "library", files)


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


# --- fusion ----------------------------------------------------------------------------------

KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(lists=st.lists(KEYS, min_size=1, max_size=4), data=st.data())
def test_fusion_is_reciprocal_rank_fusion(lists, data):
    weights = [data.draw(st.floats(0.1, 2)) for _ in lists]
    rankings = [{key: rank for rank, key in enumerate(keys, 1)} for keys in lists]
    assert fuse(rankings) == pytest.approx(naive_rrf(lists))
    assert fuse(rankings, weights) == pytest.approx(naive_rrf(lists, weights))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)))
def test_equal_scores_share_a_rank_and_the_next_counts_all_of_them(scores):
    expected = {key: 1 + sum(v > scores[key] for v in scores.values()) for key in scores}
    assert competition_ranks({key: float(v) for key, v in scores.items()}) == expected


# --- filters ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(ODD), parts=st.integers(1, 3))
def test_a_folder_is_found_by_its_path_and_whole_names_only(odd, path, parts):
    folder = "/".join(path.split("/")[: -1 if parts > 2 else parts + 1])
    if folder in ODD:
        return
    hits = odd.search(draw(1)[0], folder=folder)
    assert {hit.path for hit in hits} == {p for p in ODD if p.startswith(folder + "/")}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("a%b", {ODD[0]}), ("a_b", {ODD[1]}), ("a'b", {ODD[2]}), ("雨", {ODD[4]}),
        ("r/s", {ODD[5]}), ("r", {ODD[5]}), ("/s/r/", {ODD[5]}), ("./r", {ODD[5]}),
        ("s", {*ODD, OTHER}), ("other", {OTHER}), ("/", {*ODD, OTHER}),
    ],
)  # fmt: skip
def test_a_folder_is_found_by_its_name_at_or_below_a_root(odd, folder, expected):
    assert {hit.path for hit in odd.search(draw(1)[0], folder=folder)} == expected


@pytest.mark.parametrize(
    "folder", ["a", "b", "1.wav", "/s/a", "/S", "S", "..", "x' OR 1=1 --", "%"]
)
def test_a_folder_that_is_not_there_is_an_error_that_names_those_that_are(odd, folder):
    with pytest.raises(InvalidInputError, match="/other, /s"):
        odd.search(draw(1)[0], folder=folder)


def test_names_of_folders_above_a_root_do_not_count(tmp_path):
    files = [("/home/me/sounds/a/1.wav", "/home/me/sounds", "x")]
    library = Drawn(tmp_path / "library", files)
    for folder in ("sounds", "sounds/a", "a", "/home/me"):
        assert len(library.search(draw(1)[0], folder=folder)) == 1
    for folder in ("me", "home", "me/sounds"):
        with pytest.raises(InvalidInputError):
            library.search(draw(1)[0], folder=folder)


@given(low=st.floats(), high=st.floats())
def test_durations_are_taken_or_refused_and_never_passed_on_wrong(low, high):
    fine = 0 <= low <= high and not math.isinf(low)
    if fine:
        assert SearchFilters(min_duration=low, max_duration=high).min_duration == low
    else:
        with pytest.raises(InvalidInputError):
            SearchFilters(min_duration=low, max_duration=high)


def test_no_longest_duration_is_the_same_as_an_infinite_one(odd):
    query = draw(1)[0]
    assert odd.search(query, max_duration=math.inf) == odd.search(query)
    assert odd.search(query, min_duration=1e300) == []


def test_a_blank_folder_is_an_error():
    with pytest.raises(InvalidInputError, match="blank"):
        SearchFilters(folder=" ")


def test_a_library_that_cannot_be_written_is_searched_by_sound_alone(tmp_path, monkeypatch):
    library = Drawn(tmp_path / "library", [("/s/1.wav", "/s", "dog"), ("/s/2.wav", "/s", "cat")])

    def refuse(*arguments, **options):
        raise RuntimeError("lance error: LanceError(IO): Read-only file system (os error 30)")

    monkeypatch.setattr(library.store.table, "create_index", refuse)
    query = draw(1)[0]
    assert library.search(query, words="cat") == library.search(query)
    monkeypatch.undo()
    assert library.search(query, words="cat")[0].path == "/s/2.wav"


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "surveillance", "a\0b", "\udcff"])
def test_a_folder_that_can_be_none_is_a_clear_error(odd, name):
    with pytest.raises(InvalidInputError, match=r"no sound in such a folder|is not valid text"):
        odd.search(draw(1)[0], folder=name)
