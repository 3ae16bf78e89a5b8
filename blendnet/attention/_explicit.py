"""Relative attention as its definition reads: the reference of the faster ways, and their way to second derivatives."""

import torch
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """softmax over j of q_i . k_j + rows[i, jy] + columns[i, jx], times v_j; token j = jy * W + jx.

    q, k (B, heads, dkh, N), v (B, heads, dvh, N), rows (B, heads, N, H), columns (B, heads, N, W), N = H * W
    -> (B, heads, dvh, N), of v's dtype. Keeps N x N tensors a head, in float32 or better.
    """
    weights = softmax(q, k, rows, columns)
    with torch.autocast(q.device.type, enabled=False):
        return (v.to(weights.dtype) @ weights.transpose(-1, -2)).to(v.dtype)


def softmax(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The weights that attend gives to the values, (B, heads, N, N), in float32 or better; rows sum to 1."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        q, k, rows, columns = (t.to(dtype) for t in (q, k, rows, columns))
        content = (q.transpose(-1, -2) @ k).unflatten(-1, (rows.shape[-1], columns.shape[-1]))
        return (content + rows.unsqueeze(-1) + columns.unsqueeze(-2)).flatten(-2).softmax(-1)
