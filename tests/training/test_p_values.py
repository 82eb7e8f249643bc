import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from otomatch.errors import InvalidInputError
from otomatch.training.mismatch.p_values import estimate_weights, nearest, rank_p_values
from tests.support.oracles import naive_rank_p_values


def pairs(clips=300, captions=3, dim=24, wrong=0.0, noise=0.8, seed=0):
    """Embeddings of clips and captions that agree up to noise, a share of them exchanged."""
    rng = np.random.default_rng(seed)
    meaning = rng.standard_normal((clips, dim))
    place = np.arange(clips)
    moved = rng.permutation(clips)[: round(wrong * clips)]
    place[moved] = np.roll(moved, 1)
    clip_of = np.repeat(np.arange(clips), captions)
    text = meaning[place[clip_of]] + noise * rng.standard_normal((clips * captions, dim))
    audio = meaning + noise * rng.standard_normal((clips, dim))
    unit = torch.nn.functional.normalize
    return (
        unit(torch.from_numpy(audio), dim=1),
        unit(torch.from_numpy(text), dim=1),
        clip_of,
        place != np.arange(clips),
    )


def area(scores, positive):
    """Probability that a positive scores higher than a negative."""
    order = np.argsort(np.argsort(scores)) + 1
    count = positive.sum()
    return (order[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum())


# --- p-values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by_clip", [True, False])
@pytest.mark.parametrize("similar", [True, False])
def test_p_values_equal_the_naive_loops(by_clip, similar):
    audio, text, clip_of, _ = pairs(clips=17, wrong=0.3)
    keep = np.sort(np.random.default_rng(1).permutation(len(text))[:40])
    text, clip_of = text[keep], clip_of[keep]  # clips differ in the number of their captions
    clip_of = np.unique(clip_of, return_inverse=True)[1]
    audio = audio[: clip_of.max() + 1]
    items = len(audio) if by_clip else len(text)
    null_rows = (
        nearest(np.random.default_rng(2).standard_normal((items, 5)), 6) if similar else None
    )
    found = rank_p_values(audio, text, clip_of, by_clip=by_clip, null_rows=null_rows, sample=100)
    expected = naive_rank_p_values(audio.numpy(), text.numpy(), clip_of, by_clip, null_rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    audio, text, clip_of, _ = pairs(clips=50, wrong=0.2)
    null_rows = nearest(text.numpy()[::3], 10)
    whole = [rank_p_values(audio, text, clip_of, null_rows=r, sample=30) for r in (None, null_rows)]
    monkeypatch.setattr("otomatch.training.mismatch.p_values._BLOCK", 7)
    for expected, r in zip(whole, (None, null_rows), strict=True):
        np.testing.assert_array_equal(
            rank_p_values(audio, text, clip_of, null_rows=r, sample=30), expected
        )


@pytest.mark.parametrize("by_clip", [True, False])
def test_captions_that_have_nothing_to_do_with_their_clips_have_uniform_p_values(by_clip):
    audio, text, clip_of, _ = pairs(clips=1500, noise=50)
    p = rank_p_values(audio, text, clip_of, by_clip=by_clip)
    counts = np.histogram(p, 10, (0, 1))[0]
    assert (np.abs(counts / counts.mean() - 1) < 0.3).all()
    assert estimate_weights(p).clean_share < 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(1, 3))
def test_p_values_lie_between_one_over_the_sample_and_one(seed, clips, captions):
    audio, text, clip_of, _ = pairs(clips, captions, seed=seed)
    p = rank_p_values(audio, text, clip_of, seed=seed)
    assert (p >= 1 / (1 + clips)).all()
    assert (p <= 1).all()


def test_a_caption_that_is_near_to_every_clip_says_no_more_than_another():
    audio, text, clip_of, wrong = pairs(clips=400, wrong=0.5, dim=64, noise=2.0)
    hubs = np.isin(clip_of, np.flatnonzero(np.arange(400) % 4 == 0))
    pulled = torch.where(torch.from_numpy(hubs)[:, None], 0.5 * text, text)  # nearer to all
    p = rank_p_values(audio, pulled, clip_of)
    hub = np.arange(400) % 4 == 0
    assert abs(np.median(p[wrong & hub]) - np.median(p[wrong & ~hub])) < 0.2


def test_null_rows_are_the_most_alike_rows_and_never_the_row_itself():
    points = np.random.default_rng(0).standard_normal((60, 8))
    found = nearest(points, 5)
    alike = points.astype(np.float32) @ points.astype(np.float32).T
    np.fill_diagonal(alike, -np.inf)
    expected = np.sort(np.argsort(-alike, axis=1)[:, :5], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert nearest(points, 100).shape == (60, 59)


def test_where_neighbours_were_mixed_up_only_similar_captions_show_it():
    rng = np.random.default_rng(3)
    topic = np.repeat(rng.standard_normal((20, 32)), 25, axis=0)
    meaning = topic + 0.6 * rng.standard_normal((500, 32))
    place = np.arange(500)
    place[:100] = np.arange(100) // 25 * 25 + (np.arange(100) + 7) % 25  # within a topic
    unit = torch.nn.functional.normalize
    audio = unit(torch.from_numpy(meaning + 0.2 * rng.standard_normal((500, 32))), dim=1)
    text = unit(torch.from_numpy(meaning[place] + 0.2 * rng.standard_normal((500, 32))), dim=1)
    plain = estimate_weights(rank_p_values(audio, text, np.arange(500))).clean_share
    null_rows = nearest(text.numpy(), 20)
    similar = estimate_weights(
        rank_p_values(audio, text, np.arange(500), null_rows=null_rows)
    ).clean_share
    assert plain > 0.95
    assert similar == pytest.approx(0.8, abs=0.1)


# --- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.4, 0.6])
@pytest.mark.parametrize("by_clip", [True, False])
def test_the_share_of_right_pairs_is_found_and_wrong_ones_weigh_less(wrong, by_clip):
    audio, text, clip_of, exchanged = pairs(clips=1500, wrong=wrong)
    p = rank_p_values(audio, text, clip_of, by_clip=by_clip)
    found = estimate_weights(p)
    assert found.clean_share == pytest.approx(1 - wrong, abs=0.05)
    assert found.weights.mean() == pytest.approx(1 - wrong, abs=0.06)
    if wrong:
        bad = exchanged if by_clip else exchanged[clip_of]
        assert area(-found.weights, bad) > 0.95


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=300))
def test_weights_are_one_minus_storeys_share_over_the_isotonic_density(p):
    p = np.array(p)
    found = estimate_weights(p)
    wrong = min(1, 2 * np.mean(p > 0.5))
    bins = np.minimum((p * 100).astype(int), 99)
    height = np.bincount(bins, minlength=100) / len(p) * 100
    density = IsotonicRegression(increasing=False).fit_transform(np.arange(100), height)[bins]
    np.testing.assert_allclose(found.weights, 1 - np.minimum(1, wrong / density), atol=1e-9)
    assert found.clean_share == pytest.approx(1 - wrong)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 1), min_size=2, max_size=100))
def test_a_smaller_p_value_never_weighs_less(p):
    weights = estimate_weights(np.sort(p)).weights
    assert (np.diff(weights) <= 1e-12).all()
    assert ((weights >= 0) & (weights <= 1)).all()


def test_bad_input_is_refused():
    audio, text, clip_of, _ = pairs(clips=4)
    with pytest.raises(InvalidInputError, match="1 clips, 1 of them with captions"):
        rank_p_values(audio[:1], text[:3], clip_of[:3])
    with pytest.raises(InvalidInputError, match="4 clips, 3 of them with captions"):
        rank_p_values(audio, text[:9], clip_of[:9])
    with pytest.raises(InvalidInputError, match=r"null_rows is \(3, 2\); expected \(4, k\)"):
        rank_p_values(audio, text, clip_of, null_rows=np.zeros((3, 2), np.int64))
    for wrong in ([], [[0.5]], [0.0], [1.1], [float("nan")]):
        with pytest.raises(InvalidInputError, match="p_values"):
            estimate_weights(wrong)
