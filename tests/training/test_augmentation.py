"""SpecAugment."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.training.augmentation import spec_augment


def augmented(lengths, seed=0, bands=16, **shares):
    """Padded noise before and after, and what was hidden."""
    lengths = torch.tensor(lengths)
    features = torch.randn(len(lengths), int(lengths.max()), bands) - 30
    features *= (torch.arange(features.shape[1]) < lengths[:, None])[:, :, None]
    kept = features.clone()
    none = {"time_masks": 0, "time_share": 0.0, "band_masks": 0, "band_share": 0.0}
    rng = np.random.default_rng(seed)
    result = spec_augment(features, lengths, rng, **{**none, **shares})
    assert torch.equal(features, kept)  # the input is left alone
    return features, result, result != features


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    masks=st.integers(1, 3),
    share=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
def test_no_more_time_is_hidden_than_allowed_rounded_up_to_a_frame(lengths, masks, share, seed):
    _, _, changed = augmented(lengths, seed, time_masks=masks, time_share=share)
    frames = changed.any(2)
    assert torch.equal(frames, changed.all(2))  # in all bands at once
    for i, length in enumerate(lengths):
        assert frames[i].sum() <= masks * np.ceil(share * length)
        assert not frames[i, length:].any()
        edges = torch.diff(frames[i].int(), prepend=torch.tensor([0])).clamp_min(0).sum()
        assert edges <= masks


@settings(max_examples=60, deadline=None)
@given(masks=st.integers(1, 3), share=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_no_more_bands_are_hidden_than_allowed_rounded_up_to_a_band(masks, share, seed):
    lengths = [3, 9, 5]
    _, _, changed = augmented(lengths, seed, band_masks=masks, band_share=share)
    for i, length in enumerate(lengths):
        bands = changed[i].any(0)
        assert bands.sum() <= masks * np.ceil(share * 16)
        assert changed[i, :length][:, bands].all()  # through the whole clip
        assert not changed[i, length:].any()  # and padding stays zero


def test_hidden_values_are_the_mean_of_the_clip_without_its_padding():
    lengths = [30, 10, 3]
    before, after, changed = augmented(
        lengths, time_masks=2, time_share=0.5, band_masks=2, band_share=0.5
    )
    for i, length in enumerate(lengths):
        assert 0 < changed[i].sum() < length * 16
        mean = before[i, :length].mean()
        torch.testing.assert_close(after[i][changed[i]], mean.expand(int(changed[i].sum())))


def test_stretches_vary_in_size_and_place_and_reach_both_ends():
    _, _, changed = augmented([10] * 2000, time_masks=1, time_share=0.5)
    frames = changed.any(2)
    assert frames.sum(1).float().mean() == pytest.approx(10 * 0.5 / 2, abs=0.15)
    assert set(frames.sum(1).tolist()) == {0, 1, 2, 3, 4, 5}
    assert frames.any(0).all()


@pytest.mark.parametrize(
    "shares",
    [
        {},
        {"time_share": 0.5, "band_share": 0.5},
        {"time_masks": 3, "band_masks": 3},
    ],
)
def test_no_masks_or_no_share_change_nothing(shares):
    before, after, _ = augmented([20, 5], **shares)
    assert torch.equal(before, after)


def test_what_is_hidden_depends_on_the_generator_alone():
    def hidden(seed):
        torch.manual_seed(0)
        shares = {"time_masks": 2, "time_share": 0.3, "band_masks": 2, "band_share": 0.3}
        return augmented([40, 30], seed, **shares)[1]

    assert torch.equal(hidden(1), hidden(1))
    assert not torch.equal(hidden(1), hidden(2))


def test_the_clips_of_a_batch_are_hidden_at_different_places():
    shares = {"time_masks": 1, "time_share": 0.5}
    assert len({tuple(clip.any(1).tolist()) for clip in augmented([40] * 8, **shares)[2]}) > 4
    shares = {"band_masks": 1, "band_share": 0.5}
    assert len({tuple(clip.any(0).tolist()) for clip in augmented([40] * 8, **shares)[2]}) > 4


def test_a_stretch_of_a_batch_is_hidden_as_in_the_whole_batch():
    features, lengths = torch.rand(7, 40, 6) + 1, torch.tensor([40, 40, 30, 20, 40, 10, 40])
    settings = {"time_masks": 2, "time_share": 0.4, "band_masks": 1, "band_share": 0.5}
    whole = spec_augment(features, lengths, np.random.default_rng(3), **settings)
    for rows in (slice(0, 3), slice(3, 7)):
        part = spec_augment(
            features[rows],
            lengths[rows],
            np.random.default_rng(3),
            **settings,
            place=(rows, 7),
        )
        torch.testing.assert_close(part, whole[rows])
