"""Squeeze and excitation (Hu, Shen, Sun 2018, CVPR, doi 10.1109/CVPR.2018.00745): attention over channels alone.

    u = Conv(X);   s = sigmoid(W2 relu(W1 mean of u over places));   output = s * u      (equations 2 to 4)

W1 takes C channels to C / 16, W2 back, without biases, as the equations have them. A control: attention in the word's
wider sense, with next to no parameters and no place of the map looking at another. The paper puts the gate at the end
of a block; here it stands right behind the convolution, where 'aacn' stands, so that the kinds differ in the operator
and not in the place. There are no heads, so their number has no meaning.
"""

import torch
from torch import Tensor, nn

from blendnet.attention._lesion import Lesionable

REDUCTION = 16  # the paper's, from which the gains in accuracy for a parameter were best


class SEConv2d(Lesionable, nn.Module):
    """A convolution whose channels are gated: shapes in and out are those of `conv`, (B, C_in, H_in, W_in) -> (B, C,
    H, W), for every map size.

    conv: the convolution, kept whole
    generator: source of the gate's initial weights; None is PyTorch's global one
    lesion (attribute): None, or 'attention' to set every gate to one, which leaves the plain convolution

    Initial weights: W1 He normal, W2 normal with variance 1 / fan-in, so that gates begin around one half.
    """

    def __init__(self, conv: nn.Conv2d, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.gate = bottleneck(conv.out_channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H_in, W_in) -> (B, C, H, W)."""
        out: Tensor = self.conv(x)
        if self.lesion == "attention":
            return out
        return out * self.gate(out.mean((2, 3))).sigmoid()[:, :, None, None]


def bottleneck(channels: int, generator: torch.Generator | None) -> nn.Sequential:
    """(B, C) -> (B, C): linear to C / 16 (at least 1), ReLU, linear to C; no biases, no sigmoid yet."""
    inner = max(1, channels // REDUCTION)
    net = nn.Sequential(nn.Linear(channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, channels, bias=False))
    nn.init.kaiming_normal_(net[0].weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
    nn.init.normal_(net[2].weight, std=inner**-0.5, generator=generator)  # type: ignore[arg-type]
    return net


def replace(conv: nn.Conv2d, *, heads: int, map_size: tuple[int, int], generator: torch.Generator | None) -> SEConv2d:
    """`conv` with a gate behind it, on its device and dtype; all its weights are kept, so twins begin equal in them.

    The gate is drawn from `generator` (a CPU generator). heads and map_size have no meaning here.
    """
    return SEConv2d(conv, generator=generator).to(conv.weight.device, conv.weight.dtype)
