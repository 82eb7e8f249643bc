"""Embeddings of clips, captions and whole data sets, from files or from cached inputs."""

from dataclasses import replace

import pytest
import torch

from otomatch.datasets import CaptionDataset
from otomatch.errors import DatasetError
from otomatch.models import clip_loading
from otomatch.models.embedding import (
    audio_inputs,
    embed_captions,
    embed_clips,
    embed_dataset,
    text_inputs,
)
from otomatch.models.feature_cache import clip_features
from tests.support.tiny import tiny_model


def test_clips_are_embedded_like_their_files_and_broken_ones_are_listed(
    clips, tiny_bert, monkeypatch
):
    model = tiny_model(tiny_bert)
    monkeypatch.setattr(clip_loading, "CHUNK", 2)  # the broken one shares a chunk with a good one
    embedded = embed_clips(model, clips)
    assert embedded.rows == [0, 2, 3, 4]
    assert [entry.name for entry in embedded.skipped] == ["1.wav"]
    expected = model.embed_audio([clips[row].path for row in (0, 2, 3)])
    torch.testing.assert_close(embedded.vectors[:3], expected, rtol=0, atol=1e-5)
    assert (embedded.vectors[3] - embedded.vectors[0]).norm() > 1e-3
    torch.testing.assert_close(embedded.vectors.norm(dim=1), torch.ones(4))


def test_only_broken_clips_give_no_vectors(clips, tiny_bert):
    embedded = embed_clips(tiny_model(tiny_bert), [clips[1]])
    assert embedded.vectors.shape == (0, 12)
    assert (embedded.rows, len(embedded.skipped)) == ([], 1)


def test_progress_goes_to_the_error_stream(clips, encoder, tmp_path, tiny_bert, capsys):
    clip_features(clips, encoder, tmp_path, progress=True)
    embed_clips(tiny_model(tiny_bert), clips, progress=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("trainable_text", [False, True])
@pytest.mark.parametrize("trainable_audio", [False, True])
def test_a_data_set_is_embedded_from_cached_inputs_as_from_its_files(
    trainable_audio, trainable_text, clips, tiny_bert, cache
):
    model = tiny_model(tiny_bert, trainable=trainable_text)
    if not trainable_audio:
        model.audio_encoder.freeze()
    good = (clips[0], clips[2], replace(clips[3], captions=("rain", "a dog barks")))
    dataset = CaptionDataset("tones", clips[0].path.parent, good)
    files = embed_dataset(model, dataset)
    rows, states = audio_inputs(model, good), text_inputs(model, dataset.captions)
    assert rows.values.shape[1] == (64 if trainable_audio else 32)  # bands, or the encoder's width
    assert (states is None) == trainable_text
    cached = embed_dataset(model, dataset, sounds=[rows[i] for i in range(3)], states=states)
    assert cached.text_clip == files.text_clip == [0, 1, 2, 2]
    torch.testing.assert_close(cached.audio, files.audio, rtol=0, atol=1e-3)  # half precision
    torch.testing.assert_close(cached.text, files.text, rtol=0, atol=1e-5)
    torch.testing.assert_close(embed_captions(model, dataset.captions), files.text)


def test_a_clip_that_cannot_be_read_is_skipped_with_its_captions(clips, tiny_bert):
    dataset = CaptionDataset("tones", clips[0].path.parent, tuple(clips[:3]))
    pairs = embed_dataset(tiny_model(tiny_bert), dataset)
    assert (len(pairs.audio), len(pairs.text), pairs.text_clip) == (2, 2, [0, 1])
    assert [entry.name for entry in pairs.skipped] == ["1.wav"]
    broken = CaptionDataset("broken", dataset.root, (clips[1],))
    with pytest.raises(DatasetError, match=r"broken: nothing to evaluate.*of 1 clips, 0 could be"):
        embed_dataset(tiny_model(tiny_bert), broken)
