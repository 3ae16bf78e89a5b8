"""ViT-S/16 (Dosovitskiy et al. 2021, ICLR, arXiv 2010.11929): 12 blocks of width 384, 6 heads; the small size is
that of DeiT-S (Touvron et al. 2021, ICML, arXiv 2012.12877).

Its attention kinds are 'self', the published network, and 'none', the network with its attention ablated: see
_vit.py, also for other image sizes and for the initial weights.
"""

from torch import nn

from blendnet.models._vit import vit

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

ATTENTIONS = ("none", "self")
SITES = tuple(f"blocks.{i}.attention" for i in range(12))
LAYERS = (*(f"blocks.{i}" for i in range(12)), "norm")


def build(n_classes: int, *, image_size: int = IMAGE_SIZE, attention: str = "self") -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits, S = image_size px; attention: 'self' or 'none'."""
    return vit(width=384, depth=12, heads=6, n_classes=n_classes, image_size=image_size, attention=attention)
