"""Vision transformer (Dosovitskiy et al. 2021, ICLR, arXiv 2010.11929), written from the paper: patches,
class token, learned positions, pre-norm blocks of multi-head self-attention and a GELU MLP, a final norm.

The twin question is turned round here: this network has attention of its own, so its kinds are

    'self'  the published network
    'none'  attention ablated: every head's softmax weights are replaced by 1/N for each of the N tokens

so that 'attention minus none' has the same sign as for the convolutional networks. The ablated twin still mixes
all places, with the same values and the same projection; what it lacks is the choice, by content, of where to
look. Its queries and keys would have no effect, so it has none: parameters, operations and gradients count what is
used. All other weights of the twins are equal bit for bit. Since the average is linear, it is taken before the
value map, once for all tokens.

Input sizes. The patch is 16 px at 224 px, as published. At other sizes it is the largest of 4 to 16 px that divides
the side and leaves at least 8 x 8 patches, so that small images keep enough places to attend to (384 px: 16; 128:
16; 96: 12; 64: 8; 32: 4). The table of positions follows: a network runs at the size that it was built for.

Initial weights as in DeiT (Touvron et al. 2021, arXiv 2012.12877): truncated normal with std 0.02, biases zero. No
dropout and no stochastic depth, so that training draws no numbers here.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blendnet.errors import BlendnetError

_SMALLEST_PATCH, _LARGEST_PATCH, _FEWEST = 4, 16, 8


class SelfAttention(nn.Module):
    """Multi-head self-attention: (B, N, width) -> (B, N, width), softmax(q k^T / sqrt(width / heads)) v, projected."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = nn.Linear(width, 2 * width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (*self.query_key(x).chunk(2, -1), self.value(x))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, width / heads)
        out: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return out


class UniformMixing(nn.Module):
    """SelfAttention with all weights 1/N, made from one with whose values and projection it shares the numbers."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.value, self.project = attention.value, attention.project

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.value(x.mean(1, keepdim=True)))
        return out.expand_as(x)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention: nn.Module = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            OrderedDict(expand=nn.Linear(width, 4 * width), gelu=nn.GELU(), back=nn.Linear(4 * width, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(nn.Module):
    """(B, 3, S, S) -> (B, n_classes) logits from the class token; blocks.i and norm give all tokens, (B, 1 + patches,
    width), the class token first, patches row by row. Raises BlendnetError in forward for an image of another size."""

    def __init__(self, width: int, depth: int, heads: int, n_classes: int, image_size: int) -> None:
        super().__init__()
        patch = patch_size(image_size)
        self.image_size = image_size
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + (image_size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise BlendnetError(
                f"this ViT was built for images of {self.image_size} px and got {x.shape[-2]}x{x.shape[-1]}; "
                "build the network with the image_size of its images"
            )
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(x), -1, -1), tokens), 1) + self.positions
        out: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return out


def vit(*, width: int, depth: int, heads: int, n_classes: int, image_size: int, attention: str) -> ViT:
    """A vision transformer with fresh weights from PyTorch's global generator; attention: 'self' or 'none'.

    Both twins make the same draws. Raises BlendnetError for an image size that no patch fits.
    """
    model = ViT(width, depth, heads, n_classes, image_size)
    if attention == "none":
        for block in model.blocks.children():
            block.attention = UniformMixing(block.attention)  # type: ignore[arg-type]
    return model


def patch_size(image_size: int) -> int:
    """Side of a patch in px for square images of image_size px, by the rule of the first lines of this file."""
    largest = min(_LARGEST_PATCH, image_size // _FEWEST)
    for patch in range(largest, _SMALLEST_PATCH - 1, -1):
        if image_size % patch == 0:
            return patch
    raise BlendnetError(
        f"image size {image_size} is cut evenly by no patch of {_SMALLEST_PATCH} to {_LARGEST_PATCH} px; "
        f"choose a multiple of 16, for example {max(32, round(image_size / 16) * 16)}"
    )
