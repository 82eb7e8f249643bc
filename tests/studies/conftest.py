import pytest

from otomatch.studies import cells
from otomatch.studies.planning import StudySettings
from otomatch.training.config import dump_toml
from tests.support.study_runs import in_this_process
from tests.support.tiny import tiny_config, write_tones


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    splits = ("train", "train", "val", "test")
    return write_tones(tmp_path_factory.mktemp("tones"), clips=40, splits=splits)


@pytest.fixture
def settings(tones, tiny_bert, tmp_path):
    """Make settings of a study on tones, with tiny models."""

    def make(data=tones, **changes):
        config = tiny_config(data, tiny_bert, "optim.epochs=1")
        path = tmp_path / "base.toml"
        path.write_text(dump_toml(config))
        return StudySettings(
            [str(data)], tmp_path / "studies", **{"seeds": 1, "config": path, **changes}
        )

    return make


@pytest.fixture
def in_process(monkeypatch):
    """Work on cells in this process, which is faster; return the list of their names."""
    worked = []
    monkeypatch.setattr(cells.subprocess, "run", in_this_process(worked))
    return worked
