"""Reciprocal rank fusion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otomatch.library.search.fusion import competition_ranks, fuse
from tests.support.oracles import naive_rrf

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
