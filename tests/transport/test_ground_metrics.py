"""The four ground metrics: where they start, their matrices and their projections."""

import copy
import math

import pytest
import torch

from otomatch.errors import InvalidInputError
from otomatch.transport.ground_metrics import (
    GROUND_METRICS,
    Diagonal,
    Identity,
    LowRank,
    Mahalanobis,
)
from tests.support.ground_metrics import NAMES, points, trained


def test_the_four_metrics_are_listed_by_name():
    assert list(GROUND_METRICS) == NAMES
    assert list(GROUND_METRICS.values()) == [Identity, Diagonal, LowRank, Mahalanobis]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_starts_at_the_euclidean_scale(name):
    torch.manual_seed(0)
    metric, x, y = GROUND_METRICS[name](256), points(30, 256, 1).float(), points(30, 256, 2).float()
    ratio = metric(x, y) / torch.cdist(x, y)
    assert ratio.mean().item() == pytest.approx(1, abs=0.05)
    if name != "low-rank":
        torch.testing.assert_close(metric.matrix, torch.eye(256))
        torch.testing.assert_close(ratio, torch.ones(30, 30), rtol=1e-5, atol=1e-5)


def test_low_rank_starts_at_scaled_orthogonal_rows():
    metric = LowRank(12, 3)
    torch.testing.assert_close(metric.weight @ metric.weight.T, 4 * torch.eye(3))
    assert LowRank(12).weight.shape == (12, 12)
    assert LowRank(100).weight.shape == (64, 100)


def test_gradient_descent_on_a_full_metric_moves_its_off_diagonals():
    metric = Mahalanobis(3)
    optimiser = torch.optim.SGD(metric.parameters(), lr=0.1)
    x = torch.tensor([[1.0, 1.0, 0.0]])
    for _ in range(5):
        optimiser.zero_grad()
        metric(x, torch.zeros(1, 3)).sum().backward()
        optimiser.step()
        metric.project_()
    assert metric.matrix[0, 1] < -0.05
    assert metric.matrix[0, 1] == metric.matrix[1, 0]
    assert metric.matrix[2, 2].item() == pytest.approx(1)


def test_projection_clamps_the_negative_eigenvalues_of_the_symmetric_part():
    metric = Mahalanobis(6).double()
    raw = points(6, 6)
    with torch.no_grad():
        metric.weight.copy_(raw)
    values, vectors = torch.linalg.eigh((raw + raw.T) / 2)
    assert values.min() < -0.5
    metric.project_()
    expected = vectors @ values.clamp(min=0).diag() @ vectors.T
    torch.testing.assert_close(metric.weight.detach(), expected)
    assert torch.linalg.eigvalsh(metric.weight).min() > -1e-12
    assert torch.equal(metric.weight, metric.weight.T)


def test_projection_leaves_a_positive_definite_matrix_but_for_its_symmetric_part():
    metric = Mahalanobis(5).double()
    root = points(5, 5)
    matrix = root @ root.T + 0.1 * torch.eye(5)
    skew = points(5, 5, 1)
    with torch.no_grad():
        metric.weight.copy_(matrix + skew - skew.T)
    metric.project_()
    torch.testing.assert_close(metric.weight.detach(), matrix)


def test_a_metric_that_is_not_to_be_projected_may_become_indefinite():
    metric = Mahalanobis(2, project=False)
    metric.matrix = torch.tensor([[1.0, 0.0], [0.0, -4.0]])
    metric.project_()
    assert torch.equal(metric.matrix, torch.tensor([[1.0, 0.0], [0.0, -4.0]]))
    assert metric(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)).item() == 0  # -4 counts as 0
    nearest = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # of the positive semi-definite matrices
    assert torch.allclose(metric.whiten(torch.eye(2)), nearest)


def test_projecting_twice_is_projecting_once():
    for name in NAMES:
        metric = trained(name, 8)
        before = metric.matrix.clone()
        metric.project_()
        torch.testing.assert_close(metric.matrix, before)


def test_projection_of_a_diagonal_clamps_its_weights():
    metric = Diagonal(3)
    with torch.no_grad():
        metric.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
    metric.project_()
    assert metric.weight.tolist() == [0.5, 0.0, 2.0]
    assert torch.equal(metric.matrix, torch.diag(torch.tensor([0.5, 0.0, 2.0])))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.SGD])
def test_projection_keeps_large_optimiser_steps_positive_semi_definite(name, optimiser):
    metric, x = trained(name, 6, dtype=torch.float32), points(8, 6).float()
    parameters = [*metric.parameters()]
    steps = optimiser(parameters, lr=1.0) if parameters else None
    for step in range(5):
        loss = (metric(x, x.roll(1, 0)) * points(8, 8, step).float()).sum()
        if steps is not None:
            steps.zero_grad()
            loss.backward()
            steps.step()
        metric.project_()
        assert torch.linalg.eigvalsh(metric.matrix).min() > -1e-4
        assert torch.isfinite(metric(x, x)).all()


def test_an_unsymmetric_parameter_counts_by_its_symmetric_part():
    metric, twin = Mahalanobis(4).double(), Mahalanobis(4).double()
    skew = points(4, 4)
    with torch.no_grad():
        metric.weight.add_(skew - skew.T)
    x, y = points(5, 4, 1), points(6, 4, 2)
    torch.testing.assert_close(metric(x, y), twin(x, y))
    torch.testing.assert_close(metric.matrix, twin.matrix)
    torch.testing.assert_close(metric.whiten(x), twin.whiten(x))


def test_the_matrix_of_a_full_metric_can_be_assigned():
    metric = Mahalanobis(3)
    metric.matrix = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    expected = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 3.0]])
    assert torch.equal(metric.matrix, expected)
    assert isinstance(metric.weight, torch.nn.Parameter)
    assert metric.weight.requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.eye(2), r"matrix is \(2, 2\); expected \(3, 3\)"),
        ([[1.0]], "matrix is list"),
        (torch.full((3, 3), math.nan), "matrix contains NaN or infinity"),
    ],
)
def test_a_bad_matrix_is_refused(value, message):
    metric = Mahalanobis(3)
    with pytest.raises(InvalidInputError, match=message):
        metric.matrix = value
    assert torch.equal(metric.matrix, torch.eye(3))


def test_whitening_follows_every_change_of_the_matrix():
    metric, x = Mahalanobis(3).double(), points(4, 3)
    torch.testing.assert_close(metric.whiten(x), x)
    metric.matrix = 4 * torch.eye(3)
    torch.testing.assert_close(metric.whiten(x), 2 * x)
    metric.load_state_dict({"weight": 9 * torch.eye(3)})
    torch.testing.assert_close(metric.whiten(x), 3 * x)
    metric.weight.data.mul_(4)
    torch.testing.assert_close(metric.whiten(x), 6 * x)
    assert metric.float().whiten(x.float()).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_metrics_survive_copying_and_their_state_dict(name):
    metric, x = trained(name, 5), points(3, 5)
    metric.whiten(x)
    fresh = GROUND_METRICS[name](5).double()
    fresh.load_state_dict(metric.state_dict())
    for other in (fresh, copy.deepcopy(metric)):
        assert torch.equal(other(x, x + 1), metric(x, x + 1))
        assert torch.equal(other.whiten(x), metric.whiten(x))
    assert [*metric.state_dict()] == ([] if name == "identity" else ["weight"])


def test_an_identity_without_a_width_accepts_any():
    metric = Identity()
    assert metric(torch.zeros(1, 3), torch.ones(1, 3)).item() == pytest.approx(math.sqrt(3))
    with pytest.raises(InvalidInputError, match=r"y has shape \(1, 4\); expected \(rows, 3\)"):
        metric(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(InvalidInputError, match=r"expected Identity\(dim\)"):
        metric.matrix  # noqa: B018


def test_a_bad_rank_is_refused():
    with pytest.raises(InvalidInputError, match="rank is 5; expected at most dim = 4"):
        LowRank(4, 5)
    with pytest.raises(InvalidInputError, match="rank is 0; expected a whole number >= 1"):
        LowRank(4, 0)


def test_printed_metrics_say_their_size():
    assert repr(Mahalanobis(4)) == "Mahalanobis(dim=4)"
    assert repr(LowRank(4, 2)) == "LowRank(dim=4, rank=2)"
