"""Convolutional block attention module (Woo, Park, Lee, Kweon 2018, ECCV, doi 10.1007/978-3-030-01234-2_1).

    u = Conv(X)
    u' = u * sigmoid(MLP(mean of u over places) + MLP(maximum of u over places))                       (equation 2)
    output = u' * sigmoid(f7x7[mean of u' over channels; maximum of u' over channels])                 (equation 3)

Attention over channels, then over places, by pooling and a small convolution: a control with no self-attention, in
which no place looks at any other beyond 7 x 7. MLP is the bottleneck of 'se' (ratio 16), the same for both pools. The
paper puts the gates at the end of a block; here they stand right behind the convolution, where 'aacn' stands, so that
the kinds differ in the operator and not in the place. There are no heads, so their number has no meaning.
"""

import torch
from torch import Tensor, nn

from blendnet.attention._lesion import Lesionable
from blendnet.attention.se import bottleneck

KERNEL = 7  # the paper's, better than 3 (its table 2)


class CBAMConv2d(Lesionable, nn.Module):
    """A convolution whose channels and then places are gated: shapes in and out are those of `conv`, (B, C_in, H_in,
    W_in) -> (B, C, H, W), for every map size.

    conv: the convolution, kept whole
    generator: source of the gates' initial weights; None is PyTorch's global one
    lesion (attribute): None, or 'attention' to set every gate to one, which leaves the plain convolution

    Initial weights: those of 'se' for the MLP, normal with variance 1 / fan-in for the 7x7 convolution, which has no
    bias; gates begin around one half.
    """

    def __init__(self, conv: nn.Conv2d, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.channels = bottleneck(conv.out_channels, generator)
        self.places = nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2, bias=False)
        nn.init.normal_(self.places.weight, std=(2 * KERNEL**2) ** -0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H_in, W_in) -> (B, C, H, W)."""
        out: Tensor = self.conv(x)
        if self.lesion == "attention":
            return out
        logits = self.channels(out.mean((2, 3))) + self.channels(out.amax((2, 3)))
        out = out * logits.sigmoid()[:, :, None, None]
        pooled = torch.cat((out.mean(1, keepdim=True), out.amax(1, keepdim=True)), 1)
        gated: Tensor = out * self.places(pooled).sigmoid()
        return gated


def replace(conv: nn.Conv2d, *, heads: int, map_size: tuple[int, int], generator: torch.Generator | None) -> CBAMConv2d:
    """`conv` with its gates behind it, on its device and dtype; all its weights are kept, so twins begin equal in
    them.

    The gates are drawn from `generator` (a CPU generator). heads and map_size have no meaning here.
    """
    return CBAMConv2d(conv, generator=generator).to(conv.weight.device, conv.weight.dtype)
