import csv
import json

import pytest
from rich.console import Console

from otomatch.errors import DatasetError
from otomatch.training.data import prepare
from otomatch.training.mismatch.table import COLUMNS, keep_right, read_weights
from otomatch.training.trainer import build_model, train
from tests.support.sounds import write_csv
from tests.support.tiny import tiny_config, write_tones


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), clips=32)


@pytest.fixture
def material(tones, tiny_bert):
    def make(*overrides):
        config = tiny_config(tones, tiny_bert, *overrides)
        return prepare(config, build_model(config), Console(quiet=True))

    return make


def write_table(path, rows):
    return write_csv(path, [COLUMNS, *rows])


def pairs_of(material):
    """Every training pair: id of the clip, caption."""
    return [
        (material.ids[clip], material.captions[row])
        for clip in material.train_clips
        for row in material.train_captions[clip]
    ]


def test_weights_are_read_by_clip_and_caption_and_the_smaller_of_two_counts(tmp_path):
    write_table(tmp_path / "p.csv", [("a", "x", 0.1, 0.9), ("a", "x", 0.2, 0.3), ("b", "x", 1, 0)])
    assert read_weights(tmp_path / "p.csv") == {("a", "x"): 0.3, ("b", "x"): 0.0}


@pytest.mark.parametrize("weight", ["", "much", "nan", "1.5", "-0.1"])
def test_a_weight_that_is_none_is_refused_with_its_line(tmp_path, weight):
    write_table(tmp_path / "p.csv", [("a", "x", 0.1, 0.9), ("a", "y", 0.1, weight)])
    with pytest.raises(DatasetError, match=r"p\.csv, line 3: weight is .*expected a number"):
        read_weights(tmp_path / "p.csv")


def test_a_file_that_is_no_pair_table_is_refused(tmp_path):
    write_csv(tmp_path / "p.csv", [("clip", "caption"), ("a", "x")])
    with pytest.raises(DatasetError, match=r"has no column p_value, weight; expected a pairs\.csv"):
        read_weights(tmp_path / "p.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_weights(tmp_path / "none.csv")


def test_captions_from_the_least_weight_on_are_kept(tmp_path):
    write_table(tmp_path / "p.csv", [("a", "x", 0, 0.5), ("a", "y", 0, 0.49), ("b", "z", 0, 0.1)])
    clips = [("a", [(7, "x"), (8, "y")]), ("b", [(9, "z")])]
    assert keep_right(clips, tmp_path / "p.csv", 0.5) == [[7], []]
    assert keep_right(clips, tmp_path / "p.csv", 0.1) == [[7, 8], [9]]
    with pytest.raises(DatasetError, match="does not know clip 'b' with the caption 'w'"):
        keep_right([("b", [(1, "w")])], tmp_path / "p.csv", 0.5)


def test_a_run_trains_only_on_the_captions_that_an_earlier_run_held_for_right(material, tmp_path):
    noisy = material("data.noise=0.5")
    wrong = set(noisy.noise["clips"])
    rows = [(clip, text, 0.5, 0.1 if clip in wrong else 0.9) for clip, text in pairs_of(noisy)]
    write_table(tmp_path / "p.csv", rows)
    kept = material("data.noise=0.5", f"data.pairs={str(tmp_path / 'p.csv')!r}")
    assert pairs_of(kept) == [pair for pair in pairs_of(noisy) if pair[0] not in wrong]
    assert 0 < len(kept.train_clips) < len(noisy.train_clips)
    assert kept.val_clips == noisy.val_clips
    assert kept.fingerprint != noisy.fingerprint


def test_a_clip_keeps_those_of_its_captions_that_are_right(material, tmp_path):
    whole = material()
    rows = [(clip, text, 0, i % 2) for i, (clip, text) in enumerate(pairs_of(whole))]
    write_table(tmp_path / "p.csv", rows)
    kept = material(f"data.pairs={str(tmp_path / 'p.csv')!r}")
    assert kept.train_clips == whole.train_clips
    assert pairs_of(kept) == pairs_of(whole)[1::2]


def test_pairs_of_other_noise_are_refused_and_so_are_too_few(material, tmp_path):
    path = f"data.pairs={str(tmp_path / 'p.csv')!r}"
    write_table(tmp_path / "p.csv", [(*pair, 0, 0.2) for pair in pairs_of(material())])
    with pytest.raises(
        DatasetError, match=r"must come from a run on the same data, seed and noise"
    ):
        material("data.noise=0.5", path)
    with pytest.raises(DatasetError, match=r"holds 0 of 24 training clips for right.*min_weight"):
        material(path)
    assert len(material(path, "data.min_weight=0.2").train_clips) == 24
    with pytest.raises(DatasetError, match=r"none\.csv cannot be read"):
        material("data.pairs=none.csv")


def test_a_run_goes_on_from_the_pairs_of_another(tones, tiny_bert, tmp_path):
    auto = ("data.noise=0.4", "loss.target=trimmed", "loss.mass=auto", "optim.epochs=1")
    train(tiny_config(tones, tiny_bert, *auto), tmp_path / "auto", progress=False)
    path = tmp_path / "auto" / "pairs.csv"
    with path.open() as file:
        weights = sorted(float(row["weight"]) for row in csv.DictReader(file))
    least = f"data.min_weight={weights[len(weights) // 4]}"
    options = ("data.noise=0.4", f"data.pairs={json.dumps(str(path))}", least, "optim.batch=4")
    config = tiny_config(tones, tiny_bert, *options, "optim.epochs=1")
    assert train(config, tmp_path / "run", progress=False).epochs == 1


def test_fewer_training_clips_are_always_among_more(material):
    sets = [set(material(f"data.clips={n}").train_clips) for n in (2, 7)]
    ids = [
        {material(f"data.clips={n}").ids[c] for c in s} for n, s in zip((2, 7), sets, strict=True)
    ]
    assert [len(found) for found in ids] == [2, 7]
    assert ids[0] < ids[1]
    assert material("data.clips=24").ids == material().ids
    assert len(material("data.clips=2").val_clips) == len(material().val_clips)
    with pytest.raises(
        DatasetError, match=r"data\.clips asks for 25 training clips, but there are 24"
    ):
        material("data.clips=25")
