"""Evaluation of a model on a data set: counts, both rankings, and clips that cannot be read."""

import json
import math
import types
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from otomatch.datasets import CaptionDataset, open_dataset
from otomatch.datasets.base import Clip
from otomatch.errors import DatasetError, InvalidInputError
from otomatch.evaluation.evaluator import PLAN_EPSILON, Evaluation, evaluate, score_embeddings
from otomatch.evaluation.retrieval import evaluate_embeddings, evaluate_scores
from otomatch.transport.ground_metrics import Identity
from tests.support.sounds import tone, write_audio, write_csv
from tests.support.tiny import tiny_model, write_tones

RATE = 32000


class Oracle:
    """Stands in for a model: the n-th clip is n hundredths of a second long, captions are words."""

    def __init__(self, clips: list[float], captions: dict[str, float]) -> None:
        self.clips, self.captions, self.ground = clips, captions, Identity()
        self.settings = {"dim": 2}
        self.audio_encoder = types.SimpleNamespace(
            sample_rate=RATE, features=lambda waveform: waveform[:, None]
        )
        self.text_encoder = types.SimpleNamespace(trainable=True)

    def embed_features(self, features):
        return at_angles([self.clips[round(len(clip) * 100 / RATE) - 1] for clip in features])

    def embed_text(self, captions):
        return at_angles([self.captions[caption] for caption in captions])

    def whiten(self, vectors):
        return self.ground.whiten(vectors)

    def distance(self, audio, text):
        return self.ground(audio, text)


def at_angles(degrees: list[float]) -> torch.Tensor:
    """Unit vectors in the plane."""
    radians = torch.tensor(degrees) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def dataset_of(root, captions: list[list[str]]) -> CaptionDataset:
    """One clip for each list of captions; the n-th is n hundredths of a second long."""
    clips = []
    for i, texts in enumerate(captions):
        path = write_audio(root / f"{i}.wav", tone(440, (i + 1) / 100))
        clips.append(Clip(path, tuple(texts), path.name, label="tone"))
    return CaptionDataset("angles", root, tuple(clips))


def embedded(model, dataset):
    """Unit vectors of clips and captions, without the code under test."""
    audio = model.embed_audio([clip.path for clip in dataset.clips])
    return audio, model.embed_text(dataset.captions)


def per_query(report):
    """The report without what was not ranked query by query."""
    return replace(report, transductive=None)


@pytest.fixture
def uneven(tmp_path):
    """Six clips with one to four captions each."""
    rows = [("file_name", "caption")]
    captions = ("a deep hum", "the high tone", "a dog barks", "shrill rain")
    for i in range(6):
        write_audio(tmp_path / "uneven" / f"{i}.wav", tone(200.0 * 2**i, 0.2 + 0.1 * i))
        ending = ("long", "short", "steady", "rising")[i % 4]
        rows += [(f"{i}.wav", f"{caption} {ending}") for caption in captions[: 1 + i % 4]]
    write_csv(tmp_path / "uneven" / "captions.csv", rows)
    return open_dataset(tmp_path / "uneven")


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


# --- clips that cannot be read ---------------------------------------------------------------


@pytest.mark.parametrize("broken", [[0], [5], [2, 3], [0, 1, 2, 4, 5]])
def test_clips_that_vanish_or_break_are_listed_and_the_others_keep_their_captions(
    broken, tiny_bert, uneven
):
    model = tiny_model(tiny_bert)
    rest = tuple(clip for i, clip in enumerate(uneven.clips) if i not in broken)
    expected = evaluate(model, replace(uneven, clips=rest))
    for i in broken:
        if i % 2:
            uneven.clips[i].path.unlink()
        else:
            uneven.clips[i].path.write_bytes(b"no sound")
    found = evaluate(model, uneven)
    assert [entry.name for entry in found.skipped] == [uneven.clips[i].id for i in broken]
    assert all(entry.reason for entry in found.skipped)
    assert found.clips == 6 - len(broken)
    assert replace(found, skipped=()) == expected


def test_rows_that_the_data_set_could_not_use_are_listed_before_the_clips(tmp_path, tiny_bert):
    root = write_tones(tmp_path / "tones", 6, 0.2)
    (root / "001.wav").unlink()
    dataset = open_dataset(root)
    (root / "004.wav").unlink()
    report = evaluate(tiny_model(tiny_bert), dataset)
    assert ["001.wav" in report.skipped[0].name, report.skipped[1].name] == [True, "004.wav"]
    assert (report.clips, report.captions, len(report.skipped)) == (4, 8, 2)


def test_a_clip_without_captions_distracts_text_queries(tmp_path):
    dataset = dataset_of(tmp_path, [["rain"], [], ["hum"]])
    model = Oracle([0.0, 10.0, 180.0], {"rain": 9.0, "hum": 170.0})
    report = evaluate(model, dataset)
    assert (report.clips, report.captions, report.audio_to_text.queries) == (3, 2, 2)
    assert report.text_to_audio.recall[1] == 50.0


def test_without_a_usable_clip_there_is_a_clear_error(tmp_path):
    model = Oracle([0.0, 10.0], {})
    silent = dataset_of(tmp_path, [[], []])
    with pytest.raises(DatasetError, match=r"of 2 clips, 2 could be read and none .* a caption$"):
        evaluate(model, silent)
    gone = dataset_of(tmp_path, [["a"], ["b"]])
    for clip in gone.clips:
        clip.path.unlink()
    with pytest.raises(DatasetError, match=r"of 2 clips, 0 could be read.*first: .*0\.wav"):
        evaluate(model, gone)


# --- input and output ------------------------------------------------------------------------


def test_a_folder_its_name_and_an_open_data_set_give_the_same(tmp_path, tiny_bert):
    root, model = write_tones(tmp_path, 4, 0.2), tiny_model(tiny_bert)
    expected = evaluate(model, open_dataset(root))
    assert evaluate(model, root) == expected
    assert evaluate(model, str(root)) == expected


def test_the_ks_asked_for_are_the_ones_reported_in_both_rankings(tmp_path, tiny_bert):
    root = write_tones(tmp_path, 4, 0.2)
    report = evaluate(tiny_model(tiny_bert), root, ks=(2, 3), map_ks=(16,))
    for part in (report, report.transductive):
        for direction in (part.text_to_audio, part.audio_to_text):
            assert (list(direction.recall), list(direction.map)) == ([2, 3], [16])


def test_evaluating_leaves_the_model_in_the_mode_it_was_in(tmp_path, tiny_bert):
    root, model = write_tones(tmp_path, 4, 0.2), tiny_model(tiny_bert)
    expected = evaluate(model, root)
    model.train()
    assert evaluate(model, root) == expected  # and without dropout
    assert model.training


def test_a_report_survives_json(tiny_bert, uneven):
    uneven.clips[1].path.unlink()
    report = evaluate(tiny_model(tiny_bert), uneven)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["dataset"] == "uneven"
    assert data["skipped"][0]["name"] == "1.wav"
    assert data["transductive"]["clips"] == 5
    again = Evaluation.from_dict(data)
    assert again == report
    assert again.to_dict() == report.to_dict()


@pytest.mark.parametrize(
    "wrong", [{"skipped": None}, {"skipped": [{"name": "a"}]}, {"clips": None}]
)
def test_a_malformed_report_is_refused(wrong, tmp_path):
    model = Oracle([0, 90], {"a": 180, "b": 180})
    good = evaluate(model, dataset_of(tmp_path, [["a"], ["b"]])).to_dict()
    with pytest.raises(InvalidInputError, match="expected what to_dict"):
        Evaluation.from_dict({**good, **wrong})
    del good["dataset"]
    with pytest.raises(InvalidInputError, match="dataset"):
        Evaluation.from_dict(good)
