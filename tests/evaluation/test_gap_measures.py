import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from otomatch.errors import InvalidInputError
from otomatch.evaluation.gap_measures import modality_gaps
from otomatch.evaluation.retrieval import modality_gap


def cloud(rows, dim=6, seed=0, shift=0.0):
    """Normal points of unequal variance along the axes, float64."""
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(rows, dim, generator=random, dtype=torch.float64)
    return points * torch.linspace(0.5, 2, dim) + shift


def pairs(clips=60, captions=3, noise=0.5, shift=0.0):
    """Audio, and captions that lie near their clips but for noise and a shift of them all."""
    clip_of = np.arange(clips).repeat(captions)
    audio = cloud(clips)
    return audio, audio[clip_of] + noise * cloud(clips * captions, seed=1) + shift, clip_of


def figures(gap):
    return gap.distance, gap.relative, gap.separability


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("clips", "dim"), [(30, 6), (9, 40)])  # and more dimensions than rows
def test_separability_equals_that_of_scikit_learns_discriminant(shrinkage, clips, dim):
    clip_of = np.sort(np.random.default_rng(0).integers(0, clips, 3 * clips))
    audio, text = cloud(clips, dim), cloud(3 * clips, dim, seed=1, shift=0.4)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.5, 0.5])
    rows, truth = torch.cat([audio, text]).numpy(), np.arange(4 * clips) >= clips
    groups = np.concatenate([np.arange(clips), clip_of])
    guess = cross_val_predict(model, rows, truth, groups=groups, cv=LeaveOneGroupOut())
    expected = 100 * balanced_accuracy_score(truth, guess)
    found = modality_gaps(audio, text, clip_of, folds=10**6, shrinkage=shrinkage)
    assert found.separability == pytest.approx(expected, abs=1e-9)
    assert 50 < expected < 100  # or the two would agree on next to nothing


def test_relative_is_the_distance_over_the_root_mean_squared_distance_to_the_means():
    audio, text = cloud(40, shift=3.0), 2 * cloud(70, seed=1)
    a, t = audio.numpy(), text.numpy()
    spread = np.mean([np.sqrt(x.var(0).sum()) for x in (a, t)])
    found = modality_gaps(audio, text)
    assert found.distance == modality_gap(audio, text)
    assert found.relative == pytest.approx(np.linalg.norm(a.mean(0) - t.mean(0)) / spread)


def test_two_pairs_of_points_have_a_gap_that_is_known_by_hand():
    audio = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    found = modality_gaps(audio, audio + torch.tensor([6.0, 0.0]), [0, 1])
    assert figures(found) == (6.0, 6.0, 100.0)


def test_moving_one_modality_away_raises_all_three():
    gaps = [figures(modality_gaps(*pairs(shift=shift, clips=200))) for shift in (0, 0.4, 0.8, 4)]
    for values in zip(*gaps, strict=True):
        assert list(values) == sorted(set(values))
    assert gaps[-1][2] == 100


@pytest.mark.parametrize("linked", [True, False])
def test_modalities_of_one_distribution_are_told_apart_no_better_than_by_chance(linked):
    text_clip = np.arange(1500) if linked else None
    found = modality_gaps(cloud(1500), cloud(1500, seed=1), text_clip)
    assert found.separability == pytest.approx(50, abs=3)
    assert found.relative < 0.1


def test_a_gap_along_one_direction_of_little_variance_hides_from_the_distances_alone():
    audio, text = cloud(400), cloud(400, seed=1)
    audio[:, 0] *= 1e-2
    text[:, 0] = 1e-2 * text[:, 0] + 0.1
    found = modality_gaps(audio, text, shrinkage=1e-4)
    assert found.relative < 0.1
    assert found.separability > 99


def test_modalities_count_alike_however_many_captions_there_are():
    audio, text, clip_of = pairs(clips=100, captions=1, shift=0.5)
    many = modality_gaps(audio, text.repeat(9, 1), np.tile(clip_of, 9))
    assert figures(many) == pytest.approx(figures(modality_gaps(audio, text, clip_of)))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.25, 0.5, 4.0, 64.0]),
    st.integers(2, 30),
    st.integers(1, 8),
)
def test_scale_changes_the_distance_alone(seed, scale, clips, dim):
    audio, text = cloud(clips, dim, seed), cloud(clips, dim, seed + 1, shift=0.3)
    one, scaled = (modality_gaps(k * audio, k * text, np.arange(clips)) for k in (1, scale))
    assert scaled.distance == pytest.approx(scale * one.distance)
    assert scaled.relative == pytest.approx(one.relative)
    assert scaled.separability == one.separability


def test_a_shift_and_a_rotation_of_the_whole_space_change_nothing():
    audio, text, clip_of = pairs(shift=0.2)
    turn = torch.linalg.qr(cloud(6)).Q
    moved = modality_gaps(audio @ turn + 5, text @ turn + 5, clip_of)
    assert figures(moved) == pytest.approx(figures(modality_gaps(audio, text, clip_of)))


def test_exchanging_the_modalities_changes_nothing():
    audio, text = cloud(80), cloud(80, seed=1, shift=0.3)
    assert figures(modality_gaps(text, audio, np.arange(80))) == pytest.approx(
        figures(modality_gaps(audio, text, np.arange(80)))
    )


def test_the_same_embeddings_give_the_same_figures_in_any_container():
    audio, text, clip_of = pairs(shift=0.2)
    one = modality_gaps(audio.float(), text.float(), clip_of)
    lists = [[int(clip)] for clip in clip_of]
    assert modality_gaps(audio.float().numpy(), text.float().requires_grad_(), lists) == one


def test_captions_are_held_out_with_their_clips_and_with_clips_they_also_describe():
    """Twin clips differ from their captions in a separate direction each, so there is no gap."""
    twin = np.arange(20) // 2
    own = torch.nn.functional.normalize(cloud(10, dim=60), dim=1)[twin]
    noise = [0.01 * cloud(20, dim=60, seed=seed) for seed in (1, 2)]
    audio, text = own + noise[0], -own + noise[1]
    each = [[i] for i in range(20)]
    both = [[i, i ^ 1] for i in range(20)]
    alone, together = (modality_gaps(audio, text, clips, folds=99) for clips in (each, both))
    assert alone.separability > 95  # the twin gave it away
    assert together.separability < 60


@pytest.mark.parametrize(("place", "expected"), [(0.3, (0, 0, 50)), (0.8, (0.5, math.inf, 100))])
def test_collapsed_modalities_have_no_gap_at_one_point_and_an_infinite_one_at_two(place, expected):
    for dtype in (torch.float32, torch.float64):  # the means of the latter are rounded
        audio, text = (torch.full((n, 1), x, dtype=dtype) for n, x in ((49, 0.3), (70, place)))
        assert figures(modality_gaps(audio, text)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": torch.ones(4)}, "audio has shape"),
        ({"text": torch.ones(0, 2)}, "text has shape"),
        ({"text": torch.full((4, 2), math.nan)}, "text contains NaN"),
        ({"text": torch.ones(4, 3)}, "audio has 2 dimensions and text 3"),
        ({"text_clip": [0, 1, 2]}, "text_clip has 3 entries for 4 captions"),
        ({"text_clip": [0, 1, 2, 4]}, "text_clip contains row 4"),
        ({"text_clip": [[0, 1, 2, 3]] * 4}, "all 4 audio rows are in one fold"),
        ({"text_clip": [1] * 4}, "all 4 text rows are in one fold"),
        ({"audio": torch.ones(1, 2)}, "all 1 audio rows are in one fold"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": 2.5}, "folds is 2.5"),
        ({"shrinkage": 0}, "shrinkage is 0"),
        ({"shrinkage": 1.5}, "shrinkage is 1.5"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"audio": cloud(4, 2), "text": cloud(4, 2, seed=1), **change}
    with pytest.raises(InvalidInputError, match=message):
        modality_gaps(**arguments)
