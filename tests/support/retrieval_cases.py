"""Random cases of retrieval, and their comparison with naive loops."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.oracles import naive_retrieval_both_ways

KS, MAP_KS = (1, 2, 5, 10), (1, 3, 10)
quick = settings(max_examples=100, deadline=None)


def assert_agrees(report, scores, clips_of):
    """The report holds what the loops find for scores[clip][caption]."""
    expected = naive_retrieval_both_ways(scores, clips_of, KS, MAP_KS)
    for found, naive in zip((report.text_to_audio, report.audio_to_text), expected, strict=True):
        found = asdict(found)
        for name in ("recall", "map"):
            assert found.pop(name) == pytest.approx(naive.pop(name), abs=1e-12)
        assert found == pytest.approx(naive)


@st.composite
def small_tests(draw):
    """Scores with many ties, and one clip per caption; some clips may have no caption."""
    clips, captions = draw(st.integers(1, 7)), draw(st.integers(1, 14))
    score = st.integers(-2, 2)
    rows = st.lists(score, min_size=captions, max_size=captions)
    scores = draw(st.lists(rows, min_size=clips, max_size=clips))
    owner = st.integers(0, clips - 1)
    return scores, draw(st.lists(owner, min_size=captions, max_size=captions))


@st.composite
def grids(draw):
    """Integer points in three dimensions, so close together that many distances are equal."""
    point = st.tuples(*[st.integers(-1, 1)] * 3)
    audio = draw(st.lists(point, min_size=1, max_size=9))
    text = draw(st.lists(point, min_size=1, max_size=14))
    owner = st.integers(0, len(audio) - 1)
    return audio, text, draw(st.lists(owner, min_size=len(text), max_size=len(text)))


def random_embeddings(seed=0, clips=40, captions=130, dim=24, noise=1.0):
    rng = np.random.default_rng(seed)
    audio = rng.normal(size=(clips, dim))
    text_clip = rng.permutation(np.r_[np.arange(clips), rng.integers(0, clips, captions - clips)])
    return audio, audio[text_clip] + noise * rng.normal(size=(captions, dim)), text_clip
