"""What places receive of attention: against loops over the definitions, the layers' own outputs and planted looks."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from blendnet import attention, attention_maps, models
from blendnet.attention.aacn import AAConv2d
from blendnet.attention.aacn_legacy import LegacyConv2d
from blendnet.attention.cbam import CBAMConv2d
from blendnet.attention.se import SEConv2d
from blendnet.errors import BlendnetError
from blendnet.models._vit import SelfAttention
from tests.conftest import one_line

LAYERS = {
    "square": dict(kernel_size=3, map_size=(6, 6)),
    "strided": dict(kernel_size=3, stride=2, map_size=(3, 3)),
    "oblong": dict(kernel_size=1, map_size=(6, 6), num_heads=2),
}


def layer_of(settings) -> tuple[AAConv2d, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    layer = AAConv2d(8, 24, dk=16, dv=8, generator=generator, **settings).double()
    return layer, torch.randn(2, 8, 6, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("held", [1, 200, attention_maps.HELD])
def test_the_weights_give_the_layers_own_output_in_chunks_of_any_size(name, held):
    layer, x = layer_of(LAYERS[name])
    layer.path = "explicit"
    with torch.no_grad():
        weights = torch.cat(list(attention_maps._in_chunks(layer, x, held)), -2)
        value = layer.qkv(layer._centres(x)).flatten(2)[:, 2 * layer.dk :].unflatten(1, (layer.num_heads, -1))
        tokens = torch.einsum("bhij,bhdj->bhdi", weights, value)
        attended = layer.project(tokens.reshape(2, layer.dv, *layer.map_size))
        torch.testing.assert_close(attended, layer(x)[:, -layer.dv :], rtol=1e-10, atol=1e-10)
        found = attention_maps.received_in(layer, x, held)
    n = layer.map_size[0] * layer.map_size[1]
    expected = layer.attention_map(x).detach().mean(-2).reshape(2, layer.num_heads, *layer.map_size)
    torch.testing.assert_close(found, expected.float())
    assert (weights.shape[-2], found.dtype) == (n, torch.float32)
    torch.testing.assert_close(found.sum((-1, -2)), torch.ones(2, layer.num_heads))


@pytest.mark.parametrize("held", [1, 300, attention_maps.HELD])
def test_self_attention_gives_its_own_output_and_leaves_the_class_token_out(held):
    torch.manual_seed(0)
    layer = SelfAttention(12, 3)
    x = 2 * torch.randn(2, 10, 12)
    with torch.no_grad():
        weights = torch.cat(list(attention_maps._in_chunks(layer, x, held)), -2)
        value = layer.value(x).unflatten(-1, (3, 4)).transpose(1, 2)
        torch.testing.assert_close(layer.project((weights @ value).transpose(1, 2).flatten(2)), layer(x))
        found = attention_maps.received_in(layer, x, held)
    for image in range(2):
        for head in range(3):
            share = [np.mean([weights[image, head, i, j] for i in range(10)]) for j in range(1, 10)]
            expected = np.array(share).reshape(3, 3) / np.sum(share)
            np.testing.assert_allclose(found[image, head], expected, rtol=1e-5)


def softmax_by_loops(logits: list[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    return [w / math.fsum(weights) for w in weights]


def test_a_vits_maps_are_those_of_loops_over_tokens():
    torch.manual_seed(3)
    layer = "blocks.5.attention"
    model = models.build("vit_small", attention="self", image_size=32).eval()
    inputs = {}
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda _m, given: inputs.update(x=given[0]))
    with torch.no_grad():
        for block in model.blocks:  # fresh weights look evenly everywhere: none of these loops could go wrong
            block.attention.query_key.weight.mul_(15)
        x = torch.randn(1, 3, 32, 32)
        found = attention_maps.received(model, [layer], x)[layer]
    hook.remove()
    module, tokens = model.get_submodule(layer), inputs["x"][0].double().numpy()
    weight, bias = (p.detach().double().numpy() for p in (module.query_key.weight, module.query_key.bias))
    width, n = tokens.shape[1], tokens.shape[0]
    depth = width // module.heads
    assert (n, module.heads) == (65, 6)
    for head in (0, 5):
        rows = slice(head * depth, (head + 1) * depth)
        queries = [weight[:width][rows] @ token + bias[:width][rows] for token in tokens]
        keys = [weight[width:][rows] @ token + bias[width:][rows] for token in tokens]
        received = [0.0] * n
        for query in queries:  # the class token, token 0, looks like the others
            for j, share in enumerate(softmax_by_loops([float(query @ key) / math.sqrt(depth) for key in keys])):
                received[j] += share / n
        patches = np.array(received[1:])  # what the class token receives has no place
        assert patches.max() > 1.5 * patches.min()
        np.testing.assert_allclose(found[0, head], (patches / patches.sum()).reshape(8, 8), rtol=2e-4)


LEGACY = {
    "square": dict(map_size=(4, 4)),
    "not square": dict(map_size=(3, 5)),
    "strips across channels": dict(map_size=(3, 3), num_heads=1, dk=4, dv=2),
    "strided": dict(map_size=(2, 3), stride=(2, 2)),
    "wider values": dict(map_size=(2, 4), dk=4, dv=8),
}


def legacy_of(settings) -> tuple[LegacyConv2d, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    layer = LegacyConv2d(6, 14, (3, 3), generator=generator, **({"num_heads": 2, "dk": 8, "dv": 4} | settings)).double()
    (height, width), (down, right) = layer.map_size, layer.stride
    return layer, torch.randn(2, 6, height * down, width * right, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("case", LEGACY)
@pytest.mark.parametrize("held", [1, 60, attention_maps.HELD])
def test_the_original_operators_maps_are_those_of_loops_over_its_strips(case, held):
    layer, x = legacy_of(LEGACY[case])
    (height, width), heads = layer.map_size, layer.num_heads
    n, dkh, dvh = height * width, layer.dk // heads, layer.dv // heads
    with torch.no_grad():
        found = attention_maps.received_in(layer, x, held)
        maps = layer.kqv(x).numpy().reshape(2, -1, n)  # a row a channel, places row by row
    assert found.shape == (2, heads, height, width)
    right, down = layer.relative_w.detach().numpy(), layer.relative_h.detach().numpy()
    for image in range(2):
        keys, queries, _ = np.split(maps[image], [layer.dk, 2 * layer.dk])
        lines = {"k": keys, "q": queries / math.sqrt(dkh)}

        def token(name: str, h: int, i: int, lines=lines) -> np.ndarray:
            return lines[name][h * dkh : (h + 1) * dkh].ravel()[i * dkh : (i + 1) * dkh]

        for head in range(heads):
            expected = np.zeros((height, width))
            for i in range(n):
                summed = sum(token("q", h, i) for h in range(heads))
                logits = []
                for j in range(n):
                    across, along = j % width - i % width, j // width - i // width
                    place = right[across + width - 1] + down[along + height - 1]
                    logits.append(float(token("q", head, i) @ token("k", head, j) + summed @ place))
                for j, share in enumerate(softmax_by_loops(logits)):
                    for m in range(dvh):  # the pixels of the value strip j, each of one channel of the head
                        place = (j * dvh + m) % n
                        expected[place // width, place % width] += share / dvh / n
            np.testing.assert_allclose(found[image, head], expected, rtol=1e-5)
            np.testing.assert_allclose(expected.sum(), 1)


def test_even_weights_of_the_original_operator_give_an_even_map():
    layer, x = legacy_of(LEGACY["strips across channels"])
    with torch.no_grad():
        layer.kqv.weight[: 2 * layer.dk] = 0
        layer.kqv.bias.zero_()
        found = attention_maps.received_in(layer, x)
    torch.testing.assert_close(found, torch.full_like(found, 1 / 9))


def test_the_gates_of_places_are_those_of_loops():
    generator = torch.Generator().manual_seed(0)
    layer = CBAMConv2d(nn.Conv2d(4, 32, 3, padding=1), generator=generator).double()
    x = torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = attention_maps.received_in(layer, x)
        out = layer.conv(x).numpy()
        first, second = (m for m in layer.channels if isinstance(m, nn.Linear))
    kernel, inner, outer = (p.detach().numpy() for p in (layer.places.weight[0], first.weight, second.weight))
    bottleneck = lambda v: outer @ np.maximum(inner @ v, 0)  # noqa: E731
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    for image in range(2):
        gate = sigmoid(bottleneck(out[image].mean((1, 2))) + bottleneck(out[image].max((1, 2))))
        gated = out[image] * gate[:, None, None]
        pools = (gated.mean(0), gated.max(0))
        expected = np.zeros((5, 6))
        for y, c in np.ndindex(5, 6):
            total = 0.0
            for pool, weights in zip(pools, kernel):
                for dy, dx in np.ndindex(7, 7):
                    if 0 <= y + dy - 3 < 5 and 0 <= c + dx - 3 < 6:
                        total += weights[dy, dx] * pool[y + dy - 3, c + dx - 3]
            expected[y, c] = sigmoid(total)
        assert expected.max() > 1.2 * expected.min()
        np.testing.assert_allclose(found[image, 0], expected / expected.sum(), rtol=1e-5)
    assert found.shape == (2, 1, 5, 6)


def test_a_planted_look_is_found_at_its_place():
    layer, _ = layer_of(LAYERS["square"])
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.qkv.bias[:16] = 30.0  # every place asks the same
        layer.qkv.weight[16:20, 2] = 1.0  # the first head's keys are channel 2
        layer.qkv.weight[20:24, 5] = 1.0  # the second head's channel 5; the others ask for nothing
        x = torch.zeros(1, 8, 6, 6, dtype=torch.float64)
        x[0, 2, 1, 4] = x[0, 5, 3, 0] = 1.0
        found = attention_maps.received_in(layer, x)[0]
    assert found[0, 1, 4] > 0.999
    assert found[1, 3, 0] > 0.999
    torch.testing.assert_close(found[2:], torch.full((2, 6, 6), 1 / 36))


def test_a_networks_layers_are_read_in_one_pass_and_left_alone():
    model = models.build("cornet_z", attention="aacn", image_size=32).train()
    names = attention_maps.layers(model)
    assert names == ("V2.conv", "V4.conv", "IT.conv")
    x = torch.randn(2, 3, 32, 32)
    found = attention_maps.received(model, names[::2], x)
    assert list(found) == ["V2.conv", "IT.conv"]
    inputs = model.V1(x)
    torch.testing.assert_close(found["V2.conv"], attention_maps.received_in(model.V2.conv, inputs))
    assert found["V2.conv"].shape == (2, 4, 8, 8)
    assert model.training
    assert not any(m._forward_pre_hooks for m in model.modules())
    vit = models.build("vit_small", attention="self", image_size=32)
    assert len(attention_maps.layers(vit)) == 12
    assert attention_maps.received(vit, ["blocks.11.attention"], x)["blocks.11.attention"].shape == (2, 6, 8, 8)


def test_what_has_no_map_says_so():
    for kind in ("none", "se"):
        assert attention_maps.layers(models.build("cornet_z", attention=kind, image_size=32)) == ()
    model = models.build("cornet_z", attention="aacn", image_size=32)
    x = torch.randn(1, 3, 32, 32)
    with pytest.raises(BlendnetError) as error:
        attention_maps.received(model, ["V1.conv"], x)
    one_line(error, "'V1.conv'", "V2.conv")
    attention.set_lesion(model, "attention")
    with pytest.raises(BlendnetError) as error:
        attention_maps.received(model, ["V2.conv"], x)
    one_line(error, "'V2.conv'", "lesioned")
    with pytest.raises(BlendnetError) as error:
        attention_maps.received_in(SEConv2d(nn.Conv2d(3, 8, 3)), x)
    one_line(error, "SEConv2d", "CBAMConv2d")


@pytest.mark.parametrize("kind", ["aacn-legacy", "cbam"])
def test_twins_of_every_kind_with_places_are_read_at_all_their_sites_and_refused_when_lesioned(kind):
    model = models.build("cornet_z", attention=kind, image_size=32).train()
    names = attention_maps.layers(model)
    assert names == ("V2.conv", "V4.conv", "IT.conv")
    x = torch.randn(2, 3, 32, 32)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    found = attention_maps.received(model, names, x)
    assert [m.shape[1:] for m in found.values()] == [(1 if kind == "cbam" else 4, s, s) for s in (8, 4, 2)]
    for maps in found.values():
        torch.testing.assert_close(maps.sum((-1, -2)), torch.ones(maps.shape[:2]))
    assert model.training
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    attention.set_lesion(model, "attention")
    with pytest.raises(BlendnetError) as error:
        attention_maps.received(model, ["IT.conv"], x)
    one_line(error, "'IT.conv'", "lesioned")


def test_the_maps_are_no_kind_of_attention():
    assert not any("map" in name for name in attention.names())


@pytest.mark.parametrize(("side", "most", "expected"), [(56, 16, 14), (28, 16, 14), (17, 16, 9), (16, 16, 16),
                                                        (12, 16, 12), (1, 16, 1), (35, 8, 7)])  # fmt: skip
def test_side_of_joins_whole_numbers_of_places(side, most, expected):
    assert attention_maps.side_of(side, most) == expected


@pytest.mark.parametrize(("size", "coarse"), [((8, 8), (4, 2)), ((6, 9), (6, 3)), ((17, 5), (9, 4))])
def test_pooling_keeps_the_sum_and_shares_by_area(size, coarse):
    maps = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = attention_maps.pooled(maps, coarse)
    # every place cut into as many pieces as there are stretches, so that no piece lies across a border
    fine = maps.repeat_interleave(coarse[0], -2).repeat_interleave(coarse[1], -1) / (coarse[0] * coarse[1])
    expected = fine.unflatten(-1, (coarse[1], -1)).sum(-1).unflatten(-2, (coarse[0], -1)).sum(-2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum((-1, -2)), maps.sum((-1, -2)))
    means = attention_maps.area_mean(maps, coarse)
    torch.testing.assert_close(means, expected * (coarse[0] * coarse[1]) / (size[0] * size[1]))
    if all(n % m == 0 for n, m in zip(size, coarse)):
        torch.testing.assert_close(means, F.adaptive_avg_pool2d(maps, coarse))
