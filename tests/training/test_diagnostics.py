import math

import pytest
import torch
from torch import nn

from otomatch.training.diagnostics import Expectations, failures, gradient_norms
from otomatch.training.log_row import spectrum_columns
from otomatch.transport.spectrum import effective_rank, eigenvalues

EXPECTED = Expectations(batch=100, rank=64)
SHARP = math.log(100)


def row(**changes):
    """An epoch of a healthy run."""
    healthy = {
        "modality_gap": 0.2,
        "grad_norm": 1.0,
        "marginal_error": 1e-9,
        "converged": 1.0,
        "plan_entropy": 1.3 * SHARP,
        "diagonal_mass": 0.4,
        "metric_rank": 40.0,
    }
    return {**healthy, **changes}


def healthy_log(epochs=8):
    return [row(modality_gap=1.0), *(row() for _ in range(epochs - 1))]


# --- figures -----------------------------------------------------------------------------------


def test_gradient_norms_are_those_of_the_parts_and_make_up_the_whole():
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    model["b"](model["a"](torch.randn(5, 3))).square().sum().backward()
    norms = gradient_norms(model)
    assert list(norms) == ["grad_a", "grad_b"]
    whole = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    torch.testing.assert_close(torch.stack(list(norms.values())).norm(), whole)
    torch.testing.assert_close(
        norms["grad_b"],
        torch.cat([p.grad.flatten() for p in model["b"].parameters()]).norm(),
    )


@pytest.mark.parametrize(("rank", "dim"), [(1, 6), (3, 6), (6, 6)])
def test_the_effective_rank_of_a_projection_is_its_rank(rank, dim):
    basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0][:, :rank]
    found = spectrum_columns(eigenvalues(2.5 * basis @ basis.T))
    assert found["metric_rank"] == pytest.approx(rank, rel=1e-6)
    assert found["metric_largest"] == pytest.approx(2.5)
    assert found["metric_smallest"] == pytest.approx(2.5 if rank == dim else 0, abs=1e-9)


def test_the_effective_rank_counts_unequal_directions_by_their_entropy():
    values = eigenvalues(torch.diag(torch.tensor([0.25, 0.5, 0.25])))
    assert values.tolist() == [0.5, 0.25, 0.25]
    assert spectrum_columns(values)["metric_rank"] == pytest.approx(2**1.5)
    assert effective_rank(torch.zeros(3)) == 0


def test_the_effective_rank_knows_neither_scale_nor_order_nor_the_dust_that_rounding_leaves():
    values = torch.tensor([3.0, 2.0, 1.0])
    dusty = torch.tensor([1e-6, 3e-6, -1e-13, 2e-6, 0.0])
    assert effective_rank(dusty) == pytest.approx(effective_rank(values), rel=1e-6)


# --- failures ----------------------------------------------------------------------------------


def test_a_healthy_run_raises_nothing_at_any_time():
    log = healthy_log()
    assert [failures(log[:epochs], EXPECTED) for epochs in range(9)] == [{}] * 9


def test_a_run_of_another_loss_without_a_plan_raises_nothing():
    log = [{"modality_gap": 1 / (1 + i), "grad_norm": 1.0} for i in range(8)]
    assert failures(log, EXPECTED) == {}


@pytest.mark.parametrize(
    ("name", "log", "remedies"),
    [
        ("gap", [row(modality_gap=1.0)] * 6, ["learning rate", "full ground metric", "captions"]),
        ("uniform", [row(), row(), row(plan_entropy=1.97 * SHARP)], ["epsilon", "lower it"]),
        ("converged", [row(converged=0.5)], ["epsilon is too small", "iterations", "50 %"]),
        ("exploding", [row(), row(), row(grad_norm=20.0)], ["learning rate", "clip", "20 times"]),
        ("mass", [*healthy_log(5), row(diagonal_mass=0.05)], ["trimmed", "pairs.csv", "5.0 %"]),
        ("rank", [row(metric_rank=1.5)], ["collapsed", "low-rank", "1.5"]),
    ],
)
def test_each_failure_is_found_by_its_signature_and_names_its_remedy(name, log, remedies):
    found = failures(log, EXPECTED)
    assert list(found) == [name]
    for remedy in remedies:
        assert remedy in found[name]


def test_mass_that_the_noise_explains_is_no_failure():
    log = [*healthy_log(5), row(diagonal_mass=0.05)]
    assert "mass" in failures(log, EXPECTED)
    assert failures(log, Expectations(batch=100, rank=64, noise=0.6)) == {}
    assert failures([*log[:-1], row(diagonal_mass=0.05, clean_share=0.4)], EXPECTED) == {}


def test_a_metric_that_may_only_have_few_dimensions_has_not_collapsed():
    assert failures([row(metric_rank=1.5)], Expectations(batch=100, rank=4)) == {}
