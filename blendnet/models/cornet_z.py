"""CORnet-Z (Kubilius, Schrimpf, Nayebi, Bear, Yamins, DiCarlo 2018, bioRxiv, doi 10.1101/408385), written
from the paper: four areas, each a convolution, a ReLU and a max pooling, and a linear decoder.

V1 7x7 stride 2, 64 channels; V2 3x3, 128; V4 3x3, 256; IT 3x3, 512; pooling 3x3 stride 2 after each.
Attention goes into V2, V4 and IT (Portscher et al. 2022, doi 10.1109/IPAS55744.2022.10052853). Initial
weights are ours, since there is no normalisation to repair them: He normal, biases zero.
"""

from collections import OrderedDict

from torch import nn

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

SITES = ("V2.conv", "V4.conv", "IT.conv")
LAYERS = (
    *("V1.relu", "V1.output", "V2.relu", "V2.output", "V4.relu", "V4.output", "IT.relu", "IT.output"),
    "decoder.output",
)


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits. In an area `relu` is before and `output` after the pooling."""
    model = nn.Sequential(
        OrderedDict(
            V1=_area(3, 64, kernel=7, stride=2),
            V2=_area(64, 128),
            V4=_area(128, 256),
            IT=_area(256, 512),
            decoder=nn.Sequential(
                OrderedDict(
                    avgpool=nn.AdaptiveAvgPool2d(1),
                    output=nn.Flatten(),
                    linear=nn.Linear(512, n_classes),
                )
            ),
        )
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


def _area(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2),
            relu=nn.ReLU(),
            output=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )
