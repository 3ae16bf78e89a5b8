"""Inception V3 (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2016, doi 10.1109/CVPR.2016.308), torchvision's,
without the auxiliary classifier.

Attention goes where Portscher et al. 2022 (doi 10.1109/IPAS55744.2022.10052853) put it: into the 3x3
convolutions of the last two blocks, Mixed_7b and Mixed_7c.
"""

from torch import nn
from torchvision.models import inception_v3

IMAGE_SIZE = 299
MIN_IMAGE_SIZE = 75

SITES = ("Mixed_7b.branch3x3dbl_2.conv", "Mixed_7c.branch3x3dbl_2.conv")
LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool"),
)


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits; S >= 75 px."""
    return inception_v3(weights=None, num_classes=n_classes, aux_logits=False, transform_input=False, init_weights=True)
