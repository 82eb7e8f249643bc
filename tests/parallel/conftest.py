"""Groups of processes that the tests of this folder share."""

import pytest

from tests.support.processes import Group


@pytest.fixture(scope="package", params=[2, 4], ids=["2 processes", "4 processes"])
def group(request, tmp_path_factory):
    group = Group(request.param, tmp_path_factory.mktemp("store"))
    yield group
    group.stop()
