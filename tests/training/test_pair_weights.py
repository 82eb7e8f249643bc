import csv

import numpy as np
import pytest
import torch
from rich.console import Console

from otomatch.models.embedding import mean_caption_vectors
from otomatch.training.data import prepare
from otomatch.training.mismatch.p_values import nearest, pair_weights, rank_p_values
from otomatch.training.mismatch.pair_weights import FILE, PairEvidence, write_pairs
from otomatch.training.trainer import build_model
from tests.support.tiny import tiny_config, write_tones

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), clips=48)


@pytest.fixture
def run(tones, tiny_bert):
    """A model and its material, and embeddings of all training clips as batches give them."""

    def make(*overrides, **settings):
        config = tiny_config(tones, tiny_bert, "data.noise=0.3", *overrides)
        model = build_model(config).eval()
        material = prepare(config, model, Console(quiet=True))
        options = {"by_clip": True, "similar": False, "device": CPU, **settings}
        return model, material, PairEvidence(material, 12, 0, **options)

    return make


def see(model, material, evidence, size=7):
    """Let an epoch's batches come by; returns the embeddings in the order of training clips."""
    clips = torch.tensor(material.train_clips)
    captions = torch.tensor([material.train_captions[clip][1] for clip in clips.tolist()])
    audio = model.embed_features([torch.from_numpy(np.array(material.sounds[c])) for c in clips])
    text = model.embed_text([material.captions[row] for row in captions.tolist()])
    for at in torch.randperm(len(clips)).split(size):
        evidence.record(clips[at], captions[at], audio[at], text[at])
    return audio, text, captions


def test_all_pairs_are_believed_until_the_first_estimate(run):
    _, material, evidence = run()
    assert evidence.weights.tolist() == [1.0] * len(material.captions)
    assert evidence.clean_share == 1


def test_weights_are_those_of_the_rank_p_values_of_all_captions(run):
    model, material, evidence = run()
    audio, _, _ = see(model, material, evidence)
    evidence.update(model, epoch=3)
    rows = [material.train_captions[clip] for clip in material.train_clips]
    text = model.embed_text([material.captions[row] for group in rows for row in group])
    place = np.repeat(np.arange(len(rows)), [len(group) for group in rows])
    p = rank_p_values(model.whiten(audio), model.whiten(text), place, seed=[0, 3, 5])
    expected = pair_weights(p)
    assert evidence.clean_share == pytest.approx(expected.clean_share)
    for group, weight, p_value in zip(rows, expected.weights, p, strict=True):
        torch.testing.assert_close(evidence.weights[group], torch.full((2,), float(weight)))
        torch.testing.assert_close(evidence.p_values[group], torch.full((2,), float(p_value)))


def test_captions_are_judged_one_by_one_where_they_go_wrong_so(run):
    model, material, evidence = run(by_clip=False)
    see(model, material, evidence)
    evidence.update(model, epoch=0)
    rows = [material.train_captions[clip] for clip in material.train_clips]
    assert any(evidence.p_values[group[0]] != evidence.p_values[group[1]] for group in rows)


def test_a_text_encoder_that_learns_is_judged_by_the_captions_of_the_epoch(run):
    model, material, evidence = run("text.trainable=true", by_clip=False)
    audio, text, captions = see(model, material, evidence)
    evidence.update(model, epoch=0)
    p = rank_p_values(
        model.whiten(audio),
        model.whiten(text),
        np.arange(len(audio)),
        by_clip=False,
        seed=[0, 0, 5],
    )
    torch.testing.assert_close(evidence.p_values[captions], torch.from_numpy(p).float())
    others = torch.ones(len(material.captions), dtype=torch.bool)
    others[captions] = False
    assert (evidence.weights[others] == 1).all()  # nothing is known of them yet


def test_similar_captions_are_those_that_mean_nearly_the_same(run):
    model, material, evidence = run(similar=True)
    audio, _, _ = see(model, material, evidence)
    evidence.update(model, epoch=0)
    rows = [material.train_captions[clip] for clip in material.train_clips]
    texts = [[material.captions[row] for row in group] for group in rows]
    text = model.embed_text([caption for group in texts for caption in group])
    place = np.repeat(np.arange(len(rows)), 2)
    rivals = nearest(mean_caption_vectors(texts))
    p = rank_p_values(model.whiten(audio), model.whiten(text), place, rivals=rivals, seed=[0, 0, 5])
    first = [group[0] for group in rows]
    torch.testing.assert_close(evidence.p_values[first], torch.from_numpy(p).float())


def test_a_restored_half_epoch_goes_on_as_if_nothing_had_happened(run):
    model, material, evidence = run()
    clips = torch.tensor(material.train_clips)
    half = len(clips) // 2
    vectors = torch.nn.functional.normalize(torch.randn(len(clips), 12), dim=1)
    captions = torch.tensor([material.train_captions[clip][0] for clip in clips.tolist()])
    evidence.record(clips[:half], captions[:half], vectors[:half], vectors[:half])
    _, _, resumed = run()
    resumed.restore({key: value.clone() for key, value in evidence.tensors().items()})
    for each in (evidence, resumed):
        each.record(clips[half:], captions[half:], vectors[half:], vectors[half:])
        each.update(model, epoch=0)
    assert torch.equal(evidence.weights, resumed.weights)
    assert evidence.clean_share == resumed.clean_share


def test_an_epoch_without_pairs_changes_nothing(run):
    model, _, evidence = run()
    evidence.update(model, epoch=0)
    assert (evidence.weights == 1).all()


def test_the_pairs_are_written_with_their_weights(run, tmp_path):
    model, material, evidence = run()
    see(model, material, evidence)
    evidence.update(model, epoch=0)
    write_pairs(tmp_path, evidence)
    with (tmp_path / FILE).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(material.train_captions[clip]) for clip in material.train_clips)
    clip = material.train_clips[5]
    rows = [row for row in table if row["clip"] == material.ids[clip]]
    captions = [material.captions[row] for row in material.train_captions[clip]]
    assert [row["caption"] for row in rows] == captions
    weight = evidence.weights[material.train_captions[clip][0]].item()
    assert float(rows[0]["weight"]) == pytest.approx(weight, rel=1e-4, abs=1e-9)
