"""From one plain network to its attention twin: the same weights but for the replaced convolutions."""

import copy
import hashlib
import inspect
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from blendnet.errors import BlendnetError


def plain(network: Any, n_classes: int, seed: int, **settings: Any) -> nn.Module:
    """The network's own build(), drawn from `seed`; PyTorch's global generator is put back as it was.

    settings: image_size and attention, of which build() gets those that its signature names.
    """
    takes = inspect.signature(network.build).parameters
    given = {name: value for name, value in settings.items() if name in takes}
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would reseed the GPUs' generators too, and nothing would restore them.
        torch.default_generator.manual_seed(seed)
        model: nn.Module = network.build(n_classes, **given)
    return model


def with_attention(
    model: nn.Module, network: Any, kind: ModuleType, heads: int, seed: int, image_size: int
) -> nn.Module:
    """Put `kind.replace(...)` in place of each of the network's SITES, in `model` itself, which is returned.

    Each site draws from a generator of its own, seeded by (seed, site), so that its weights depend neither on
    the other sites nor on the draws of the plain network. Raises BlendnetError where a site is no
    convolution.
    """
    convolutions = {}
    for site in network.SITES:
        conv = model.get_submodule(site)
        if not isinstance(conv, nn.Conv2d):
            raise BlendnetError(f"site {site} is a {type(conv).__name__}; SITES may name nn.Conv2d modules only")
        convolutions[site] = conv
    sizes = map_sizes(model, network.SITES, image_size)
    with torch.random.fork_rng(devices=[]):  # nn.Conv2d draws from the global generator when it is made
        for site, conv in convolutions.items():
            digest = hashlib.sha256(f"{seed}:{site}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            new = kind.replace(conv, heads=heads, map_size=sizes[site], generator=generator)
            parent, _, leaf = site.rpartition(".")
            setattr(model.get_submodule(parent), leaf, new)
    return model


def map_sizes(model: nn.Module, names: tuple[str, ...], image_size: int) -> dict[str, tuple[int, int]]:
    """(H, W) of the output of each named module for one image of image_size px, found without computing
    anything: a copy of the network runs on PyTorch's meta device. Raises BlendnetError for a module that does not
    run, or runs several times with outputs of different sizes, for which no one map size exists."""
    sizes: dict[str, tuple[int, int]] = {}
    copied = shadow(model)
    for name in names:

        def keep(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            size = (output.shape[-2], output.shape[-1])
            if sizes.setdefault(name, size) != size:
                first = "x".join(map(str, sizes[name]))
                raise BlendnetError(
                    f"{name} gives maps of {first} and of {size[0]}x{size[1]} in one pass, and attention is built "
                    "for one; take it out of SITES"
                )

        copied.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        copied(torch.zeros(1, 3, image_size, image_size, device="meta"))
    silent = [name for name in names if name not in sizes]
    if silent:
        raise BlendnetError(f"{silent[0]} did not run in a forward pass; take it out of SITES")
    return sizes


def shadow(model: nn.Module) -> nn.Module:
    """A copy of a network on PyTorch's meta device, evaluating, for shapes and counts; no weight is copied on the way
    there. Its batch normalisations hand on their input, of the same shape: PyTorch's own run in Python on the meta
    device and would take most of the pass."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.to("meta")
    copied = copy.deepcopy(model, memo).eval()
    for module in copied.modules():
        if type(module) is nn.BatchNorm2d:
            module.forward = nn.Identity().forward  # type: ignore[method-assign]
    return copied
