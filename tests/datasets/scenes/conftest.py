"""A small labelled folder, and scenes composed from it."""

import pytest

from otomatch.datasets.scenes.composition import compose
from tests.support.sounds import write_labelled_folder


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    return write_labelled_folder(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="session")
def mini_scenes(mini, tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "out"
    return compose(mini, out, clips=60, seconds=2.0, seed=1)
