"""The commands, run as a user runs them: from captioned scenes to a search, and what goes wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otomatch.cli import app
from otomatch.errors import ConfigError, DatasetError, InvalidInputError
from otomatch.training.config import load_config
from tests.support.commands import run
from tests.support.sounds import tone, write_audio, write_csv, write_labelled_folder
from tests.support.tiny import write_bert

# Two epochs on a tiny model are no healthy training.
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")

TINY = """
[audio]
settings = {channels = [4, 6, 8, 8], hidden = 8}
[model]
dim = 12
hidden = 16
[optim]
batch = 8
epochs = 2
lr = 0.01
"""


def invoke(*arguments: object) -> str:
    """Standard output of a command that must succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sources, scenes, and a finished run, all made by commands."""
    place = tmp_path_factory.mktemp("cli")
    write_labelled_folder(place / "source", each=3)
    write_bert(place / "bert")
    (place / "tiny.toml").write_text(TINY)
    invoke("compose", place / "source", place / "train", "--folds", "1", "--clips", 24, "--seed", 0)
    invoke("compose", place / "source", place / "test", "--folds", "2", "--exhaustive")
    invoke(
        "train", "--data", place / "train", "--run", place / "run", "--config", place / "tiny.toml",
        "--set", f"text.encoder={place / 'bert'}", "--set", "loss.epsilon=0.1",
    )  # fmt: skip
    return place


@pytest.mark.slow
def test_compose_writes_what_was_asked_for(place):
    audio = list((place / "train" / "audio").iterdir())
    assert len(audio) == 24
    assert len(list((place / "test" / "audio").iterdir())) == 3 + 2 * 3 * 2


def test_a_run_holds_its_config_log_model_and_report(place):
    run = place / "run"
    assert {path.name for path in run.iterdir()} == {
        "config.toml", "data.sha256", "log.csv", "spectrum.csv", "tensorboard", "checkpoint",
        "model", "report.json",
    }  # fmt: skip
    assert load_config(run / "config.toml").loss.epsilon == 0.1
    assert len((run / "log.csv").read_text().splitlines()) == 1 + 2
    assert "R@1" in (run / "model" / "README.md").read_text()


def test_evaluate_prints_a_table_with_counts_both_directions_and_both_rankings(place):
    out = invoke("evaluate", place / "run/model", place / "test")
    for text in ("text to audio", "audio to text", "distance", "transductive", "R@10", "mAP@10"):
        assert text in out
    assert "15 clips, 75 captions" in out


def test_evaluate_gives_json_for_scripts_with_the_ks_asked_for(place):
    arguments = ("evaluate", place / "run/model", place / "test", "--recall", "2,3", "--map", "16")
    report = json.loads(invoke(*arguments, "--json"))
    assert report["clips"] == 15
    assert list(report["text_to_audio"]["recall"]) == ["2", "3"]
    assert list(report["transductive"]["audio_to_text"]["map"]) == ["16"]


@pytest.fixture
def labelled(tmp_path):
    """Twelve clips of three classes, without captions, in three folds and two splits."""
    rows = [("file_name", "caption", "label", "fold", "split")]
    for i in range(12):
        write_audio(tmp_path / "labelled" / f"{i}.wav", tone(200.0 * (i + 1), 0.3))
        label = ("dog bark", "rain", "rooster")[i % 3]
        rows.append((f"{i}.wav", "", label, 1 + i // 3 % 3, "test" if i < 9 else "train"))
    write_csv(tmp_path / "labelled" / "captions.csv", rows)
    return tmp_path / "labelled"


def test_zeroshot_prints_both_rankings_and_the_weakest_classes(place, labelled):
    (labelled / "3.wav").unlink()
    out = invoke("zeroshot", place / "run/model", labelled)
    for text in ("accuracy", "mAP", "distance", "transductive", "weakest of 3 classes", "rooster"):
        assert text in out
    assert "8 clips, 3 classes, chance 33.3 %" in out


def test_zeroshot_takes_prompts_folds_and_a_split_and_gives_json(place, labelled):
    arguments = ("zeroshot", place / "run/model", labelled, "--json")
    report = json.loads(invoke(*arguments))
    assert (report["clips"], report["prompts"]) == (9, ["This is a sound of {label}."])
    assert report["classes"] == ["dog bark", "rain", "rooster"]
    assert sum(map(sum, report["transductive"]["confusion"])) == 9
    prompts = ["the {label}", "a {label} nearby"]
    options = [part for prompt in prompts for part in ("--prompt", prompt)]
    report = json.loads(invoke(*arguments, *options, "--split", "train"))
    assert (report["clips"], report["prompts"]) == (3, prompts)
    assert json.loads(invoke(*arguments, "--fold", "1,3"))["clips"] == 6


def test_zeroshot_draws_the_confusion_matrix(place, labelled, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "confusion.png"
    invoke("zeroshot", place / "run/model", labelled, "--picture", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--prompt", "a sound"), InvalidInputError, "'a sound' is the same for every class"),
        (("--fold", "7"), DatasetError, "no clip in folds 7; it has 1, 2, 3"),
        (("--fold", "x"), ConfigError, "--fold: expected whole numbers"),
        (("--picture", "a.txt"), InvalidInputError, "a name that ends in .png"),
    ],
)
def test_zeroshot_refuses_mistakes_before_long_work(options, error, message, place, labelled):
    with pytest.raises(error, match=message):
        invoke("zeroshot", place / "run/model", labelled, *options)


def test_a_model_trained_from_the_command_line_can_be_indexed_and_searched(place):
    folder, library = place / "source", place / "library"
    added = invoke("index", folder, "--model", place / "run/model", "--library", library)
    assert "18 files added, 0 changed, 0 moved, 0 removed, 0 unchanged, 0 skipped" in added
    again = json.loads(invoke("index", folder, "--library", library, "--json"))
    nothing = {"added": 0, "changed": 0, "moved": 0, "removed": 0}
    assert again == {**nothing, "unchanged": 18, "skipped": []}
    hits = json.loads(invoke("search", library, "rain behind a barking dog", "-k", 3, "--json"))
    assert len(hits) == 3
    assert all(Path(hit["path"]).is_file() and hit["label"] for hit in hits)
    sound = hits[1]["path"]
    like = json.loads(invoke("search", library, "--like", sound, "-k", 1, "--json"))
    assert like[0]["path"] == sound
    table = invoke("search", library, "a dog barks")
    assert "relevance" in table
    assert "rooster" in table


def test_index_takes_a_pattern_and_reports_broken_files(place, tmp_path):
    write_audio(tmp_path / "sounds" / "keep.wav", tone(500, 0.5))
    write_audio(tmp_path / "sounds" / "leave.flac", tone(500, 0.5))
    (tmp_path / "sounds" / "broken.wav").write_text("no sound")
    arguments = ("index", tmp_path / "sounds", "--library", tmp_path / "library", "--json")
    report = json.loads(invoke(*arguments, "--model", place / "run/model", "--glob", "*.wav"))
    assert report["added"] == 1
    assert "broken.wav" in report["skipped"][0]["name"]


def test_training_again_in_the_same_folder_finds_it_finished(place):
    log = (place / "run" / "log.csv").read_bytes()
    out = json.loads(invoke("train", "--run", place / "run", "--json"))
    assert out["text_to_audio"]["queries"] > 0
    assert (place / "run" / "log.csv").read_bytes() == log


def test_show_config_teaches_every_field_and_trains_nothing(tmp_path):
    out = invoke("train", "--run", tmp_path / "run", "--show-config", "--set", "loss.name=ntxent")
    assert "temperature = 0.07" in out
    assert "epsilon" not in out
    assert not (tmp_path / "run").exists()


def test_noise_and_its_kind_are_options_of_training(tmp_path):
    arguments = ("train", "--run", tmp_path / "run", "--show-config")
    out = invoke(*arguments, "--noise", 0.4, "--noise-kind", "similar")
    assert "noise = 0.4 " in out
    assert 'noise_kind = "similar"' in out
    assert "noise = 0.2 " in invoke(*arguments, "--set", "data.noise=0.6", "--noise", 0.2)
    for wrong, message in (
        (("--noise", 2), r"data\.noise = 2.*less than or equal to 1"),
        (("--noise", 0.1, "--noise-kind", "loud"), "'loud': Input should be 'clip', .* 'similar'"),
        (("--noise-kind", "caption"), "--noise-kind needs --noise, the share of clips"),
    ):
        with pytest.raises(ConfigError, match=message):
            invoke(*arguments, *wrong)


@pytest.mark.slow
def test_a_query_is_needed(place, tmp_path):
    write_audio(tmp_path / "sounds" / "one.wav", tone(500, 0.5))
    library = tmp_path / "library"
    invoke("index", tmp_path / "sounds", "--model", place / "run/model", "--library", library)
    done = run("search", library)
    assert done.returncode == 1
    assert "give a text, a sound, or both" in done.stderr


@pytest.mark.slow
def test_another_loss_in_the_folder_of_a_run_is_refused_as_another_run(place):
    done = run("train", "--run", place / "run", "--set", "loss.name=ntxent")
    assert done.returncode == 1
    assert "another configuration" in done.stderr


def test_evaluate_takes_the_test_split_unless_told_otherwise(place, tmp_path):
    for i in range(6):
        write_audio(tmp_path / "data" / f"{i}.wav", tone(200.0 * (i + 1), 0.5))
    rows = [[f"{i}.wav", "a deep hum", "train" if i < 4 else "test"] for i in range(6)]
    write_csv(tmp_path / "data" / "captions.csv", [["file_name", "caption", "split"], *rows])
    arguments = ("evaluate", place / "run/model", tmp_path / "data", "--json")
    assert json.loads(invoke(*arguments))["clips"] == 2
    assert json.loads(invoke(*arguments, "--split", "train"))["clips"] == 4


@pytest.mark.slow
def test_a_relative_data_folder_is_stored_so_that_the_run_resumes_from_anywhere(tmp_path):
    (tmp_path / "my.toml").write_text('[data]\npath = "sounds"\n')
    done = run("train", "--run", "r", "--config", "my.toml", "--show-config", folder=tmp_path)
    assert f'path = "{tmp_path / "sounds"}"' in done.stdout
