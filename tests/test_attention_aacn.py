"""Attention-augmented convolution against a slow reference written from the definition, index by index."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blendnet import attention
from blendnet.attention import aacn
from blendnet.attention.aacn import AAConv2d
from blendnet.errors import BlendnetError
from blendnet.models import cost


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(in_channels=5, out_channels=20, kernel_size=3, *, dk=8, dv=12, num_heads=4, map_size=(3, 5), seed=0, **kw):
    """A small float64 layer whose biases and tables are not zero."""
    generator = torch.Generator().manual_seed(seed)
    layer = AAConv2d(
        in_channels, out_channels, kernel_size, dk=dk, dv=dv, num_heads=num_heads, map_size=map_size,
        generator=generator, **kw,
    ).double()  # fmt: skip
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, generator=generator)
    return layer


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(layer, x):
    """Bello et al. 2019, equations 1 to 4, one head, one query, one key at a time. numpy, (B, C, H, W)
    float64.

    Returns the output and the attention weights (B, heads, N, N)."""
    x = x.detach().numpy()
    weights = {name: p.detach().numpy() for name, p in layer.state_dict().items()}
    out_c, (height, width), heads = layer.out_channels, layer.map_size, layer.num_heads
    (ky, kx), (sy, sx), (py, px) = layer.kernel_size, layer.stride, layer.padding
    dkh, dvh, local = layer.dk // heads, layer.dv // heads, layer.out_channels - layer.dv
    batch, in_c, in_h, in_w = x.shape

    def pixel(b, y, xx):
        inside = 0 <= y < in_h and 0 <= xx < in_w
        return x[b, :, y, xx] if inside else np.zeros(in_c)

    def bias(name):
        return weights.get(f"{name}.bias", np.zeros(len(weights[f"{name}.weight"])))

    out = np.zeros((batch, out_c, height, width))
    attended = np.zeros((batch, heads, height * width, height * width))
    for b in range(batch):
        q, k, v = {}, {}, {}
        for y in range(height):
            for z in range(width):
                total = bias("conv").copy()
                for i in range(ky):
                    for j in range(kx):
                        at = pixel(b, y * sy - py + i, z * sx - px + j)
                        total += weights["conv.weight"][:, :, i, j] @ at
                out[b, :local, y, z] = total
                centre = pixel(b, y * sy - py + (ky - 1) // 2, z * sx - px + (kx - 1) // 2)
                qkv = weights["qkv.weight"][:, :, 0, 0] @ centre + bias("qkv")
                q[y, z] = qkv[: layer.dk] / math.sqrt(dkh)
                k[y, z] = qkv[layer.dk : 2 * layer.dk]
                v[y, z] = qkv[2 * layer.dk :]
        tokens = [(y, z) for y in range(height) for z in range(width)]
        for i, (iy, ix) in enumerate(tokens):
            concat = []
            for h in range(heads):
                part, values = slice(h * dkh, (h + 1) * dkh), slice(h * dvh, (h + 1) * dvh)
                logits = np.zeros(len(tokens))
                for j, (jy, jx) in enumerate(tokens):
                    query = q[iy, ix][part]
                    logits[j] = query @ k[jy, jx][part]
                    logits[j] += query @ weights["relative_w"][jx - ix + width - 1]
                    logits[j] += query @ weights["relative_h"][jy - iy + height - 1]
                softmax = np.exp(logits - logits.max())
                softmax /= softmax.sum()
                attended[b, h, i] = softmax
                concat.append(sum(s * v[token][values] for s, token in zip(softmax, tokens)))
            mixed = weights["project.weight"][:, :, 0, 0] @ np.concatenate(concat) + bias("project")
            out[b, local:, iy, ix] = mixed
    return out, attended


CASES = {
    "3x5 map": ({}, (3, 5)),
    "7x2 map, one head": ({"map_size": (7, 2), "num_heads": 1}, (7, 2)),
    "stride 2, odd input": ({"map_size": (2, 3), "stride": 2}, (3, 5)),
    "stride 2, even input": ({"map_size": (2, 3), "stride": 2}, (4, 6)),
    "stride (2, 1)": ({"map_size": (2, 4), "stride": (2, 1)}, (4, 4)),
    "no padding": ({"map_size": (2, 4), "padding": 0}, (4, 6)),
    "no padding, stride 2": ({"map_size": (3, 2), "padding": 0, "stride": 2}, (7, 5)),
    "wide padding": ({"map_size": (4, 5), "padding": 2}, (2, 3)),
    "1x3 kernel": ({"kernel_size": (1, 3)}, (3, 5)),
    "7x7 kernel, stride 2": ({"kernel_size": 7, "stride": 2, "map_size": (2, 4)}, (4, 7)),
    "even kernel": ({"kernel_size": 4, "padding": 1, "stride": 2, "map_size": (2, 3)}, (4, 6)),
    "no bias": ({"bias": False}, (3, 5)),
    "wide values": ({"dk": 4, "dv": 16, "num_heads": 2, "map_size": (2, 1)}, (2, 1)),
    "one token": ({"map_size": (1, 1)}, (1, 1)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_definition(case, dtype):
    options, size = CASES[case]
    layer, x = make(**options), image(2, 5, *size)
    expected, weights = reference(layer, x)
    layer, x = layer.to(dtype), x.to(dtype)
    tolerance = 1e-11 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        np.testing.assert_allclose(layer(x), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer.attention_map(x).detach(), weights, rtol=tolerance, atol=tolerance)


def explicit(layer, x):
    """The attention-augmented convolution with gathered relative logits and no fused kernel, in torch.

    Another derivation than the layer's folding (and the one that the loops above are checked to equal)."""
    (height, width), heads = layer.map_size, layer.num_heads
    n, dkh = height * width, layer.dk // layer.num_heads
    qkv = layer.qkv(x).flatten(2).transpose(1, 2)  # (B, N, 2 dk + dv); stride 1, 'same' padding only
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in qkv.split((layer.dk, layer.dk, layer.dv), -1))
    token = torch.arange(n)
    dy = (token[None] // width) - (token[:, None] // width) + height - 1
    dx = (token[None] % width) - (token[:, None] % width) + width - 1
    relative = layer.relative_h[dy] + layer.relative_w[dx]  # (N, N, dkh)
    q = q / math.sqrt(dkh)
    logits = q @ k.transpose(-1, -2) + torch.einsum("bhid,ijd->bhij", q, relative)
    out = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    out = out @ layer.project.weight[:, :, 0, 0].T
    if layer.project.bias is not None:
        out = out + layer.project.bias
    return torch.cat((layer.conv(x), out.transpose(1, 2).unflatten(-1, (height, width))), 1)


def test_explicit_form_equals_the_loops():
    layer, x = make(), image(2, 5, 3, 5)
    np.testing.assert_allclose(explicit(layer, x).detach(), reference(layer, x)[0], atol=1e-12)


def test_gradients_equal_the_explicit_form():
    layer, x = make(), image(2, 5, 3, 5).requires_grad_()
    wanted = image(2, 20, 3, 5, seed=2)
    inputs = [x, *layer.parameters()]
    ours = torch.autograd.grad((layer(x) * wanted).sum(), inputs)
    theirs = torch.autograd.grad((explicit(layer, x) * wanted).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert all(g.abs().max() > 1e-6 for g in ours)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradcheck(stride):
    size = (2, 3) if stride == 1 else (3, 5)
    layer = make(2, 5, dk=4, dv=2, num_heads=2, map_size=(2, 3), stride=stride)
    x = image(1, 2, *size).requires_grad_()
    names = [n for n, _ in layer.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), (x,))

    assert torch.autograd.gradcheck(run, (x, *(p.detach().requires_grad_() for p in layer.parameters())))
    assert torch.autograd.gradgradcheck(lambda x: layer(x), (x,))


def test_second_derivatives_equal_the_explicit_form():
    layer, x = make(), image(2, 5, 3, 5).requires_grad_()
    inputs = [x, *layer.parameters()]

    def penalty(run):
        (slope,) = torch.autograd.grad(run(x).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), inputs, allow_unused=True, materialize_grads=True)

    for a, b in zip(penalty(layer), penalty(lambda x: explicit(layer, x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_backward_twice_over_a_retained_graph_and_only_then():
    layer, x = make(), image(1, 5, 3, 5).requires_grad_()
    out = layer(x).square().sum()
    first = torch.autograd.grad(out, x, retain_graph=True)[0]
    second = torch.autograd.grad(out, x)[0]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(out, x)


def test_frozen_parts_need_no_gradient():
    layer, x = make(), image(1, 5, 3, 5)
    layer.qkv.requires_grad_(False)
    layer(x).square().sum().backward()
    assert layer.qkv.weight.grad is None
    assert layer.relative_h.grad.abs().max() > 0


def permuted(x, order):
    return x.flatten(2)[..., order].unflatten(-1, x.shape[2:])


def test_without_positions_attention_is_permutation_equivariant():
    layer, x = make(map_size=(4, 5)), image(2, 5, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))

    def gap():
        there, here = layer(permuted(x, order))[:, -12:], permuted(layer(x)[:, -12:], order)
        return float((there - here).abs().max())

    with torch.no_grad():
        assert gap() > 1e-2  # with positions it is not
        layer.relative_h.zero_()
        layer.relative_w.zero_()
        assert gap() < 1e-12


def test_positions_are_relative():
    """Content equal everywhere: the logits may depend on j - i alone, so equal offsets have equal odds."""
    layer, x = make(map_size=(4, 5)), image(1, 5, 1, 1).expand(1, 5, 4, 5)
    log = layer.attention_map(x).log().detach()[0].unflatten(-1, (4, 5)).unflatten(1, (4, 5))
    right = log[:, :, :-1, :, 1:] - log[:, :, :-1, :, :-1]  # step j one column to the right
    shifted = log[:, :, 1:, :, 1:] - log[:, :, 1:, :, :-1]  # the same for i one column further right
    torch.testing.assert_close(shifted[..., 1:], right[..., :-1])
    assert right.std() > 1e-3


def test_attention_map_rows_sum_to_one_and_reproduce_the_output():
    layer, x = make(), image(2, 5, 3, 5)
    weights = layer.attention_map(x)
    assert weights.shape == (2, 4, 15, 15)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 15, dtype=torch.float64))
    v = layer.qkv(x)[:, -12:].flatten(2).unflatten(1, (4, 3)).transpose(-1, -2)
    out = layer.project((weights @ v).transpose(-1, -2).reshape(2, 12, 3, 5))
    torch.testing.assert_close(layer(x)[:, -12:], out)


def test_attention_maps_of_a_network():
    model = nn.Sequential(make(5, 20), nn.ReLU(), make(20, 20, num_heads=2)).eval()
    x = image(2, 5, 3, 5)
    maps = aacn.attention_maps(model, x)
    assert {name: m.shape for name, m in maps.items()} == {"0": (2, 4, 15, 15), "2": (2, 2, 15, 15)}
    torch.testing.assert_close(maps["2"], model[2].attention_map(model[1](model[0](x))).float())
    assert not any(m._forward_pre_hooks for m in model)


def test_lesion():
    layer, x = make(), image(2, 5, 3, 5)
    whole = layer(x)
    layer.lesion = "attention"
    lesioned = layer(x)
    assert torch.equal(lesioned[:, :8], whole[:, :8])
    assert torch.equal(lesioned[:, 8:], torch.zeros(2, 12, 3, 5, dtype=torch.float64))
    assert copy.deepcopy(layer).lesion == "attention"
    layer.lesion = None
    assert torch.equal(layer(x), whole)
    with pytest.raises(BlendnetError, match="lesion 'atention'"):
        layer.lesion = "atention"


@pytest.mark.parametrize("stride", [1, 2])
def test_channels_last_changes_the_layout_only(stride):
    layer = make(8, 24, map_size=(4, 6), stride=stride).float()
    x = image(2, 8, 4 * stride, 6 * stride).float()
    expected = layer(x)
    layer = layer.to(memory_format=torch.channels_last)
    out = layer(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_autocast_bfloat16_is_close_and_trains():
    layer, x = make(map_size=(4, 6)).float(), image(4, 5, 4, 6).float()
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
        weights = layer.attention_map(x)
    assert out.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    assert (out.float() - expected).abs().max() < 0.03 * expected.abs().max()
    out.float().square().sum().backward()
    ours = {n: p.grad.clone() for n, p in layer.named_parameters()}
    layer.zero_grad()
    layer(x).square().sum().backward()
    for name, p in layer.named_parameters():
        assert (ours[name] - p.grad).norm() < 0.05 * p.grad.norm(), name


def test_the_math_backend_gives_the_same():
    layer, x = make(), image(2, 5, 3, 5)
    expected = layer(x)
    layer.path = "folded"
    with sdpa_kernel(SDPBackend.MATH):
        torch.testing.assert_close(layer(x), expected)


def test_state_dict_round_trip():
    layer, other, x = make(seed=0), make(seed=1), image(2, 5, 3, 5)
    assert not torch.equal(layer(x), other(x))
    assert sorted(layer.state_dict()) == sorted(name for name, _ in layer.named_parameters())
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))
    with pytest.raises(RuntimeError, match="relative_"):
        make(map_size=(4, 5)).load_state_dict(layer.state_dict())


def test_initial_tables_have_the_paper_s_spread():
    layer = AAConv2d(8, 64, 3, dk=32, dv=32, num_heads=4, map_size=(200, 300), generator=torch.Generator())
    for table, rows in ((layer.relative_h, 399), (layer.relative_w, 599)):
        assert table.shape == (rows, 8)
        assert float(table.detach().std()) == pytest.approx(8**-0.5, rel=0.05)


def test_flops_against_pytorch_s_counter():
    """PyTorch's counter on the explicit form, where the relative logits cost N x N; ours counts N x (H +
    W)."""
    layer, x = make(bias=False), image(1, 5, 3, 5)
    n, heads, dkh = 15, 4, 2
    with FlopCounterMode(display=False) as counter:
        explicit(layer, x)
    theirs = counter.get_total_flops() - 2 * heads * n * n * dkh + 2 * heads * n * (3 + 5) * dkh
    hand = 2 * 15 * (5 * 9 * 8 + 5 * 28 + 12 * 12) + 2 * (15 * 15 * 8 + 15 * 8 * 8 + 15 * 15 * 12)
    net = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), make(bias=False, map_size=(4, 4)))
    assert theirs == hand
    assert layer.matmul_flops() + 2 * 15 * (5 * 9 * 8 + 5 * 28 + 12 * 12) == hand
    square = 2 * 16 * (3 * 5 + 5 * 9 * 8 + 5 * 28 + 12 * 12) + 2 * 16 * (16 * 8 + 8 * 8 + 16 * 12)
    assert cost.flops(net.float(), 4) == square


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_replace_keeps_shapes_and_the_convolution_s_filters(bias, stride):
    conv = nn.Conv2d(16, 64, 3, stride=stride, padding=1, bias=bias)
    x = torch.randn(2, 16, 6, 10)
    expected = conv(x)
    size = tuple(expected.shape[2:])
    new = aacn.replace(conv, heads=4, map_size=size, generator=torch.Generator().manual_seed(3))
    out = new(x)
    assert out.shape == expected.shape
    torch.testing.assert_close(out[:, :32], expected[:, :32])
    again = aacn.replace(conv, heads=4, map_size=size, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again(x), out)
    assert (new.project.bias is not None) is bias


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dk": 10}, ["dk 10", "4 heads"]),
        ({"dv": 10}, ["dv 10", "4 heads"]),
        ({"num_heads": 3}, ["dk 8", "3 heads"]),
        ({"dv": 20}, ["dv 20", "smaller dv"]),
        ({"num_heads": 0}, ["heads 0", "1 or more"]),
        ({"kernel_size": 2}, ["kernel_size (2, 2)", "give padding="]),
        ({"kernel_size": 0}, ["kernel_size 0"]),
        ({"stride": 0}, ["stride 0"]),
        ({"padding": -1}, ["padding -1"]),
        ({"map_size": (0, 5)}, ["map_size (0, 5)"]),
        ({"map_size": (5, 5, 5)}, ["map_size (5, 5, 5)"]),
    ],
)
def test_settings_that_do_not_go_together(options, words):
    with pytest.raises(BlendnetError) as error:
        make(**options)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_another_map_size_is_named():
    layer = make(map_size=(3, 5))
    for run in (layer, layer.attention_map):
        with pytest.raises(BlendnetError, match=r"3x5.*5x3 gives 5x3; build .* image_size"):
            run(image(1, 5, 5, 3))


def test_replace_refuses_what_it_cannot_replace():
    for conv in (
        nn.Conv2d(32, 64, 3, padding=1, groups=2),
        nn.Conv2d(32, 64, 3, padding=2, dilation=2),
        nn.Conv2d(32, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(32, 64, 3, padding="same"),
    ):
        with pytest.raises(BlendnetError, match="plain convolutions only"):
            aacn.replace(conv, heads=4, map_size=(4, 4), generator=None)


def test_kinds_of_attention():
    assert attention.names() == ("none", "aacn", "aacn-legacy", "cbam", "se")
    assert attention.load("aacn") is aacn
    with pytest.raises(BlendnetError, match="unknown attention 'aacm'; did you mean 'aacn'"):
        attention.load("aacm")
    with pytest.raises(BlendnetError, match="'none' replaces nothing"):
        attention.load("none")
