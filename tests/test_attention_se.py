"""Squeeze and excitation against the paper's equations, and what it leaves alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from blendnet.attention import _lesion, se
from blendnet.errors import BlendnetError


def make(channels=64, seed=0, **options):
    torch.manual_seed(5)
    conv = nn.Conv2d(5, channels, 3, padding=1, **options).double()
    new = se.replace(conv, heads=4, map_size=(6, 7), generator=torch.Generator().manual_seed(seed))
    return conv, new


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"bias": False}, {"dilation": 2}])
def test_equals_the_equations(options):
    conv, new = make(**options)
    x = image(2, 5, 6, 7)
    u = conv(x).detach().numpy()
    w1, w2 = (p.detach().numpy() for n, p in new.named_parameters() if n.startswith("gate"))
    assert w1.shape == (4, 64)
    for b in range(2):
        z = np.array([u[b, c].mean() for c in range(64)])
        s = sigmoid(w2 @ np.maximum(w1 @ z, 0))
        expected = np.stack([s[c] * u[b, c] for c in range(64)])
        np.testing.assert_allclose(new(x)[b].detach(), expected, rtol=1e-12, atol=1e-12)


def test_gradients():
    torch.manual_seed(5)
    conv = nn.Conv2d(2, 3, 2, padding=1).double()
    new = se.replace(conv, heads=1, map_size=(3, 4), generator=torch.Generator().manual_seed(3))
    names = [n for n, _ in new.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(new, dict(zip(names, values)), (x,))

    inputs = (image(2, 2, 2, 3).requires_grad_(), *(p.detach().requires_grad_() for p in new.parameters()))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
    new(inputs[0]).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in new.parameters())


def test_the_convolution_is_kept_whole_and_the_gate_is_the_seed_s():
    conv, new = make()
    assert new.conv is conv
    again = se.replace(copy.deepcopy(conv), heads=8, map_size=(1, 1), generator=torch.Generator().manual_seed(0))
    other = se.replace(copy.deepcopy(conv), heads=4, map_size=(6, 7), generator=torch.Generator().manual_seed(1))
    x = image(2, 5, 6, 7)
    assert torch.equal(again(x), new(x))  # neither heads nor map_size has a meaning
    assert not torch.equal(other(x), new(x))
    assert sorted(new.state_dict()) == ["conv.bias", "conv.weight", "gate.0.weight", "gate.2.weight"]
    assert all(p.dtype == torch.float64 for p in new.parameters())


def test_initial_weights():
    gate = se.bottleneck(2048, torch.Generator().manual_seed(0))
    assert gate[0].weight.shape == (128, 2048)
    assert float(gate[0].weight.detach().std()) == pytest.approx((2 / 2048) ** 0.5, rel=0.02)
    assert float(gate[2].weight.detach().std()) == pytest.approx(128**-0.5, rel=0.02)
    assert gate[0].bias is None
    assert gate[2].bias is None
    assert se.bottleneck(8, torch.Generator())[0].out_features == 1


def test_lesion_leaves_the_plain_convolution():
    conv, new = make()
    x = image(2, 5, 6, 7)
    whole = new(x)
    assert not torch.allclose(whole, conv(x))
    assert _lesion.set_lesion(new, "attention") == 1
    assert torch.equal(new(x), conv(x))
    assert copy.deepcopy(new).lesion == "attention"
    assert _lesion.set_lesion(new, None) == 1
    assert torch.equal(new(x), whole)
    with pytest.raises(BlendnetError, match="lesion 'atention'"):
        new.lesion = "atention"


def test_half_precision_channels_last_and_compile():
    torch.manual_seed(5)
    conv = nn.Conv2d(5, 64, 3, padding=1)
    new = se.replace(conv, heads=4, map_size=(6, 7), generator=torch.Generator().manual_seed(0))
    x = image(2, 5, 6, 7).float()
    expected = new(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = new(x)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.02 * expected.abs().max()
    compiled = torch.compile(new, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    out = new.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
