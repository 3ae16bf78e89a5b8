"""The ways to compute relative attention, all exact, and which one is taken where."""

from collections.abc import Callable

import torch
from torch import Tensor

from blendnet.attention import _blocks, _explicit, _fused
from blendnet.errors import unknown

# name -> attend(q, k, v, rows, columns); see _explicit.attend for the shapes and the definition
WAYS: dict[str, Callable[..., Tensor]] = {
    "explicit": _explicit.attend,
    "folded": _fused.attend,
    "blocks": _blocks.attend,
}


# On the CPU the explicit form, which has the fewest calls, is level with blocks up to 7 x 7 places and slower or equal
# from 8 x 8 on; up to here it keeps less than the folded form (a token and head: 49 weights against 2 (dkh + H + W) + 2
# wide values, 92 with 8 channels). Milliseconds, forward and backward, of the layer of benchmarks/attention.py, batch
# 8, 1 thread, AMD EPYC; the tables of record are in benchmarks/results/attention.md.
#     places      7 x 7    8 x 8    12 x 12    14 x 14    28 x 28    56 x 56
#     explicit    3.9      5.5      11.2       17.5       480        9465
#     folded      4.6      7.1                 24.0       277        7070
#     blocks      4.4      5.5      11.8       17.3       130        1485
# flex_attention is no candidate here: on CPUs it has no backward (NotImplementedError in PyTorch 2.15).
# CUDA: nothing has been measured yet (no GPU at hand); folded is taken where a fused kernel takes it, because its
# kernels are the GPU's own, and blocks elsewhere, whose memory is as small. benchmarks/attention.py compares all there.
FEW_TOKENS = 49


def path(device_type: str, n_tokens: int, key_dim: int, value_dim: int, dtype: torch.dtype) -> str:
    """The way to take for maps of n_tokens places, with key_dim channels of a head's folded keys (dkh + H + W) and
    value_dim of its values."""
    if device_type == "cuda" and _fused.fits(device_type, dtype, key_dim, value_dim):
        return "folded"
    if device_type == "cpu" and n_tokens <= FEW_TOKENS:
        return "explicit"
    return "blocks"


def attend(name: str, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Relative attention in the named way. Raises BlendnetError for an unknown name."""
    if name not in WAYS:
        raise unknown("attention path", name, WAYS)
    return WAYS[name](q, k, v, rows, columns)
