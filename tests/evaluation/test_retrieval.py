"""Retrieval metrics, worked by hand and compared with naive loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    coverage_error,
    label_ranking_average_precision_score,
    top_k_accuracy_score,
)

from otomatch.evaluation.retrieval import (
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
from tests.support.retrieval_cases import (
    KS,
    MAP_KS,
    assert_agrees,
    grids,
    quick,
    random_embeddings,
    small_tests,
)


def test_hits_at_ranks_five_and_one_of_five_relevant_captions_give_an_average_precision_of_028():
    scores = np.full((2, 30), -1.0)
    scores[0] = -np.arange(30)  # clip 0 ranks caption j at j + 1
    text_clip = np.ones(30, int)
    text_clip[[4, 0, 20, 25, 29]] = 0
    report = evaluate_scores(scores[:1], [[0] if owner == 0 else [] for owner in text_clip])
    assert report.audio_to_text.map[10] == pytest.approx(0.28)
    assert report.audio_to_text.recall[1] == 100


def test_text_to_audio_average_precision_is_one_over_the_rank_and_zero_beyond_k():
    scores = -np.arange(20.0)[:, None]
    for clip, expected in ((0, 1.0), (3, 1 / 4), (9, 1 / 10), (10, 0.0)):
        assert evaluate_scores(scores, [clip]).text_to_audio.map[10] == pytest.approx(expected)


def test_several_relevant_clips_share_the_average_precision_of_their_caption():
    scores = -np.arange(20.0)[:, None]  # clip i ranks i + 1
    report = evaluate_scores(scores, [[1, 4, 17]], ks=(1, 2), map_ks=(16,))
    assert report.text_to_audio.map[16] == pytest.approx((1 / 2 + 2 / 5) / 3)
    assert report.text_to_audio.recall == {1: 0.0, 2: 100.0}


def test_the_median_of_the_zero_based_best_ranks_is_floored_before_one_is_added():
    scores = np.zeros((4, 4))
    for caption, rank in enumerate((0, 1, 2, 3)):  # 0-based ranks with median 1.5
        scores[[i for i in range(4) if i != caption][:rank], caption] = 1.0
        scores[caption, caption] = 0.5
    report = evaluate_scores(scores, [0, 1, 2, 3]).text_to_audio
    assert report.median_rank == 2
    assert report.mean_rank == pytest.approx(2.5)


def test_a_relevant_item_that_ties_with_two_others_stands_third():
    report = evaluate_scores([[1.0, 1.0, 1.0, 0.0]], [[0], [], [], []])
    assert report.audio_to_text.mean_rank == 3


def test_two_relevant_captions_that_tie_with_each_other_do_not_push_each_other_down():
    report = evaluate_scores([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0, 0, 1])
    assert report.audio_to_text.map[10] == 1.0
    assert report.audio_to_text.mean_rank == 1.0


def test_a_clip_without_captions_distracts_text_queries_but_is_no_audio_query():
    scores = np.array([[0.5, 0.6], [0.9, 0.1]])
    with_distractor = evaluate_scores(scores, [0, 0])
    assert with_distractor.audio_to_text.queries == 1
    assert with_distractor.text_to_audio.queries == 2
    assert with_distractor.text_to_audio.recall[1] == 50
    assert evaluate_scores(scores[:1], [0, 0]).text_to_audio.recall[1] == 100
    assert with_distractor.clips == 2


def test_the_modality_gap_is_the_distance_between_the_two_means():
    audio, text = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 3.0], [1.0, 5.0], [1, 4]])
    assert modality_gap(audio, text) == pytest.approx(4.0)
    assert evaluate_embeddings(audio, text, [0, 1, 1]).modality_gap == pytest.approx(4.0)


@quick
@given(small_tests(), st.integers(1, 9))
def test_scores_give_what_the_loops_give(case, block):
    scores, text_clip = case
    report = evaluate_scores(torch.tensor(scores), text_clip, KS, MAP_KS, block=block)
    assert_agrees(report, scores, [{clip} for clip in text_clip])


@pytest.mark.slow
@quick
@given(small_tests(), st.integers(1, 9), st.data())
def test_several_relevant_clips_per_caption_give_what_the_loops_give(case, block, data):
    scores, text_clip = case
    extra = st.sets(st.integers(0, len(scores) - 1))
    clips_of = [data.draw(extra) for _ in text_clip]
    clips_of[0] |= {text_clip[0]}
    relevant = [sorted(clips) for clips in clips_of]
    report = evaluate_scores(np.array(scores), relevant, KS, MAP_KS, block=block)
    assert_agrees(report, scores, clips_of)


@pytest.mark.slow
@quick
@given(grids(), st.integers(1, 9))
def test_embeddings_give_what_the_loops_give_on_exact_distances_for_any_block(case, block):
    audio, text, text_clip = case
    scores = [[-sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) for y in text] for x in audio]
    inexact = [torch.tensor(rows, dtype=torch.float64) * 0.1 + 0.7 for rows in (audio, text)]
    report = evaluate_embeddings(*inexact, text_clip, KS, MAP_KS, block)
    assert_agrees(report, scores, [{clip} for clip in text_clip])


def test_untied_scores_give_scikit_learns_figures():
    audio, text, text_clip = random_embeddings(noise=3.0)
    scores = audio @ text.T
    n, m = scores.shape
    report = evaluate_scores(scores, text_clip, ks=(1, 5), map_ks=(m,))
    t2a, a2t = report.text_to_audio, report.audio_to_text
    relevant = np.arange(n)[:, None] == text_clip
    for k in (1, 5):
        accuracy = top_k_accuracy_score(text_clip, scores.T, k=k, labels=np.arange(n))
        assert t2a.recall[k] == pytest.approx(100 * accuracy)
    assert 0 < t2a.recall[1] < 100
    assert t2a.mean_rank == pytest.approx(coverage_error(relevant.T, scores.T))
    assert t2a.map[m] == pytest.approx(label_ranking_average_precision_score(relevant.T, scores.T))
    assert a2t.map[m] == pytest.approx(label_ranking_average_precision_score(relevant, scores))
