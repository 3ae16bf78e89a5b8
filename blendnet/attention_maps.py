"""Where attention looks: how much of it each place of a map receives, head by head, without the N x N matrix.

For the attention-augmented convolution (blendnet.attention.aacn; Bello et al. 2019, arXiv 1904.09925) and for the
self-attention of our own vision transformers (blendnet.models._vit). Gates (se, cbam) weigh channels and places without
taking from one place for another, and the original study's operator (aacn-legacy) has tokens without a place: they have
no such map.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blendnet.attention import _explicit
from blendnet.attention.aacn import AAConv2d
from blendnet.errors import BlendnetError
from blendnet.models._vit import SelfAttention

# Softmax weights held at a time: 2^24 in float32 are 64 MiB.
HELD = 2**24


def layers(model: nn.Module) -> tuple[str, ...]:
    """The names of the attention layers that have a map, from the image to the classes; may be empty."""
    return tuple(name for name, m in model.named_modules() if isinstance(m, AAConv2d | SelfAttention))


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
        if not isinstance(module, AAConv2d | SelfAttention):
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
    """The same of one layer for its own input x: of AAConv2d (B, channels, H_in, W_in), of SelfAttention (B, N, width)
    with the class token first and a square of patches after it; float32 (B, heads, H, W) on the CPU.

    The softmax is computed from the logits of the definition, for as many queries at a time as keep `held` weights
    (at least one query), in float32 or better. In self-attention every token looks, but what the class token receives
    is left out and the rest brought to a sum of 1.
    """
    total: Tensor | None = None
    n = 0
    for weights in _in_chunks(module, x, held):
        part = weights.double().sum(-2)
        total, n = part if total is None else total + part, n + weights.shape[-2]
    assert total is not None
    if isinstance(module, AAConv2d):
        return (total / n).unflatten(-1, module.map_size).float().cpu()
    places = total[..., 1:]
    side = int(places.shape[-1] ** 0.5)
    return (places / places.sum(-1, keepdim=True)).unflatten(-1, (side, side)).float().cpu()


def _in_chunks(module: nn.Module, x: Tensor, held: int) -> Iterator[Tensor]:
    """Softmax weights (B, heads, some queries, N), all queries in turn."""
    if isinstance(module, AAConv2d):
        q, k, _, rows, columns = module._terms(x)
        for part in _parts(q.shape[-1], k.shape[0] * k.shape[1] * k.shape[-1], held):
            yield _explicit.softmax(q[..., part], k, rows[:, :, part], columns[:, :, part])
    elif isinstance(module, SelfAttention):
        q, k = (t.unflatten(-1, (module.heads, -1)).transpose(1, 2) for t in module.query_key(x).chunk(2, -1))
        q = q * q.shape[-1] ** -0.5
        for part in _parts(q.shape[2], k.shape[0] * k.shape[1] * k.shape[2], held):
            yield (q[:, :, part].float() @ k.float().transpose(-1, -2)).softmax(-1)
    else:
        raise BlendnetError(f"{type(module).__name__} has no attention map; choose an AAConv2d or a SelfAttention")


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
