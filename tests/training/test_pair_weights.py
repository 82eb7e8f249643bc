import csv

import numpy as np
import pytest
import torch
from rich.console import Console

from otomatch.models.embedding import mean_caption_vectors
from otomatch.training.data import prepare_data
from otomatch.training.mismatch.p_values import estimate_weights, nearest, rank_p_values
from otomatch.training.mismatch.pair_weights import PairWeights
from otomatch.training.mismatch.table import PAIRS_FILE
from otomatch.training.trainer import build_model
from tests.support.tiny import tiny_config, write_tones

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), clips=48)


@pytest.fixture
def run(tones, tiny_bert):
    """A model and its data, and embeddings of all training clips as batches give them."""

    def make(*overrides, **settings):
        config = tiny_config(tones, tiny_bert, "data.noise=0.3", *overrides)
        model = build_model(config).eval()
        data = prepare_data(config, model, Console(quiet=True))
        options = {"by_clip": True, "similar": False, "device": CPU, **settings}
        return model, data, PairWeights(data, 12, 0, **options)

    return make


def see(model, data, weights, size=7):
    """Let an epoch's batches come by; returns the embeddings in the order of training clips."""
    clips = torch.tensor(data.train_clips)
    captions = torch.tensor([data.train_captions[clip][1] for clip in clips.tolist()])
    audio = model.embed_features([torch.from_numpy(np.array(data.sounds[c])) for c in clips])
    text = model.embed_text([data.captions[row] for row in captions.tolist()])
    for at in torch.randperm(len(clips)).split(size):
        weights.record(clips[at], captions[at], audio[at], text[at])
    return audio, text, captions


def test_all_pairs_are_believed_until_the_first_estimate(run):
    _, data, weights = run()
    assert weights.weights.tolist() == [1.0] * len(data.captions)
    assert weights.clean_share == 1


def test_weights_are_those_of_the_rank_p_values_of_all_captions(run):
    model, data, weights = run()
    audio, _, _ = see(model, data, weights)
    weights.update(model, epoch=3)
    rows = [data.train_captions[clip] for clip in data.train_clips]
    text = model.embed_text([data.captions[row] for group in rows for row in group])
    place = np.repeat(np.arange(len(rows)), [len(group) for group in rows])
    p = rank_p_values(model.whiten(audio), model.whiten(text), place, seed=[0, 3, 5])
    expected = estimate_weights(p)
    assert weights.clean_share == pytest.approx(expected.clean_share)
    for group, weight, p_value in zip(rows, expected.weights, p, strict=True):
        torch.testing.assert_close(weights.weights[group], torch.full((2,), float(weight)))
        torch.testing.assert_close(weights.p_values[group], torch.full((2,), float(p_value)))


def test_captions_are_judged_one_by_one_where_they_go_wrong_so(run):
    model, data, weights = run(by_clip=False)
    see(model, data, weights)
    weights.update(model, epoch=0)
    rows = [data.train_captions[clip] for clip in data.train_clips]
    assert any(weights.p_values[group[0]] != weights.p_values[group[1]] for group in rows)


def test_a_text_encoder_that_learns_is_judged_by_the_captions_of_the_epoch(run):
    model, data, weights = run("text.trainable=true", by_clip=False)
    audio, text, captions = see(model, data, weights)
    weights.update(model, epoch=0)
    p = rank_p_values(
        model.whiten(audio),
        model.whiten(text),
        np.arange(len(audio)),
        by_clip=False,
        seed=[0, 0, 5],
    )
    torch.testing.assert_close(weights.p_values[captions], torch.from_numpy(p).float())
    others = torch.ones(len(data.captions), dtype=torch.bool)
    others[captions] = False
    assert (weights.weights[others] == 1).all()  # nothing is known of them yet


@pytest.mark.slow
def test_similar_captions_are_those_that_mean_nearly_the_same(run):
    model, data, weights = run(similar=True)
    audio, _, _ = see(model, data, weights)
    weights.update(model, epoch=0)
    rows = [data.train_captions[clip] for clip in data.train_clips]
    texts = [[data.captions[row] for row in group] for group in rows]
    text = model.embed_text([caption for group in texts for caption in group])
    place = np.repeat(np.arange(len(rows)), 2)
    null_rows = nearest(mean_caption_vectors(texts))
    p = rank_p_values(
        model.whiten(audio), model.whiten(text), place, null_rows=null_rows, seed=[0, 0, 5]
    )
    first = [group[0] for group in rows]
    torch.testing.assert_close(weights.p_values[first], torch.from_numpy(p).float())


def test_a_restored_half_epoch_goes_on_as_if_nothing_had_happened(run):
    model, data, weights = run()
    clips = torch.tensor(data.train_clips)
    half = len(clips) // 2
    vectors = torch.nn.functional.normalize(torch.randn(len(clips), 12), dim=1)
    captions = torch.tensor([data.train_captions[clip][0] for clip in clips.tolist()])
    weights.record(clips[:half], captions[:half], vectors[:half], vectors[:half])
    _, _, resumed = run()
    resumed.restore({key: value.clone() for key, value in weights.tensors().items()})
    for each in (weights, resumed):
        each.record(clips[half:], captions[half:], vectors[half:], vectors[half:])
        each.update(model, epoch=0)
    assert torch.equal(weights.weights, resumed.weights)
    assert weights.clean_share == resumed.clean_share


def test_an_epoch_without_pairs_changes_nothing(run):
    model, _, weights = run()
    weights.update(model, epoch=0)
    assert (weights.weights == 1).all()


def test_the_pairs_are_written_with_their_weights(run, tmp_path):
    model, data, weights = run()
    see(model, data, weights)
    weights.update(model, epoch=0)
    weights.write(tmp_path)
    with (tmp_path / PAIRS_FILE).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(data.train_captions[clip]) for clip in data.train_clips)
    clip = data.train_clips[5]
    rows = [row for row in table if row["clip"] == data.ids[clip]]
    captions = [data.captions[row] for row in data.train_captions[clip]]
    assert [row["caption"] for row in rows] == captions
    weight = weights.weights[data.train_captions[clip][0]].item()
    assert float(rows[0]["weight"]) == pytest.approx(weight, rel=1e-4, abs=1e-9)
