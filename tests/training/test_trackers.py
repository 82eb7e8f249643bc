import json
import sys
import types

import pytest
from tensorboardX.proto.event_pb2 import Event

from otomatch.errors import MissingDependencyError
from otomatch.training.diagnostics import Expectations, TrainingWarning, warn_of_failures
from otomatch.training.trackers import FOLDER, tracking
from tests.support.tiny import tiny_config

EXPECTED = Expectations(batch=8, rank=12)


def events(run):
    """The scalars of a run's event files: (tag, step, value) in the order they were written."""
    found = []
    for path in sorted((run / FOLDER).iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # length (8), its checksum (4), the event, its checksum (4)
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            if event.session_log.status:
                found.append(("start", event.step, event.session_log.status))
    return found


def epoch(number, **values):
    return {"epoch": number, "modality_gap": 0.5, "grad_norm": 1.0, **values}


@pytest.fixture
def config(tmp_path, tiny_bert):
    return tiny_config(tmp_path / "data", tiny_bert)


def test_every_figure_of_every_epoch_reaches_tensorboard(config, tmp_path):
    log = [epoch(1, loss=3.0), epoch(2, loss=2.0)]
    with tracking(tmp_path, 1, config) as track:
        for row in log:
            track(row)
    losses = [(step, value) for tag, step, value in events(tmp_path) if tag == "loss"]
    assert losses == [(1, 3.0), (2, 2.0)]
    assert {tag for tag, *_ in events(tmp_path)} >= {"modality_gap", "grad_norm"}


def test_a_resumed_run_takes_back_what_came_after_its_checkpoint(config, tmp_path):
    with tracking(tmp_path, 1, config) as track:
        track(epoch(1))
    with tracking(tmp_path, 2, config):
        pass
    starts = [step for tag, step, _ in events(tmp_path) if tag == "start"]
    assert starts[-1] == 2  # TensorBoard drops earlier figures from this step on


def test_a_failure_is_warned_of_once_even_over_a_resumption():
    warned = []
    log = [epoch(1, converged=0.2, marginal_error=0.1)]
    with pytest.warns(TrainingWarning, match="did not converge in 80 % of the steps") as caught:
        warn_of_failures(log, EXPECTED, warned)
    assert [warning.message.failure for warning in caught] == warned == ["converged"]
    warn_of_failures(log, EXPECTED, warned)
    warn_of_failures(log, EXPECTED, json.loads(json.dumps(warned)))


def test_a_process_other_than_rank_0_writes_and_warns_nothing(config, tmp_path, monkeypatch):
    monkeypatch.setattr("otomatch.parallel.process_group.rank", lambda: 1)
    row = epoch(1, converged=0.2, marginal_error=0.1)
    with tracking(tmp_path, 1, config, active=False) as track:
        track(row)
        warn_of_failures([row], EXPECTED, [])
    assert not (tmp_path / FOLDER).exists()


def test_weights_and_biases_gets_the_same_where_a_project_is_named(
    tiny_bert, tmp_path, monkeypatch
):
    calls = []

    class Run:
        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    def init(**settings):
        calls.append(settings)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    config = tiny_config(tmp_path / "data", tiny_bert, "run.wandb=sounds")
    row = epoch(1, loss=2.0)
    with tracking(tmp_path / "first", 1, config) as track:
        track(row)
    started, logged, finished = calls
    assert (started["project"], started["name"]) == ("sounds", "first")
    assert json.dumps(started["config"])  # plain values
    assert logged == (1, row)
    assert finished == "finished"


def test_a_project_without_wandb_is_refused_with_the_command_that_installs_it(
    tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = tiny_config(tmp_path / "data", tiny_bert, "run.wandb=sounds")
    with (
        pytest.raises(MissingDependencyError, match="pip install wandb"),
        tracking(tmp_path, 1, config),
    ):
        pass
