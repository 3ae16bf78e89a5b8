"""Attention by blocks of queries: the logits of one block at a time, made anew for the backward pass.

The idea is that of Rabe and Staats 2021 (arXiv 2112.05682) and Dao et al. 2022 (arXiv 2205.14135), in PyTorch's own
matrix products. The relative terms are added to a block as two broadcast vectors, so that products are as wide as a
head (8 channels in the study) and not as wide as head + H + W, which folding them into queries and keys costs.
Everything is channels-first, the layout of a convolution's output, in which no product needs a transposed copy.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blendnet.attention._explicit import attend as explicit

# Logits of a block: two blocks of 2 MiB a thread in float32 stay in a processor's cache (2**18 to 2**21 in all
# measured within 20 % of one another on 2 threads, 2**17 half as fast); a GPU needs more work at a time.
CPU_BLOCK_A_THREAD = 2**19
CUDA_BLOCK = 2**27


@torch.library.custom_op("blendnet::attend_blocks", mutates_args=())
def attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Relative attention, as _explicit.attend defines it: same shapes, any number of derivatives.

    Kept for backward are the five inputs and the output, all linear in N. Half-precision inputs are computed with in
    float32. Second derivatives are those of the explicit form and hold N x N logits. An operator of PyTorch's
    library, so that torch.compile takes it whole and need not unroll its loop.
    """
    with torch.autocast(q.device.type, enabled=False):
        heads = [_heads(t) for t in (q, k, v, rows, columns)]
        out = torch.empty_like(heads[2])
        for part, block, buffers in _blocks(heads[0], count=1):
            some_q, some_k, some_v, some_rows, some_columns = (t[part] for t in heads)
            weights = _weights(some_q[..., block], some_k, some_rows[:, block], some_columns[:, block], buffers[0])
            out[part, :, block] = some_v @ weights.transpose(1, 2)
        return out.reshape(v.shape).to(v.dtype)


@torch.library.custom_op("blendnet::attend_blocks_backward", mutates_args=())
def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, out: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, rows and columns for the gradient of the output."""
    inputs = (q, k, v, rows, columns)
    with torch.autocast(q.device.type, enabled=False):
        q, k, v, rows, columns, grad, out = (_heads(t) for t in (*inputs, grad, out))
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        drows, dcolumns = torch.empty_like(rows), torch.empty_like(columns)
        # softmax takes grad_ij to weight_ij * (grad_ij - sum_j weight_ij grad_ij), and that sum is grad_i . out_i:
        # one channel more subtracts it within the product that makes grad_ij.
        grad_and_sum = torch.cat((grad, (grad * out).sum(1, keepdim=True).neg_()), 1)
        v_and_one = torch.cat((v, torch.ones_like(v[:, :1])), 1)
        for part, block, buffers in _blocks(q, count=2):
            some_q, some_k = q[part, :, block], k[part]
            weights = _weights(some_q, some_k, rows[part, block], columns[part, block], buffers[0])
            dv[part].baddbmm_(grad[part, :, block], weights)
            slope = buffers[1].view_as(weights)
            torch.bmm(grad_and_sum[part, :, block].transpose(1, 2), v_and_one[part], out=slope)
            slope *= weights
            dk[part].baddbmm_(some_q, slope)
            dq[part, :, block] = some_k @ slope.transpose(1, 2)
            grid = slope.unflatten(-1, (rows.shape[-1], columns.shape[-1]))
            torch.sum(grid, 3, out=drows[part, block])
            torch.sum(grid, 2, out=dcolumns[part, block])
        found = (dq, dk, dv, drows, dcolumns)
        return tuple(g.reshape(t.shape).to(t.dtype) for g, t in zip(found, inputs))  # type: ignore[return-value]


def _heads(t: Tensor) -> Tensor:
    """(B, heads, ...) -> (B * heads, ...), contiguous, in float32 or better."""
    return t.flatten(0, 1).to(torch.promote_types(t.dtype, torch.float32)).contiguous()


def _blocks(q: Tensor, count: int) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """Slices of heads and of queries that together make one block of logits, and `count` buffers of its size."""
    heads, _, tokens = q.shape
    most = CUDA_BLOCK if q.is_cuda else CPU_BLOCK_A_THREAD * torch.get_num_threads()
    # Whole heads if a thread can have one; else enough queries of each for an efficient product.
    queries = min(tokens, max(64, most // (8 * tokens)))
    together = min(heads, max(1, most // (queries * tokens)))
    memory = [q.new_empty(together * queries * tokens) for _ in range(count)]
    for head in range(0, heads, together):
        part = slice(head, min(head + together, heads))
        for query in range(0, tokens, queries):
            block = slice(query, min(query + queries, tokens))
            size = (part.stop - part.start) * (block.stop - block.start) * tokens
            yield part, block, [m[:size] for m in memory]


def _weights(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, memory: Tensor) -> Tensor:
    """The softmax weights (heads, queries, N) of a block, in the given memory."""
    grid = memory.view(*rows.shape, columns.shape[-1])
    torch.add(rows.unsqueeze(-1), columns.unsqueeze(-2), out=grid)
    logits = grid.flatten(-2).baddbmm_(q.transpose(1, 2), k)
    return torch.softmax(logits, -1, out=logits)


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.empty_like(v, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, out: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, rows, columns))


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, out = ctx.saved_tensors
    if not torch.is_grad_enabled():
        return _backward(grad, *inputs, out)
    # create_graph=True: the gradient itself will be differentiated. The aliases keep apart inputs of which one was
    # made from another (rows from q): partial derivatives are wanted, the rest is the caller's graph.
    inputs = [t.view_as(t) for t in inputs]
    needed = [t for t, needs in zip(inputs, ctx.needs_input_grad) if needs]
    found = iter(torch.autograd.grad(explicit(*inputs), needed, grad, create_graph=True))
    return tuple(next(found) if needs else None for needs in ctx.needs_input_grad)


attend.register_autograd(_differentiate, setup_context=_keep)
