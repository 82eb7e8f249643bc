"""Evaluation of a model on a data set: counts and both rankings."""

import math
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from otomatch.evaluation.evaluator import PLAN_EPSILON, evaluate, score_embeddings
from otomatch.evaluation.retrieval import evaluate_embeddings, evaluate_scores
from tests.support.angle_model import Oracle, dataset_of
from tests.support.tiny import tiny_model, write_tones


def embedded(model, dataset):
    """Unit vectors of clips and captions, without the code under test."""
    audio = model.embed_audio([clip.path for clip in dataset.clips])
    return audio, model.embed_text(dataset.captions)


def per_query(report):
    """Return the report without its transductive part."""
    return replace(report, transductive=None)


def test_clips_and_captions_are_counted(tmp_path, tiny_bert):
    report = evaluate(tiny_model(tiny_bert), write_tones(tmp_path, 5, 0.2))
    assert (report.clips, report.captions) == (5, 10)
    assert (report.text_to_audio.queries, report.audio_to_text.queries) == (10, 5)
    assert (report.transductive.clips, report.transductive.captions) == (5, 10)
    assert report.dataset == tmp_path.name
    assert report.skipped == ()


@pytest.mark.parametrize("ground", ["identity", "diagonal", "full", "low-rank"])
@pytest.mark.parametrize("trainable", [False, True])
def test_per_query_figures_are_those_of_the_whitened_embeddings(
    ground, trainable, tiny_bert, uneven
):
    model = tiny_model(tiny_bert, ground, trainable)
    audio, text = embedded(model, uneven)
    expected = evaluate_embeddings(model.whiten(audio), model.whiten(text), uneven.caption_clip)
    found = evaluate(model, uneven)
    assert found.text_to_audio == expected.text_to_audio
    assert found.audio_to_text == expected.audio_to_text
    assert found.transductive is not None


def test_every_caption_counts_for_its_own_clip_where_clips_have_different_numbers(
    tiny_bert, uneven
):
    model = tiny_model(tiny_bert)
    distance = model.distance(*embedded(model, uneven))
    ranks, first = [], 0
    for clip in uneven.clips:
        for caption in range(first, first + len(clip.captions)):
            row = uneven.clips.index(clip)
            ranks.append(int((distance[:, caption] < distance[row, caption]).sum()))
        first += len(clip.captions)
    assert len(ranks) == 1 + 2 + 3 + 4 + 1 + 2
    found = evaluate(model, uneven, ks=(1, 2, 3, 4, 5)).text_to_audio
    assert found.recall == {
        k: pytest.approx(100 * np.mean(np.array(ranks) < k)) for k in range(1, 6)
    }
    assert found.mean_rank == pytest.approx(np.mean(ranks) + 1)


@pytest.mark.parametrize("epsilon", [PLAN_EPSILON, 0.3])
def test_transductive_figures_are_those_of_an_independent_plan(epsilon, tiny_bert, uneven):
    model = tiny_model(tiny_bert)
    cost = model.distance(*embedded(model, uneven)).double().numpy()
    n, m = cost.shape
    plan = ot.sinkhorn(
        np.full(n, 1 / n),
        np.full(m, 1 / m),
        cost / cost.max(),
        epsilon,
        method="sinkhorn_log",
        numItermax=100_000,
        stopThr=1e-12,
    )
    ks, map_ks = (1, 2, 3, 4), (3, 10)
    expected = evaluate_scores(np.log(plan), uneven.caption_clip, ks, map_ks, tolerance=1e-5)
    found = evaluate(model, uneven, ks=ks, map_ks=map_ks, epsilon=epsilon)
    assert found.transductive == expected
    assert per_query(found) != found


def test_the_plan_finds_what_a_hub_hides_from_single_queries(tmp_path):
    # Both captions are nearest to the first clip; only one of them can have it.
    dataset = dataset_of(tmp_path, [["a hub"], ["rain"]])
    model = Oracle([0.0, 60.0], {"a hub": -10.0, "rain": 25.0})
    report = evaluate(model, dataset)
    assert report.text_to_audio.recall[1] == 50.0
    assert report.transductive.text_to_audio.recall[1] == 100.0
    assert report.audio_to_text.recall[1] == 100.0


def test_a_perfect_model_scores_100_percent_in_both_rankings(tmp_path):
    dataset = dataset_of(tmp_path, [["a"], ["b", "c"], ["d"]])
    report = evaluate(Oracle([0, 90, 180], {"a": 1, "b": 91, "c": 88, "d": 179}), dataset)
    for part in (report, report.transductive):
        for direction in (part.text_to_audio, part.audio_to_text):
            assert direction.recall[1] == 100.0
            assert direction.map[10] == 1.0
            assert (direction.median_rank, direction.mean_rank) == (1, 1.0)


def test_the_plan_weighs_distances_by_the_largest_so_that_their_unit_does_not_matter(
    tiny_bert, uneven
):
    model = tiny_model(tiny_bert)
    before = evaluate(model, uneven)
    with torch.no_grad():
        for parameter in model.ground.parameters():
            parameter *= 1e4
    assert evaluate(model, uneven).transductive == before.transductive


@pytest.mark.parametrize("apart", [0.0, 0.01, 0.1, 1.0])
def test_a_collapsed_model_finds_nothing_by_either_ranking(apart, tmp_path, tiny_bert):
    model = tiny_model(tiny_bert)
    with torch.no_grad():
        for head in (model.audio_head, model.text_head):
            head[-1].weight.zero_()
        model.text_head[-1].bias.copy_(model.audio_head[-1].bias + apart)
    report = evaluate(model, write_tones(tmp_path, 12, 0.2))
    for part in (report, report.transductive):
        for direction in (part.text_to_audio, part.audio_to_text):
            assert set(direction.recall.values()) == {0.0}
    assert report.text_to_audio.mean_rank == 12
    assert (report.modality_gap < 1e-6) is (apart == 0)


@pytest.mark.parametrize("gap", [60, 90, 150])
def test_differences_of_the_size_of_rounding_errors_do_not_decide_the_plans_ranking(gap, tmp_path):
    rng = np.random.default_rng(0)
    clips, captions = 37 + 3e-5 * rng.random((2, 20))  # degrees
    words = [str(i) for i in range(20)]
    model = Oracle(list(clips), dict(zip(words, gap + captions, strict=True)))
    plan = evaluate(model, dataset_of(tmp_path, [[word] for word in words])).transductive
    assert plan.text_to_audio.recall[1] == plan.audio_to_text.recall[1] == 0.0


@pytest.mark.parametrize("ground", ["identity", "full"])
def test_the_modality_gap_is_that_of_the_unit_vectors_whatever_the_metric(
    ground, tiny_bert, uneven
):
    model = tiny_model(tiny_bert, ground)
    audio, text = embedded(model, uneven)
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(6))
    expected = float((audio.mean(0) - text.mean(0)).norm())
    assert evaluate(model, uneven).modality_gap == pytest.approx(expected, rel=1e-5)
    scored = score_embeddings(model, audio, text, uneven.caption_clip)
    assert scored.modality_gap == pytest.approx(expected, rel=1e-5)


def test_a_modality_gap_worked_by_hand(tmp_path):
    # Means: (1/2, 1/2) of the clips, (-1, 0) of the captions.
    report = evaluate(Oracle([0, 90], {"a": 180, "b": 180}), dataset_of(tmp_path, [["a"], ["b"]]))
    assert report.modality_gap == pytest.approx(math.sqrt(1.5**2 + 0.5**2), rel=1e-6)
