"""The table of a data set folder: read, written, and refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otomatch.datasets import open_dataset, write_captions
from otomatch.datasets.base import Clip
from otomatch.errors import DatasetError
from tests.support.sounds import tone, write_audio, write_csv


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


def test_writing_refuses_a_clip_outside_the_folder_and_leaves_no_table(tmp_path):
    clip = Clip(Path("/elsewhere/a.wav"), ("x",), "a.wav")
    with pytest.raises(DatasetError, match="is not below"):
        write_captions(tmp_path, [clip])
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters=',"\n'),
    max_size=20,
).map(str.strip)


@pytest.mark.slow
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
