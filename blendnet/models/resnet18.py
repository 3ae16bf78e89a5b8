"""ResNet18 (He, Zhang, Ren, Sun 2016, doi 10.1109/CVPR.2016.90), torchvision's.

Attention goes where Portscher et al. 2022 (doi 10.1109/IPAS55744.2022.10052853) put it: into the second 3x3
convolution of every block of the last three stages.
"""

from torch import nn
from torchvision.models import resnet18

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

_BLOCKS = tuple(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))
SITES = tuple(f"{block}.conv2" for block in _BLOCKS if not block.startswith("layer1"))
LAYERS = ("relu", "maxpool", *_BLOCKS, "avgpool")


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    return resnet18(weights=None, num_classes=n_classes)
