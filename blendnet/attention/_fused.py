"""Attention that never holds the N x N matrix, by PyTorch's fused kernels (Dao, Fu, Ermon, Rudra, Re 2022,
arXiv 2205.14135)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class _FusedAttention(torch.autograd.Function):
    """softmax(q k^T) v by the fused kernel; for second derivatives, which that has not, explicitly."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.graph = _traced(ctx, (q, k, v))
        return ctx.graph[1].detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors  # the usual error where the graph was freed by an earlier backward pass
        create = torch.is_grad_enabled()  # create_graph=True: the gradient itself will be differentiated
        inputs: tuple[Tensor, ...]
        if create:
            inputs, out = (q, k, v), ((q @ k.transpose(-1, -2)).softmax(-1) @ v).to(grad.dtype)
        else:
            inputs, out = ctx.graph or _traced(ctx, (q, k, v))
        ctx.graph = None  # frees its memory now; a second pass over a retained graph traces it anew
        needed = [t for t, needs in zip(inputs, ctx.needs_input_grad) if needs]
        found = iter(torch.autograd.grad(out, needed, grad, create_graph=create))
        return tuple(next(found) if needs else None for needs in ctx.needs_input_grad)


def _traced(ctx: Any, tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
    """The fused kernel's inputs and output with a graph of their own, apart from the network's."""
    with torch.enable_grad():
        inputs = tuple(t.detach().requires_grad_(needs) for t, needs in zip(tensors, ctx.needs_input_grad))
        return inputs, _fused(*inputs)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v: queries and keys (B, heads, N, D), values (B, heads, N, dvh) -> (B, heads, N, dvh).

    The logits are taken as they are, unscaled. Differentiable twice;
    the second derivatives hold the N x N matrix.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _fused(q, k, v)
    out: Tensor = _FusedAttention.apply(q, k, v)
    return out


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Appends channels of zeros, which change no result, so that PyTorch takes a fused kernel: those want
    multiples of 8, and the CPU's wants values as wide as keys; else it silently builds the N x N matrix."""
    dvh, wide, narrow = v.shape[-1], -(-q.shape[-1] // 8) * 8, -(-v.shape[-1] // 8) * 8
    if v.device.type == "cpu":
        wide = narrow = max(wide, narrow)
    q, k = (F.pad(t, (0, wide - t.shape[-1])) for t in (q, k))
    return F.scaled_dot_product_attention(q, k, F.pad(v, (0, narrow - dvh)), scale=1.0)[..., :dvh]
