"""The examples of docs/extending.md, applied to a copy of the package and run as written."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import otomatch
from otomatch.datasets.scenes.composition import compose
from tests.support.commands import run as otomatch_command
from tests.support.sounds import hiss, tone, write_audio, write_csv, write_labelled_folder

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
}
NEW = re.compile(r"^`src/([^`]+)` \(new\):\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EDITED = re.compile(r"^`src/([^`]+)`:\n((?:\n```diff\n.*?^```\n)+)", re.MULTILINE | re.DOTALL)
DIFF = re.compile(r"^```diff\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```\n(otomatch .*?)^```", re.MULTILINE | re.DOTALL)
TINY = """
[audio]
settings = {channels = [4, 6, 8, 8], hidden = 8}
[model]
dim = 12
hidden = 16
[optim]
batch = 8
epochs = 1
"""


TRAINED = {  # examples that train, with a column of their log
    "Add a loss": "loss",
    "Add an audio encoder": "grad_audio_encoder",
    "Change the training loop": "learning_rate",
}


def apply_diff(text: str, diff: str) -> str:
    """Replace the lines of a diff without positions, which must stand in the text exactly once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"the text has {text.count(before)} times:\n{before}"
    return text.replace(before, after)


def extended(section: str, folder: Path) -> Path:
    """A copy of the package's source with the example of a section applied."""
    shutil.copytree(Path(otomatch.__file__).parent, folder / "otomatch")
    for name, code in NEW.findall(section):
        assert not (folder / name).exists()
        (folder / name).write_text(code)
    for name, diffs in EDITED.findall(section):
        for diff in DIFF.findall(diffs):
            (folder / name).write_text(apply_diff((folder / name).read_text(), diff))
    return folder


def run(command: str, source: Path, folder: Path, *extra: str) -> str:
    """Output of a command in a folder, with the package of ``source``."""
    words = shlex.split(command)
    assert words[0] == "otomatch"
    process = subprocess.run(
        [sys.executable, "-m", *words, *extra],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def prepare(folder: Path, bert: Path) -> Path:
    """Write scenes to train on, and a configuration of a tiny model."""
    write_labelled_folder(folder / "source", each=3)
    compose(folder / "source", folder / "scenes", clips=24)
    (folder / "tiny.toml").write_text(TINY + f'[text]\nencoder = "{bert}"\n')
    return folder


@pytest.fixture
def place(tmp_path) -> Path:
    """An empty folder."""
    return tmp_path


def test_every_section_of_the_page_says_what_to_edit_and_has_a_command():
    table = re.findall(r"^\| \[(.*?)\]", PAGE, re.MULTILINE)
    assert [title.lower() for title in SECTIONS] == table
    for section in SECTIONS.values():
        assert len(EDITED.findall(section)) in (1, 2)
        assert len(NEW.findall(section)) <= 1
        assert len(COMMAND.findall(section)) == 1


@pytest.mark.parametrize("title", SECTIONS)
def test_the_example_passes_the_lint_of_the_project(title, tmp_path):
    source = extended(SECTIONS[title], tmp_path)
    config = str(ROOT / "pyproject.toml")
    for name, _ in [*NEW.findall(SECTIONS[title]), *EDITED.findall(SECTIONS[title])]:
        for check in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *check, "--config", config, source / name]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            assert found.returncode == 0, found.stdout + found.stderr


DRIVER = """
import shlex, sys
from otomatch.cli import app
for command in sys.argv[1:]:
    app(shlex.split(command)[1:], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_bert) -> Path:
    """A folder with a run for each of three examples, trained by one package that has them all."""
    place = prepare(tmp_path_factory.mktemp("trained"), tiny_bert)
    source = extended("".join(SECTIONS[title] for title in TRAINED), place / "package")
    commands = [f"{COMMAND.search(SECTIONS[title])[1]} --config tiny.toml" for title in TRAINED]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    process = [sys.executable, "-c", DRIVER, *commands]
    subprocess.run(process, cwd=place, env=environment, check=True, capture_output=True)
    return place / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("title", TRAINED)
def test_a_run_trains_with_the_example(title, trained):
    name = re.search(r"--run runs/(\w+)", SECTIONS[title])[1]
    (row,) = csv.DictReader((trained / name / "log.csv").read_text().splitlines())
    assert float(row[TRAINED[title]]) > 0


@pytest.mark.slow
def test_the_example_of_a_data_set_opens_its_folder(place):
    for split in ("train", "test"):
        write_audio(place / "notes" / split / "7.wav", tone(500))
        table = place / "notes" / f"notes_{split}.csv"
        write_csv(table, [("recording", "caption"), ("7", f"a hum in {split}"), ("8", "gone")])
    section = SECTIONS["Add a data set"]
    source = extended(section, place / "package")
    found = json.loads(run(COMMAND.search(section)[1], source, place, "--json"))
    assert [part["clips"] for part in found["parts"]] == [1, 1, 2]
    assert len(found["missing"]) == 2


@pytest.fixture
def library(place, small_model) -> Path:
    """A folder with ``my-library``: two tones and a hiss, of different lengths."""
    write_audio(place / "sounds" / "low.wav", tone(200, 1.0))
    write_audio(place / "sounds" / "high.wav", tone(4000, 2.0))
    write_audio(place / "sounds" / "rain.wav", hiss(3.0))
    opened = otomatch.SoundLibrary.create(place / "my-library", small_model)
    opened.index([place / "sounds"])
    return place


@pytest.mark.slow
def test_the_example_of_relevance_keeps_the_order_and_lowers_the_figures(library):
    section = SECTIONS["Change relevance"]
    command = COMMAND.search(section)[1]
    before = json.loads(otomatch_command(*shlex.split(command)[1:], folder=library).stdout)
    after = json.loads(run(command, extended(section, library / "package"), library))
    assert [hit["path"] for hit in after] == [hit["path"] for hit in before]
    assert all(new["relevance"] < old["relevance"] for new, old in zip(after, before, strict=True))


@pytest.mark.slow
def test_the_example_of_a_command_lists_the_longest_sounds(library):
    section = SECTIONS["Add a command"]
    out = run(COMMAND.search(section)[1], extended(section, library / "package"), library)
    assert [Path(line).name for line in out.splitlines()] == ["rain.wav", "high.wav", "low.wav"]
