"""What a network costs, the same for every network: parameters, and operations for one image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from blendnet import models
from blendnet.models import _twins
from blendnet.run import WITHOUT_HEADS


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, image_size: int) -> int:
    """Floating-point operations of one forward pass of one image (3, image_size, image_size): 2 a
    multiply-add.

    Counted are convolutions, linear layers and the matrix products of attention (a module's matmul_flops()),
    as the definitions need them and whatever kernel computes them, and, outside such modules, all that PyTorch's own
    counter knows (matrix products and attention in functions, as in ViT); not biases, normalisation, pooling,
    activations and softmax. A module that runs several times counts every time. The pass runs on PyTorch's meta
    device: nothing is computed and `model` is not touched.
    """
    counted: list[int] = []
    counter = FlopCounterMode(display=False)
    inside = {"depth": 0, "since": 0, "total": 0}

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inside["depth"] == 0:
            inside["since"] = counter.get_total_flops()
        inside["depth"] += 1

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        inside["depth"] -= 1
        if inside["depth"] == 0:
            inside["total"] += counter.get_total_flops() - inside["since"]
        if isinstance(module, nn.Conv2d):
            window = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
            counted.append(2 * window * output.numel())
        elif isinstance(module, nn.Linear):
            counted.append(2 * module.in_features * output.numel())
        else:
            counted.append(module.matmul_flops())  # type: ignore[operator]

    shadow = _twins.shadow(model)
    for module in shadow.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) or hasattr(module, "matmul_flops"):
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(count)
    with torch.no_grad(), counter:
        shadow(torch.zeros(1, 3, image_size, image_size, device="meta"))
    return sum(counted) + counter.get_total_flops() - inside["total"]


def table(
    networks: Sequence[str],
    attentions: Sequence[str] | None = None,
    *,
    heads: int = 4,
    n_classes: int = 8,
    image_size: int | None = None,
) -> list[dict[str, Any]]:
    """One row a network and kind of attention: network, attention, heads, parameters, flops (of one image), sites,
    layers (both counts), image_size (px).

    attentions: those wanted, of which a network gets the ones that it can have (default: all of them); heads: of
    kinds that have some; image_size: of all networks, default each its own. Raises BlendnetError as models.build
    does.
    """
    rows = []
    for network in networks:
        size = models.image_size(network) if image_size is None else image_size
        for kind in models.attentions(network):
            if attentions is not None and kind not in attentions:
                continue
            model = models.build(network, attention=kind, heads=heads, n_classes=n_classes, image_size=size)
            rows.append({
                "network": network, "attention": kind, "heads": 0 if kind in WITHOUT_HEADS else heads,
                "parameters": parameters(model), "flops": flops(model, size),
                "sites": len(models.sites(network)), "layers": len(models.layers(network)), "image_size": size,
            })  # fmt: skip
    return rows
