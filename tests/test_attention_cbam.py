"""The convolutional block attention module against the paper's equations, and the lesion of whole networks."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from blendnet.attention import aacn, cbam, se
from blendnet.attention._lesion import set_lesion
from blendnet.errors import BlendnetError


def make(channels=64, seed=0, **options):
    torch.manual_seed(5)
    conv = nn.Conv2d(5, channels, 3, padding=1, **options).double()
    new = cbam.replace(conv, heads=4, map_size=(6, 9), generator=torch.Generator().manual_seed(seed))
    return conv, new


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"bias": False}])
def test_equals_the_equations(options):
    conv, new = make(**options)
    x = image(2, 5, 6, 9)
    weights = {n: p.detach().numpy() for n, p in new.named_parameters()}
    w0, w1, f = weights["channels.0.weight"], weights["channels.2.weight"], weights["places.weight"][0]
    assert w0.shape == (4, 64)
    assert f.shape == (2, 7, 7)
    for b, u in enumerate(conv(x).detach().numpy()):
        mean, peak = u.reshape(64, -1).mean(1), u.reshape(64, -1).max(1)
        gate = sigmoid(w1 @ np.maximum(w0 @ mean, 0) + w1 @ np.maximum(w0 @ peak, 0))
        gated = gate[:, None, None] * u
        pooled = np.pad(np.stack((gated.mean(0), gated.max(0))), ((0, 0), (3, 3), (3, 3)))
        height, width = u.shape[1:]
        places = [[(f * pooled[:, y : y + 7, xx : xx + 7]).sum() for xx in range(width)] for y in range(height)]
        expected = gated * sigmoid(np.array(places))
        np.testing.assert_allclose(new(x)[b].detach(), expected, rtol=1e-12, atol=1e-12)


def test_gradients():
    torch.manual_seed(5)
    conv = nn.Conv2d(2, 3, 2, padding=1).double()
    new = cbam.replace(conv, heads=1, map_size=(3, 4), generator=torch.Generator().manual_seed(3))
    names = [n for n, _ in new.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(new, dict(zip(names, values)), (x,))

    inputs = (image(2, 2, 2, 3).requires_grad_(), *(p.detach().requires_grad_() for p in new.parameters()))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
    new(inputs[0]).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in new.parameters())


def test_the_convolution_is_kept_whole_and_the_gates_are_the_seed_s():
    conv, new = make()
    assert new.conv is conv
    again = cbam.replace(copy.deepcopy(conv), heads=8, map_size=(1, 1), generator=torch.Generator().manual_seed(0))
    other = cbam.replace(copy.deepcopy(conv), heads=4, map_size=(6, 9), generator=torch.Generator().manual_seed(1))
    x = image(2, 5, 6, 9)
    assert torch.equal(again(x), new(x))  # neither heads nor map_size has a meaning
    assert not torch.equal(other(x), new(x))
    names = ["channels.0.weight", "channels.2.weight", "conv.bias", "conv.weight", "places.weight"]
    assert sorted(new.state_dict()) == names
    assert all(p.dtype == torch.float64 for p in new.parameters())
    assert float(new.places.weight.detach().std()) == pytest.approx(98**-0.5, rel=0.3)


def test_half_precision_channels_last_and_compile():
    torch.manual_seed(5)
    conv = nn.Conv2d(5, 64, 3, padding=1)
    new = cbam.replace(conv, heads=4, map_size=(6, 9), generator=torch.Generator().manual_seed(0))
    x = image(2, 5, 6, 9).float()
    expected = new(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = new(x)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.03 * expected.abs().max()
    compiled = torch.compile(new, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    out = new.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [se, cbam])
def test_lesioned_twins_of_a_network_are_the_plain_network(kind):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 80, 3, stride=2)).double()
    twin = copy.deepcopy(plain)
    for i in (0, 2):
        twin[i] = kind.replace(twin[i], heads=4, map_size=(1, 1), generator=torch.Generator().manual_seed(i))
    x = image(2, 3, 9, 9)
    whole = twin(x)
    assert not torch.allclose(whole, plain(x))
    assert set_lesion(twin, "attention") == 2
    assert torch.equal(twin(x), plain(x))
    assert set_lesion(twin, None) == 2
    assert torch.equal(twin(x), whole)


def test_a_lesion_of_attention_augmented_convolutions_and_of_nothing():
    torch.manual_seed(5)
    conv = nn.Conv2d(3, 48, 3, padding=1)
    twin = nn.Sequential(aacn.replace(conv, heads=4, map_size=(5, 5), generator=None), nn.ReLU())
    x = image(1, 3, 5, 5).float()
    assert set_lesion(twin, "attention") == 1
    assert twin(x)[:, -32:].abs().max() == 0
    torch.testing.assert_close(twin(x)[:, :16], conv(x)[:, :16].relu())
    assert set_lesion(conv, None) == 0
    with pytest.raises(BlendnetError, match="lesion 'attention': this Conv2d has no attention") as error:
        set_lesion(conv, "attention")
    assert "\n" not in str(error.value)
    with pytest.raises(BlendnetError, match="lesion 'head' is neither"):
        set_lesion(twin, "head")
