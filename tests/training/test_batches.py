"""Training batches: order, captions, crops, padding."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.datasets.caption_noise import derange
from otomatch.models.feature_cache import ClipRows
from otomatch.training.batches import EpochBatches, PairCollator

BANDS = 4
LENGTHS = (7, 3, 12, 0, 5)  # the fourth clip could not be read
ROWS = (0, 2, 4, 1)
CAPTION_ROWS = ((0, 1, 2), (6,), (10, 11), (3, 4, 5, 20, 21))


def clip_features(lengths=LENGTHS, bands=BANDS) -> ClipRows:
    """Clips whose every value tells which clip (hundreds) and which frame it is from."""
    frames = np.concatenate(
        [np.full((length, bands), 100 * (i + 1)) + np.arange(length)[:, None]
         for i, length in enumerate(lengths)]
    )  # fmt: skip
    return ClipRows(frames.astype(np.float16), np.cumsum([0, *lengths]), ())


def collator(max_frames=100, seed=0, rows=ROWS, caption_rows=CAPTION_ROWS) -> PairCollator:
    return PairCollator(clip_features(), rows, caption_rows, max_frames, seed)


# --- order -----------------------------------------------------------------------------------


def test_every_epoch_visits_every_row_once():
    batches = EpochBatches(17, 5, drop_last=False, seed=0)
    assert len(batches) == 4
    for epoch in range(3):
        batches.set_epoch(epoch)
        assert [len(batch) for batch in batches] == [5, 5, 5, 2]
        assert sorted(chain(*batches)) == list(range(17))


@pytest.mark.parametrize(
    ("total", "size", "drop_last", "expected"),
    [
        (17, 5, True, [5, 5, 5]),
        (15, 5, False, [5, 5, 5]),
        (16, 5, False, [5, 5, 5]),  # one pair alone has nothing to be told from
        (3, 100, True, [3]),
        (3, 100, False, [3]),
    ],
)
def test_the_rest_of_an_epoch_is_a_batch_where_asked_for(total, size, drop_last, expected):
    batches = EpochBatches(total, size, drop_last, seed=0)
    assert [len(batch) for batch in batches] == expected
    assert len(batches) == len(expected)
    assert [batches.place(step)[1] for step in range(len(batches))] == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.integers(1, 6), st.booleans(), st.integers(0, 9))
def test_the_stretches_of_all_processes_make_up_each_batch(total, size, workers, drop_last, seed):
    whole = list(EpochBatches(total, size, drop_last, seed))
    parts = []
    for rank in range(workers):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("otomatch.parallel.process_group.world_size", lambda: workers)
            patch.setattr("otomatch.parallel.process_group.rank", lambda rank=rank: rank)
            batches = EpochBatches(total, size, drop_last, seed)
            parts.append(list(batches))
            for step, part in enumerate(parts[-1]):
                rows, count = batches.place(step)
                assert (len(part), count) == (rows.stop - rows.start, len(whole[step]))
    joined = [list(chain(*stretches)) for stretches in zip(*parts, strict=True)]
    assert joined == whole[: len(joined)]
    assert len(joined) >= len(whole) - 1  # a rest too small for all is left out
    assert all(len(batch) < workers for batch in whole[len(joined) :])


def test_the_order_differs_by_epoch_and_by_seed_and_is_else_the_same():
    def order(seed, epoch):
        batches = EpochBatches(17, 17, drop_last=True, seed=seed)
        batches.set_epoch(epoch)
        return tuple(*batches)

    orders = {order(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert order(2, 1) == order(2, 1)


def test_going_back_to_an_epoch_gives_its_order_again_even_after_half_an_epoch():
    batches = EpochBatches(17, 4, drop_last=False, seed=0)
    first = list(batches)
    iterator = iter(batches)
    next(iterator)
    batches.set_epoch(1)
    assert list(batches) != first
    batches.set_epoch(0)
    assert list(batches) == first


# --- pairs -----------------------------------------------------------------------------------


def test_a_batch_holds_the_whole_clips_padded_with_zeros_and_their_lengths():
    batch = collator()([3, 0, 1])
    assert batch.clips.tolist() == [1, 0, 2]
    assert batch.lengths.tolist() == [3, 7, 12]
    assert batch.features.shape == (3, 12, BANDS)
    assert batch.features.dtype == torch.float32
    features = clip_features()
    for row, clip, length in zip(batch.features, batch.clips, batch.lengths, strict=True):
        assert torch.equal(row[:length], torch.from_numpy(features[int(clip)].astype(np.float32)))
        assert not row[length:].any()


def test_a_batch_is_as_long_as_its_longest_clip():
    assert collator()([2, 3]).features.shape == (2, 5, BANDS)


def test_captions_belong_to_their_clips_and_all_of_them_appear_over_the_epochs():
    pairs, seen = collator(), [set() for _ in ROWS]
    for epoch in range(60):
        pairs.set_epoch(epoch)
        for pair, caption in enumerate(pairs(range(len(ROWS))).captions.tolist()):
            seen[pair].add(caption)
    assert [tuple(sorted(captions)) for captions in seen] == list(CAPTION_ROWS)


def test_captions_are_drawn_about_equally_often():
    pairs, count = collator(caption_rows=[(0, 1, 2, 3)] * 4), np.zeros(4)
    for epoch in range(500):
        pairs.set_epoch(epoch)
        np.add.at(count, pairs([0, 1, 2, 3]).captions.numpy(), 1)
    np.testing.assert_allclose(count / count.sum(), 0.25, atol=0.04)


def test_long_clips_are_cropped_at_a_place_that_varies_and_reaches_both_ends():
    pairs, starts = collator(max_frames=5), {0: set(), 1: set()}
    for epoch in range(80):
        pairs.set_epoch(epoch)
        batch = pairs([0, 1])
        assert batch.lengths.tolist() == [5, 5]
        for pair, row in enumerate(batch.features):
            frame = row[:, 0] - 100 * (ROWS[pair] + 1)
            assert torch.equal(frame, frame[0] + torch.arange(5))  # in one piece
            starts[pair].add(int(frame[0]))
    assert starts == {0: set(range(7 - 5 + 1)), 1: set(range(12 - 5 + 1))}


def test_clips_that_fit_are_never_cropped():
    pairs = collator(max_frames=7)
    for epoch in range(10):
        pairs.set_epoch(epoch)
        batch = pairs([0, 2, 3])
        assert batch.lengths.tolist() == [7, 5, 3]
        assert batch.features[:, 0, 0].tolist() == [100, 500, 200]


def test_every_choice_depends_on_seed_epoch_and_pair_alone_so_that_a_run_can_resume():
    straight, resumed = collator(max_frames=3), collator(max_frames=3)
    for epoch in range(4):
        straight.set_epoch(epoch)
        for pair in range(4):
            straight([pair])
    straight.set_epoch(2)
    resumed.set_epoch(2)
    together = straight([0, 1, 2, 3])
    for pair in (3, 1, 0, 2):  # in another order, in other company
        alone = resumed([pair])
        assert alone.captions[0] == together.captions[pair]
        assert torch.equal(alone.features[0], together.features[pair])


def test_choices_differ_by_seed_and_by_epoch():
    def choices(seed, epoch):
        pairs = collator(2, seed, rows=[2] * 50, caption_rows=[range(1000)] * 50)
        pairs.set_epoch(epoch)
        batch = pairs(range(50))
        return tuple(batch.captions.tolist()), tuple(batch.features[:, 0, 0].tolist())

    found = [choices(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({captions for captions, _ in found}) == 9
    assert len({crops for _, crops in found}) == 9


def test_batches_do_not_follow_the_noise_of_the_same_seed():
    wrong = set(derange([str(i) for i in range(1000)], 0.4, 7).indices)
    batches = EpochBatches(1000, 100, drop_last=True, seed=7)
    for epoch in range(10):
        batches.set_epoch(epoch)
        shares = [sum(row in wrong for row in batch) / 100 for batch in batches]
        assert min(shares) > 0.2
        assert max(shares) < 0.6
