"""What a network costs, the same for every network: parameters, and operations for one image."""

import copy

import torch
from torch import Tensor, nn


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, image_size: int) -> int:
    """Floating-point operations of one forward pass of one image (3, image_size, image_size): 2 a
    multiply-add.

    Counted are convolutions, linear layers and the matrix products of attention (a module's matmul_flops()),
    as the definitions need them and whatever kernel computes them; not biases, normalisation, pooling,
    activations and softmax. The pass runs on PyTorch's meta device: nothing is computed and `model` is not
    touched.
    """
    counted: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            window = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
            counted.append(2 * window * output.numel())
        elif isinstance(module, nn.Linear):
            counted.append(2 * module.in_features * output.numel())
        else:
            counted.append(module.matmul_flops())  # type: ignore[operator]

    shadow = copy.deepcopy(model).to("meta").eval()
    for module in shadow.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) or hasattr(module, "matmul_flops"):
            module.register_forward_hook(count)
    with torch.no_grad():
        shadow(torch.zeros(1, 3, image_size, image_size, device="meta"))
    return sum(counted)
