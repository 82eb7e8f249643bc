"""Laws that retrieval metrics obey."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otomatch.evaluation.ranks import rank_embeddings
from otomatch.evaluation.retrieval import (
    evaluate_embeddings,
    evaluate_scores,
)
from tests.support.retrieval_cases import (
    KS,
    MAP_KS,
    quick,
    random_embeddings,
    small_tests,
)


def test_a_perfect_match_scores_100_percent_one_and_rank_one():
    audio, _, text_clip = random_embeddings()
    report = evaluate_embeddings(audio, audio[text_clip], text_clip)
    for direction in (report.text_to_audio, report.audio_to_text):
        assert direction.recall == {1: 100.0, 5: 100.0, 10: 100.0}
        assert direction.map == {10: 1.0}
        assert (direction.median_rank, direction.mean_rank) == (1, 1.0)


@pytest.mark.parametrize("value", [0.0, -3.5, -math.inf, math.inf])
def test_a_constant_scorer_ranks_everything_last(value):
    report = evaluate_scores(np.full((12, 60), value), np.arange(60) // 5)
    assert report.text_to_audio.recall[10] == 0
    assert report.text_to_audio.map[10] == 0
    assert report.text_to_audio.mean_rank == 12
    assert report.audio_to_text.recall[10] == 0
    assert report.audio_to_text.mean_rank == 56


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("block", [7, 64, 1024])
def test_a_collapsed_embedder_ranks_everything_last_whatever_the_block(block, dtype):
    rng = torch.Generator().manual_seed(block)
    audio, text = torch.randn(2, 96, generator=rng, dtype=torch.float64).to(dtype)
    for other in (text, audio):
        report = evaluate_embeddings(
            audio.repeat(50, 1), other.repeat(250, 1), torch.arange(250) % 50, block=block
        )
        assert report.text_to_audio.mean_rank == 50
        assert report.audio_to_text.mean_rank == 246
        assert report.text_to_audio.recall[1] == report.audio_to_text.recall[1] == 0


def test_a_collapsed_embedder_that_differs_by_float32_rounding_ranks_everything_last():
    rng = np.random.default_rng(3)
    points = [point / np.linalg.norm(point) for point in rng.normal(size=(2, 256))]
    audio, text = (
        np.nextafter(
            np.tile(point, (count, 1)).astype(np.float32),
            np.where(rng.random((count, 256)) < 0.5, -9, 9).astype(np.float32),
        )
        for point, count in zip(points, (40, 200), strict=True)
    )
    assert len(np.unique(text, axis=0)) == 200
    report = evaluate_embeddings(audio, text, np.arange(200) // 5)
    assert report.text_to_audio.mean_rank == 40
    assert report.audio_to_text.mean_rank == 196


def test_embeddings_in_a_narrow_cone_are_still_told_apart():
    audio, text, text_clip = random_embeddings(noise=0.05)
    wide = evaluate_embeddings(audio, text, text_clip)
    far = 1e3 * np.ones(audio.shape[1])
    narrow = evaluate_embeddings(audio + far, text + far, text_clip)
    assert narrow.text_to_audio == wide.text_to_audio
    assert narrow.audio_to_text == wide.audio_to_text
    assert wide.text_to_audio.recall[1] == 100


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 3, 16, 39, 4096])
def test_ranks_do_not_depend_on_the_block(block):
    audio, text, text_clip = random_embeddings(noise=4.0)
    audio[5], text[20] = audio[17], text[21]  # duplicates on both sides
    whole = rank_embeddings(audio, text, text_clip, block=10_000)
    found = rank_embeddings(audio, text, text_clip, block=block)
    assert whole.clips_ahead.max() > 10
    np.testing.assert_array_equal(found.clips_ahead, whole.clips_ahead)
    np.testing.assert_array_equal(found.captions_ahead, whole.captions_ahead)


@pytest.mark.slow
@quick
@given(small_tests(), st.randoms(use_true_random=False))
def test_reordering_clips_and_captions_changes_nothing(case, random):
    scores, text_clip = np.array(case[0]), np.array(case[1])
    clips, captions = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(clips)
    random.shuffle(captions)
    reordered = evaluate_scores(
        scores[clips][:, captions], np.argsort(clips)[text_clip[captions]], KS, MAP_KS
    )
    original = evaluate_scores(scores, text_clip, KS, MAP_KS)
    assert reordered.audio_to_text.map == pytest.approx(original.audio_to_text.map)
    assert reordered.text_to_audio.map == pytest.approx(original.text_to_audio.map)
    for name in ("recall", "median_rank", "mean_rank", "queries"):
        for direction in ("text_to_audio", "audio_to_text"):
            found = getattr(getattr(reordered, direction), name)
            assert found == pytest.approx(getattr(getattr(original, direction), name))


@quick
@given(small_tests())
def test_an_increasing_transform_of_the_scores_changes_nothing(case):
    scores = np.array(case[0], dtype=np.float64)
    assert evaluate_scores(np.exp(3 * scores) - 7, case[1]) == evaluate_scores(scores, case[1])


@quick
@given(small_tests())
def test_recall_and_average_precision_grow_with_k(case):
    ks = range(1, 16)
    report = evaluate_scores(np.array(case[0]), case[1], ks=ks, map_ks=ks)
    for direction in (report.text_to_audio, report.audio_to_text):
        recalls, precisions = list(direction.recall.values()), list(direction.map.values())
        assert recalls == sorted(recalls)
        assert all(a <= b + 1e-12 for a, b in pairwise(precisions))
        assert recalls[-1] == 100
        assert 0 < precisions[-1] <= 1


def test_embeddings_and_negative_distances_as_scores_agree():
    audio, text, text_clip = random_embeddings(noise=2.0)
    scores = -np.linalg.norm(audio[:, None] - text, axis=-1)
    by_distance = evaluate_embeddings(audio, text, text_clip)
    by_score = evaluate_scores(scores, text_clip)
    assert by_score.modality_gap is None
    assert replace(by_distance, modality_gap=None) == by_score


def test_tensors_arrays_and_read_only_arrays_give_the_same_report():
    audio, text, text_clip = random_embeddings()
    expected = evaluate_embeddings(audio, text, text_clip)
    tensors = [torch.from_numpy(value.copy()) for value in (audio, text, text_clip)]
    tensors[0].requires_grad_()
    assert evaluate_embeddings(*tensors) == expected
    for value in (audio, text, text_clip):
        value.flags.writeable = False
    assert evaluate_embeddings(audio, text, text_clip) == expected
    assert evaluate_embeddings(audio, text, list(text_clip)) == expected
    assert evaluate_embeddings(audio, text, [[clip, clip] for clip in text_clip]) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluating_leaves_its_input_as_it_was(dtype):
    audio, text = torch.randn(4, 3, dtype=dtype), torch.randn(8, 3, dtype=dtype)
    scores, text_clip = audio @ text.T, torch.arange(8) // 2
    before = [value.clone() for value in (audio, text, scores, text_clip)]
    evaluate_embeddings(audio, text, text_clip)
    evaluate_scores(scores, text_clip)
    for value, old in zip((audio, text, scores, text_clip), before, strict=True):
        assert torch.equal(value, old)


def test_scores_within_the_tolerance_tie():
    scores = np.array([[1.0], [1.0 - 1e-6]])
    assert evaluate_scores(scores, [0]).text_to_audio.recall[1] == 100
    assert evaluate_scores(scores, [0], tolerance=1e-5).text_to_audio.recall[1] == 0
    assert evaluate_scores(scores, [0], tolerance=1e-7).text_to_audio.recall[1] == 100
