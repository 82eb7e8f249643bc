"""Help, mistakes and warnings of the command line."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from otomatch import __version__
from tests.cli.test_cli import invoke
from tests.support.commands import run

COMMANDS = (
    "compose",
    "train",
    "evaluate",
    "zeroshot",
    "index",
    "search",
    "duplicates",
    "info",
    "remove",
    "export",
    "demo",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    assert "Usage" in invoke(command, "--help")


def test_help_and_version_load_neither_torch_nor_any_optional_package():
    code = (
        "import sys; from typer.testing import CliRunner; from otomatch.cli import app; "
        "CliRunner().invoke(app, ['--help']); CliRunner().invoke(app, ['train', '--help']); "
        "heavy = {'torch', 'lancedb', 'transformers', 'accelerate', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert invoke("--version").strip() == f"otomatch {__version__}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "no-model", "no-data"), ("no-data", "no folder")),
        (("compose", "no-folder", "out"), ("no-folder",)),
        (("compose", ".", "out", "--folds", "one"), ("--folds", "whole numbers")),
        (("compose", ".", "out", "--exhaustive", "--clips", "3"), ("--exhaustive", "--clips")),
        (("train", "--run", "run"), ("data.path", "--data")),
        (("train", "--run", "run", "--set", "loss.epsilon=0"), ("loss.epsilon = 0", "greater")),
        (("train", "--run", "run", "--set", "los.epsilon=1"), ("los", "unknown key", "loss")),
        (("search", "no-library", "rain"), ("no-library", "otomatch index")),
        (("index", "no-folder", "--library", "lib"), ("no-folder", "no such folder")),
    ],
)
def test_a_mistake_is_one_message_that_names_it_and_no_traceback(arguments, words, tmp_path):
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error:")
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_warning_of_ours_is_one_message_and_others_keep_their_form(capfd, monkeypatch):
    from otomatch.cli import output as terminal

    seen = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: seen.append(message))
    terminal.show_warnings_plainly()
    ours = str(Path(terminal.__file__))
    warnings.showwarning("[lower] optim.lr", UserWarning, ours, 1)
    assert capfd.readouterr().err == "warning: [lower] optim.lr\n"
    warnings.showwarning("theirs", UserWarning, "/somewhere/else.py", 7)
    assert seen == ["theirs"]
