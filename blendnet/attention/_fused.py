"""Relative attention by PyTorch's fused kernels, which never hold the N x N matrix (Dao, Fu, Ermon, Rudra, Re 2022,
arXiv 2205.14135).

They take one dot product for a logit, so the relative terms are folded into it: rows and columns (H + W numbers) are
appended to each query and the one-hot codes of its row and column to each key. The logits are then exactly the same.
"""

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
        return inputs, fused(*inputs)


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Relative attention, as _explicit.attend defines it: same shapes, differentiable twice.

    The second derivatives hold the N x N matrix, and are not to be had under torch.compile.
    """
    height, width = rows.shape[-1], columns.shape[-1]
    q = torch.cat((q.transpose(-1, -2), rows.to(q.dtype), columns.to(q.dtype)), -1)
    codes = codes_of(height, width, k).expand(*k.shape[:2], -1, -1)
    k, v = torch.cat((k.transpose(-1, -2), codes), -1), v.transpose(-1, -2)
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        out = fused(q, k, v)
    else:
        out = _FusedAttention.apply(q, k, v)
    return out.transpose(-1, -2)


def codes_of(height: int, width: int, like: Tensor) -> Tensor:
    """(H * W, H + W): for each token the one-hot code of its row, then that of its column."""
    rows, columns = (torch.eye(n, dtype=like.dtype, device=like.device) for n in (height, width))
    return torch.cat((rows.repeat_interleave(width, 0), columns.repeat(height, 1)), 1)


def _widths(device_type: str, keys: int, values: int) -> tuple[int, int]:
    """What the kernels want: multiples of 8 channels, and on the CPU values as wide as keys."""
    keys, values = -(-keys // 8) * 8, -(-values // 8) * 8
    return (max(keys, values),) * 2 if device_type == "cpu" else (keys, values)


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Appends channels of zeros, which change no result, so that PyTorch takes a fused kernel; else it silently
    builds the N x N matrix."""
    dvh = v.shape[-1]
    wide, narrow = _widths(v.device.type, q.shape[-1], dvh)
    q, k = (F.pad(t, (0, wide - t.shape[-1])) for t in (q, k))
    return F.scaled_dot_product_attention(q, k, F.pad(v, (0, narrow - dvh)), scale=1.0)[..., :dvh]


@torch.compiler.assume_constant_result
def fits(device_type: str, dtype: torch.dtype, keys: int, values: int) -> bool:
    """Whether a fused kernel takes tensors of this device and dtype with so many channels of (folded) keys and of
    values, under the backends that are enabled now; otherwise PyTorch would build the N x N matrix silently."""
    if device_type == "cpu":
        kinds = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
        return dtype in kinds and torch.backends.cuda.flash_sdp_enabled()  # the one switch for both devices
    if device_type != "cuda":
        return False
    wide, narrow = _widths(device_type, keys, values)
    q, v = (torch.empty(1, 1, 8, n, device=device_type, dtype=dtype, requires_grad=True) for n in (wide, narrow))
    use = torch.backends.cuda.SDPAParams(q, q, v, None, 0.0, False, False)
    return torch.backends.cuda.can_use_efficient_attention(use) or torch.backends.cuda.can_use_flash_attention(use)
