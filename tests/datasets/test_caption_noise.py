from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otomatch.datasets.caption_noise import add_caption_noise, derange, derange_near
from otomatch.errors import InvalidInputError

quick = hypothesis_settings(max_examples=150, deadline=None)
SEEDS = st.integers(0, 2**32)


@quick
@given(n=st.integers(2, 60), share=st.floats(0, 1), seed=SEEDS)
def test_exactly_the_rounded_share_moves_and_nothing_that_moves_stays(n, share, seed):
    count = int(share * n + 0.5)
    assume(share == 0 or count >= 2)
    noise = derange(list(range(n)), share, seed)
    moved = [at for at in range(n) if noise.values[at] != at]
    assert len(moved) == count
    assert list(noise.indices) == moved
    assert noise.sources == noise.values
    assert sorted(noise.values) == list(range(n))


@quick
@given(values=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=40), seed=SEEDS)
def test_equal_values_are_never_swapped_where_it_can_be_avoided(values, seed):
    assume(max(Counter(values).values()) <= len(values) / 2)
    noise = derange(values, 1.0, seed)
    assert all(new != old for new, old in zip(noise.values, values, strict=True))
    assert Counter(noise.values) == Counter(values)


@quick
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12), seed=SEEDS)
def test_no_caption_stays_with_its_clip_where_it_can_be_avoided(sizes, seed):
    groups = [row for row, size in enumerate(sizes) for _ in range(size)]
    assume(len(groups) >= 2 * max(sizes))
    noise = derange([f"caption {i}" for i in range(len(groups))], 1.0, seed, groups)
    assert all(groups[at] != groups[row] for at, row in enumerate(noise.sources))


@quick
@given(seed=SEEDS)
def test_even_where_all_values_are_equal_none_keeps_its_own(seed):
    noise = derange(["same"] * 7, 1.0, seed, [0] * 7)
    assert all(at != row for at, row in enumerate(noise.sources))
    assert sorted(noise.sources) == list(range(7))


def test_the_seed_decides_what_moves_and_where():
    values = [str(i) for i in range(100)]
    assert derange(values, 0.4, 1) == derange(values, 0.4, 1)
    assert derange(values, 0.4, 1).indices != derange(values, 0.4, 2).indices
    assert derange(values, 1.0, 1).values != derange(values, 1.0, 2).values


def test_the_wrong_ones_are_drawn_from_everywhere_not_from_the_front():
    chosen = Counter(at for seed in range(200) for at in derange(range(10), 0.4, seed).indices)
    assert min(chosen.values()) > 40  # 80 expected for each position
    assert max(chosen.values()) < 120


def test_no_noise_changes_nothing():
    noise = derange(["a", "b"], 0.0, 0)
    assert (noise.values, noise.indices, noise.sources) == (("a", "b"), (), (0, 1))
    assert derange([], 0.0, 0).values == ()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share):
    with pytest.raises(InvalidInputError, match="expected 0 to 1"):
        derange(["a", "b", "c"], share, 0)


@pytest.mark.parametrize(("n", "share"), [(10, 0.1), (10, 0.01), (1, 1.0), (0, 0.5)])
def test_a_share_that_chooses_fewer_than_two_is_refused(n, share):
    with pytest.raises(InvalidInputError, match="at least two are needed"):
        derange(list(range(n)), share, 0)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(InvalidInputError, match="one per value"):
        derange(["a", "b"], 1.0, 0, groups=[1])
    with pytest.raises(InvalidInputError, match="seed"):
        derange(["a", "b"], 1.0, -1)
    with pytest.raises(
        InvalidInputError, match="kind of caption noise is 'word'; expected one of clip"
    ):
        add_caption_noise([["a"], ["b"]], 1.0, 0, kind="word")


CAPTIONS = [[f"clip {row} text {i}" for i in range(1 + row % 5)] for row in range(50)]


def test_a_wrong_clip_has_all_captions_of_one_other_clip():
    noise = add_caption_noise(CAPTIONS, 0.4, 3)
    assert len(noise.clips) == 20
    for row, (new, old) in enumerate(zip(noise.captions, CAPTIONS, strict=True)):
        assert (list(new) == old) == (row not in noise.clips)
        assert list(new) in CAPTIONS
    assert sorted(map(list, noise.captions)) == sorted(CAPTIONS)


def test_captions_that_go_wrong_one_by_one_leave_each_clip_its_number():
    noise = add_caption_noise(CAPTIONS, 0.4, 3, kind="caption")
    assert [len(new) for new in noise.captions] == [len(old) for old in CAPTIONS]
    assert len(noise.indices) == round(0.4 * sum(map(len, CAPTIONS)))
    for row, (new, old) in enumerate(zip(noise.captions, CAPTIONS, strict=True)):
        assert (list(new) == old) == (row not in noise.clips)


@pytest.mark.parametrize("kind", ["clip", "caption"])
def test_the_record_says_where_every_caption_came_from(kind):
    noise = add_caption_noise(CAPTIONS, 0.6, 5, kind)
    before = [text for group in CAPTIONS for text in group]
    after = [text for group in noise.captions for text in group]
    assert after == [before[row] for row in noise.sources]
    holder = [row for row, group in enumerate(noise.captions) for _ in group]
    wrong = [at for at, text in enumerate(after) if not text.startswith(f"clip {holder[at]} ")]
    assert list(noise.indices) == wrong


def test_a_large_set_with_many_equal_captions_takes_seconds():
    values = [f"text {i % 500}" for i in range(20000)]
    noise = derange(values, 1.0, 0, [i // 5 for i in range(20000)])
    assert all(values[row] != values[at] for at, row in enumerate(noise.sources))
    assert all(row // 5 != at // 5 for at, row in enumerate(noise.sources))


# --- exchanges among near positions ----------------------------------------------------------


def directions(n, dim=8, seed=0):
    """Random unit vectors."""
    points = np.random.default_rng(seed).normal(size=(n, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def can_be_exchanged(labels, count):
    """Whether so many of distinct values can all move to another label, by Hall's condition."""
    return sum(min(held, count // 2) for held in Counter(labels).values()) >= count


@quick
@given(
    labels=st.lists(st.sampled_from("abc"), min_size=2, max_size=30), share=st.floats(0, 1),
    near=st.integers(1, 5), seed=SEEDS,
)  # fmt: skip
def test_exactly_the_rounded_share_moves_to_another_label_whenever_that_is_possible(
    labels, share, near, seed
):
    n, count = len(labels), int(share * len(labels) + 0.5)
    assume(share == 0 or count >= 2)

    def exchange():
        return derange_near(range(n), directions(n), share, seed, labels, near)

    if not can_be_exchanged(labels, count):
        with pytest.raises(InvalidInputError, match="another value of another group; use a small"):
            exchange()
        return
    noise = exchange()
    moved = [at for at in range(n) if noise.values[at] != at]
    assert len(moved) == count
    assert list(noise.indices) == moved
    assert noise.sources == noise.values
    assert sorted(noise.values) == list(range(n))
    assert all(labels[at] != labels[noise.sources[at]] for at in moved)


@pytest.mark.parametrize("n", [20, 21])
def test_all_swap_in_pairs_but_for_three_where_the_number_is_odd(n):
    sources = derange_near(range(n), directions(n), 1.0, 3).sources
    lengths = Counter()
    for at in range(n):
        cycle = [at]
        while sources[cycle[-1]] != at:
            cycle.append(sources[cycle[-1]])
        lengths[len(cycle)] += 1
    assert lengths == ({2: 20} if n == 20 else {2: 18, 3: 3})


def test_a_partner_is_among_the_nearest_that_are_left():
    vectors = directions(200)
    likeness = vectors @ vectors.T - 2 * np.eye(200)
    sources = np.array(derange_near(range(200), vectors, 0.01, 5, near=4).sources)
    (at, other) = np.flatnonzero(sources != np.arange(200))
    ranks = [int((likeness[row] > likeness[at, other]).sum()) for row in (at, other)]
    assert min(ranks) < 4
    drawn = {
        tuple(np.flatnonzero(np.array(derange_near(range(200), vectors, 0.01, s, near=1).sources)
              != np.arange(200)))
        for s in range(20)
    }  # fmt: skip
    nearest = likeness.argmax(1)
    assert all(nearest[a] == b or nearest[b] == a for a, b in drawn)


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_partners_are_far_nearer_than_random_ones(share):
    vectors = directions(2000, dim=6)
    noise = derange_near(range(2000), vectors, share, 0)
    moved, sources = list(noise.indices), np.array(noise.sources)
    likeness = (vectors[moved] * vectors[sources[moved]]).sum(1)
    assert len(moved) == 2000 * share
    assert likeness.mean() > 0.5  # random pairs: 0 on average, 0.41 in deviation
    assert np.mean(likeness > 0.4) > 0.85


def test_positions_without_a_group_take_part_and_those_of_one_group_never_meet():
    groups = [None, "a", "b", None] * 25
    moved = derange_near(range(100), directions(100), 1.0, 7, groups).sources
    assert all(at != row for at, row in enumerate(moved))
    met = Counter(groups[row] for at, row in enumerate(moved) if groups[at] == "a")
    assert "a" not in met
    assert Counter(groups[row] for at, row in enumerate(moved) if groups[at] is None)[None] > 10


def test_equal_values_are_never_exchanged_by_nearness():
    values = ["rain", "rain", "dog", "car"] * 10
    noise = derange_near(values, directions(40, dim=2), 1.0, 0)
    assert all(new != old for new, old in zip(noise.values, values, strict=True))
    assert Counter(noise.values) == Counter(values)


def test_the_seed_decides_which_near_ones_are_exchanged():
    vectors, values = directions(300), range(300)
    assert derange_near(values, vectors, 0.4, 1) == derange_near(values, vectors, 0.4, 1)
    first, second = (derange_near(values, vectors, 0.4, seed) for seed in (1, 2))
    assert first.indices != second.indices
    assert derange_near(values, vectors.astype(np.float32).tolist(), 0.4, 1) == derange_near(
        values, vectors.astype(np.float32), 0.4, 1
    )


def test_similar_noise_gives_a_clip_all_captions_of_one_of_another_label():
    labels = [f"label {row % 7}" for row in range(50)]
    noise = add_caption_noise(CAPTIONS, 0.5, 3, "similar", directions(50), labels)
    assert len(noise.clips) == 25
    before = [text for group in CAPTIONS for text in group]
    after = [text for group in noise.captions for text in group]
    assert after == [before[row] for row in noise.sources]
    for row, (new, old) in enumerate(zip(noise.captions, CAPTIONS, strict=True)):
        assert (list(new) == old) == (row not in noise.clips)
        assert labels[CAPTIONS.index(list(new))] != labels[row] or row not in noise.clips
    assert sorted(map(list, noise.captions)) == sorted(CAPTIONS)


def test_similar_noise_never_counts_the_same_captions_in_another_order_as_wrong():
    captions = [["rain", "a storm"], ["a storm", "rain"], ["a dog", "barking"], ["cars", "a road"]]
    vectors = directions(4, dim=2)
    vectors[1] = vectors[0]
    for seed in range(10):
        noise = add_caption_noise(captions, 1.0, seed, "similar", vectors)
        assert all(set(new) != set(old) for new, old in zip(noise.captions, captions, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": directions(3)}, r"vectors have shape \(3, 8\); expected 4 rows"),
        ({"vectors": np.full((4, 2), np.nan)}, "all finite"),
        ({"vectors": np.zeros(4)}, r"vectors have shape \(4,\)"),
        ({"near": 0}, "near is 0; expected a whole number >= 1"),
        ({"groups": ["a"]}, "expected 4 groups, one per value, got 1"),
        ({"groups": ["a"] * 3 + [None]}, "a share of 1.0 of 4 is 4, but after 2 no other"),
        ({"seed": -1}, "seed"),
        ({"share": 0.25}, "at least two are needed"),
    ],
)
def test_wrong_arguments_of_near_exchanges_are_refused(arguments, message):
    good = {"vectors": directions(4), "share": 1.0, "seed": 0}
    with pytest.raises(InvalidInputError, match=message):
        derange_near(list("wxyz"), **{**good, **arguments})


def test_similar_noise_needs_vectors():
    with pytest.raises(InvalidInputError, match="needs the vectors of the clips"):
        add_caption_noise([["a"], ["b"]], 1.0, 0, kind="similar")


@pytest.mark.slow
def test_near_exchanges_of_a_large_set_take_seconds():
    n = 10_000
    labels = [row % 50 for row in range(n)]
    noise = derange_near(range(n), directions(n, 32), 0.4, 0, labels)
    assert len(noise.indices) == 4000
