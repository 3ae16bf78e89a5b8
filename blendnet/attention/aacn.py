"""Attention-augmented convolution (Bello, Zoph, Vaswani, Shlens, Le 2019, ICCV, arXiv 1904.09925).

    AAConv(X) = concat[Conv(X), MHA(X)]          (channels: out - dv, dv)

One 1x1 convolution of X makes queries, keys and values; tokens are the positions of the map, row by row. In a
head, with queries scaled by dkh^-0.5 (dkh = dk / heads), token i at (ix, iy) attends to token j at (jx, jy)
with

    logit(i, j) = q_i . k_j + q_i . r^W[jx - ix] + q_i . r^H[jy - iy]

where r^W (2W-1, dkh) and r^H (2H-1, dkh) are learned and shared by the heads of one layer. The heads' outputs
are concatenated and mixed by a 1x1 convolution of dv to dv channels.

With rows[i, y] = q_i . r^H[y - iy] and columns[i, x] = q_i . r^W[x - ix], H + W numbers a token, the logits are
q_i . k_j + rows[i, jy] + columns[i, jx], and blendnet.attention._paths has several exact ways from there to the
output, of which none that is chosen keeps an (HW)^2 tensor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blendnet.attention import _explicit, _paths
from blendnet.attention._lesion import Lesionable
from blendnet.errors import BlendnetError

# The study's setting (Portscher et al. 2022, doi 10.1109/IPAS55744.2022.10052853): with 4 heads, 8 key
# dimensions a head. Bello et al. use at least 20.
DK = DV = 32


class AAConv2d(Lesionable, nn.Module):
    """Attention-augmented 2-D convolution: (B, in_channels, H_in, W_in) -> (B, out_channels, H, W).

    kernel_size, stride, padding: int or (height, width), as in nn.Conv2d; padding None: 'same' (odd kernels)
    bias: of the convolution, of the query-key-value convolution and of the output projection, all or none
    dk, dv: key and value channels of all heads together; dv of the out_channels come from attention
    map_size: (H, W) of the OUTPUT map, to which the relative positions belong
    generator: source of the initial weights; None is PyTorch's global one
    lesion (attribute): None, or 'attention' to set the dv attention channels to zero
    path (attribute): None, or the name of one of _paths.WAYS to compute attention in that way, for tests and
        measurements

    Stride and padding. We know of no rule in the paper for a strided convolution (to save memory on large
    maps it pools the input of attention and upsamples its output). Here the 1x1 convolution that makes
    queries, keys and values has the convolution's stride and reads the input at the centre of each of its
    windows, so that the two halves describe the same places; a centre in the padding reads zeros.

    Raises BlendnetError for settings that do not go together, and in forward for a map of another size.
    """

    _index_h: Tensor
    _index_w: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        bias: bool = True,
        dk: int = DK,
        dv: int = DV,
        num_heads: int = 4,
        map_size: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        kernel = _pair("kernel_size", kernel_size, 1)
        step = _pair("stride", stride, 1)
        if padding is None:
            if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
                raise BlendnetError(f"kernel_size {kernel} is even and has no 'same' padding; give padding=")
            padding = (kernel[0] // 2, kernel[1] // 2)
        pad = _pair("padding", padding, 0)
        height, width = _pair("map_size", map_size, 1)
        _check_channels(in_channels, out_channels, dk, dv, num_heads)

        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel, step, pad
        self.dk, self.dv, self.num_heads, self.map_size = dk, dv, num_heads, (height, width)
        self.path: str | None = None

        self.conv = nn.Conv2d(in_channels, out_channels - dv, kernel, step, pad, bias=bias)
        self.qkv = nn.Conv2d(in_channels, 2 * dk + dv, 1, step, bias=bias)
        self.project = nn.Conv2d(dv, dv, 1, bias=bias)
        self.relative_w = nn.Parameter(torch.empty(2 * width - 1, dk // num_heads))
        self.relative_h = nn.Parameter(torch.empty(2 * height - 1, dk // num_heads))
        # Not in the state dict: they follow from map_size alone.
        self.register_buffer("_index_h", _relative_index(height), persistent=False)
        self.register_buffer("_index_w", _relative_index(width), persistent=False)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew. Convolution: He normal; query-key-value and projection: normal with variance
        1 / fan-in; relative tables: normal with std dkh^-0.5, as in the paper; biases: zero."""
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        for linear in (self.qkv, self.project):
            nn.init.normal_(linear.weight, std=linear.in_channels**-0.5, generator=generator)
        for table in (self.relative_w, self.relative_h):
            nn.init.normal_(table, std=(self.dk // self.num_heads) ** -0.5, generator=generator)
        for conv in (self.conv, self.qkv, self.project):
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H_in, W_in) -> (B, out_channels, H, W), in the memory format of the
        convolution."""
        local = self.conv(x)
        self._check_map(x, local)
        if self._lesion == "attention":
            attended = local.new_zeros(local.shape[0], self.dv, *self.map_size)
        else:
            terms = self._terms(x)
            tokens = _paths.attend(self.path or self._path(terms[0]), *terms)  # (B, heads, dvh, N)
            attended = self.project(tokens.reshape(x.shape[0], self.dv, *self.map_size))
        if local.is_contiguous(memory_format=torch.channels_last) and not local.is_contiguous():
            attended = attended.contiguous(memory_format=torch.channels_last)
        return torch.cat((local, attended), dim=1)

    def attention_map(self, x: Tensor) -> Tensor:
        """The softmax weights for the layer's input x (B, in_channels, H_in, W_in): (B, heads, N, N), N = H *
        W.

        Entry [b, h, i, j] is how much token i takes from token j (token = row * W + column); rows sum to 1.
        This holds the whole N x N matrix, in float32 or better, for figures and tests; forward never makes
        it.
        """
        self._check_map(x, None)
        q, k, _, rows, columns = self._terms(x)
        return _explicit.softmax(q, k, rows, columns)

    def matmul_flops(self) -> int:
        """Floating-point operations (2 a multiply-add) of one image outside the three convolutions: content
        logits, relative logits and weighted values, as the definition needs them, without the padding of any
        kernel."""
        height, width = self.map_size
        n = height * width
        return 2 * n * (n * self.dk + (height + width) * self.dk + n * self.dv)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"dk={self.dk}, dv={self.dv}, num_heads={self.num_heads}, map_size={self.map_size}"
        )

    def _path(self, q: Tensor) -> str:
        # From the layer's own numbers: as a tensor's, torch.compile may take them for variable.
        (height, width), heads = self.map_size, self.num_heads
        folded = self.dk // heads + height + width
        return _paths.path(q.device.type, height * width, folded, self.dv // heads, q.dtype)

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Scaled queries and keys (B, heads, dkh, N), values (B, heads, dvh, N), and the relative logits of each query:
        rows (B, heads, N, H) and columns (B, heads, N, W)."""
        qkv = self.qkv(self._centres(x)).flatten(2)  # (B, 2 dk + dv, N)
        q, k, v = (part.unflatten(1, (self.num_heads, -1)) for part in qkv.split((self.dk, self.dk, self.dv), 1))
        q = q * (self.dk // self.num_heads) ** -0.5
        grid = q.unflatten(3, self.map_size)  # (B, heads, dkh, H, W)
        rows = torch.einsum("bhdyx,yzd->bhyxz", grid, self.relative_h[self._index_h]).flatten(2, 3)
        columns = torch.einsum("bhdyx,xzd->bhyxz", grid, self.relative_w[self._index_w]).flatten(2, 3)
        return q, k, v, rows, columns

    def _centres(self, x: Tensor) -> Tensor:
        """The part of the input from the centre of the first window to that of the last; zeros outside the
        input."""
        borders: list[int] = []
        for axis in (1, 0):  # F.pad counts from the last dimension
            first = (self.kernel_size[axis] - 1) // 2 - self.padding[axis]
            last = first + (self.map_size[axis] - 1) * self.stride[axis]
            borders += [-first, last + 1 - x.shape[2 + axis]]
        return F.pad(x, borders) if any(borders) else x

    def _check_map(self, x: Tensor, out: Tensor | None) -> None:
        if out is not None:
            found = tuple(out.shape[2:])
        else:
            found = tuple(
                (x.shape[2 + a] + 2 * self.padding[a] - self.kernel_size[a]) // self.stride[a] + 1 for a in (0, 1)
            )
        if found != self.map_size:
            raise BlendnetError(
                f"attention was built for an output map of {_by(self.map_size)} but this input of "
                f"{_by(x.shape[2:])} gives {_by(found)}; build the network with the image_size of its images"
            )


def replace(
    conv: nn.Conv2d,
    *,
    heads: int,
    map_size: tuple[int, int],
    generator: torch.Generator | None,
    dk: int = DK,
    dv: int = DV,
) -> AAConv2d:
    """The attention-augmented convolution in place of `conv`, of the same shapes in and out, on its device
    and dtype.

    The convolution half keeps the first out_channels - dv filters (and biases) of `conv`, so that twins begin
    equal wherever they can; the rest is drawn from `generator` (a CPU generator). map_size: (H, W) of conv's
    output. Raises BlendnetError for grouped, dilated or not zero-padded convolutions.
    """
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise BlendnetError(f"{conv} is grouped, dilated or specially padded; aacn replaces plain convolutions only")
    new = AAConv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        bias=conv.bias is not None,
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


def attention_maps(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Softmax weights of every attention layer of a network for images (B, 3, S, S), by module name, on the
    CPU.

    Each is (B, heads, N, N), float32. Runs one forward pass without gradients in the model's present mode.
    """
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs: maps.update({name: module.attention_map(inputs[0]).float().cpu()})

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, AAConv2d)]
    handles = [m.register_forward_pre_hook(keep(name)) for name, m in layers]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def _relative_index(length: int) -> Tensor:
    """(length, length) int64: entry [i, j] is the row j - i + length - 1 of a relative table."""
    place = torch.arange(length)
    return place[None, :] - place[:, None] + length - 1


def _pair(what: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise BlendnetError(f"{what} {value!r} is not a whole number >= {least}, nor a (height, width) of two")
    return pair


def _check_channels(in_channels: int, out_channels: int, dk: int, dv: int, heads: int) -> None:
    if in_channels < 1 or dk < 1 or dv < 1 or heads < 1:
        raise BlendnetError(f"in_channels {in_channels}, dk {dk}, dv {dv} and heads {heads} must all be 1 or more")
    for what, value in (("dk", dk), ("dv", dv)):
        if value % heads:
            raise BlendnetError(f"{what} {value} is not shared evenly by {heads} heads; choose heads that divide it")
    if dv >= out_channels:
        raise BlendnetError(f"dv {dv} leaves the convolution none of {out_channels} channels; choose a smaller dv")


def _by(size: Sequence[int]) -> str:
    return "x".join(str(s) for s in size)
