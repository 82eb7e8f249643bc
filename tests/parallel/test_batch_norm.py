"""Batch norm in 2 and 4 processes equals that in one, on the same global batch."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from otomatch.errors import InvalidInputError
from otomatch.parallel.batch_norm import GlobalBatchNorm, convert_batch_norm
from otomatch.parallel.process_group import world_size
from tests.support.sharding import (
    BATCH,
    EMPTY,
    SIZES,
    blocks,
    mean,
)


def normalised(norm, x, slope):
    """Return this process's output, gradients and buffers after two passes."""
    norm = convert_batch_norm(copy.deepcopy(norm))
    norm(x + 1)
    x.requires_grad_()
    out = norm(x)
    out.backward(slope * world_size())
    parts = [parameter.grad for parameter in norm.parameters()]
    return type(norm), out.detach(), x.grad, parts, norm.state_dict()


NORMS = {
    "1d": (nn.BatchNorm1d(3), (BATCH, 3)),
    "2d": (nn.BatchNorm2d(3), (BATCH, 3, 4, 2)),
    "3d": (nn.BatchNorm3d(3), (BATCH, 3, 2, 2, 2)),
    "cumulative": (nn.BatchNorm2d(3, momentum=None), (BATCH, 3, 4, 2)),
    "plain": (nn.BatchNorm2d(3, affine=False), (BATCH, 3, 4, 2)),
    "stateless": (nn.BatchNorm2d(3, track_running_stats=False), (BATCH, 3, 4, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("sizes", [SIZES, EMPTY], ids=["uneven", "empty"])
def test_global_batch_norm_is_batch_norm_of_the_global_batch(group, name, sizes):
    norm, shape = NORMS[name]
    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter += torch.randn(3)
    x = 5 + torch.randn(shape, dtype=torch.float64)
    slope = torch.randn(shape, dtype=torch.float64)
    kind, out, by_x, parts, state = normalised(norm, x.clone(), slope)
    sizes = sizes[len(group.workers)]
    jobs = zip(blocks(sizes, x), blocks(sizes, slope), strict=True)
    found = group.run(normalised, [(norm, *job) for job in jobs])
    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(torch.cat([result[1] for result in found]), out, **exact)
    by_rows = torch.cat([result[2] for result in found]) / len(sizes)
    torch.testing.assert_close(by_rows, by_x, **exact)
    for part, expected in zip(mean([result[3] for result in found]), parts, strict=True):
        torch.testing.assert_close(part, expected, **exact)
    for result in found:
        assert result[0] is kind is GlobalBatchNorm
        assert result[4].keys() == norm.state_dict().keys()
        torch.testing.assert_close(result[4], state, **exact)


def evaluated(norm, x):
    return convert_batch_norm(norm).eval()(x).detach()


def test_evaluation_uses_the_running_statistics(group):
    norm = nn.BatchNorm2d(3).double()
    norm(5 + torch.randn(9, 3, 2, 2, dtype=torch.float64))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    found = group.run(evaluated, [(norm, x)] * len(group.workers))
    for out in found:
        torch.testing.assert_close(out, norm.eval()(x).detach())


def one_value_in_all():
    GlobalBatchNorm(3)(torch.ones(int(dist.get_rank() == 0), 3))


def test_a_single_value_per_channel_cannot_be_normalised(group):
    for result in group.attempt(one_value_in_all, [()] * len(group.workers)):
        assert "batch norm got 1 values per channel" in str(result.error)
        assert isinstance(result.error, InvalidInputError)


def test_global_batch_norm_keeps_small_precision_of_large_values(group):
    x = (1e4 + torch.randn(BATCH, 3)).float()
    slope = torch.randn(BATCH, 3)
    expected = normalised(nn.BatchNorm1d(3), x.clone(), slope)[1]
    sizes = SIZES[len(group.workers)]
    jobs = zip(blocks(sizes, x), blocks(sizes, slope), strict=True)
    found = group.run(normalised, [(nn.BatchNorm1d(3), *job) for job in jobs])
    torch.testing.assert_close(
        torch.cat([result[1] for result in found]), expected, rtol=0, atol=5e-3
    )


def test_converting_replaces_every_batch_norm_and_shares_its_tensors():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())).eval()
    before = dict(model.named_parameters())
    assert convert_batch_norm(model) is model
    assert isinstance(model[1][0], GlobalBatchNorm)
    assert not model[1][0].training
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    single = convert_batch_norm(nn.BatchNorm2d(3, eps=0.5, momentum=0.3))
    assert (single.eps, single.momentum) == (0.5, 0.3)
