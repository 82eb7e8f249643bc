"""Named data sets: AudioCaps, Clotho and ESC-50, opened from every layout they come in."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from otomatch import audio
from otomatch.datasets import DATASETS, absolute_reference, open_dataset
from otomatch.datasets.caption_table import read_rows
from otomatch.datasets.clips import assemble
from otomatch.datasets.clotho import CLOTHO
from otomatch.errors import DatasetError
from otomatch.models.feature_cache import clip_features
from otomatch.models.windowing import feature_windows
from otomatch.training.batches import PairCollator
from otomatch.training.data import prepare_data
from tests.support.layouts import (
    CLOTHO_FOLDERS,
    REAL,
    SHARED,
    captions,
    needs_real_captions,
    write_audiocaps,
    write_clotho,
    write_esc50,
)
from tests.support.sounds import tone, write_audio, write_csv
from tests.support.tiny import tiny_config, tiny_model


def counts(data) -> dict[str, tuple[int, int]]:
    """Clips and captions of every split."""
    parts = {split: data.select(split) for split in data.splits}
    return {split: (len(part), len(part.captions)) for split, part in parts.items()}


# --- AudioCaps -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["mei", "authors", "aac"])
def test_audiocaps_opens_with_all_splits_from_every_layout(tmp_path, layout):
    data = open_dataset("audiocaps", root=write_audiocaps(tmp_path, layout, (3, 2, 2), 0.1))
    assert counts(data) == {"train": (3, 3), "val": (2, 10), "test": (2, 10)}
    assert data.skipped == ()
    assert data.name == "audiocaps"
    assert [list(clip.captions) for clip in data.clips] == [
        captions(place, 1 if place < 3 else 5) for place in range(7)
    ]
    assert all(clip.split in clip.path.parts for clip in data.clips)


def test_audiocaps_opens_from_the_inner_folder_too(tmp_path):
    write_audiocaps(tmp_path, "aac", (2, 1, 1), 0.1)
    assert len(open_dataset("audiocaps", root=tmp_path / "AUDIOCAPS")) == 4


def test_audiocaps_audio_may_lie_in_any_folder_as_long_as_its_name_is_unique(tmp_path):
    root = write_audiocaps(tmp_path, "authors", (2, 1, 1), 0.1)
    (root / "waveforms").rename(root / "elsewhere")
    for split in ("train", "val", "test"):
        for path in (root / "elsewhere" / split).iterdir():
            path.rename(root / "elsewhere" / path.name)
    assert counts(open_dataset("audiocaps", root=root)) == {
        "train": (2, 2), "val": (1, 5), "test": (1, 5),
    }  # fmt: skip


def test_a_clip_that_youtube_has_lost_is_listed_under_both_names_and_the_rest_opens(tmp_path):
    root = write_audiocaps(tmp_path, "authors", (3, 1, 1), 0.1)
    (root / "waveforms/train/Y-0001_xYz.wav").unlink()
    (root / "waveforms/val/Y-0003_xYz.wav").write_text("no sound")
    data = open_dataset("audiocaps", root=root)
    assert counts(data) == {"train": (2, 2), "test": (1, 5)}
    lost, broken = data.skipped
    assert lost.name == "train/Y-0001_xYz.wav"
    assert lost.missing
    assert f"no such file under {root}, nor -0001_xYz_10.flac" in lost.reason
    assert not broken.missing
    assert "cannot be decoded" in broken.reason


def test_two_cuts_of_one_video_are_two_clips_where_the_name_tells_them_apart(tmp_path):
    for start in (10, 40):
        write_audio(tmp_path / f"AUDIOCAPS/audio_32000Hz/train/abc_{start}.flac")
    rows = [("audiocap_id", "youtube_id", "start_time", "caption")]
    rows += [(1, "abc", 10, "rain"), (2, "abc", 40, "a dog"), (3, "abc", 10, "the rain")]
    write_csv(tmp_path / "AUDIOCAPS/train.csv", rows)
    data = open_dataset("audiocaps", root=tmp_path)
    assert [clip.captions for clip in data.clips] == [("rain", "the rain"), ("a dog",)]


# --- Clotho ----------------------------------------------------------------------------------


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


def test_a_table_without_the_columns_of_the_data_set_names_those_it_needs(tmp_path):
    write_csv(tmp_path / "train.csv", [("video", "caption"), ("a", "b")])
    with pytest.raises(
        DatasetError, match=r"line 1: needs the columns youtube_id, start_time and caption or file"
    ):
        open_dataset("audiocaps", root=tmp_path)


# --- ESC-50 ----------------------------------------------------------------------------------


def test_esc50_has_labels_and_folds_but_neither_captions_nor_splits(tmp_path):
    data = open_dataset("esc-50", root=write_esc50(tmp_path, each=2, seconds=0.1))
    assert len(data) == 5 * 4 * 2
    assert data.labels == ("clock tick", "dog", "rooster", "sea waves")
    assert data.captions == []
    assert data.splits == ()
    assert sorted({clip.fold for clip in data.clips}) == [1, 2, 3, 4, 5]
    assert all(clip.path.is_file() for clip in data.clips)


def test_esc50_opens_from_the_folder_that_its_archive_makes_and_without_being_named(tmp_path):
    write_esc50(tmp_path / "ESC-50-master", folds=(1,), seconds=0.1)
    named = open_dataset("esc-50", root=tmp_path)
    assert len(named) == 4
    assert open_dataset(tmp_path).clips == named.clips


def test_esc50_lists_missing_and_broken_clips(tmp_path):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.1)
    (root / "audio/1-100-A-0.wav").unlink()
    (root / "audio/1-101-A-1.wav").write_bytes(b"")
    data = open_dataset("esc-50", root=root)
    assert [clip.label for clip in data.clips] == ["sea waves", "rooster"]
    assert [entry.missing for entry in data.skipped] == [True, False]


def test_a_class_with_two_numbers_is_an_error_that_names_the_line(tmp_path):
    table = write_esc50(tmp_path, classes=("dog",), folds=(1, 2), seconds=0.1) / "meta/esc50.csv"
    table.write_text(table.read_text().replace("A-0.wav,2,0,", "A-0.wav,2,7,"))
    with pytest.raises(DatasetError, match=r"line 3: the class dog has the target 7, but 0"):
        open_dataset("esc-50", root=tmp_path)


# --- names and folders -----------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["esc-50", "ESC-50", "esc50", "ESC50"])
def test_a_name_counts_however_it_is_spelt_as_root_or_before_a_colon(tmp_path, spelling):
    root = write_esc50(tmp_path, folds=(1,), seconds=0.1)
    by_root = open_dataset(spelling, root=root)
    assert open_dataset(f"{spelling}:{root}").clips == by_root.clips
    assert by_root.name == "esc-50"
    with pytest.raises(DatasetError, match="is the name of a data set; write .*:FOLDER"):
        open_dataset(spelling)


def test_a_name_before_a_colon_gives_the_same_data_set_and_split(tmp_path):
    root = write_clotho(tmp_path, clips=(2, 1, 2), seconds=0.1)
    named = open_dataset(f"clotho:{root}", split="test")
    assert named.clips == open_dataset("clotho", root, "test").clips
    with pytest.raises(
        DatasetError, match="no such folder; expected the folder of the data set clotho"
    ):
        open_dataset(f"clotho:{root / 'absent'}")


def test_a_folder_whose_own_name_holds_a_colon_is_that_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "clotho:mine" / "a.wav")
    write_csv(tmp_path / "clotho:mine/captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert open_dataset("clotho:mine").captions == ["x"]


def test_references_are_made_absolute_with_their_name_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_reference("clotho:data") == f"clotho:{tmp_path / 'data'}"
    assert absolute_reference("AudioCaps:data") == f"audiocaps:{tmp_path / 'data'}"
    assert absolute_reference("data") == str(tmp_path / "data")
    assert absolute_reference("~") == str(Path.home().resolve())


def test_a_folder_opens_without_a_name_where_only_one_data_set_has_its_tables(tmp_path):
    clotho = write_clotho(tmp_path / "c", clips=(2, 1, 1), seconds=0.1)
    caps = write_audiocaps(tmp_path / "a", "aac", (2, 1, 1), 0.1)
    assert open_dataset(clotho).name == "clotho"
    assert open_dataset(caps).name == "audiocaps"
    ambiguous = write_clotho(tmp_path / "m", "mei", (2, 1, 1), 0.1)
    with pytest.raises(DatasetError) as caught:
        open_dataset(ambiguous)
    assert f"audiocaps:{ambiguous} or clotho:{ambiguous}" in str(caught.value)
    write_csv(clotho / "captions.csv", [("file_name", "caption"), (f"development/{SHARED}", "x")])
    assert open_dataset(clotho).captions == ["x"]


def test_every_name_is_listed_where_one_is_unknown(tmp_path):
    with pytest.raises(DatasetError) as caught:
        open_dataset("fsd", root=tmp_path)
    assert all(name in str(caught.value) for name in DATASETS)


# --- the rest of the program -----------------------------------------------------------------


def test_training_takes_the_splits_train_and_val_and_the_final_figures_the_split_test(
    tmp_path, tiny_bert
):
    root = write_clotho(tmp_path / "data", clips=(5, 3, 2), seconds=0.3)
    config = tiny_config(tmp_path, tiny_bert, f"data.path='clotho:{root}'")
    material = prepare_data(config, tiny_model(tiny_bert), Console(quiet=True))
    assert (len(material.train_clips), len(material.val_clips)) == (5, 3)
    assert {clip.split for clip in material.final.clips} == {"test"}
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


# --- real captions ---------------------------------------------------------------------------


@needs_real_captions
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("audiocaps", (49274, 494, 957)), ("clotho", (3839, 1045, 1045))],
)
def test_real_rows_open_with_their_audio_and_are_listed_without_it(tmp_path, name, sizes):
    chosen = {}
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        path = tmp_path / "csv_files" / f"{split}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((REAL / f"{name}_{split}.csv").read_bytes())
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == size
        names = [row["file_name"] for row in rows]
        chosen[split] = names[:2] + [text for text in names if text != text.strip()]
        for text in chosen[split]:
            write_audio(tmp_path / "waveforms" / split / text, tone(440, 0.1))
    data = open_dataset(name, root=tmp_path)
    assert {s: len(data.select(s)) for s in data.splits} == {s: len(c) for s, c in chosen.items()}
    assert len(data) + len(data.skipped) == sum(sizes)
    assert all(entry.missing for entry in data.skipped)
    assert all(len(clip.captions) == 5 for clip in data.select("test").clips)


@needs_real_captions
def test_the_four_names_that_real_splits_of_clotho_share_stay_apart(tmp_path):
    rows, names = [], []
    for split in ("train", "val", "test"):
        namings = CLOTHO.namings(split)
        rows.append(read_rows(REAL / f"clotho_{split}.csv", namings, split))
        names.append({row.names[0].partition("/")[2] for row in rows[-1]})
    shared = (names[0] & names[1]) | (names[0] & names[2]) | (names[1] & names[2])
    assert len(shared) == 4
    kept = [row for part in rows for row in part if row.names[0].partition("/")[2] in shared]
    for row in kept:
        write_audio(tmp_path / row.names[0])
    data = assemble("clotho", tmp_path, kept, "the tables")
    assert [clip.id for clip in data.clips] == [row.names[0] for row in kept]
    assert data.skipped == ()
