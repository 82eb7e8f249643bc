from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.noise import corrupt, derange

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
    with pytest.raises(InvalidInputError, match="within 0 and 1"):
        derange(["a", "b", "c"], share, 0)


@pytest.mark.parametrize(("n", "share"), [(10, 0.1), (10, 0.01), (1, 1.0), (0, 0.5)])
def test_a_share_that_chooses_fewer_than_two_is_refused(n, share):
    with pytest.raises(InvalidInputError, match="fewer than two cannot be deranged"):
        derange(list(range(n)), share, 0)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(InvalidInputError, match="one per value"):
        derange(["a", "b"], 1.0, 0, groups=[1])
    with pytest.raises(InvalidInputError, match="seed"):
        derange(["a", "b"], 1.0, -1)
    with pytest.raises(InvalidInputError, match="unknown kind"):
        corrupt([["a"], ["b"]], 1.0, 0, kind="word")


CAPTIONS = [[f"clip {row} text {i}" for i in range(1 + row % 5)] for row in range(50)]


def test_a_wrong_clip_has_all_captions_of_one_other_clip():
    noise = corrupt(CAPTIONS, 0.4, 3)
    assert len(noise.clips) == 20
    for row, (new, old) in enumerate(zip(noise.captions, CAPTIONS, strict=True)):
        assert (list(new) == old) == (row not in noise.clips)
        assert list(new) in CAPTIONS
    assert sorted(map(list, noise.captions)) == sorted(CAPTIONS)


def test_captions_that_go_wrong_one_by_one_leave_each_clip_its_number():
    noise = corrupt(CAPTIONS, 0.4, 3, kind="caption")
    assert [len(new) for new in noise.captions] == [len(old) for old in CAPTIONS]
    assert len(noise.indices) == round(0.4 * sum(map(len, CAPTIONS)))
    for row, (new, old) in enumerate(zip(noise.captions, CAPTIONS, strict=True)):
        assert (list(new) == old) == (row not in noise.clips)


@pytest.mark.parametrize("kind", ["clip", "caption"])
def test_the_record_says_where_every_caption_came_from(kind):
    noise = corrupt(CAPTIONS, 0.6, 5, kind)
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
