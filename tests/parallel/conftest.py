"""Groups of processes that the tests of this folder share."""

import pytest

from tests.support.processes import Group


@pytest.hookimpl(tryfirst=True)  # before pytest selects tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests that need several processes as slow."""
    for item in items:
        if "group" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package", params=[2, 4], ids=["2 processes", "4 processes"])
def group(request, tmp_path_factory):
    group = Group(request.param, tmp_path_factory.mktemp("store"))
    yield group
    group.stop()
