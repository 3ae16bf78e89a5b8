"""Exponential moving average of the weights (Polyak and Juditsky 1992, doi 10.1137/0330046, with forgetting).

After t steps the average is sum_k decay^(t-k) w_k / sum_k decay^(t-k) over the weights w_1 .. w_t after each step: the
normalisation of Kingma and Ba 2015 (arXiv 1412.6980), without which a short training's average would still be full of
its initial weights. BatchNorm's running mean and variance are averaged alike, so that they belong to the averaged
weights; whole-numbered buffers are copied.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

Average = dict[str, torch.Tensor]


def start(model: nn.Module) -> Average:
    """The average before the first step: a copy of the model's state, which the first update replaces wholly."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def update(average: Average, model: nn.Module, decay: float, step: int) -> None:
    """Take in the weights after step `step` (0-based, counted from the training's beginning); in place."""
    weight = (1 - decay) / (1 - decay ** (step + 1))
    floats: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            floats[0].append(average[name])
            floats[1].append(tensor)
        else:
            average[name].copy_(tensor)
    torch._foreach_lerp_(floats[0], floats[1], weight)


@contextmanager
def shown(model: nn.Module, average: Average | None) -> Iterator[nn.Module]:
    """The model with the averaged weights in it, for validation; its own weights are put back. None changes nothing."""
    if average is None:
        yield model
        return
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(average)
    try:
        yield model
    finally:
        model.load_state_dict(own)
