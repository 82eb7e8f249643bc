"""Clotho in every layout it comes in, and its long clips in training and evaluation."""

import numpy as np
import pytest
import torch
from rich.console import Console

from otomatch import audio
from otomatch.datasets import open_dataset
from otomatch.errors import DatasetError
from otomatch.models.feature_cache import clip_features
from otomatch.models.windowing import feature_windows
from otomatch.training.batches import PairCollator
from otomatch.training.data import prepare_data
from tests.support.layouts import (
    CLOTHO_FOLDERS,
    SHARED,
    captions,
    counts,
    write_clotho,
)
from tests.support.tiny import tiny_config, tiny_model


@pytest.mark.parametrize("layout", ["zenodo", "mei", "aac"])
def test_clotho_opens_with_all_splits_from_every_layout_despite_stray_spaces(tmp_path, layout):
    data = open_dataset("clotho", root=write_clotho(tmp_path, layout, (4, 3, 3), 0.1))
    assert counts(data) == {"train": (4, 20), "val": (3, 15), "test": (3, 15)}
    assert data.skipped == ()
    assert [list(clip.captions) for clip in data.clips] == [captions(i, 5) for i in range(10)]
    shared = [clip for clip in data.clips if clip.path.name == SHARED]
    assert [clip.split for clip in shared] == ["train", "test"]
    for clip in data.clips:
        assert clip.path.parent.name in (clip.split, CLOTHO_FOLDERS[clip.split])


def test_published_tables_fit_the_folders_of_the_papers_release(tmp_path):
    root = write_clotho(tmp_path, "mei", (2, 1, 2), 0.1)
    for split, published in CLOTHO_FOLDERS.items():
        table = f"clotho_captions_{published}.csv"
        (root / "csv_files" / f"{split}.csv").rename(root / table)
    assert len(open_dataset("clotho", root=root)) == 5
    assert open_dataset("clotho", root=root).skipped == ()


def test_a_missing_clip_is_not_replaced_by_its_namesake_in_another_split(tmp_path):
    root = write_clotho(tmp_path, clips=(2, 1, 2), seconds=0.1)
    (root / "evaluation" / SHARED).unlink()
    data = open_dataset("clotho", root=root)
    assert counts(data)["test"] == (1, 5)
    assert [entry.name for entry in data.skipped] == [f"evaluation/{SHARED}"]
    assert data.skipped[0].missing


def test_a_split_that_was_not_fetched_is_just_not_there(tmp_path):
    root = write_clotho(tmp_path, clips=(2, 1, 2), seconds=0.1)
    (root / "clotho_captions_development.csv").unlink()
    assert open_dataset("clotho", root=root).splits == ("test", "val")


@pytest.mark.parametrize("name", ["audiocaps", "clotho"])
def test_without_tables_the_error_says_what_was_looked_for_where(tmp_path, name):
    with pytest.raises(DatasetError) as caught:
        open_dataset(name, root=tmp_path)
    message = str(caught.value)
    assert "train.csv" in message
    assert str(tmp_path / "csv_files") in message
    assert f"otomatch data fetch {name}" in message


def test_without_any_audio_the_error_names_the_tables_and_the_first_file(tmp_path):
    root = write_clotho(tmp_path, clips=(2, 1, 1), seconds=0.1)
    for published in CLOTHO_FOLDERS.values():
        (root / published).rename(tmp_path.parent / f"{tmp_path.name}-{published}")
    with pytest.raises(
        DatasetError, match=r"clotho_captions_development.csv.*none of its 4 clips.*no such file"
    ):
        open_dataset("clotho", root=root)


def test_training_takes_the_splits_train_and_val_and_the_final_figures_the_split_test(
    tmp_path, tiny_bert
):
    root = write_clotho(tmp_path / "data", clips=(5, 3, 2), seconds=0.3)
    config = tiny_config(tmp_path, tiny_bert, f"data.path='clotho:{root}'")
    material = prepare_data(config, tiny_model(tiny_bert), Console(quiet=True))
    assert (len(material.train_clips), len(material.val_clips)) == (5, 3)
    assert {clip.split for clip in material.test.clips} == {"test"}
    assert material.name == "clotho"


def test_a_clip_of_23_seconds_is_cropped_in_training_and_covered_by_windows_in_evaluation(
    tmp_path, tiny_bert
):
    root = write_clotho(tmp_path, clips=(1, 0, 0), seconds=23.0)
    (clip,) = open_dataset("clotho", root=root).clips
    model = tiny_model(tiny_bert, window_seconds=10.0)
    features = clip_features([clip], model.audio_encoder)
    rate, most = model.audio_encoder.frame_rate, model.window_frames
    assert features.lengths[0] == pytest.approx(23 * rate, abs=2)

    collate = PairCollator(features, [0], [[0, 1, 2, 3, 4]], most, seed=0)
    crops = set()
    for epoch in range(20):
        collate.set_epoch(epoch)
        batch = collate([0])
        start = int(collate.crops[0])
        assert np.array_equal(batch.features[0].numpy(), features[0][start : start + most])
        crops.add(start)
    assert len(crops) > 10
    assert max(crops) + most <= features.lengths[0]

    waveform = audio.load(clip.path, model.audio_encoder.sample_rate)
    windows = feature_windows(model, model.audio_encoder.features(torch.from_numpy(waveform)))
    assert [window.start for window in windows] == pytest.approx([0, 6.5, 13], abs=0.02)
    assert windows[-1].end == pytest.approx(23, abs=0.02)
    assert np.array_equal(model.embed_audio([clip.path]), model.embed_audio([clip.path]))
