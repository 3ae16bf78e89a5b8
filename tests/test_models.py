"""Every network with every kind of attention: a new file in either folder is taken up here."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blendnet import activations, attention, models
from blendnet.errors import BlendnetError
from blendnet.models import _twins, _vit, cost

SMALL = ("resnet18", "mobilenet_v2", "efficientnet_b0", "vit_small")
OWN_ATTENTION = tuple(name for name in models.names() if "self" in models.attentions(name))
ZOO = [(name, kind) for name in models.names() for kind in models.attentions(name)]


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


def build(name, kind="none", **settings):
    return models.build(name, attention=kind, **({"image_size": size(name)} | settings))


_PLAIN = {}


def plain(name):
    """The twin with attention 'none', which no test changes; one network's at a time."""
    if name not in _PLAIN:
        _PLAIN.clear()
        _PLAIN[name] = build(name).eval()
    return _PLAIN[name]


@pytest.fixture(scope="module", params=ZOO, ids=lambda p: "-".join(p))
def member(request):
    """One network of the zoo, evaluating, which no test changes: name, kind, model."""
    name, kind = request.param
    return SimpleNamespace(name=name, kind=kind, model=plain(name) if kind == "none" else build(name, kind).eval())


def test_the_study_s_networks_are_there():
    assert set(models.names()) >= {
        "resnet18", "resnet50", "cornet_z", "inception_v3", "efficientnet_b0", "cornet_s", "vit_small", "vit_base",
        "mobilenet_v2",
    }  # fmt: skip
    assert not {n for n in models.names() if n.startswith("_") or n == "cost"}


def test_which_attention_goes_with_which_network():
    assert OWN_ATTENTION == ("vit_base", "vit_small")
    for name in models.names():
        expected = ("none", "self") if name in OWN_ATTENTION else attention.names()
        assert models.attentions(name) == expected


def test_same_seed_same_bits_forward_and_backward(member):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = build(member.name, member.kind).eval()
    x = images(member.name)
    with torch.no_grad():
        assert torch.equal(again(x), member.model(x))
    assert torch.equal(torch.get_rng_state(), before)
    first = member.model.state_dict()
    assert list(again.state_dict()) == list(first)
    for key, value in again.state_dict().items():
        assert torch.equal(value, first[key]), key

    out = again.train()(x)
    assert out.shape == (2, 8)
    assert out.dtype == torch.float32
    nn.functional.binary_cross_entropy_with_logits(out, torch.zeros(2, 8)).backward()
    moved = 0
    for parameter_name, parameter in again.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        moved += bool((parameter.grad != 0).any())
    assert moved > 0.9 * len(list(again.parameters()))


def test_readouts(member):
    layers = models.layers(member.name)
    assert 7 <= len(layers) <= 18
    assert len(set(layers)) == len(layers)
    kept = []

    def keep(layer):
        return lambda module, inputs, out: kept.append((layer, out, out.clone()))

    hooks = [member.model.get_submodule(layer).register_forward_hook(keep(layer)) for layer in layers]
    with torch.no_grad():
        member.model(images(member.name))
    for hook in hooks:
        hook.remove()
    # Each readout once, in the order of LAYERS, one row an image, and not overwritten later in the pass.
    assert [layer for layer, _, _ in kept] == list(layers)
    for layer, later, at_once in kept:
        assert len(later) == 2, layer
        assert torch.equal(later, at_once), layer
        assert float(at_once.std()) > 0, layer


# Every kind of attention once, and the networks whose draws cost little: seeds reach all of them by one path.
@pytest.mark.parametrize(
    ("name", "kind"), [("cornet_z", k) for k in attention.names()] + [(n, models.attentions(n)[-1]) for n in SMALL]
)
def test_another_seed_and_a_state_dict_round_trip(name, kind):
    one, other = build(name, kind).eval(), build(name, kind, seed=7).eval()
    first = one.state_dict()
    for key, value in other.named_parameters():
        constant = bool((value == value.flatten()[0]).all()) and value.ndim == 1  # biases, scales
        assert constant or not torch.equal(value, first[key]), key
    other.load_state_dict(first, strict=True)
    x = images(name)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))


def test_twins_differ_at_the_sites_and_nowhere_else(member):
    one, other = plain(member.name), member.model
    below = tuple(f"{site}." for site in models.sites(member.name))
    assert below

    def outside(model):
        return {n: m for n, m in model.named_modules() if not f"{n}.".startswith(below)}

    assert list(outside(one)) == list(outside(other))
    for module_name, module in outside(one).items():
        match = outside(other)[module_name]
        assert type(module) is type(match), module_name
        assert module.extra_repr() == match.extra_repr(), module_name
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        others = dict([*match.named_parameters(recurse=False), *match.named_buffers(recurse=False)])
        assert set(others) == {n for n, _ in tensors}
        for n, tensor in tensors:
            assert torch.equal(tensor, others[n]), f"{module_name}.{n}"
    for site in models.sites(member.name):
        old, new = type(one.get_submodule(site)), type(other.get_submodule(site))
        assert old is (_vit.UniformMixing if member.name in OWN_ATTENTION else nn.Conv2d)
        assert (new is old) == (member.kind == "none")


def test_twins_have_maps_of_equal_shape_everywhere(member):
    places = models.layers(member.name) + models.sites(member.name)
    shapes = []
    for model in (plain(member.name), member.model):
        found, copied = {}, _twins.shadow(model)
        for place in places:
            copied.get_submodule(place).register_forward_hook(
                lambda m, i, o, place=place, found=found: found.update({place: o.shape})
            )
        with torch.no_grad():
            copied(images(member.name).to("meta"))
        shapes.append(found)
    assert len(shapes[0]) == len(places)
    assert shapes[0] == shapes[1]


def test_flops_equal_pytorch_s_counter(member):
    """Where a kind of attention computes its products by a padded or folded kernel, those are compared elsewhere."""
    products = []
    hooks = [
        module.register_forward_hook(lambda m, i, o: products.append(m.matmul_flops()))
        for module in member.model.modules()
        if hasattr(module, "matmul_flops")
    ]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        member.model(images(member.name, 1))
    for hook in hooks:
        hook.remove()
    counted = counter.get_flop_counts()["Global"]
    if products:
        counted = {op: n for op, n in counted.items() if "attention" not in str(op) and "bmm" not in str(op)}
    assert cost.flops(member.model, size(member.name)) - sum(products) == sum(counted.values())


def test_resnet50_twins_stride_in_the_same_convolution():
    plain, twin = build("resnet50"), build("resnet50", "aacn")
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
    assert models.sites("cornet_s") == ("V2.conv2", "V4.conv2", "IT.conv2")
    for name in ("resnet18", "resnet50", "cornet_z", "inception_v3", "cornet_s"):
        for site in models.sites(name):
            assert plain(name).get_submodule(site).kernel_size == (3, 3)


@pytest.mark.parametrize(("name", "block"), [("mobilenet_v2", "InvertedResidual"), ("efficientnet_b0", "MBConv")])
def test_inverted_bottlenecks_take_attention_in_all_late_expansions(name, block):
    """The rule, followed another way: every block's 1x1 convolution that widens, where its map is at most 14x14."""
    model = models.build(name)
    blocks = {n: m for n, m in model.named_modules() if type(m).__name__ == block}
    widening = tuple(
        f"{n}.{inner}"
        for n, m in blocks.items()
        for inner, conv in m.named_modules()
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and conv.out_channels == 6 * conv.in_channels
    )
    assert len(widening) == len(blocks) - 1  # the first block does not widen
    maps = _twins.map_sizes(model, widening, 224)
    assert models.sites(name) == tuple(site for site in widening if max(maps[site]) <= 14)


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


def test_a_site_with_two_map_sizes_says_so():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x)[..., ::2, ::2])

    with pytest.raises(BlendnetError, match=r"conv gives maps of 8x8 and of 4x4 in one pass"):
        _twins.map_sizes(Twice(), ("conv",), 8)


def test_read_layers_keeps_the_last_of_several_runs():
    """A readout that runs at every time step stands for the last one."""

    class Thrice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Identity()

        def forward(self, x):
            for t in range(3):
                x = self.step(x + t)
            return x

    x = torch.zeros(2, 3, 4, 4)
    found = activations.read_layers(Thrice(), ["step"], x, lambda layer, out: out)
    assert torch.equal(found["step"], x + 3)


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
    with pytest.raises(BlendnetError, match="resnet18 has no attention of its own .* attention 'none' or 'aacn'"):
        models.build("resnet18", attention="self")
    with pytest.raises(BlendnetError, match="vit_small has attention of its own, .*'aacn' .* 'none' or 'self'"):
        models.build("vit_small", attention="aacn")
    with pytest.raises(BlendnetError, match="n_classes 0"):
        models.build("cornet_z", n_classes=0)


def test_number_of_classes():
    assert models.build("mobilenet_v2", n_classes=1000).classifier[1].out_features == 1000
    assert models.build("cornet_z", n_classes=10)(images("cornet_z")).shape == (2, 10)


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
        ("efficientnet_b0", 5_288_548, 0.77),
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


def test_names_need_no_torch():
    """The command line lists networks and figures are drawn without loading PyTorch."""
    code = "import sys, blendnet.models, blendnet.attention as a; blendnet.models.names(); a.names(); "
    code += "[(blendnet.models.source(n), blendnet.models.versions(n)) for n in blendnet.models.names()]; "
    code += "blendnet.models.source('torchvision:resnet34'); blendnet.models.versions('torchvision:resnet34'); "
    code += "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_source_and_versions_name_what_a_network_rests_on():
    from importlib.metadata import version

    shared = ("blendnet/models/__init__.py", "blendnet/models/_twins.py")
    assert models.source("resnet18") == (*shared, "blendnet/models/resnet18.py")
    assert models.source("vit_small") == (*shared, "blendnet/models/_vit.py", "blendnet/models/vit_small.py")
    assert set(models.source("timm:x")) - set(shared) == {"blendnet/models/_open.py", "blendnet/models/_rules.py"}
    for name in models.names():
        assert all((Path(__file__).parent.parent / path).is_file() for path in models.source(name))
    assert models.versions("cornet_s") == models.versions("vit_base") == {}
    assert (
        models.versions("resnet18") == models.versions("torchvision:vgg11") == {"torchvision": version("torchvision")}
    )
    with pytest.raises(BlendnetError, match="unknown library of networks 'tim'; did you mean 'timm'"):
        models.versions("tim:resnet50")
    with pytest.raises(BlendnetError, match="unknown network 'resnet81'"):
        models.source("resnet81")


def test_the_table_of_the_zoo():
    from pipelines.zoo import zoo

    lines = []
    rows = zoo(("cornet_z", "vit_small"), ("none", "aacn", "self"), image_size=48, say=lines.append)
    found = [(row["network"], row["attention"], row["heads"]) for row in rows]
    assert found == [
        ("cornet_z", "none", 0),
        ("cornet_z", "aacn", 4),
        ("vit_small", "none", 0),
        ("vit_small", "self", 0),
    ]
    for row in rows:
        model = build(row["network"], row["attention"])
        assert (row["parameters"], row["flops"]) == (cost.parameters(model), cost.flops(model, 48))
        assert row["sites"] == len(models.sites(row["network"]))
        assert row["layers"] == len(models.layers(row["network"]))
        assert row["image_size"] == 48
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[:3] == ["cornet_z", "aacn4", f"{rows[1]['parameters']:,}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"LAYERS": ("V1.output", "V2.outptu")}, "V2.outptu"),
        ({"SITES": ("V2.convolution",)}, "V2.convolution"),
        ({"LAYERS": None}, "has no LAYERS"),
    ],
)
def test_the_zoo_names_what_is_wrong_in_a_networks_file(monkeypatch, change, words):
    """Before any training: a misspelt layer would show only when activations are extracted."""
    from blendnet.models import cornet_z
    from pipelines.zoo import check

    check("cornet_z")
    for name, value in change.items():
        if value is None:
            monkeypatch.delattr(cornet_z, name)
        else:
            monkeypatch.setattr(cornet_z, name, value)
    with pytest.raises(BlendnetError, match=words) as error:
        check("cornet_z")
    assert "\n" not in str(error.value)
