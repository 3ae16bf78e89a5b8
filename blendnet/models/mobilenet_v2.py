"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018, doi 10.1109/CVPR.2018.00474), torchvision's.

With ImageNet weights (1000 classes, attention 'none') it is the positive control of the brain scores.

Attention goes into the 1x1 expansion convolution of the late inverted bottlenecks, those that work on maps of at
most 14x14 at 224 px: 10 of 17 blocks. The 3x3 convolutions are depthwise, which attention cannot replace; the
expansion is the ordinary convolution whose output they see.
"""

from torch import nn
from torchvision.models import mobilenet_v2

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

# features.7 still expands at 28x28 and strides afterwards.
SITES = tuple(f"features.{i}.conv.0.0" for i in range(8, 18))
LAYERS = tuple(f"features.{i}" for i in (2, 4, 7, 11, 14, 17, 18))


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    return mobilenet_v2(weights=None, num_classes=n_classes)
