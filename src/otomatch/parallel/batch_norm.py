"""Batch norm over the global batch: training with W processes equals training with one.

`torch.nn.SyncBatchNorm` does this on GPUs only; here the tensors may be anywhere.
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
    """Batch norm whose training statistics are those of the values on all processes.

    Arguments, parameters and buffers are those of `torch.nn.BatchNorm2d`, and so are output,
    gradients and running statistics on the concatenated input. Processes may hold different numbers
    of values, or none. In evaluation mode, or with one process, it is plain batch norm.

    The gradients of weight and bias are this process's part, which `DistributedDataParallel`
    averages like all others (see `otomatch.parallel.shard` for the convention). Collectives: one
    all-gather forward and one all-reduce backward, of 2 C numbers.

    Shape:
        (N, C, ...) -> the same.

    Raises:
        InvalidInputError: in training, if all processes together hold fewer than two values per
            channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x; see the class."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        shard = Shard((1,) * world_size())
        mean, variance, count = _moments(x.detach(), shard)
        if count < 2:
            raise InvalidInputError(
                f"batch norm got {count:.0f} values per channel on all processes together; "
                "expected at least 2 in training"
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
        if step is None:  # the mean of all batches so far
            step = 1 / float(self.num_batches_tracked.item())
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise InvalidInputError(
                f"x has shape {tuple(input.shape)}; expected (N, C, ...), C channels"
            )


def convert_batch_norm(module: nn.Module) -> nn.Module:
    """Put a `GlobalBatchNorm` in the place of every batch norm within a module.

    The new layers hold the old ones' parameters and buffers, so optimisers and state dicts made
    before keep working. Call it on every process; the model is saved as it would be without.

    Returns:
        The module itself, or the new layer if it is a batch norm.
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
    """Mean and variance (C,), float64, and number of all processes' values per channel.

    Each process finds its own; then those are put together (Chan, Golub and LeVeque, 1983), which
    cancels nothing, as a sum of squares would.
    """
    channels = x.shape[1]
    count = x.numel() // channels
    own = x.new_zeros(2, channels, dtype=torch.float64)
    if count:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        own[1], own[0] = torch.var_mean(wide, _but_channels(x), correction=0)
    numbers = torch.cat([own.flatten(), own.new_full((1,), count)])
    every = shard.all_gather(numbers[None])
    shares = every[:, -1:] / every[:, -1].sum().clamp(min=1)
    means, variances = every[:, :channels], every[:, channels:-1]
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return mean, variance, every[:, -1].sum().item()


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


class _Normalise(torch.autograd.Function):
    """(x - mean) * spread * weight + bias, whose mean and spread depend on all processes' x."""

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
        axes = _but_channels(x)
        own = torch.stack([(gradient * unit).sum(axes), gradient.sum(axes)])
        by_unit, by_one = ctx.shard.all_reduce_sum(own) / ctx.count
        by_x = gradient - by_one.view(along) - unit * by_unit.view(along)
        by_x = (by_x * (spread * weight).view(along)).to(x.dtype)
        return by_x, own[0], own[1], None, None, None, None
