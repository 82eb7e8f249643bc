import math
import os
import signal
import sys

import pytest
import torch
from torch import nn

from otomatch.errors import InvalidInputError
from otomatch.losses import LOSSES
from otomatch.studies import loss_cost as module
from otomatch.studies import resources
from otomatch.studies.loss_cost import measure_loss_cost, unit_pairs
from otomatch.studies.resources import give_back_freed_memory, median_seconds, memory_growth

needs_marks = pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's to tell")


class Hungry(nn.Module):
    """A loss that keeps ``blocks`` blocks of 2^20 bytes at once, after freeing as many."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = blocks

    def forward(self, audio, text, metric):
        for _ in range(2):
            held = []
            held += [torch.ones(2**18) for _ in range(self.blocks)]
        return metric(audio, text).sum() + sum(block[0] for block in held)


class Killed(nn.Module):
    def forward(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


class Broken(nn.Module):
    def forward(self, audio, *_):
        raise LookupError(f"no loss for {len(audio)} pairs")


@pytest.fixture
def here(monkeypatch):
    """Measure in this process, which is quick, and leave its memory as it is."""
    monkeypatch.setattr(module, "_apart", lambda job, *arguments: job(*arguments))
    monkeypatch.setattr(module, "give_back_freed_memory", lambda: None)
    return {"threads": torch.get_num_threads(), "budget": 0}


def peaks():
    """Return the memory growth of two functions, in a process that keeps no freed memory."""
    give_back_freed_memory()
    kept = [torch.ones(2**23)]  # what is there before the call does not count
    del kept[0]

    def one_after_the_other():
        for _ in range(3):
            torch.ones(2**22)

    return memory_growth(one_after_the_other), memory_growth(lambda: kept.append(torch.ones(2**21)))


@pytest.mark.slow
@needs_marks
def test_growth_is_the_peak_of_memory_in_use_and_not_its_sum():
    first, second = module._apart(peaks)
    assert first == pytest.approx(16, abs=1)
    assert second == pytest.approx(8, abs=1)


@pytest.mark.slow
@needs_marks
def test_the_memory_of_a_loss_is_what_it_holds_at_its_peak():
    found = measure_loss_cost(Hungry(40), 4, 4, budget=0)
    assert found.megabytes == pytest.approx(40, abs=2)
    assert found.seconds > 0
    assert found.missing is None


@pytest.mark.slow
def test_a_loss_whose_process_is_killed_has_no_figures_and_says_why():
    found = measure_loss_cost(Killed(), 4, 4)
    assert math.isnan(found.seconds)
    assert math.isnan(found.megabytes)
    assert "batch 4, dim 4 was killed" in found.missing


@pytest.mark.slow
def test_what_a_loss_raises_is_raised():
    with pytest.raises(LookupError, match="no loss for 4 pairs"):
        measure_loss_cost(Broken(), 4, 4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_that_a_run_can_name_can_be_measured(name, here):
    found = measure_loss_cost(name, 6, 3, **here)
    assert found.seconds > 0
    assert (found.missing is None) == (not math.isnan(found.megabytes))


def test_where_no_peak_is_told_the_time_is_and_the_reason(here, monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_RESET", tmp_path / "nowhere" / "clear_refs")
    found = measure_loss_cost("ntxent", 6, 3, **here)
    assert found.seconds > 0
    assert math.isnan(found.megabytes)
    assert f"which this system ({sys.platform}) does not have" in found.missing


@pytest.mark.parametrize("status", ["Name:\tpython\n", "VmRSS:\t 1024 kB\n"])
def test_a_kernel_that_does_not_tell_all_gives_nan_and_the_function_runs_once(
    status, monkeypatch, tmp_path
):
    for name in ("_RESET", "_STATUS"):
        monkeypatch.setattr(resources, name, tmp_path / name)
    (tmp_path / "_STATUS").write_text(status)
    calls = []
    assert math.isnan(memory_growth(lambda: calls.append(1)))
    assert calls == [1]


@pytest.mark.parametrize(
    ("lasting", "budget", "expected"),
    [
        ([90, 3, 1, 2], 0, 2),  # the first call, which loads code, is not timed
        ([90, 1, 1, 1, 7, 7, 7, 7], 30, 7),
        ([0] + [1] * 50, 1000, 1),
    ],
)
def test_the_time_is_the_median_of_at_least_three_calls_within_the_budget(
    lasting, budget, expected, monkeypatch
):
    clock, left = [0.0], list(lasting)

    def call():
        clock[0] += left.pop(0)

    monkeypatch.setattr(resources.time, "perf_counter", lambda: clock[0])
    assert median_seconds(call, budget) == expected
    assert not left


def test_random_pairs_have_unit_length_and_the_similarity_that_the_noise_leaves():
    for noise, cosine in ((0.0, 1.0), (1.0, 0.5**0.5), (3.0, 0.1**0.5)):
        audio, text = unit_pairs(200, 400, noise)
        torch.testing.assert_close(audio.norm(dim=1), torch.ones(200))
        torch.testing.assert_close(text.norm(dim=1), torch.ones(200))
        assert float((audio * text).sum(1).mean()) == pytest.approx(cosine, abs=0.02)
    assert not torch.equal(unit_pairs(4, 4, 1.0, seed=1)[0], unit_pairs(4, 4, 1.0, seed=2)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "cosine"}, "loss is 'cosine'; expected one of matching"),
        ({"batch": 0}, "batch is 0"),
        ({"dim": 2.5}, "dim is 2.5"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(InvalidInputError, match=message):
        measure_loss_cost(**{"loss": "ntxent", "batch": 4, "dim": 4, **change})
