"""BatchNorm (Ioffe and Szegedy 2015, arXiv 1502.03167) over the batches of several processes, on any device.

PyTorch's SyncBatchNorm works on GPUs alone; this one makes CPU processes train what one process trains, and is the same
code on both.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(_BatchNorm):
    """BatchNorm whose training statistics are those of the batches of all processes, which are of equal size. Same
    parameters and buffers; without a process group the ordinary BatchNorm."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        return

    @torch.compiler.disable
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, C, ...) to the same shape and dtype; statistics in float32 at least."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        world = dist.get_world_size()
        with torch.autocast(input.device.type, enabled=False):
            x = input.to(torch.promote_types(input.dtype, torch.float32))
            places = [0, *range(2, x.ndim)]
            shape = [1, -1] + [1] * (x.ndim - 2)
            mean = _Total.apply(x.mean(places)) / world
            centred = x - mean.view(shape)
            # Around the common mean, in two passes: a difference of squares would lose digits.
            variance = _Total.apply(centred.square().mean(places)) / world
            if self.running_mean is not None and self.running_var is not None:
                self._track(mean.detach(), variance.detach(), x.numel() // x.shape[1] * world)
            scale = (variance + self.eps).rsqrt()
            if self.affine:
                scale = scale * self.weight
            out = centred * scale.view(shape)
            return (out + self.bias.view(shape) if self.affine else out).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, n: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (n / (n - 1)), momentum)


class _Total(torch.autograd.Function):
    """The sum of a tensor over the processes; so is its gradient, each process having its own part of the loss."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient
