import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    coverage_error,
    label_ranking_average_precision_score,
    top_k_accuracy_score,
)

from otomatch.errors import InvalidInputError
from otomatch.evaluation.ranks import rank_embeddings, rank_scores
from otomatch.evaluation.retrieval import (
    DirectionReport,
    RetrievalReport,
    evaluate_embeddings,
    evaluate_scores,
    modality_gap,
)
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


# --- worked by hand ----------------------------------------------------------------------------


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


# --- against the loops -------------------------------------------------------------------------


@quick
@given(small_tests(), st.integers(1, 9))
def test_scores_give_what_the_loops_give(case, block):
    scores, text_clip = case
    report = evaluate_scores(torch.tensor(scores), text_clip, KS, MAP_KS, block=block)
    assert_agrees(report, scores, [{clip} for clip in text_clip])


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


# --- laws --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("block", [1, 3, 16, 39, 4096])
def test_ranks_do_not_depend_on_the_block(block):
    audio, text, text_clip = random_embeddings(noise=4.0)
    audio[5], text[20] = audio[17], text[21]  # duplicates on both sides
    whole = rank_embeddings(audio, text, text_clip, block=10_000)
    found = rank_embeddings(audio, text, text_clip, block=block)
    assert whole.clips_ahead.max() > 10
    np.testing.assert_array_equal(found.clips_ahead, whole.clips_ahead)
    np.testing.assert_array_equal(found.captions_ahead, whole.captions_ahead)


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


# --- reports -----------------------------------------------------------------------------------


def test_a_report_survives_json_with_whole_numbers_as_keys():
    audio, text, text_clip = random_embeddings()
    report = evaluate_embeddings(audio, text, text_clip)
    report = replace(report, transductive=evaluate_scores(audio @ text.T, text_clip))
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    again = RetrievalReport.from_dict(json.loads(json.dumps(data)))
    assert again == report
    assert again.transductive.text_to_audio.recall.keys() == {1, 5, 10}
    assert (again.clips, again.captions) == (40, 130)


@pytest.mark.parametrize(
    "broken", [{}, {"recall": {"one": 1}}, {"recall": [1]}, None, {"queries": "many"}]
)
def test_a_malformed_report_is_refused(broken):
    good = evaluate_scores(np.eye(2), [0, 1]).to_dict()
    direction = broken and {**good["text_to_audio"], **broken}
    with pytest.raises(InvalidInputError, match="report"):
        DirectionReport.from_dict(direction)
    with pytest.raises(InvalidInputError, match="report"):
        RetrievalReport.from_dict({**good, "audio_to_text": direction})


# --- refusals ----------------------------------------------------------------------------------

AUDIO, TEXT, OWNER = np.eye(3), np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("audio", "text", "owner", "message"),
    [
        (np.where(AUDIO == 1, np.nan, 0), TEXT, OWNER, "3 of 3 audio rows"),
        (AUDIO, np.where(TEXT == 1, np.inf, 0), OWNER, "4 of 4 text rows"),
        (AUDIO, TEXT[:, :2], OWNER, "3 dimensions and text 2"),
        (AUDIO[0], TEXT, OWNER, "two dimensions"),
        (AUDIO[:0], TEXT, OWNER, "neither empty"),
        (AUDIO, TEXT[:0], [], "neither empty"),
        (AUDIO * 1j, TEXT, OWNER, "expected real numbers"),
        (AUDIO.astype(str), TEXT, OWNER, "expected real numbers"),
        (AUDIO, torch.tensor(TEXT) > 0, OWNER, "expected real numbers"),
        (AUDIO, TEXT, OWNER[:3], "3 entries for 4 captions"),
        (AUDIO, TEXT, [0, 1, 2, 3], "row 3; expected 0 to 2"),
        (AUDIO, TEXT, [-1, 1, 2, 2], "row -1"),
        (AUDIO, TEXT, [0.0, 1.0, 2.0, 2.0], "whole row numbers"),
        (AUDIO, TEXT, [[], [], [], []], "names no clip"),
        (AUDIO, TEXT, 0, "expected a sequence with a row"),
        (AUDIO, TEXT, np.array(0), "expected a sequence with a row"),
    ],
)
def test_bad_input_is_refused_with_its_cause(audio, text, owner, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate_embeddings(audio, text, owner)


def test_bad_scores_and_options_are_refused_with_their_cause():
    with pytest.raises(InvalidInputError, match="NaN"):
        evaluate_scores(np.array([[0.0, np.nan]]), [0, 0])
    with pytest.raises(InvalidInputError, match="2 entries for 3 captions"):
        evaluate_scores(np.zeros((2, 3)), [0, 1])
    for tolerance in (-1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="tolerance"):
            rank_scores(AUDIO, [0, 1, 2], tolerance=tolerance)
    for options in ({"block": 0}, {"ks": (0,)}, {"map_ks": (1.5,)}):
        with pytest.raises(InvalidInputError, match=">= 1"):
            evaluate_embeddings(AUDIO, TEXT, OWNER, **options)


def test_the_modality_gap_refuses_other_dimensions_and_nan():
    with pytest.raises(InvalidInputError, match="dimensions"):
        modality_gap(AUDIO, TEXT[:, :2])
    with pytest.raises(InvalidInputError, match="text contains NaN"):
        modality_gap(AUDIO, TEXT * np.nan)


# --- memory ------------------------------------------------------------------------------------

MEASURE = """
import sys, torch
from otomatch.evaluation.retrieval import evaluate_embeddings

def kilobytes(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1])

clips, captions, dim = map(int, sys.argv[1:])
evaluate_embeddings(torch.randn(2, dim), torch.randn(2, dim), [0, 1])
audio, text = torch.randn(clips, dim), torch.randn(captions, dim)
before = kilobytes("VmRSS")
evaluate_embeddings(audio, text, torch.arange(captions) % clips)
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("clips", "captions", "dim", "megabytes"),
    [
        (1000, 5000, 1024, 150),  # with the inputs and torch itself under 500 MB
        (3000, 12000, 16, 100),  # the full matrix of distances would take 288 MB
    ],
)
def test_streaming_needs_little_memory(clips, captions, dim, megabytes):
    command = [sys.executable, "-c", MEASURE, str(clips), str(captions), str(dim)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(found.stdout) / 1024 < megabytes
