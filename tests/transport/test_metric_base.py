"""Distances of all ground metrics: against loops, in every precision, and their gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from otomatch.errors import InvalidInputError
from otomatch.transport.ground_metrics import (
    GROUND_METRICS,
    Identity,
    Mahalanobis,
)
from tests.support.ground_metrics import NAMES, points, trained
from tests.support.transport_oracles import central_differences, naive_distance


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NAMES), *[st.integers(1, 6)] * 3, st.integers(0, 1000))
def test_distances_equal_the_naive_quadratic_form(name, n, m, dim, seed):
    metric, x, y = trained(name, dim, seed), points(n, dim, seed), points(m, dim, seed + 1)
    matrix = metric.matrix.tolist()
    expected = [[naive_distance(p, q, matrix) for q in y.tolist()] for p in x.tolist()]
    torch.testing.assert_close(metric(x, y), torch.tensor(expected).double(), rtol=1e-6, atol=1e-6)
    assert metric(x, y).shape == (n, m)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whitened_points_have_plain_euclidean_distances(name, dtype):
    metric = trained(name, 20, dtype=dtype)
    x, y = points(15, 20, 1, dtype), points(12, 20, 2, dtype)
    expected = torch.cdist(metric.whiten(x).double(), metric.whiten(y).double())
    tolerance = 1e-6 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(metric(x, y).double(), expected, rtol=tolerance, atol=tolerance)
    assert metric.whiten(x).dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_distances_obey_the_triangle_inequality_and_are_symmetric(name):
    metric, x = trained(name, 5), points(10, 5)
    distances = metric(x, x)
    torch.testing.assert_close(distances, distances.T)
    around = (distances[:, :, None] + distances[None]).amin(1)
    assert (distances <= around + 1e-6).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name):
    metric, x, y = trained(name, 4), points(5, 4, 1), points(6, 4, 2)
    weights = points(5, 6, 3)
    leaves = [x.requires_grad_(), y.requires_grad_(), *metric.parameters()]

    def value():
        return (metric(x, y) * weights).sum()

    gradients = torch.autograd.grad(value(), leaves)
    with torch.no_grad():
        expected = [central_differences(value, leaf) for leaf in leaves]
    for gradient, difference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, difference, rtol=1e-6, atol=1e-8)
    if name == "full":
        assert (gradients[2] != 0).all()


def test_a_negative_squared_distance_counts_as_zero():
    metric = Mahalanobis(2)
    metric.matrix = torch.diag(torch.tensor([1.0, -1.0]))
    distances = metric(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(1, 2))
    assert distances.flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 16, 1024])
def test_identical_points_are_at_distance_zero_with_gradient_zero(name, dtype, dim):
    torch.manual_seed(0)
    metric = GROUND_METRICS[name](dim).to(dtype)
    x = points(40, dim, dtype=dtype).requires_grad_()
    diagonal = metric(x, x.detach().clone()).diagonal()
    assert (diagonal == 0).all()
    diagonal.sum().backward()
    assert (x.grad == 0).all()


def test_close_points_are_still_told_apart():
    x = torch.nn.functional.normalize(points(1, 64), dim=1)
    for dtype, distance in ((torch.float32, 5e-3), (torch.float64, 1e-6)):
        y = x + distance * torch.eye(64, dtype=torch.float64)[:1]
        found = Identity(64)(x.to(dtype), y.to(dtype)).item()
        assert found == pytest.approx(distance, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_nan_embeddings_stay_nan(name):
    x = torch.zeros(1, 3)
    x[0, 1] = math.nan
    assert GROUND_METRICS[name](3)(x, torch.zeros(1, 3)).isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast_compute_in_float32(name):
    metric = trained(name, 16, dtype=torch.float32)
    x, y = points(7, 16, 1).bfloat16(), points(9, 16, 2).bfloat16()
    expected = metric(x.float(), y.float())
    whitened = metric.whiten(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert torch.equal(metric(x.to(dtype), y.to(dtype)), expected)
            assert torch.equal(metric.whiten(x.to(dtype)), whitened)
    assert expected.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_no_tensor_of_all_pairs_and_all_dimensions_is_built(name):
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.size = max(self.size, result.numel())
            return result

    metric, x, y = GROUND_METRICS[name](32), torch.randn(40, 32), torch.randn(50, 32)
    x.requires_grad_()
    with Largest() as largest:
        metric(x, y).sum().backward()
    assert largest.size == 40 * 50


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_are_refused_by_name(name):
    metric = GROUND_METRICS[name](4)
    with pytest.raises(InvalidInputError, match=r"x has shape \(3, 5\); expected \(rows, 4\)"):
        metric(torch.zeros(3, 5), torch.zeros(3, 4))
    with pytest.raises(InvalidInputError, match=r"y has shape \(4,\); expected \(rows, 4\)"):
        metric(torch.zeros(3, 4), torch.zeros(4))
    with pytest.raises(InvalidInputError, match="x is a list; expected"):
        metric.whiten([[0.0] * 4])
    with pytest.raises(InvalidInputError, match="dim is 0; expected a whole number >= 1"):
        GROUND_METRICS[name](0)
