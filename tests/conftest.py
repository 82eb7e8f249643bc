"""Settings of the whole suite: no network, no shared cache, one seed; fixtures of all rooms."""

import os
from pathlib import Path

import pytest
import torch

from tests.support.shared import shared_folder
from tests.support.sounds import esc10_root
from tests.support.tiny import tiny_model, write_bert, write_clap

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core: more threads only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the session's own, so that tests neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["OTOMATCH_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def esc10() -> Path:
    """The folder of 320 real recordings; tests that need it are skipped where it is absent."""
    return esc10_root()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random text encoder of two small layers."""
    return shared_folder(tmp_path_factory, "bert", write_bert)


@pytest.fixture(scope="session")
def tiny_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random CLAP."""
    return shared_folder(tmp_path_factory, "clap", write_clap)


@pytest.fixture(scope="session")
def small_model(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random model of a few thousand parameters, with windows of a second."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        tiny_model(tiny_bert).save_pretrained(folder / "model")

    return shared_folder(tmp_path_factory, "small", write) / "model"
