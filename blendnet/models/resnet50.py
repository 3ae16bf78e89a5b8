"""ResNet50 (He, Zhang, Ren, Sun 2016, doi 10.1109/CVPR.2016.90), torchvision's, which strides in the 3x3
convolution.

Attention goes where Portscher et al. 2022 (doi 10.1109/IPAS55744.2022.10052853) put it: into the 3x3
convolution of every block of the last three stages. Both twins stride there.
"""

from torch import nn
from torchvision.models import resnet50

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

_BLOCKS = tuple(f"layer{stage}.{block}" for stage, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for block in range(n))
SITES = tuple(f"{block}.conv2" for block in _BLOCKS if not block.startswith("layer1"))
LAYERS = ("relu", *_BLOCKS, "avgpool")


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    return resnet50(weights=None, num_classes=n_classes)
