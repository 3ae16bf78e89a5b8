"""The attention operator of the original study's repository (Portscher, Stabinger, Rodriguez-Sanchez 2022, doi
10.1109/IPAS55744.2022.10052853), defects included, so that its checkpoints mean what they meant.

It was meant as the attention-augmented convolution of Bello, Zoph, Vaswani, Shlens, Le 2019 (arXiv 1904.09925), which
is blendnet.attention.aacn. What it computes, in our own words:

A 1x1 convolution makes keys, queries and values, in this order, dk + dk + dv channels of H x W maps; N = H * W. A head
n has dkh = dk / heads channels of keys and of queries and dvh = dv / heads of values.

Tokens. A head's channels are written one after the other into one line, f[c * N + y * W + x], and this line, not the
map, is cut: component m of token i is f[i * dkh + m] (values: i * dvh + m). So there are N tokens as there should be,
but a token is a strip: dkh successive pixels of one channel (of two where the strip crosses a border), read row by
row. Token i is NOT the place (i // W, i % W), though the relative terms below treat it as if it were.

Logits. With queries scaled by dkh^-0.5, and token i taken to stand at column ix = i % W and row iy = i // W,

    s_i = sum of q^n_i over all heads n
    logit^n(i, j) = q^n_i . k^n_j + s_i . r^W[jx - ix] + s_i . r^H[jy - iy]

where Bello et al. have q^n_i in all three terms. Tables r^W (2W-1, dkh) and r^H (2H-1, dkh), row d + W - 1 (H - 1) for
the offset d, shared by the heads.

Output. Softmax over j weights the value strips; the N strips of dvh numbers are written back into the line of the
head's dvh channels, the heads follow one another, and a 1x1 convolution of dv to dv channels mixes them. The output is
concat[convolution (out - dv channels), attention (dv channels)]. All three convolutions have biases, whatever the
convolution that is replaced. The original knows square maps and stride 1 only; for other maps this is the same formula,
for strides see LegacyConv2d.
"""

import torch
from torch import Tensor, nn

from blendnet.attention._fused import codes_of, fused
from blendnet.attention._lesion import Lesionable
from blendnet.errors import BlendnetError

DK = DV = 32
# Measured by tests/test_attention_legacy.py: 64 -> 128 channels, 7, 14 and 28 px maps, 1 to 8 heads, rectified noise.
DEFECT = (
    "tokens are strips of one channel, not places, and relative logits are summed over heads: with the same random "
    "weights the output is 0.3 to 0.5 of its norm away from Bello et al.'s definition (dv 32 of 128 channels), its "
    "attention half 0.8 to 1.2 of that half's norm, so that the half is another function, not a rough version of it"
)


class LegacyConv2d(Lesionable, nn.Module):
    """The original repository's augmented convolution: (B, in_channels, H_in, W_in) -> (B, out_channels, H, W).

    kernel_size: odd, of the convolution half, padded by kernel_size // 2; stride: (height, width) steps
    dk, dv: key and value channels of all heads together; dv of the out_channels come from attention
    map_size: (H, W) of the OUTPUT map
    generator: source of the initial weights; None is PyTorch's global one
    lesion (attribute): None, or 'attention' to set the dv attention channels to zero
    defect (attribute): what is wrong with it, in a sentence

    Stride is ours, for networks that the original never built: the 1x1 convolution of keys, queries and values reads
    the input at the centre of each window of the convolution, as in blendnet.attention.aacn.

    There is no attention_map here: its tokens have no place in the image.

    Raises BlendnetError for settings that do not go together, and in forward for a map of another size.
    """

    _codes: Tensor
    _index_h: Tensor
    _index_w: Tensor
    defect = DEFECT

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        dk: int = DK,
        dv: int = DV,
        num_heads: int = 4,
        map_size: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if kernel_size[0] % 2 == 0 or kernel_size[1] % 2 == 0:
            raise BlendnetError(f"kernel_size {kernel_size} is even; the original operator has odd kernels only")
        for what, value in (("dk", dk), ("dv", dv)):
            if num_heads < 1 or value < 1 or value % num_heads:
                raise BlendnetError(
                    f"{what} {value} is not shared evenly by {num_heads} heads; choose heads that divide it"
                )
        if dv >= out_channels:
            raise BlendnetError(f"dv {dv} leaves the convolution none of {out_channels} channels; choose a smaller dv")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        self.dk, self.dv, self.num_heads, self.map_size = dk, dv, num_heads, map_size

        padding = (kernel_size[0] // 2, kernel_size[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - dv, kernel_size, stride, padding)
        self.kqv = nn.Conv2d(in_channels, 2 * dk + dv, 1, stride)
        self.project = nn.Conv2d(dv, dv, 1)
        height, width = map_size
        self.relative_w = nn.Parameter(torch.empty(2 * width - 1, dk // num_heads))
        self.relative_h = nn.Parameter(torch.empty(2 * height - 1, dk // num_heads))
        # Not in the state dict: they follow from map_size alone.
        rows, columns = torch.arange(height), torch.arange(width)
        self.register_buffer("_codes", codes_of(height, width, self.relative_w.detach()), persistent=False)
        self.register_buffer("_index_h", rows[None] - rows[:, None] + height - 1, persistent=False)
        self.register_buffer("_index_w", columns[None] - columns[:, None] + width - 1, persistent=False)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, by the rules and in the order of blendnet.attention.aacn, so that networks trained
        with the one and the other kind differ in the operator and not in where they begin. (The original drew its
        tables with standard deviation 1.)"""
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        for linear in (self.kqv, self.project):
            nn.init.normal_(linear.weight, std=linear.in_channels**-0.5, generator=generator)
        for table in (self.relative_w, self.relative_h):
            nn.init.normal_(table, std=(self.dk // self.num_heads) ** -0.5, generator=generator)
        for conv in (self.conv, self.kqv, self.project):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H_in, W_in) -> (B, out_channels, H, W), in the memory format of the convolution."""
        local = self.conv(x)
        if tuple(local.shape[2:]) != self.map_size:
            wanted, found = ("x".join(str(s) for s in size) for size in (self.map_size, local.shape[2:]))
            raise BlendnetError(
                f"attention was built for an output map of {wanted} but this input gives {found}; "
                "build the network with the image_size of its images"
            )
        if self.lesion == "attention":
            attended = local.new_zeros(local.shape[0], self.dv, *self.map_size)
        else:
            strips = fused(*self._folded(x))  # (B, heads, N, dvh)
            # Strips go back to where they were cut from: a reshape, without the transpose that tokens would need.
            attended = self.project(strips.reshape(x.shape[0], self.dv, *self.map_size))
        if local.is_contiguous(memory_format=torch.channels_last) and not local.is_contiguous():
            attended = attended.contiguous(memory_format=torch.channels_last)
        return torch.cat((local, attended), dim=1)

    def matmul_flops(self) -> int:
        """Floating-point operations (2 a multiply-add) of one image outside the three convolutions: content logits,
        relative logits of the summed queries, and weighted values."""
        height, width = self.map_size
        n = height * width
        return 2 * n * (n * self.dk + (height + width) * (self.dk // self.num_heads) + n * self.dv)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"dk={self.dk}, dv={self.dv}, num_heads={self.num_heads}, map_size={self.map_size}"
        )

    def _folded(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (B, heads, N, dkh + H + W) whose dot products are the logits, and values (B, heads, N,
        dvh). The relative terms are exact dot products with the one-hot codes of j's row and column."""
        (height, width), heads, n = self.map_size, self.num_heads, self.map_size[0] * self.map_size[1]
        parts = self.kqv(x).split((self.dk, self.dk, self.dv), 1)
        # Cuts each head's channels, laid end to end, into N strips.
        k, q, v = (part.reshape(x.shape[0], heads, n, part.shape[1] // heads) for part in parts)
        q = q * (self.dk // heads) ** -0.5
        summed = q.sum(1).unflatten(1, (height, width))  # (B, H, W, dkh)
        rows = torch.einsum("byxd,yzd->byxz", summed, self.relative_h[self._index_h]).flatten(1, 2)
        columns = torch.einsum("byxd,xzd->byxz", summed, self.relative_w[self._index_w]).flatten(1, 2)
        relative = torch.cat((rows, columns), -1).to(q.dtype)[:, None].expand(-1, heads, -1, -1)
        codes = self._codes.to(k.dtype).expand(*k.shape[:2], -1, -1)
        return torch.cat((q, relative), -1), torch.cat((k, codes), -1), v


def replace(
    conv: nn.Conv2d,
    *,
    heads: int,
    map_size: tuple[int, int],
    generator: torch.Generator | None,
    dk: int = DK,
    dv: int = DV,
) -> LegacyConv2d:
    """The original operator in place of `conv`, of the same shapes in and out, on its device and dtype.

    The convolution half keeps the first out_channels - dv filters (and biases) of `conv`; the rest is drawn from
    `generator` (a CPU generator). map_size: (H, W) of conv's output. Raises BlendnetError for grouped or dilated
    convolutions and for padding other than kernel_size // 2.
    """
    kernel, stride = (conv.kernel_size[0], conv.kernel_size[1]), (conv.stride[0], conv.stride[1])
    if (
        conv.groups != 1
        or conv.dilation != (1, 1)
        or conv.padding_mode != "zeros"
        or conv.padding != (kernel[0] // 2, kernel[1] // 2)
    ):
        raise BlendnetError(f"{conv} is grouped, dilated or specially padded; aacn-legacy replaces plain ones only")
    new = LegacyConv2d(
        conv.in_channels,
        conv.out_channels,
        kernel,
        stride=stride,
        dk=dk,
        dv=dv,
        num_heads=heads,
        map_size=map_size,
        generator=generator,
    )
    with torch.no_grad():
        new.conv.weight.copy_(conv.weight[: -new.dv])
        if conv.bias is not None and new.conv.bias is not None:
            new.conv.bias.copy_(conv.bias[: -new.dv])
    return new.to(conv.weight.device, conv.weight.dtype)
