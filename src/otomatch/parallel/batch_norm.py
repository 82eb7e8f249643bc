"""Batch norm over the global batch, so that training with W processes equals training with one.

Unlike `torch.nn.SyncBatchNorm` it also runs on CPUs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from otomatch.errors import InvalidInputError
from otomatch.parallel.process_group import world_size
from otomatch.parallel.shard import Shard


class GlobalBatchNorm(_BatchNorm):
    """Batch norm with the statistics of the values on all processes in training.

    Arguments, parameters and buffers are those of `torch.nn.BatchNorm2d`. Output, gradients and
    running statistics equal those of `torch.nn.BatchNorm2d` on the concatenated input. Processes
    may hold different numbers of values, or none. In evaluation mode, or with one process, this is
    plain batch norm.

    The gradients of weight and bias are this process's part; `DistributedDataParallel` averages
    them like all others (see `otomatch.parallel.shard` for the convention). Collectives: one
    all-gather forward and one all-reduce backward, of 2 C numbers.

    Shape:
        x (N, C, ...) -> (N, C, ...).

    Raises:
        InvalidInputError: In training, if all processes together hold fewer than two values per
            channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (N, C, ...) over all dimensions but the channels."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        shard = Shard((1,) * world_size())
        mean, variance, count = _moments(x.detach(), shard)
        if count < 2:
            raise InvalidInputError(
                f"batch norm got {count:.0f} values per channel on all processes together; "
                "expected at least 2 in training; use larger batches"
            )
        if self.track_running_stats:
            self._track(mean, variance * (count / (count - 1)))
        wide = torch.promote_types(x.dtype, torch.float32)
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        spread = (variance + self.eps).rsqrt()
        normed: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            x, weight.to(wide), bias.to(wide), mean.to(wide), spread.to(wide), count, shard
        )
        return normed

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None  # noqa: S101
        assert self.running_mean is not None  # noqa: S101
        assert self.running_var is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        step = self.momentum
        if step is None:  # mean of all batches so far
            step = 1 / float(self.num_batches_tracked.item())
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise InvalidInputError(
                f"x has shape {tuple(input.shape)}; expected (N, C, ...), C channels"
            )


def convert_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every batch norm layer of a module by a `GlobalBatchNorm`.

    The new layers share the parameters and buffers of the old ones, so existing optimizers and
    state dicts keep working. Call it on every process.

    Returns:
        The module itself, or the new layer if the module is a batch norm.
    """
    converted = module
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        converted = GlobalBatchNorm(
            module.num_features,
            module.eps,
            module.momentum,
            module.affine,
            module.track_running_stats,
        )
        converted._parameters, converted._buffers = module._parameters, module._buffers
        converted.train(module.training)
    for name, child in module.named_children():
        setattr(converted, name, convert_batch_norm(child))
    return converted


def _moments(x: Tensor, shard: Shard) -> tuple[Tensor, Tensor, float]:
    """Return the mean and variance (C,), float64, and the number of values per channel, over all.

    Each process computes its own moments, which are then combined (Chan, Golub and LeVeque, 1983)
    without the cancellation of a sum of squares.
    """
    channels = x.shape[1]
    count = x.numel() // channels
    own = x.new_zeros(2, channels, dtype=torch.float64)
    if count:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        own[1], own[0] = torch.var_mean(wide, _all_but_channels(x), correction=0)
    numbers = torch.cat([own.flatten(), own.new_full((1,), count)])
    moments = shard.all_gather(numbers[None])
    shares = moments[:, -1:] / moments[:, -1].sum().clamp(min=1)
    means, variances = moments[:, :channels], moments[:, channels:-1]
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return mean, variance, moments[:, -1].sum().item()


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


class _Normalise(torch.autograd.Function):
    """(x - mean) * spread * weight + bias, where mean and spread depend on all processes' x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        spread: Tensor,
        count: float,
        shard: Shard,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, spread)
        ctx.count, ctx.shard = count, shard
        along = (-1, *[1] * (x.ndim - 2))
        scaled = (x - mean.view(along)) * (spread * weight).view(along)
        return scaled.add_(bias.view(along)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, spread = ctx.saved_tensors
        along = (-1, *[1] * (x.ndim - 2))
        unit = (x - mean.view(along)) * spread.view(along)
        gradient = gradient.to(unit.dtype)
        axes = _all_but_channels(x)
        own = torch.stack([(gradient * unit).sum(axes), gradient.sum(axes)])
        by_unit, by_one = ctx.shard.all_reduce_sum(own) / ctx.count
        by_x = gradient - by_one.view(along) - unit * by_unit.view(along)
        by_x = (by_x * (spread * weight).view(along)).to(x.dtype)
        return by_x, own[0], own[1], None, None, None, None
