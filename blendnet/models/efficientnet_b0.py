"""EfficientNet-B0 (Tan, Le 2019, ICML, arXiv 1905.11946), torchvision's.

Attention goes into the 1x1 expansion convolution of the late inverted bottlenecks, those that work on maps of at
most 14x14 at 224 px: 10 of 16 blocks. The 3x3 and 5x5 convolutions are depthwise, which attention cannot replace;
the expansion is the ordinary convolution whose output they see. mobilenet_v2 follows the same rule.

In training, dropout and stochastic depth draw from PyTorch's global generator of the device.
"""

from torch import nn
from torchvision.models import efficientnet_b0

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

# The first block of features.4 still expands at 28x28 and strides afterwards.
_LATE = ((4, (1, 2)), (5, (0, 1, 2)), (6, (0, 1, 2, 3)), (7, (0,)))
SITES = tuple(f"features.{stage}.{block}.block.0.0" for stage, blocks in _LATE for block in blocks)
LAYERS = (*(f"features.{i}" for i in range(9)), "avgpool")


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    return efficientnet_b0(weights=None, num_classes=n_classes)
