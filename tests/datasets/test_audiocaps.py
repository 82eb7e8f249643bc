"""AudioCaps in every layout it comes in."""

import pytest

from otomatch.datasets import open_dataset
from otomatch.errors import DatasetError
from tests.support.layouts import (
    captions,
    counts,
    write_audiocaps,
)
from tests.support.sounds import write_audio, write_csv


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


def test_a_table_without_the_columns_of_the_data_set_names_those_it_needs(tmp_path):
    write_csv(tmp_path / "train.csv", [("video", "caption"), ("a", "b")])
    with pytest.raises(
        DatasetError, match=r"line 1: needs the columns youtube_id, start_time and caption or file"
    ):
        open_dataset("audiocaps", root=tmp_path)
