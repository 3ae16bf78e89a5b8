"""Networks, one file each; a file's name is the network's name in the sheet.

A file states IMAGE_SIZE and MIN_IMAGE_SIZE (px, square), SITES (names of the convolutions that attention may
replace), LAYERS (names of the modules that are read out, from the image to the classes) and `build(n_classes)
-> nn.Module`, the plain network, drawn from PyTorch's global generator (which build() below seeds and puts
back). cost.py counts parameters and operations.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from blendnet.errors import BlendnetError, unknown

if TYPE_CHECKING:
    from torch import nn

_NOT_NETWORKS = {"cost"}


def names() -> tuple[str, ...]:
    """The networks of this folder, in alphabetical order."""
    found = (m.name for m in iter_modules(__path__))
    return tuple(sorted(n for n in found if not n.startswith("_") and n not in _NOT_NETWORKS))


def load(name: str) -> ModuleType:
    """A network's file; raises BlendnetError, with the nearest name, for one that is not there."""
    if name not in names():
        raise unknown("network", name, names())
    return import_module(f"{__name__}.{name}")


def build(
    name: str,
    *,
    attention: str = "none",
    heads: int = 4,
    n_classes: int = 8,
    seed: int = 0,
    image_size: int | None = None,
) -> nn.Module:
    """A network with fresh weights: (B, 3, S, S) images -> (B, n_classes) logits.

    attention: 'none' or a file in blendnet/attention, put in place of the convolutions at sites(name)
    heads: attention heads (no meaning with 'none')
    seed: of all initial weights
    image_size: S in px, default image_size(name); a plain network also runs at others, a twin does not

    Twins, the plain and the attention network of one seed, are equal bit for bit outside the sites. PyTorch's
    global generator is left as it was. Raises BlendnetError for unknown names, a network without sites,
    numbers of heads that do not divide the attention channels, and sizes below the network's smallest.
    """
    from blendnet.models import _twins

    network = load(name)
    size = network.IMAGE_SIZE if image_size is None else image_size
    if size < network.MIN_IMAGE_SIZE:
        raise BlendnetError(f"image size {size} is too small for {name}; choose {network.MIN_IMAGE_SIZE} px or more")
    if n_classes < 1:
        raise BlendnetError(f"n_classes {n_classes} for {name} is not a number of classes; choose 1 or more")
    plain = _twins.plain(network, n_classes, seed)
    if attention == "none":
        return plain
    from blendnet.attention import load as load_attention

    kind = load_attention(attention)
    if not network.SITES:
        with_sites = ", ".join(n for n in names() if load(n).SITES)
        raise BlendnetError(
            f"{name} has no convolution that attention {attention!r} may replace; "
            f"build it with attention 'none' or choose one of {with_sites}"
        )
    return _twins.with_attention(plain, network, kind, heads, seed, size)


def layers(name: str) -> tuple[str, ...]:
    """Names of the modules read out, in order from the image to the classes; the same in both twins."""
    return tuple(load(name).LAYERS)


def sites(name: str) -> tuple[str, ...]:
    """Names of the convolutions that attention replaces; empty for a network that has no twin."""
    return tuple(load(name).SITES)


def image_size(name: str) -> int:
    """Side of the network's usual square input, in px."""
    return int(load(name).IMAGE_SIZE)


def min_image_size(name: str) -> int:
    """Side of the smallest square input that the network takes, in px."""
    return int(load(name).MIN_IMAGE_SIZE)
