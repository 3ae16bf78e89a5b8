"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018, doi 10.1109/CVPR.2018.00474), torchvision's.

The positive control of the brain scores (with ImageNet weights, 1000 classes) and its untrained twin; it has
no attention twin.
"""

from torch import nn
from torchvision.models import mobilenet_v2

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

SITES = ()
LAYERS = tuple(f"features.{i}" for i in (2, 4, 7, 11, 14, 17, 18))


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    return mobilenet_v2(weights=None, num_classes=n_classes)
