"""Laws of searching: order, merging, k, filters, several terms, words."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.library.search import hits as searching
from tests.support.libraries import REFERENCES, Drawn, draw, numbered_files
from tests.support.oracles import naive_odds

QUERY = draw(1, seed=7)[0]
OTHER = draw(1, seed=8)[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    windows = [1 + i % 4 for i in range(60)]
    return Drawn(tmp_path_factory.mktemp("drawn") / "library", numbered_files(60), windows)


def ids(hits) -> list[str]:
    return [hit.id for hit in hits]


def test_relevance_is_the_probability_that_an_oracle_gives(drawn):
    odds = naive_odds(QUERY.tolist(), drawn.vectors.tolist(), REFERENCES.tolist())
    expected = {
        (row["path"], row["start"]): 1 / (1 + math.exp(-value))
        for row, value in zip(drawn.rows, odds, strict=True)
    }
    hits = drawn.search(QUERY)
    assert len(hits) == 60
    for hit in hits:
        assert hit.relevance == pytest.approx(expected[hit.path, hit.start], rel=1e-3)


def test_hits_come_in_order_of_relevance_each_file_once_at_its_best_window(drawn):
    hits = drawn.search(QUERY)
    assert len(set(ids(hits))) == len(hits) == 60
    values = [hit.relevance for hit in hits]
    assert values == sorted(values, reverse=True)
    mean = torch.tensor([row["ref_mean"] for row in drawn.rows])
    nearer = mean - (drawn.vectors - QUERY).norm(dim=1)
    best: dict[str, tuple[float, float]] = {}
    for row, value in zip(drawn.rows, nearer.tolist(), strict=True):
        best[row["path"]] = max(best.get(row["path"], (-99.0, 0.0)), (value, row["start"]))
    assert {hit.path: hit.start for hit in hits} == {p: start for p, (_, start) in best.items()}


@settings(max_examples=25, deadline=None)
@given(k=st.integers(1, 80), more=st.integers(0, 80))
def test_more_hits_never_change_the_first_ones(drawn, k, more):
    hits = drawn.search(QUERY, k=k, words="number5 number17")
    assert len(hits) == min(k, 60)
    assert drawn.search(QUERY, k=k + more, words="number5 number17")[: len(hits)] == hits


def test_more_hits_than_candidates_follow_after_them(drawn, monkeypatch):
    monkeypatch.setattr(searching, "_CANDIDATES", 12)
    hits = drawn.search(QUERY, k=60)
    assert len(set(ids(hits))) == 60
    for k in (1, 5, 20, 40):
        assert drawn.search(QUERY, k=k) == hits[:k]


@settings(max_examples=25, deadline=None)
@given(low=st.floats(0, 5), span=st.floats(0, 5), folder=st.sampled_from(["rain", "heavy", None]))
def test_a_filter_leaves_out_and_changes_nothing_else(drawn, low, span, folder):
    def kept(hit) -> bool:
        inside = {"rain": "/sounds/rain/", "heavy": "/sounds/rain/heavy/", None: "/"}[folder]
        return low <= hit.duration <= low + span and hit.path.startswith(inside)

    filters = {"min_duration": low, "max_duration": low + span, "folder": folder}
    everything = drawn.search(QUERY, OTHER)
    assert drawn.search(QUERY, OTHER, **filters) == [hit for hit in everything if kept(hit)]


def test_what_is_not_wanted_lowers_what_it_matches_and_raises_nothing(drawn):
    before = {hit.id: hit for hit in drawn.search(QUERY)}
    unwanted = drawn.vectors[0]  # is what the only window of the first file sounds like
    without = drawn.search(QUERY, without=[unwanted])
    for hit in without:
        assert hit.relevance <= before[hit.id].relevance
    matches = {hit.id: hit.relevance for hit in drawn.search(unwanted)}
    ratio = {hit.id: hit.relevance / before[hit.id].relevance for hit in without}
    best = max(matches, key=lambda id_: matches[id_])
    assert ratio[best] < 0.5
    order = [hit.id for hit in before.values() if matches[hit.id] < 0.02]
    assert len(order) > 10
    assert [hit.id for hit in without if hit.id in order] == order


def test_all_terms_together_are_less_likely_than_each(drawn):
    each = [{h.id: h.relevance for h in drawn.search(term)} for term in (QUERY, OTHER)]
    # At most: files of several windows may fit both in no single one.
    for hit in drawn.search(QUERY, OTHER):
        assert hit.relevance <= min(part[hit.id] for part in each) + 1e-6
    one_window = [hit for hit in drawn.search(QUERY, OTHER) if hit.duration == 1.0]
    assert one_window
    for hit in one_window:
        assert hit.relevance == pytest.approx(each[0][hit.id] * each[1][hit.id], rel=1e-4)


def test_the_order_of_terms_says_nothing_but_which_distance_is_shown(drawn):
    forth, back = drawn.search(QUERY, OTHER), drawn.search(OTHER, QUERY)
    assert ids(forth) == ids(back)
    for hit in forth[:5]:
        window = next(
            i for i, row in enumerate(drawn.rows)
            if row["path"] == hit.path and row["start"] == hit.start
        )  # fmt: skip
        expected = (drawn.vectors[window] - QUERY).norm().item()
        assert hit.distance == pytest.approx(expected, abs=1e-5)


def test_words_that_match_nothing_change_nothing(drawn):
    expected = drawn.search(QUERY)
    for words in ("nothing of the kind", "the of a sound", '" AND * : ) {', "", "🥁"):
        assert drawn.search(QUERY, words=words) == expected


def test_words_that_match_move_files_up_and_leave_the_others_in_their_order(drawn):
    plain = drawn.search(QUERY)
    last = plain[-1]
    number = last.path.rpartition("/")[2].removesuffix(".wav")
    fused = drawn.search(QUERY, words=f"number{number}")
    assert fused[0] == replace(last, named=True)
    assert fused[1:] == plain[:-1]
    some = drawn.search(QUERY, words=f"number{number} and a word that is nowhere")
    assert 0 < ids(some).index(last.id) < 59


def test_words_find_files_that_are_no_candidates_by_sound(drawn, monkeypatch):
    last = drawn.search(QUERY)[-1]
    monkeypatch.setattr(searching, "_CANDIDATES", 4)
    number = last.path.rpartition("/")[2].removesuffix(".wav")
    assert drawn.search(QUERY, words=f"number{number}", k=2)[0].id == last.id


def test_words_that_are_not_wanted_count_for_nothing(drawn):
    plain = drawn.search(QUERY, without=[OTHER])
    last = plain[-1]
    number = last.path.rpartition("/")[2].removesuffix(".wav")
    words = f"number{number}"
    assert drawn.search(QUERY, without=[OTHER], words=words)[0].id == last.id
    assert drawn.search(QUERY, without=[OTHER], words=words, unwanted_words=[words]) == plain


def test_the_order_of_the_rows_says_nothing(tmp_path):
    count = 1500  # more than the background's sample and than the candidates
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).tolist()
    first = Drawn(tmp_path / "first", numbered_files(count))
    second = Drawn(tmp_path / "second", numbered_files(count), order=order)
    for terms in ({}, {"sounds": [OTHER]}, {"without": [OTHER], "words": "number7"}):
        one, other = (library.search(QUERY, k=50, **terms) for library in (first, second))
        assert ids(one) == ids(other)
        torch.testing.assert_close(
            torch.tensor([hit.relevance for hit in one]),
            torch.tensor([hit.relevance for hit in other]),
        )


def test_several_threads_get_what_one_gets(drawn):
    queries = draw(12, seed=3)
    expected = [drawn.search(query, words="number3", k=9) for query in queries]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda q: drawn.search(q, words="number3", k=9), [*queries] * 4))
    assert found == expected * 4


def test_an_empty_library_has_no_hits(tmp_path):
    empty = Drawn(tmp_path / "empty", [])
    assert empty.search(QUERY, sounds=[OTHER], without=[OTHER], words="rain") == []
