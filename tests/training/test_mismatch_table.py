import csv
import json

import pytest
from rich.console import Console

from otomatch.errors import DatasetError
from otomatch.training.data import prepare_data
from otomatch.training.mismatch.table import COLUMNS, keep_matched, read_weights
from otomatch.training.trainer import build_model, train
from tests.support.sounds import write_csv
from tests.support.tiny import tiny_config, write_tones


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), clips=32)


@pytest.fixture
def data(tones, tiny_bert):
    def make(*overrides):
        config = tiny_config(tones, tiny_bert, *overrides)
        return prepare_data(config, build_model(config), Console(quiet=True))

    return make


def write_table(path, rows):
    return write_csv(path, [COLUMNS, *rows])


def pairs_of(data):
    """Every training pair: id of the clip, caption."""
    return [
        (data.ids[clip], data.captions[row])
        for clip in data.train_clips
        for row in data.train_captions[clip]
    ]


def test_weights_are_read_by_clip_and_caption_and_the_smaller_of_two_counts(tmp_path):
    write_table(tmp_path / "p.csv", [("a", "x", 0.1, 0.9), ("a", "x", 0.2, 0.3), ("b", "x", 1, 0)])
    assert read_weights(tmp_path / "p.csv") == {("a", "x"): 0.3, ("b", "x"): 0.0}


@pytest.mark.parametrize("weight", ["", "much", "nan", "1.5", "-0.1"])
def test_an_invalid_weight_is_refused_with_its_line(tmp_path, weight):
    write_table(tmp_path / "p.csv", [("a", "x", 0.1, 0.9), ("a", "y", 0.1, weight)])
    with pytest.raises(DatasetError, match=r"p\.csv, line 3: weight is .*expected a number"):
        read_weights(tmp_path / "p.csv")


def test_a_file_that_is_no_pair_table_is_refused(tmp_path):
    write_csv(tmp_path / "p.csv", [("clip", "caption"), ("a", "x")])
    with pytest.raises(DatasetError, match=r"no column p_value, weight; expected the pairs\.csv"):
        read_weights(tmp_path / "p.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_weights(tmp_path / "none.csv")


def test_captions_of_at_least_the_minimum_weight_are_kept(tmp_path):
    write_table(tmp_path / "p.csv", [("a", "x", 0, 0.5), ("a", "y", 0, 0.49), ("b", "z", 0, 0.1)])
    clips = [("a", [(7, "x"), (8, "y")]), ("b", [(9, "z")])]
    assert keep_matched(clips, tmp_path / "p.csv", 0.5) == [[7], []]
    assert keep_matched(clips, tmp_path / "p.csv", 0.1) == [[7, 8], [9]]
    with pytest.raises(DatasetError, match="has no row for clip 'b' with the caption 'w'"):
        keep_matched([("b", [(1, "w")])], tmp_path / "p.csv", 0.5)


def test_a_run_trains_only_on_the_captions_that_an_earlier_run_weighted_high(data, tmp_path):
    noisy = data("data.noise=0.5")
    wrong = set(noisy.noise["clips"])
    rows = [(clip, text, 0.5, 0.1 if clip in wrong else 0.9) for clip, text in pairs_of(noisy)]
    write_table(tmp_path / "p.csv", rows)
    kept = data("data.noise=0.5", f"data.pairs={str(tmp_path / 'p.csv')!r}")
    assert pairs_of(kept) == [pair for pair in pairs_of(noisy) if pair[0] not in wrong]
    assert 0 < len(kept.train_clips) < len(noisy.train_clips)
    assert kept.val_clips == noisy.val_clips
    assert kept.fingerprint != noisy.fingerprint


def test_a_clip_keeps_its_matched_captions_and_loses_the_others(data, tmp_path):
    whole = data()
    rows = [(clip, text, 0, i % 2) for i, (clip, text) in enumerate(pairs_of(whole))]
    write_table(tmp_path / "p.csv", rows)
    kept = data(f"data.pairs={str(tmp_path / 'p.csv')!r}")
    assert kept.train_clips == whole.train_clips
    assert pairs_of(kept) == pairs_of(whole)[1::2]


def test_pairs_of_other_noise_are_refused_and_so_are_too_few(data, tmp_path):
    path = f"data.pairs={str(tmp_path / 'p.csv')!r}"
    write_table(tmp_path / "p.csv", [(*pair, 0, 0.2) for pair in pairs_of(data())])
    with pytest.raises(DatasetError, match="a run on the same data with the same seed and caption"):
        data("data.noise=0.5", path)
    with pytest.raises(DatasetError, match=r"0 of 24 training clips have a caption .*lower the"):
        data(path)
    assert len(data(path, "data.min_weight=0.2").train_clips) == 24
    with pytest.raises(DatasetError, match=r"none\.csv cannot be read"):
        data("data.pairs=none.csv")


@pytest.mark.slow
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


def test_fewer_training_clips_are_always_among_more(data):
    sets = [set(data(f"data.clips={n}").train_clips) for n in (2, 7)]
    ids = [{data(f"data.clips={n}").ids[c] for c in s} for n, s in zip((2, 7), sets, strict=True)]
    assert [len(found) for found in ids] == [2, 7]
    assert ids[0] < ids[1]
    assert data("data.clips=24").ids == data().ids
    assert len(data("data.clips=2").val_clips) == len(data().val_clips)
    with pytest.raises(DatasetError, match="25 training clips were requested, but there are 24"):
        data("data.clips=25")
