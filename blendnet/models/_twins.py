"""From one plain network to its attention twin: the same weights but for the replaced convolutions."""

import copy
import hashlib
from types import ModuleType

import torch
from torch import Tensor, nn

from blendnet.errors import BlendnetError


def plain(network: ModuleType, n_classes: int, seed: int) -> nn.Module:
    """The plain network, drawn from `seed`; PyTorch's global generator is put back as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would reseed the GPUs' generators too, and nothing would restore them.
        torch.default_generator.manual_seed(seed)
        model: nn.Module = network.build(n_classes)
    return model


def with_attention(
    model: nn.Module, network: ModuleType, kind: ModuleType, heads: int, seed: int, image_size: int
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
    anything: a copy of the network runs on PyTorch's meta device."""
    sizes: dict[str, tuple[int, int]] = {}
    shadow = copy.deepcopy(model).to("meta").eval()
    for name in names:

        def keep(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            sizes[name] = (output.shape[-2], output.shape[-1])

        shadow.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        shadow(torch.zeros(1, 3, image_size, image_size, device="meta"))
    return sizes
