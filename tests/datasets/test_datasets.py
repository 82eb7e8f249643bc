import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otomatch.datasets import DATASETS, CaptionDataset, open_dataset, write_captions
from otomatch.datasets.base import Clip, Skipped
from otomatch.errors import DatasetError
from tests.support.sounds import tone, write_audio, write_caption_folder, write_csv

TWO = {"a.wav": ["a dog barks", "dogs bark"], "sub/b.wav": ["rain falls"]}


def test_rows_of_one_file_make_one_clip_with_its_captions_in_order(tmp_path):
    data = open_dataset(write_caption_folder(tmp_path, TWO))
    assert [clip.id for clip in data.clips] == ["a.wav", "sub/b.wav"]
    assert data.captions == ["a dog barks", "dogs bark", "rain falls"]
    assert data.caption_clip == [0, 0, 1]
    assert len(data) == 2
    assert data.name == tmp_path.name
    assert data.skipped == ()


def test_numbered_caption_columns_are_read_in_numerical_order(tmp_path):
    write_audio(tmp_path / "a.wav")
    numbers = [10, 2, 1]
    header = ["file_name", *(f"caption_{i}" for i in numbers)]
    write_csv(tmp_path / "captions.csv", [header, ["a.wav", *(f"text {i}" for i in numbers)]])
    assert open_dataset(tmp_path).captions == ["text 1", "text 2", "text 10"]


def test_a_byte_order_mark_quotes_blank_lines_and_blank_captions_do_no_harm(tmp_path):
    write_audio(tmp_path / "a.wav")
    text = (
        '\n"file_name", caption_1,caption_2,\n\na.wav,"a dog barks, then ""rain"" falls", ,\n , ,\n'
    )
    (tmp_path / "captions.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert open_dataset(tmp_path).captions == ['a dog barks, then "rain" falls']


def test_optional_columns_reach_the_clips_and_spans_make_clips_of_their_own(tmp_path):
    write_audio(tmp_path / "a.wav", tone(440, 1.0))
    rows = [
        ("file_name", "caption", "split", "label", "start", "end", "fold"),
        ("a.wav", "one", "train", "dog", "0", "0.5", "1"),
        ("a.wav", "two", "test", "rain", "0.5", "", "2"),
        ("a.wav", "three", "train", "", "0", "0.5", ""),
    ]
    write_csv(tmp_path / "captions.csv", rows)
    data = open_dataset(tmp_path)
    first, second = data.clips
    assert first.captions == ("one", "three")
    assert (first.split, first.label, first.fold, first.start, first.end) == (
        *("train", "dog", 1),
        *(0.0, 0.5),
    )
    assert (second.start, second.end, second.fold) == (0.5, None, 2)
    assert first.id != second.id
    assert data.splits == ("test", "train")
    assert data.labels == ("dog", "rain")


def test_select_keeps_one_split_and_an_unknown_split_lists_those_there_are(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    rows = [("file_name", "caption", "split"), ("a.wav", "x", "train"), ("b.wav", "y", "test")]
    write_csv(tmp_path / "captions.csv", rows)
    assert open_dataset(tmp_path, split="test").captions == ["y"]
    with pytest.raises(DatasetError, match=r"no split 'val'; it has test, train"):
        open_dataset(tmp_path).select("val")


def test_folds_are_kept_together_and_an_unknown_fold_lists_those_there_are(tmp_path):
    rows = [("file_name", "caption", "fold")]
    for i in range(6):
        write_audio(tmp_path / f"{i}.wav")
        rows.append((f"{i}.wav", f"caption {i}", ("", 1, 2, 3, 1, 2)[i]))
    write_csv(tmp_path / "captions.csv", rows)
    dataset = open_dataset(tmp_path)
    chosen = dataset.in_folds([3, 1])
    assert chosen.captions == ["caption 1", "caption 3", "caption 4"]
    assert chosen.name == f"{tmp_path.name} (folds 1, 3)"
    with pytest.raises(DatasetError, match=r"no clip in folds 4, 5; it has 1, 2, 3"):
        dataset.in_folds([5, 4])
    with pytest.raises(DatasetError, match="it names no folds"):
        replace(dataset, clips=dataset.clips[:1]).in_folds([1])


def test_missing_empty_and_undecodable_files_are_reported_and_skipped(tmp_path):
    write_audio(tmp_path / "good.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(b"not audio at all" * 200)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.flac").write_bytes(b"fLaC")
    (tmp_path / "fake.m4a").write_bytes(b"nothing that ffmpeg knows")
    write_audio(tmp_path / "nothing.wav", np.zeros(0, np.float32))
    names = ["good.wav", "gone.wav", "empty.wav", "noise.wav", "notes.txt", "cut.flac"]
    names += ["fake.m4a", "nothing.wav"]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *((n, "x") for n in names)])
    data = open_dataset(tmp_path)
    assert [clip.id for clip in data.clips] == ["good.wav"]
    reasons = {item.name: item.reason for item in data.skipped}
    assert set(reasons) == set(names) - {"good.wav"}
    assert "line 3: no such file" in reasons["gone.wav"]
    assert "empty (0 bytes)" in reasons["empty.wav"]
    assert "cannot be decoded" in reasons["noise.wav"]
    assert "cannot be decoded" in reasons["cut.flac"]
    assert "no audio samples" in reasons["nothing.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".au", ".caf"])
def test_every_format_that_decodes_passes_the_quick_look_at_open_time(tmp_path, suffix):
    write_audio(tmp_path / f"a{suffix}", tone(440, 1.0))
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), (f"a{suffix}", "x")])
    assert open_dataset(tmp_path).skipped == ()


def test_no_usable_row_at_all_is_an_error_that_says_why(tmp_path):
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("gone.wav", "x")])
    with pytest.raises(DatasetError, match=r"none of its 1 clips .*gone\.wav: line 2: no such"):
        open_dataset(tmp_path)
    write_csv(tmp_path / "captions.csv", [("file_name", "caption")])
    with pytest.raises(DatasetError, match="none of its 0 clips"):
        open_dataset(tmp_path)


def test_a_clip_whose_captions_are_all_blank_is_kept_only_for_its_label(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    write_audio(tmp_path / "c.wav")
    rows = [("file_name", "caption", "label"), ("a.wav", " ", ""), ("b.wav", "", "dog")]
    write_csv(tmp_path / "captions.csv", [*rows, ("c.wav", "x", "")])
    data = open_dataset(tmp_path)
    assert [(clip.id, clip.captions) for clip in data.clips] == [("b.wav", ()), ("c.wav", ("x",))]
    assert data.skipped == (Skipped("a.wav", "line 2: no caption"),)


def test_names_match_without_stray_spaces_and_in_any_sub_folder(tmp_path):
    write_audio(tmp_path / "deep" / "er" / "with space.wav")
    write_audio(tmp_path / "audio" / "trailing.wav ".strip())
    rows = [("file_name", "caption"), (" with space.wav  ", "x"), ("old/trailing.wav", "y")]
    write_csv(tmp_path / "captions.csv", rows)
    data = open_dataset(tmp_path)
    assert [clip.id for clip in data.clips] == ["deep/er/with space.wav", "audio/trailing.wav"]


def test_the_exact_path_wins_over_a_file_of_the_same_name_elsewhere(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "sub" / "a.wav")
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert [clip.id for clip in open_dataset(tmp_path).clips] == ["a.wav"]


def test_an_ambiguous_base_name_is_reported_not_guessed(tmp_path):
    for name in ("one/a.wav", "two/a.wav", "b.wav", "three/c.wav"):
        write_audio(tmp_path / name)
    rows = [("a.wav", "x"), ("b.wav", "y"), ("four/c.wav", "not z"), ("three/c.wav", "z")]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *rows])
    data = open_dataset(tmp_path)
    assert data.captions == ["y", "z"]
    assert "2 files have this name: one/a.wav, two/a.wav" in data.skipped[0].reason
    assert data.skipped[1].name == "four/c.wav"


def test_accented_names_match_in_either_unicode_form(tmp_path):
    write_audio(tmp_path / "cafe\u0301.wav")
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), ("caf\u00e9.wav", "x")])
    assert len(open_dataset(tmp_path)) == 1


def test_a_link_to_a_folder_of_audio_is_followed_and_a_loop_of_links_ends(tmp_path):
    write_audio(tmp_path / "elsewhere" / "a.wav")
    root = tmp_path / "data"
    root.mkdir()
    (root / "audio").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    write_csv(root / "captions.csv", [("file_name", "caption"), ("a.wav", "x")])
    assert [clip.id for clip in open_dataset(root).clips] == ["audio/a.wav"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file,caption", "a.wav,x"], "line 1: needs the columns file_name and caption"),
        (["file_name,text", "a.wav,x"], "line 1: needs the columns"),
        ([""], "found nothing"),
        (["file_name,caption,caption", "a.wav,x,y"], "line 1: the column caption appears twice"),
        (["file_name,caption,start", "a.wav,x,soon"], "line 2: start is 'soon'; expected a number"),
        (["file_name,caption,end", "a.wav,x,1", "a.wav,x,nan"], "line 3: end is 'nan'"),
        (["file_name,caption,fold", "a.wav,x,1.5"], "line 2: fold is '1.5'; expected a whole"),
        (["file_name,caption,start,end", "a.wav,x,2,1"], "line 2: spans 2 to 1 s"),
        (["file_name,caption,start", "a.wav,x,-1"], "line 2: spans -1"),
        (
            ["file_name,caption", "a.wav,a dog barks, then rain"],
            "line 2: 3 fields .*quote captions",
        ),
        (["file_name,caption", ",x"], "line 2: file_name is blank"),
        (["file_name,caption", 'a.wav,"x', "a.wav,y"], "not valid CSV"),
        (
            ["file_name,caption,split", "a.wav,x,train", "a.wav,y,test"],
            "line 3: a.wav has the split 'test', but 'train' in line 2",
        ),
    ],
)
def test_a_malformed_table_names_the_file_the_line_and_the_remedy(tmp_path, rows, message):
    write_audio(tmp_path / "a.wav")
    (tmp_path / "captions.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(tmp_path)
    assert str(tmp_path / "captions.csv") in str(caught.value)


def test_a_table_in_another_encoding_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "captions.csv").write_bytes("file_name,caption\na.wav,café\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"not UTF-8 .*save it as UTF-8"):
        open_dataset(tmp_path)


def test_unknown_names_list_those_that_exist(tmp_path):
    with pytest.raises(DatasetError, match=r"no folder .*names: .*folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"unknown data set 'fsd'; expected one of .*folder"):
        open_dataset("fsd", root=tmp_path)
    with pytest.raises(DatasetError, match="is the name of a data set; write folder:FOLDER"):
        open_dataset("folder")
    with pytest.raises(DatasetError, match=r"no captions\.csv"):
        open_dataset(tmp_path)


def test_a_folder_opens_by_path_by_its_table_and_by_layout_name(tmp_path):
    write_caption_folder(tmp_path, TWO)
    assert "folder" in DATASETS
    opened = [
        open_dataset(tmp_path),
        open_dataset(str(tmp_path)),
        open_dataset(tmp_path / "captions.csv"),
        open_dataset("folder", root=tmp_path),
    ]
    assert all(data.clips == opened[0].clips for data in opened)


def test_the_fingerprint_changes_with_captions_spans_and_audio_but_not_with_place(tmp_path):
    root = write_caption_folder(tmp_path / "one", TWO)
    before = open_dataset(root).fingerprint
    assert open_dataset(root).fingerprint == before
    moved = root.rename(tmp_path / "two")
    assert open_dataset(moved).fingerprint == before
    os.utime(moved / "a.wav", (1, 1))
    touched = open_dataset(moved).fingerprint
    write_csv(moved / "captions.csv", [("file_name", "caption"), ("a.wav", "a dog barks")])
    fewer = open_dataset(moved).fingerprint
    rows = [("file_name", "caption", "end"), ("a.wav", "a dog barks", "0.05")]
    write_csv(moved / "captions.csv", rows)
    cut = open_dataset(moved).fingerprint
    assert len({before, touched, fewer, cut}) == 4


def test_a_data_set_needs_clips_and_distinct_ids(tmp_path):
    clip = Clip(tmp_path / "a.wav", ("x",), "a.wav")
    with pytest.raises(DatasetError, match="at least one clip"):
        CaptionDataset("empty", tmp_path, ())
    with pytest.raises(DatasetError, match="same id"):
        CaptionDataset("twice", tmp_path, (clip, clip))


def test_writing_refuses_a_clip_outside_the_folder_and_leaves_no_table(tmp_path):
    clip = Clip(Path("/elsewhere/a.wav"), ("x",), "a.wav")
    with pytest.raises(DatasetError, match="is not below"):
        write_captions(tmp_path, [clip])
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters=',"\n'),
    max_size=20,
).map(str.strip)


@given(
    captions=st.lists(st.lists(TEXT.filter(bool), min_size=1, max_size=4), min_size=3, max_size=3),
    splits=st.lists(st.sampled_from([None, "train", "test"]), min_size=3, max_size=3),
    spans=st.lists(
        st.sampled_from([(None, None), (0.25, None), (0.0, 0.1)]), min_size=3, max_size=3
    ),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_is_what_is_read(tmp_path, captions, splits, spans):
    names = ["a.wav", "with, comma.wav", "sub/c.wav"]
    if not (tmp_path / "sub").exists():
        for name in names:
            write_audio(tmp_path / name)
    rows = zip(names, captions, splits, spans, strict=True)
    clips = [
        Clip(tmp_path / name, tuple(texts), name, split, "label", 3, start, end)
        for name, texts, split, (start, end) in rows
    ]
    write_captions(tmp_path, clips)
    data = open_dataset(tmp_path)
    ours = [(c.path, c.captions, c.split, c.label, c.fold, c.start, c.end) for c in clips]
    theirs = [(c.path, c.captions, c.split, c.label, c.fold, c.start, c.end) for c in data.clips]
    assert theirs == ours
    assert data.skipped == ()


def test_opening_looks_at_each_file_once_however_many_captions_it_has(tmp_path, monkeypatch):
    from otomatch.datasets import clips

    calls = []
    monkeypatch.setattr(clips, "unreadable_reason", lambda path: calls.append(path) or "")
    write_caption_folder(tmp_path, {f"{i}.wav": [f"text {j}" for j in range(5)] for i in range(20)})
    assert len(open_dataset(tmp_path).captions) == 100
    assert len(calls) == 20


def test_opening_grows_no_faster_than_the_folder(tmp_path):
    write_audio(tmp_path / "a" / "0.wav")
    for i in range(1, 3000):
        os.link(tmp_path / "a" / "0.wav", tmp_path / "a" / f"{i}.wav")
    rows = [(f"{i}.wav", f"text {i}") for i in range(3000)]
    write_csv(tmp_path / "captions.csv", [("file_name", "caption"), *rows])
    start = time.perf_counter()
    data = open_dataset(tmp_path)
    assert len(data) == 3000
    # Half a second on one slow core; a stat or a search per row and file would take minutes.
    assert time.perf_counter() - start < 20
