"""Where attention looks: how much of it each place of a map receives, head by head, without the N x N matrix.

Four kinds have such a map, and each place's share of it sums to 1 over the places:

    aacn         what a place receives of the softmax weights, mean over the places that look (blendnet.attention.aacn;
                 Bello et al. 2019, arXiv 1904.09925)
    self         the same of our own vision transformers (blendnet.models._vit; Dosovitskiy et al. 2021, arXiv
                 2010.11929). The class token looks like all other tokens; what it receives has no place and is left out
    aacn-legacy  the original study's operator: its tokens are strips of dvh pixels of one channel (two, at a border).
                 What a strip receives is shared evenly among its pixels and added up over channels, so that even
                 weights give an even map
    cbam         the gate of each place (Woo et al. 2018, doi 10.1007/978-3-030-01234-2_1, equation 3) over the sum of
                 all gates, as one head: how much of a place is let through, not what other places take from it

'se' weighs channels only and has none.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blendnet.attention import _explicit
from blendnet.attention.aacn import AAConv2d
from blendnet.attention.aacn_legacy import LegacyConv2d
from blendnet.attention.cbam import CBAMConv2d
from blendnet.errors import BlendnetError
from blendnet.models._vit import SelfAttention

# Softmax weights held at a time: 2^24 in float32 are 64 MiB.
HELD = 2**24
MAPPED = (AAConv2d, SelfAttention, LegacyConv2d, CBAMConv2d)


def layers(model: nn.Module) -> tuple[str, ...]:
    """The names of the attention layers that have a map, from the image to the classes; may be empty."""
    return tuple(name for name, m in model.named_modules() if isinstance(m, MAPPED))


@torch.no_grad()
def received(model: nn.Module, names: tuple[str, ...] | list[str], images: Tensor) -> dict[str, Tensor]:
    """Attention that each place receives, by layer: float32 (B, heads, H, W) on the CPU, mean over the places that
    look, summing to 1 over the places looked at.

    names: of layers(model); images: (B, 3, S, S), normalised. One forward pass, in the model's present mode. Raises
    BlendnetError for a layer that has no map, and for one whose attention is lesioned.
    """
    modules = dict(model.named_modules())
    for name in names:
        module = modules.get(name)
        if not isinstance(module, MAPPED):
            raise BlendnetError(f"layer {name!r} has no attention map; choose one of {', '.join(layers(model)) or '-'}")
        if getattr(module, "lesion", None):
            raise BlendnetError(f"the attention of layer {name!r} is lesioned, so that it has no map; end the lesion")
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs: found.update({name: received_in(module, inputs[0])})

    handles = [modules[name].register_forward_pre_hook(keep(name)) for name in names]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def received_in(module: nn.Module, x: Tensor, held: int = HELD) -> Tensor:
    """The same of one layer for its own input x: of SelfAttention (B, N, width) with the class token first and a square
    of patches after it, of the others (B, channels, H_in, W_in); float32 (B, heads, H, W) on the CPU.

    The softmax is computed from the logits of the definition, for as many queries at a time as keep `held` weights
    (at least one query), in float32 or better; sums are taken in float64.
    """
    if isinstance(module, CBAMConv2d):
        gates = _gates(module, x).double()
        return (gates / gates.sum((-1, -2), keepdim=True)).float().cpu()
    total: Tensor | None = None
    n = 0
    for weights in _in_chunks(module, x, held):
        part = weights.double().sum(-2)
        total, n = part if total is None else total + part, n + weights.shape[-2]
    assert total is not None
    mean = total / n
    if isinstance(module, SelfAttention):
        places = mean[..., 1:]
        side = int(places.shape[-1] ** 0.5)
        return (places / places.sum(-1, keepdim=True)).unflatten(-1, (side, side)).float().cpu()
    if isinstance(module, LegacyConv2d):
        # Component m of strip i is pixel i * dvh + m of the head's channels laid end to end: its place is that mod N.
        dvh = module.dv // module.num_heads
        mean = mean.repeat_interleave(dvh, -1).unflatten(-1, (dvh, -1)).sum(-2) / dvh
    assert isinstance(module, AAConv2d | LegacyConv2d)
    return mean.unflatten(-1, module.map_size).float().cpu()


def _in_chunks(module: nn.Module, x: Tensor, held: int) -> Iterator[Tensor]:
    """Softmax weights (B, heads, some queries, N), all queries in turn."""
    if isinstance(module, AAConv2d):
        q, k, _, rows, columns = module._terms(x)
        for part in _parts(q.shape[-1], k.shape[0] * k.shape[1] * k.shape[-1], held):
            yield _explicit.softmax(q[..., part], k, rows[:, :, part], columns[:, :, part])
        return
    if isinstance(module, SelfAttention):
        q, k = (t.unflatten(-1, (module.heads, -1)).transpose(1, 2) for t in module.query_key(x).chunk(2, -1))
        q = q * q.shape[-1] ** -0.5
    elif isinstance(module, LegacyConv2d):
        q, k, _ = module._folded(x)  # their dot products are the logits, relative terms included
    else:
        wanted = ", ".join(kind.__name__ for kind in MAPPED)
        raise BlendnetError(f"{type(module).__name__} has no attention map; choose one of {wanted}")
    dtype = torch.promote_types(q.dtype, torch.float32)
    for part in _parts(q.shape[2], k.shape[0] * k.shape[1] * k.shape[2], held):
        yield (q[:, :, part].to(dtype) @ k.to(dtype).transpose(-1, -2)).softmax(-1)


def _gates(module: CBAMConv2d, x: Tensor) -> Tensor:
    """The gates of places (B, 1, H, W), as the layer itself computes them."""
    found: list[Tensor] = []
    handle = module.places.register_forward_hook(lambda _module, _inputs, output: found.append(output.sigmoid()))
    try:
        module.forward(x)  # not by a call, which would come back here from a hook
    finally:
        handle.remove()
    return found[0]


def _parts(n: int, each: int, held: int) -> Iterator[slice]:
    step = max(1, held // each)
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def side_of(side: int, most: int = 16) -> int:
    """The number of places a side to which a map of `side` is pooled: as many as there are, or the most up to `most`
    that come of joining a whole number of them: 56 -> 14, 17 -> 9 (each of 17/9 places), 12 -> 12."""
    whole = -(-side // most)
    return -(-side // whole)


def pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (..., H, W) at a coarser `size`, each place a sum over its part of the map, by area: the sum stays.

    A place of the map that lies across a border is shared by area. For means (luminance) see `area_mean`.
    """
    up, across = (_shares(n, m).to(maps.device, maps.dtype) for n, m in zip(maps.shape[-2:], size))
    return up @ maps @ across.T


def area_mean(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (..., H, W) at a coarser `size`, each place the mean over its part of the image, by area."""
    return pooled(images, size) / pooled(torch.ones_like(images), size)


def _shares(n: int, m: int) -> Tensor:
    """(m, n): which part of each of n cells lies in each of m equal stretches; columns sum to 1."""
    edges = torch.arange(m + 1, dtype=torch.float64) * n / m
    cells = torch.arange(n, dtype=torch.float64)
    left = torch.maximum(edges[:-1, None], cells[None])
    right = torch.minimum(edges[1:, None], cells[None] + 1)
    return F.relu(right - left)
