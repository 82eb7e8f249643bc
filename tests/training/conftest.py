"""Fixtures of the tests of training."""

import pytest

from tests.support.shared import shared_folder
from tests.support.tiny import write_tones


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """A data set of 32 tones and hisses, in its folder."""
    return shared_folder(tmp_path_factory, "tones", write_tones)
