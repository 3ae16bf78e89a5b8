"""CORnet-S (Kubilius, Schrimpf, Nayebi, Bear, Yamins, DiCarlo 2018, bioRxiv, doi 10.1101/408385; Kubilius,
Schrimpf et al. 2019, NeurIPS, arXiv 1909.06161), written from the papers: four areas, three of them recurrent,
and a linear decoder.

V1: 7x7 stride 2, 64 channels, max pooling 3x3 stride 2, 3x3. V2, V4 and IT (128, 256, 512 channels) run 2, 4 and
2 times over their own output with the same weights: 1x1 to four times the channels, 3x3, 1x1 back, plus the
area's input, ReLU. Every time step has batch normalisations of its own. At the first step the map is halved and
the input reaches the sum through a 1x1 convolution of stride 2. With 1000 classes it has the 53,416,616 parameters
that these numbers give.

Attention goes into the 3x3 convolution of V2, V4 and IT: the same areas as in CORnet-Z.

One deviation, the same in both twins. The papers halve the map by giving the shared 3x3 convolution stride 2 at
the first time step and stride 1 later. Attention has learned positions and one stride, so a layer that does both
is not defined for it. Here the convolution always has stride 1, and before the first step an average over 3x3
places with stride 2 halves the map: it is centred where the strided convolution's windows are and leaves no place
unread. The convolution so sees one map size at all time steps. Parameters and operations are the papers'.

Initial weights: He normal over the outgoing connections in convolutions, PyTorch's own in the decoder.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32

_TIMES = {"V2": 2, "V4": 4, "IT": 2}

SITES = tuple(f"{area}.conv2" for area in _TIMES)
# Every time step of an area is a readout; the last one is the area's output.
LAYERS = (
    *("V1.relu1", "V1.pool", "V1.output", "V2.steps.0", "V2.output"),
    *("V4.steps.0", "V4.steps.1", "V4.steps.2", "V4.output", "IT.steps.0", "IT.output"),
    "decoder.output",
)


class _Area(nn.Module):
    """A recurrent area: (B, channels_in, H, W) -> (B, channels_out, H / 2, W / 2), rounded up.

    steps.t hands on what the area gives after time step t < times - 1, output what it gives after the last.
    """

    def __init__(self, channels_in: int, channels_out: int, times: int) -> None:
        super().__init__()
        wide = 4 * channels_out
        self.times = times
        self.input = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.skip = nn.Conv2d(channels_out, channels_out, 1, stride=2, bias=False)
        self.norm_skip = nn.BatchNorm2d(channels_out)
        self.conv1 = nn.Conv2d(channels_out, wide, 1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(wide, channels_out, 1, bias=False)
        self.norm1 = nn.ModuleList(nn.BatchNorm2d(wide) for _ in range(times))
        self.norm2 = nn.ModuleList(nn.BatchNorm2d(wide) for _ in range(times))
        self.norm3 = nn.ModuleList(nn.BatchNorm2d(channels_out) for _ in range(times))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.steps = nn.ModuleList(nn.Identity() for _ in range(times - 1))
        self.output = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        for t, (norm1, norm2, norm3) in enumerate(zip(self.norm1, self.norm2, self.norm3)):
            inner = F.relu(norm1(self.conv1(x)), inplace=True)
            if t == 0:
                inner, x = self.halve(inner), self.norm_skip(self.skip(x))
            inner = F.relu(norm2(self.conv2(inner)), inplace=True)
            x = F.relu(norm3(self.conv3(inner)) + x)
            x = self.output(x) if t == self.times - 1 else self.steps[t](x)
        return x


def build(n_classes: int) -> nn.Module:
    """(B, 3, S, S) -> (B, n_classes) logits."""
    model = nn.Sequential(
        OrderedDict(
            V1=nn.Sequential(
                OrderedDict(
                    conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
                    norm1=nn.BatchNorm2d(64),
                    relu1=nn.ReLU(),
                    pool=nn.MaxPool2d(3, stride=2, padding=1),
                    conv2=nn.Conv2d(64, 64, 3, padding=1, bias=False),
                    norm2=nn.BatchNorm2d(64),
                    output=nn.ReLU(),
                )
            ),
            V2=_Area(64, 128, _TIMES["V2"]),
            V4=_Area(128, 256, _TIMES["V4"]),
            IT=_Area(256, 512, _TIMES["IT"]),
            decoder=nn.Sequential(
                OrderedDict(avgpool=nn.AdaptiveAvgPool2d(1), output=nn.Flatten(), linear=nn.Linear(512, n_classes))
            ),
        )
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
