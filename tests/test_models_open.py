"""Networks of torchvision and timm by name: found by rules, and as well behaved as our own."""

import sys

import pytest
import torch
from torch import nn

from blendnet import attention, models
from blendnet.errors import BlendnetError
from blendnet.models import _rules, cost

# Size in px, and what each stands for.
NAMES = {
    "torchvision:resnet34": 32,  # residual, with sites
    "torchvision:squeezenet1_1": 64,  # no normalisation, sites
    "torchvision:googlenet": 32,  # auxiliary outputs
    "torchvision:shufflenet_v2_x0_5": 32,  # depthwise: no sites
    "torchvision:regnet_x_400mf": 32,  # computes with numbers while it is built
    "timm:resnet10t": 32,
    "timm:test_vit": 64,  # weights that depend on the image size, attention of its own
    "timm:convnext_atto": 32,
}


@pytest.fixture(autouse=True)
def _timm_where_needed(request):
    if "timm:" in str(getattr(request.node, "callspec", None) and request.node.callspec.params):
        pytest.importorskip("timm")


@pytest.mark.parametrize("name", NAMES)
def test_forward_backward_readouts_determinism(name):
    side = NAMES[name]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = models.build(name, image_size=side, seed=1)
    again = models.build(name, image_size=side, seed=1).eval()
    layers = models.layers(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert 8 <= len(layers) <= 20
    assert len(set(layers)) == len(layers)

    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    kept = []
    hooks = [
        model.get_submodule(layer).register_forward_hook(
            lambda m, i, o, layer=layer: kept.append((layer, o, o.clone()))
        )
        for layer in layers
    ]
    with torch.no_grad():
        out = model.eval()(x)
        assert torch.equal(out, again(x))
    for hook in hooks:
        hook.remove()
    assert [layer for layer, _, _ in kept] == list(layers)
    for layer, later, at_once in kept:
        assert len(later) == 2
        assert later.ndim >= 2
        assert torch.equal(later, at_once), layer

    out = model.train()(x)
    assert out.shape == (2, 8)
    out.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("kind", [k for k in attention.names() if k != "none"])
@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:resnet10t"])
def test_twins(name, kind):
    side, sites = 64, models.sites(name)
    assert sites
    assert models.attentions(name) == attention.names()
    one, other = (models.build(name, attention=k, image_size=side).eval() for k in ("none", kind))
    below = tuple(f"{site}." for site in sites)
    weights = {n: p for n, p in one.state_dict().items() if not n.startswith(below)}
    others = {n: p for n, p in other.state_dict().items() if not n.startswith(below)}
    assert list(weights) == list(others)
    assert all(torch.equal(weights[n], others[n]) for n in weights)
    for model in (one, other):  # timm begins with residual branches of zero, through which no twin would differ
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert one(x).shape == other(x).shape == (2, 8)
        assert not torch.equal(one(x), other(x))
    for site in sites:
        assert type(one.get_submodule(site)) is nn.Conv2d
        assert type(other.get_submodule(site)) is not nn.Conv2d


def test_the_rules_find_what_we_chose_by_hand():
    assert models.layers("torchvision:resnet18") == models.layers("resnet18")
    assert set(models.layers("resnet50")) < set(models.layers("torchvision:resnet50"))
    assert models.sites("torchvision:resnet50") == models.sites("resnet50")
    assert set(models.sites("resnet18")) < set(models.sites("torchvision:resnet18"))
    assert models.layers("torchvision:vgg11")[:6] == tuple(f"features.{i}" for i in (1, 2, 4, 5, 7, 9))
    assert models.layers("torchvision:convnext_tiny")[:8] == tuple(f"features.{i}" for i in range(8))
    assert models.layers("torchvision:vit_b_32")[1:13] == tuple(f"encoder.layers.encoder_layer_{i}" for i in range(12))


class Residual(nn.Module):
    def __init__(self, adds):
        super().__init__()
        self.adds, self.first, self.second = adds, nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        y = self.second(self.first(x))
        return x + y if self.adds else y


class Toy(nn.Module):
    """Each part of the rules once, with an answer that can be read off."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout()
        self.sum, self.chain = Residual(True), Residual(False)
        self.shared = nn.ReLU()
        self.listed = nn.ModuleList([nn.MaxPool2d(2), nn.Conv2d(4, 40, 3, padding=1, dilation=1)])
        self.grouped = nn.Conv2d(40, 40, 3, padding=1, groups=2)
        self.late = nn.Conv2d(40, 48, 3, stride=4, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(48, _rules.PROBE_CLASSES)

    def forward(self, x):
        x = self.chain(self.sum(self.drop(self.stem(x))))
        x = self.shared(self.shared(x))
        for module in self.listed:
            x = module(x)
        return self.head(self.flat(self.pool(self.late(self.grouped(x)))))


def test_the_rules_on_a_network_that_has_each_part_once():
    model = Toy().to("meta").eval()
    _, runs = _rules.watch(model, 32)
    # At first stem, sum, chain, both of the list, grouped, late and pool: eight, so that nothing is opened.
    assert _rules.readouts(model, runs) == (
        "stem", "sum", "chain", "listed.0", "listed.1", "grouped", "late", "pool",
    )  # fmt: skip
    # The stem reads the image, the residual ones have 4 channels, one map is too large, one convolution is grouped.
    assert _rules.sites(model, runs, 32) == ("late",)
    assert _rules.sites(model, runs, 128) == ("listed.1", "late")


def test_the_rules_open_what_is_too_coarse():
    model = nn.Sequential(Toy().stem, Residual(True), Residual(False)).to("meta").eval()
    _, runs = _rules.watch(model, 32)
    # Of the stem its ReLU; the sum stays beside its parts, the chain is its last part.
    assert _rules.readouts(model, runs) == ("0.2", "1.first", "1.second", "1", "2.first", "2.second")


def test_the_rules_thin_what_is_too_long():
    model = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(50))).to("meta").eval()
    _, runs = _rules.watch(model, 8)
    layers = [int(layer) for layer in _rules.readouts(model, runs)]
    assert len(layers) == 20
    assert (layers[0], layers[-1]) == (0, 49)
    assert {b - a for a, b in zip(layers, layers[1:])} <= {2, 3}


def test_image_sizes():
    assert models.image_size("torchvision:inception_v3") == 299
    assert models.image_size("torchvision:efficientnet_b1") == 240
    assert models.min_image_size("torchvision:convnext_tiny") == 32
    assert models.min_image_size("torchvision:inception_v3") == 96  # runs from 75 px on
    with pytest.raises(BlendnetError, match="image size 64 is too small for torchvision:inception_v3; choose 96 px"):
        models.build("torchvision:inception_v3", image_size=64)
    sized = models.build("torchvision:vit_b_32", image_size=64)
    assert sized.encoder.pos_embedding.shape == (1, 1 + 2 * 2, 768)
    with pytest.raises(BlendnetError, match="torchvision:vit_b_32 does not run on images of 80 px"):
        models.build("torchvision:vit_b_32", image_size=80)


def test_classes_and_costs():
    """Parameters and multiply-adds for 1000 classes, as torchvision documents them."""
    import torchvision

    for name, weights in (("vit_b_32", "ViT_B_32_Weights"), ("squeezenet1_1", "SqueezeNet1_1_Weights"),
                          ("swin_t", "Swin_T_Weights")):  # fmt: skip
        meta = getattr(torchvision.models, weights).IMAGENET1K_V1.meta
        model = models.build(f"torchvision:{name}", n_classes=1000)
        assert cost.parameters(model) == meta["num_params"]
        assert cost.flops(model, 224) / 2e9 == pytest.approx(meta["_ops"], abs=0.001), name


def test_a_network_without_sites_has_no_twin():
    assert models.attentions("torchvision:vit_b_32") == ("none",)
    with pytest.raises(BlendnetError, match=r"shufflenet_v2_x0_5 has no convolution .* choose one of cornet_s"):
        models.build("torchvision:shufflenet_v2_x0_5", attention="aacn")
    with pytest.raises(BlendnetError, match=r"vit_b_32 has no attention of its own that 'self'"):
        models.build("torchvision:vit_b_32", attention="self")


def test_names_that_are_not_there():
    with pytest.raises(BlendnetError, match="unknown network .*convnext_tinny'; did you mean .*convnext_tiny"):
        models.build("torchvision:convnext_tinny")
    with pytest.raises(BlendnetError, match="unknown library of networks 'torchvison'; did you mean 'torchvision'"):
        models.layers("torchvison:resnet18")


def test_timm_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BlendnetError, match="timm:resnet26 needs the package timm, .* pip install timm"):
        models.build("timm:resnet26")


def test_unknown_in_timm():
    pytest.importorskip("timm")
    with pytest.raises(BlendnetError, match=r"unknown network 'timm:convnext_tinny'; did you mean .*convnext_tiny"):
        models.sites("timm:convnext_tinny")
    with pytest.raises(BlendnetError, match="does not give one number a class"):
        models.sites("timm:qwen3_vit_416m_enc")
