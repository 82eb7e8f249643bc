"""One model, library, server and browser per test process, for all tests of the room."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from starlette.testclient import TestClient

from otomatch.library import SoundLibrary
from tests.support import page_library as page_support
from tests.support.browser import Visits, driving, launched
from tests.support.shared import shared_folder
from tests.support.web import make_library, served, services, write_model, write_sounds


@pytest.hookimpl(tryfirst=True)  # before pytest selects tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests that need a browser as slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Worker processes find tests.support.worker_fakes.
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Folder of a tiny model."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        write_model(folder, tiny_bert)

    return shared_folder(tmp_path_factory, "web-model", write) / "model"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, model: Path) -> SoundLibrary:
    """Library of four tones and a hiss, which no test may change."""
    folder = tmp_path_factory.mktemp("web")
    return make_library(folder, model, write_sounds(folder / "sounds"))


@pytest.fixture(scope="session")
def client(library: SoundLibrary) -> Iterator[TestClient]:
    """Client of a server of the library, which must keep no upload."""
    with served(library) as client:
        yield client
        assert list(services(client).receiver._folder.iterdir()) == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Browser; tests that need it are skipped if none is installed."""
    with launched() as browser:
        yield browser


@pytest.fixture
def chromium(browser: Any) -> Iterator[Any]:
    """Browser that this test may drive."""
    with driving(browser):
        yield browser


@pytest.fixture(scope="session")
def page_library(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> SoundLibrary:
    """Library for the tests of the page, with its map."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        with page_support.served(page_support.make_library(folder, tiny_bert)) as address:
            page_support.wait_for_map(address)

    return SoundLibrary.open(shared_folder(tmp_path_factory, "page", write) / "page-library")


@pytest.fixture(scope="session")
def page_address(page_library: SoundLibrary) -> Iterator[str]:
    """Address of a server of the page."""
    with page_support.served(page_library) as address:
        page_support.wait_for_map(address)
        httpx2.get(f"{address}/api/search?q=rain", timeout=120)  # the first one takes seconds
        yield address


@pytest.fixture
def visits(chromium: Any, page_address: str) -> Iterator[Visits]:
    """Opens pages; fails if one logs an error, violates its policy or contacts another server."""
    visits = Visits(chromium, page_address)
    yield visits
    visits.close()
