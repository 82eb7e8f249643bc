"""Folders and durations as filters."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.library.search.filters import SearchFilters
from tests.support.libraries import Drawn, draw

ODD = [
    "/s/a%b/1.wav",
    "/s/a_b/2.wav",
    "/s/a'b/3.wav",
    "/s/aXb/4.wav",
    "/s/雨/5.wav",
    "/s/r/s/6.wav",
]

OTHER = "/other/s/7.wav"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    files = [(path, "/s", "x") for path in ODD] + [(OTHER, "/other", "x")]
    return Drawn(tmp_path_factory.mktemp("odd") / "library", files)


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


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "surveillance", "a\0b", "\udcff"])
def test_a_folder_that_can_be_none_is_a_clear_error(odd, name):
    with pytest.raises(InvalidInputError, match=r"no sound in such a folder|is not valid text"):
        odd.search(draw(1)[0], folder=name)
