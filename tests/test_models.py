"""Every network with every kind of attention: a new file in either folder is taken up here."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blendnet import attention, models
from blendnet.errors import BlendnetError
from blendnet.models import _twins, cost

KINDS = tuple(kind for kind in attention.names() if kind != "none")
WITH_SITES = tuple(name for name in models.names() if models.sites(name))
ALL = [(name, "none") for name in models.names()] + [(name, kind) for name in WITH_SITES for kind in KINDS]
TWINS = [(name, kind) for name in WITH_SITES for kind in KINDS]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def size(name):
    return max(48, models.min_image_size(name))


def images(name, n=2, side=None, seed=0):
    side = side or size(name)
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


@cache
def built(name, kind):
    """Built once and never changed by a test."""
    return models.build(name, attention=kind, image_size=size(name))


def test_the_study_s_networks_are_there():
    assert set(models.names()) >= {"resnet18", "resnet50", "cornet_z", "inception_v3", "mobilenet_v2"}
    assert not {n for n in models.names() if n.startswith("_") or n == "cost"}


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_forward_backward_and_readouts(name, kind):
    model = models.build(name, attention=kind, image_size=size(name)).train()
    seen = []
    for layer in models.layers(name):
        model.get_submodule(layer).register_forward_hook(lambda m, i, out, layer=layer: seen.append((layer, out)))
    out = model(images(name))
    assert out.shape == (2, 8)
    assert out.dtype == torch.float32
    nn.functional.binary_cross_entropy_with_logits(out, torch.zeros(2, 8)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
    # Each readout once, in the order of LAYERS.
    assert [layer for layer, _ in seen] == list(models.layers(name))
    assert all(isinstance(out, torch.Tensor) and len(out) == 2 for _, out in seen)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_readouts_are_not_overwritten_later_in_the_pass(name, kind):
    model, kept = models.build(name, attention=kind, image_size=size(name)).eval(), []
    for layer in models.layers(name):
        model.get_submodule(layer).register_forward_hook(lambda m, i, out: kept.append((out, out.clone())))
    with torch.no_grad():
        model(images(name))
    for later, at_once in kept:
        assert torch.equal(later, at_once)
        assert float(at_once.std()) > 0


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_readouts_are_a_sensible_number(name, kind):
    layers = models.layers(name)
    assert 7 <= len(layers) <= 18
    assert len(set(layers)) == len(layers)


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_same_seed_same_weights_other_seed_other(name, kind):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = models.build(name, attention=kind, image_size=size(name))
    assert torch.equal(torch.get_rng_state(), before)
    other = models.build(name, attention=kind, image_size=size(name), seed=1)
    first = built(name, kind).state_dict()
    assert list(again.state_dict()) == list(first)
    for key, value in again.state_dict().items():
        assert torch.equal(value, first[key]), key
    for key, value in other.named_parameters():
        constant = bool((value == value.flatten()[0]).all()) and value.ndim == 1  # biases, scales
        assert constant or not torch.equal(value, first[key]), key


@pytest.mark.parametrize(("name", "kind"), TWINS)
def test_twins_differ_at_the_sites_and_nowhere_else(name, kind):
    plain, twin = built(name, "none"), built(name, kind)

    below = tuple(f"{site}." for site in models.sites(name))

    def outside(model):
        return {n: m for n, m in model.named_modules() if not f"{n}.".startswith(below)}

    assert list(outside(plain)) == list(outside(twin))
    for module_name, module in outside(plain).items():
        other = outside(twin)[module_name]
        assert type(module) is type(other), module_name
        assert module.extra_repr() == other.extra_repr(), module_name
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        others = dict([*other.named_parameters(recurse=False), *other.named_buffers(recurse=False)])
        assert set(others) == {n for n, _ in tensors}
        for n, tensor in tensors:
            assert torch.equal(tensor, others[n]), f"{module_name}.{n}"
    for site in models.sites(name):
        old, new = plain.get_submodule(site), twin.get_submodule(site)
        assert type(old) is nn.Conv2d
        assert type(new) is not nn.Conv2d


@pytest.mark.parametrize(("name", "kind"), TWINS)
def test_twins_have_maps_of_equal_shape_everywhere(name, kind):
    layers = models.layers(name) + models.sites(name)
    assert _twins.map_sizes(built(name, "none"), models.sites(name), size(name)) == _twins.map_sizes(
        built(name, kind), models.sites(name), size(name)
    )
    shapes = []
    for model in (built(name, "none"), built(name, kind)):
        found = {}
        hooks = [
            model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n, found=found: found.update({n: o.shape}))
            for n in layers
        ]
        with torch.no_grad():
            model.eval()(images(name))
        for hook in hooks:
            hook.remove()
        shapes.append(found)
    assert shapes[0] == shapes[1]


def test_resnet50_twins_stride_in_the_same_convolution():
    plain, twin = built("resnet50", "none"), built("resnet50", "aacn")
    for site in models.sites("resnet50"):
        assert plain.get_submodule(site).stride == twin.get_submodule(site).stride
    assert [s for s in models.sites("resnet50") if plain.get_submodule(s).stride == (2, 2)] == [
        "layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2",
    ]  # fmt: skip


def test_sites_are_the_study_s():
    count = {name: len(models.sites(name)) for name in models.names()}
    assert count["resnet18"] == 6
    assert count["resnet50"] == 13
    assert models.sites("cornet_z") == ("V2.conv", "V4.conv", "IT.conv")
    assert models.sites("inception_v3") == ("Mixed_7b.branch3x3dbl_2.conv", "Mixed_7c.branch3x3dbl_2.conv")
    for name in WITH_SITES:
        for site in models.sites(name):
            assert built(name, "none").get_submodule(site).kernel_size == (3, 3)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_heads(heads):
    model = models.build("cornet_z", attention="aacn", heads=heads, image_size=32)
    assert model.get_submodule("V4.conv").num_heads == heads
    assert model(images("cornet_z", side=32)).shape == (2, 8)


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(BlendnetError, match=r"dk 32 .* 5 heads"):
        models.build("cornet_z", attention="aacn", heads=5)
    models.build("cornet_z", heads=0, image_size=32)  # no meaning without attention: a plain Run has 0


@pytest.mark.parametrize("side", [48, 64, 96])
@pytest.mark.parametrize("name", ["resnet18", "cornet_z"])
def test_reduced_sizes(name, side):
    for kind in ("none", "aacn"):
        model = models.build(name, attention=kind, image_size=side).eval()
        with torch.no_grad():
            assert model(images(name, side=side)).shape == (2, 8)


def test_full_size_maps():
    assert models.image_size("resnet18") == 224
    assert models.image_size("inception_v3") == 299
    twin = models.build("resnet18", attention="aacn")
    assert twin.get_submodule("layer2.0.conv2").map_size == (28, 28)
    assert twin.get_submodule("layer4.1.conv2").map_size == (7, 7)
    twin = models.build("cornet_z", attention="aacn")
    assert [twin.get_submodule(s).map_size for s in models.sites("cornet_z")] == [
        (56, 56),
        (28, 28),
        (14, 14),
    ]


def test_an_attention_twin_at_another_size_says_so():
    with pytest.raises(BlendnetError, match=r"6x6 but this input of 8x8 gives 8x8"):
        models.build("resnet18", attention="aacn", image_size=48).eval()(images("resnet18", side=64))


@pytest.mark.parametrize("name", models.names())
def test_too_small_an_image(name):
    least = models.min_image_size(name)
    with pytest.raises(BlendnetError, match=f"image size {least - 1} is too small for {name}; choose {least} px"):
        models.build(name, image_size=least - 1)
    with torch.no_grad():
        assert models.build(name, image_size=least).eval()(images(name, 1, least)).shape == (1, 8)


def test_bad_requests():
    with pytest.raises(BlendnetError, match="unknown network 'resnet81'; did you mean 'resnet18'"):
        models.build("resnet81")
    with pytest.raises(BlendnetError, match="unknown network 'cost'"):
        models.layers("cost")
    with pytest.raises(BlendnetError, match="unknown attention 'aacm'; did you mean 'aacn'"):
        models.build("resnet18", attention="aacm")
    with pytest.raises(BlendnetError, match=r"mobilenet_v2 has no convolution .* one of cornet_z"):
        models.build("mobilenet_v2", attention="aacn")
    with pytest.raises(BlendnetError, match="n_classes 0"):
        models.build("cornet_z", n_classes=0)


def test_number_of_classes():
    assert models.build("mobilenet_v2", n_classes=1000).classifier[1].out_features == 1000
    assert models.build("cornet_z", n_classes=10)(images("cornet_z")).shape == (2, 10)


@pytest.mark.parametrize(("name", "kind"), TWINS)
def test_state_dict_round_trip(name, kind):
    ours = built(name, kind).eval()
    other = models.build(name, attention=kind, image_size=size(name), seed=7).eval()
    other.load_state_dict(ours.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(ours(images(name)), other(images(name)))


def test_a_lesion_leaves_the_network_running_and_changes_its_answer():
    model = models.build("cornet_z", attention="aacn", image_size=32).eval()
    with torch.no_grad():
        whole = model(images("cornet_z", side=32))
        for site in models.sites("cornet_z"):
            model.get_submodule(site).lesion = "attention"
        assert (model(images("cornet_z", side=32)) - whole).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "parameters", "gflops"),
    [
        # As torchvision documents them for 1000 classes (its GFLOPS are multiply-adds, so doubled here).
        ("resnet18", 11_689_512, 3.63),
        ("resnet50", 25_557_032, 8.18),
        ("mobilenet_v2", 3_504_872, 0.60),
        # Without the auxiliary classifier: 27,161,264 less 3,326,696
        ("inception_v3", 23_834_568, 11.42),
    ],
)
def test_cost_of_the_plain_networks(name, parameters, gflops):
    model = models.build(name, n_classes=1000)
    assert cost.parameters(model) == parameters
    assert cost.flops(model, models.image_size(name)) / 1e9 == pytest.approx(gflops, abs=0.01)


def test_cost_of_cornet_z_by_hand():
    model, s = models.build("cornet_z"), 64
    areas = [(3 * 49, 64, s // 2), (64 * 9, 128, s // 4), (128 * 9, 256, s // 8), (256 * 9, 512, s // 16)]
    assert cost.parameters(model) == sum((window + 1) * out for window, out, _ in areas) + 512 * 8 + 8
    assert cost.flops(model, s) == sum(2 * window * out * m * m for window, out, m in areas) + 2 * 512 * 8


@pytest.mark.parametrize("name", WITH_SITES)
def test_flops_outside_attention_equal_pytorch_s_counter(name):
    """PyTorch's counter sees the padded kernel, so attention's own products are compared elsewhere."""
    model = built(name, "aacn").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(name, 1))
    counted = counter.get_flop_counts()["Global"]
    theirs = sum(n for op, n in counted.items() if "attention" not in str(op) and "bmm" not in str(op))
    attended = sum(model.get_submodule(site).matmul_flops() for site in models.sites(name))
    assert cost.flops(model, size(name)) - attended == theirs


def test_names_need_no_torch():
    """The command line lists networks and figures are drawn without loading PyTorch."""
    code = "import sys, blendnet.models, blendnet.attention as a; blendnet.models.names(); a.names(); "
    code += "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
