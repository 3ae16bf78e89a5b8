"""Checkpoints with the original repository's names and shapes, made here from modules of our own, are imported and
compute the same; all that is no such checkpoint is one line."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from blendnet import checkpoint, legacy, models
from blendnet.data.classes import CLASSES
from blendnet.errors import BlendnetError
from blendnet.training.augment import normalise
from pipelines.import_legacy import import_legacy

# Smallest sizes at which attention has more than one token in every map of the four networks.
SIZES = {"resnet18": 64, "resnet50": 64, "cornet_z": 64, "inception_v3": 107}
NETWORKS = tuple(SIZES)


class Original(nn.Module):
    """The repository's operator written with index tables and explicit logits, under its names; square maps."""

    def __init__(self, channels: int, out: int, size: int, *, heads: int = 4, dk: int = 32, dv: int = 32):
        super().__init__()
        self.heads, self.dk, self.dv, self.size = heads, dk, dv, size
        self.conv_out = nn.Conv2d(channels, out - dv, 3, padding=1)
        self.kqv_conv = nn.Conv2d(channels, 2 * dk + dv, 1)
        self.attn_out = nn.Conv2d(dv, dv, 1)
        self.rel_encoding_h = nn.Parameter(torch.randn(2 * size - 1, dk // heads))
        self.rel_encoding_w = nn.Parameter(torch.randn(2 * size - 1, dk // heads))

    def strips(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, heads, N, depth) tokens, and the channel and the pixel that each number comes from."""
        n, depth = self.size**2, maps.shape[1] // self.heads
        place = torch.arange(n)[:, None] * depth + torch.arange(depth)
        channel = torch.arange(self.heads)[:, None, None] * depth + place // n
        pixel = (place % n).expand_as(channel)
        return maps.flatten(2)[:, channel, pixel], channel, pixel

    def forward(self, x: Tensor) -> Tensor:
        maps = self.kqv_conv(x)
        k, _, _ = self.strips(maps[:, : self.dk])
        q, _, _ = self.strips(maps[:, self.dk : 2 * self.dk] / (self.dk / self.heads) ** 0.5)
        v, channel, pixel = self.strips(maps[:, 2 * self.dk :])
        row, column = torch.arange(self.size**2) // self.size, torch.arange(self.size**2) % self.size
        offset_w = self.rel_encoding_w[column[None] - column[:, None] + self.size - 1]
        offset_h = self.rel_encoding_h[row[None] - row[:, None] + self.size - 1]
        relative = torch.einsum("bhid,ijd->bij", q, offset_w + offset_h)
        weights = (torch.einsum("bhid,bhjd->bhij", q, k) + relative[:, None]).softmax(-1)
        mixed = torch.zeros_like(maps[:, 2 * self.dk :]).flatten(2)
        mixed[:, channel, pixel] = torch.einsum("bhij,bhjd->bhid", weights, v)
        return torch.cat([self.conv_out(x), self.attn_out(mixed.unflatten(2, (self.size, self.size)))], 1)


def original(network: str, attention: bool, *, size: int | None = None, heads: int = 4, dk: int = 32, dv: int = 32,
             n_classes: int = 8) -> nn.Module:  # fmt: skip
    """A network with the tensors of the original's, random in every one."""
    size = size or SIZES[network]
    options = {"heads": heads, "dk": dk, "dv": dv}
    model: nn.Module
    if network == "cornet_z":
        model = nn.DataParallel(_cornet(size, attention, n_classes, options))
    elif network == "inception_v3":
        model = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
        model.fc = nn.Linear(2048, n_classes)
        for block, channels in ((model.Mixed_7b, 448), (model.Mixed_7c, 448)):
            if attention:
                block.branch3x3dbl_2.conv = Original(channels, 384, {107: 2, 299: 8}[size], **options)
    else:
        model = getattr(torchvision.models, network)(weights=None)
        model.fc = nn.Linear(model.fc.in_features, n_classes)
        for stage, down in ((model.layer2, 8), (model.layer3, 16), (model.layer4, 32)):
            for block in stage if attention else ():
                if network == "resnet50" and block.conv2.stride == (2, 2):
                    block.conv1.stride = (2, 2)
                width = block.conv2.out_channels
                block.conv2 = Original(width, width, size // down, **options)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model.eval()


def _cornet(size: int, attention: bool, n_classes: int, options: dict) -> nn.Sequential:
    def area(channels: int, out: int, kernel: int, stride: int, side: int, attended: bool) -> nn.Sequential:
        conv = (
            Original(channels, out, side, **options)
            if attended
            else nn.Conv2d(channels, out, kernel, stride, kernel // 2)
        )
        area = nn.Sequential()
        area.add_module("conv", conv)
        area.add_module("nonlin", nn.ReLU())
        area.add_module("pool", nn.MaxPool2d(3, 2, 1))
        return area

    model = nn.Sequential()
    model.add_module("V1", area(3, 64, 7, 2, 0, False))
    for name, channels, out, down in (("V2", 64, 128, 4), ("V4", 128, 256, 8), ("IT", 256, 512, 16)):
        model.add_module(name, area(channels, out, 3, 1, size // down, attention))
    decoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    decoder.add_module("linear", nn.Linear(512, n_classes))
    model.add_module("decoder", decoder)
    return model


def save(path: Path, model: nn.Module, **changes) -> Path:
    """The original's file: these keys, a pickled loss function and the optimizer's state among them."""
    weights = list(model.parameters())[:2]
    optimizer = torch.optim.RMSprop(weights, lr=0.1, momentum=0.9)
    for p in weights:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    content = {
        "epoch": 41, "learning_rate": 0.1, "batch_size": 64, "state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(), "loss": nn.BCELoss(), "num_classes": 8,
        "num_train_imgs": 12345,
    }  # fmt: skip
    torch.save(content | changes, path)
    return path


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return save(
        tmp_path_factory.mktemp("original") / "resnet18_aacn_blended_Jun12_best.pth", original("resnet18", True)
    )


@pytest.mark.parametrize("attention", [True, False], ids=["aacn", "plain"])
@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip_computes_the_same(network, attention, tmp_path):
    torch.manual_seed(1)
    reference, size = original(network, attention), SIZES[network]
    path = save(tmp_path / f"{network}_blended_best.pth", reference)
    lines: list[str] = []
    asked = None if attention else size  # the tables tell it
    folder = import_legacy(path, results=tmp_path, training="blended", seed=3, image_size=asked, say=lines.append)
    kind = "aacn-legacy4" if attention else "none"
    assert folder == tmp_path / "checkpoints" / f"{network}-{kind}-blended-s3"
    meta = checkpoint.load_meta(folder)
    assert (meta["network"], meta["heads"], meta["image_size"]) == (network, 4 * attention, size)
    model = legacy.from_meta(meta)
    checkpoint.load(folder, model)
    # In double precision: equal formulas agree to far more digits than other formulas could.
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        wanted, found = reference.double()(normalise(images)), model.double().eval()(normalise(images))
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", ["resnet18", "cornet_z"])
def test_single_precision_agrees_to_its_own_rounding(network, tmp_path):
    torch.manual_seed(4)
    reference, size = original(network, True), SIZES[network]
    folder = import_legacy(save(tmp_path / "a.pth", reference), results=tmp_path, training="regular", say=lambda _: 0)
    model = legacy.from_meta(checkpoint.load_meta(folder))
    checkpoint.load(folder, model)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        wanted, found = reference(images), model.eval()(images)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_meta_says_what_is_known_and_where_it_comes_from(resnet18, tmp_path):
    lines: list[str] = []
    folder = import_legacy(resnet18, results=tmp_path, training="blended", say=lines.append)
    meta = checkpoint.load_meta(folder)
    assert meta["legacy"] is True
    assert meta["classes"] == list(CLASSES)
    assert (meta["epoch"], meta["colour"], meta["n_train_images"]) == (41, "rgb", 12345)
    recipe = meta["recipe"]
    assert (recipe["name"], recipe["optimizer"], recipe["batch_size"], recipe["lr"]) == ("study", "rmsprop", 64, 0.1)
    assert meta["key"]["recipe"] == recipe
    assert meta["legacy_build"] == {
        "dk": 32, "dv": 32, "maps": [8, 8, 4, 4, 2, 2], "legacy_strides": False, "normalisation": "imagenet",
    }  # fmt: skip
    assert meta["origin"]["file"] == resnet18.name
    assert meta["origin"]["bytes"] == resnet18.stat().st_size
    text = "\n".join(lines)
    assert "4 heads, dk 32, dv 32, 64 px, epoch 42" in text
    assert "dropped: optimizer state and loss function" in text
    assert "note:" not in text
    again: list[str] = []
    assert import_legacy(resnet18, results=tmp_path, training="blended", say=again.append) == folder
    assert "reused" in again[0]


def test_the_originals_names_are_the_ones_we_know():
    names = {n: tuple(t.shape) for n, t in original("resnet18", True, size=224).state_dict().items()}
    assert names["layer2.0.conv2.conv_out.weight"] == (96, 128, 3, 3)
    assert names["layer2.0.conv2.conv_out.bias"] == (96,)
    assert names["layer2.0.conv2.kqv_conv.weight"] == (96, 128, 1, 1)
    assert names["layer2.0.conv2.attn_out.bias"] == (32,)
    assert names["layer4.1.conv2.rel_encoding_h"] == (13, 8)
    assert "layer2.0.conv2.weight" not in names
    cornet = {n: tuple(t.shape) for n, t in original("cornet_z", True, size=224).state_dict().items()}
    assert cornet["module.V2.conv.rel_encoding_w"] == (111, 8)
    assert cornet["module.decoder.linear.weight"] == (8, 512)
    assert cornet["module.V1.conv.bias"] == (64,)
    inception = original("inception_v3", True, size=299).state_dict()
    assert tuple(inception["Mixed_7b.branch3x3dbl_2.conv.rel_encoding_h"].shape) == (15, 8)
    assert "AuxLogits.fc.weight" in inception


@pytest.mark.parametrize(("network", "usual"), [("resnet18", 224), ("cornet_z", 224), ("inception_v3", 299)])
def test_the_image_size_comes_from_the_tables(network, usual):
    tensors = legacy.renamed(original(network, True, size=usual).state_dict())
    found = legacy.recognise(tensors, "x.pth")
    assert legacy.image_size(found, None, "x.pth") == usual
    with pytest.raises(BlendnetError, match=f"images of {usual} px., not 160 px"):
        legacy.image_size(found, 160, "x.pth")


def test_heads_dk_and_dv_come_from_the_shapes(tmp_path):
    torch.manual_seed(5)  # an early stage of the repository had dk 40, dv 4
    reference = original("resnet18", True, heads=2, dk=40, dv=4)
    path = save(tmp_path / "resnet18_aacn.pth", reference)
    folder = import_legacy(path, results=tmp_path, training="regular", heads=2, attention="aacn", say=lambda _: 0)
    assert folder.name == "resnet18-aacn-legacy2-regular-s0"
    model = legacy.from_meta(checkpoint.load_meta(folder))
    checkpoint.load(folder, model)
    images = torch.randn(2, 3, 64, 64).double()
    with torch.no_grad():
        torch.testing.assert_close(model.double().eval()(images), reference.double()(images), rtol=1e-9, atol=1e-9)


def test_resnet50_strides_where_the_original_does(tmp_path):
    found = legacy.Found("resnet50", "aacn-legacy", 4, 32, 32, (8, 8, 8, 8, *[4] * 6, *[2] * 3), 8)
    block = legacy.build(found, size=64).layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.conv2.conv.stride) == ((2, 2), (1, 1), (1, 1))
    ours = models.build("resnet50", attention="aacn-legacy", image_size=64).layer2[0]
    assert (ours.conv1.stride, ours.conv2.stride) == ((1, 1), (2, 2))
    plain = legacy.build(legacy.Found("resnet50", "none", 0, 0, 0, (), 8), size=64).layer2[0]
    assert (plain.conv1.stride, plain.conv2.stride) == ((1, 1), (2, 2))


def test_another_normalisation_is_brought_about_inside(tmp_path):
    torch.manual_seed(6)
    reference = original("cornet_z", False)
    folder = import_legacy(
        save(tmp_path / "cornet_z.pth", reference), results=tmp_path, training="regular", image_size=64,
        normalisation="dataset", say=lambda _: 0,
    )  # fmt: skip
    model = legacy.from_meta(checkpoint.load_meta(folder))
    checkpoint.load(folder, model)
    images = torch.rand(2, 3, 64, 64).double()
    mean, std = (torch.tensor(v).double()[:, None, None] for v in ((0.0449, -0.0222, 0.0572), (0.9864, 0.9709, 0.974)))
    with torch.no_grad():
        found = model.double().eval()(normalise(images))
        torch.testing.assert_close(found, reference.double()((images - mean) / std), rtol=1e-5, atol=1e-6)
    plain = import_legacy(tmp_path / "cornet_z.pth", results=tmp_path, training="regular", image_size=64, seed=1,
                          say=lambda _: 0)  # fmt: skip
    hashes = [checkpoint.load_meta(f)["weights_sha256"] for f in (folder, plain)]
    assert hashes[0] != hashes[1]  # else predictions of the one would be reused for the other


def refused(path: Path, tmp_path: Path, match: str, **changes) -> None:
    options = {"training": "blended", "say": lambda _: 0} | changes
    with pytest.raises(BlendnetError, match=match) as error:
        import_legacy(path, results=tmp_path / "results", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"heads": 8}, "given as heads 8, but its tensors are of heads 4"),
        ({"network": "resnet50"}, "given as network resnet50, but its tensors are of network resnet18"),
        ({"network": "resnet5"}, "did you mean 'resnet50'"),
        ({"attention": "none"}, "given as attention none, but its tensors are of attention aacn-legacy"),
        ({"attention": "cbam"}, "unknown attention of the original repository 'cbam'"),
        ({"image_size": 224}, "maps of 8x8, 4x4, 2x2 .images of 64 px., not 224 px"),
        ({"classes": ("a", "b")}, "names 8 classes .and says 8., not the 2 of a, b"),
        ({"training": "untrained"}, "unknown training"),
        ({"normalisation": "none"}, "unknown normalisation 'none'"),
    ],
)
def test_what_the_user_takes_it_for_is_compared(resnet18, tmp_path, changes, match):
    refused(resnet18, tmp_path, match, **changes)


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_by_name_and_not_run(tmp_path, zipped):
    mark, path = tmp_path / "ran", tmp_path / "evil.pth"
    if zipped:
        torch.save({"state_dict": {}, "loss": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    refused(
        path, tmp_path, r"evil.pth asks for posix.system, which is no tensor and may be code; it will not be loaded"
    )
    assert not mark.exists()


def test_the_stand_in_for_the_loss_is_gone_after_reading(resnet18, tmp_path):
    before = set(map(str, torch.serialization.get_safe_globals()))  # whose order is that of a set
    legacy.read(resnet18)
    assert set(map(str, torch.serialization.get_safe_globals())) == before
    with pytest.raises(pickle.UnpicklingError, match="BCELoss"):
        torch.load(resnet18, weights_only=True)
    other = tmp_path / "other.pth"
    torch.save({"loss": nn.MSELoss()}, other)
    refused(other, tmp_path, "asks for torch.nn.modules.loss.MSELoss")


def test_files_that_are_no_checkpoint_are_one_line(resnet18, tmp_path):
    path = tmp_path / "x.pth"
    refused(path, tmp_path, "x.pth is missing")
    refused(tmp_path, tmp_path, "is a folder")
    content = resnet18.read_bytes()
    for cut in (0, 3, 1000, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:cut])
        refused(path, tmp_path, "not a whole PyTorch checkpoint")
    path.write_bytes(b"\n<!DOCTYPE html><html><body>Sign in</body></html>")
    refused(path, tmp_path, "is a web page")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused(path, tmp_path, "not a whole PyTorch checkpoint")
    torch.save(torch.zeros(3), path)
    refused(path, tmp_path, r"no 'state_dict' \(it holds: Tensor\)")
    torch.save({"model": {}, "step": 1}, path)
    refused(path, tmp_path, r"no 'state_dict' \(it holds: .'model', 'step'")


def test_other_models_are_one_line(tmp_path):
    path = tmp_path / "x.pth"
    save(path, torchvision.models.mobilenet_v2(weights=None))
    refused(path, tmp_path, "is none of resnet18, resnet50, cornet_z, inception_v3")
    wide = torchvision.models.resnet34(weights=None, num_classes=8)
    save(path, wide)
    refused(path, tmp_path, "is a checkpoint of another model: layer1.2.conv1.weight is not in this network")
    model = original("cornet_z", True)
    tensors = model.state_dict()
    save(path, model, state_dict={n: t for n, t in tensors.items() if n != "module.V4.conv.rel_encoding_h"})
    refused(path, tmp_path, "the attention tensors of V4.conv are not all there")
    save(path, model, state_dict=tensors | {"module.V4.conv.rel_encoding_h": torch.zeros(15, 7)})
    refused(path, tmp_path, "tables of 15x7 and 15x8 at V4.conv do not go together")
    one_more = {n: torch.zeros(23, 8) if n.startswith("module.IT.conv.rel") else t for n, t in tensors.items()}
    save(path, model, state_dict=one_more)
    refused(path, tmp_path, "go with no size of square images")
    huge = {n: torch.zeros(19999, 8) if ".rel_" in n else t for n, t in tensors.items()}
    save(path, model, state_dict=huge)
    refused(path, tmp_path, "would be images of 40000 px")
    plain = {n: t for n, t in tensors.items() if not n.startswith("module.IT.conv")}
    save(path, model, state_dict=plain | {"module.IT.conv.weight": torch.zeros(512, 256, 3, 3)})
    refused(path, tmp_path, "not at the paper's sites .IT.conv differs")
    lost = {n: t for n, t in tensors.items() if n != "module.V1.conv.bias"}
    save(path, model, state_dict=lost)
    refused(path, tmp_path, "another model: V1.conv.bias is missing")
    save(path, model, state_dict=tensors | {"module.V1.conv.bias": torch.full((64,), torch.nan)})
    refused(path, tmp_path, "module.V1.conv.bias has values that are not finite")
    save(path, model, state_dict=tensors | {"extra": "text"})
    refused(path, tmp_path, "no named tensor: 'extra'")
    save(path, model, state_dict={"two\nlines": torch.zeros(3)})
    refused(path, tmp_path, "no named tensor: 'two")
    for name, value in (("batch_size", "many"), ("epoch", -1), ("learning_rate", float("nan")), ("num_classes", True)):
        save(path, model, **{name: value})
        refused(path, tmp_path, f"says {name} is .*, no such number")


def test_another_checkpoint_in_the_way_is_not_replaced_unless_told(resnet18, tmp_path):
    folder = tmp_path / "checkpoints" / "resnet18-aacn-legacy4-blended-s0"
    first = import_legacy(resnet18, results=tmp_path, training="blended", say=lambda _: 0)
    assert first == folder
    before = (folder / checkpoint.META).read_bytes()
    torch.manual_seed(7)
    other = save(tmp_path / "resnet18_aacn_blended_other.pth", original("resnet18", True))
    with pytest.raises(BlendnetError, match="holds another checkpoint; choose another --seed"):
        import_legacy(other, results=tmp_path, training="blended", say=lambda _: 0)
    assert (folder / checkpoint.META).read_bytes() == before
    import_legacy(other, results=tmp_path, training="blended", force=True, say=lambda _: 0)
    assert checkpoint.load_meta(folder)["origin"]["file"] == other.name
    checkpoint.load(folder, legacy.from_meta(checkpoint.load_meta(folder)))


def test_an_imported_checkpoint_stands_for_a_run_of_the_same_classes_and_size(resnet18, tmp_path):
    folder = import_legacy(resnet18, results=tmp_path, training="blended", say=lambda _: 0)
    meta = checkpoint.load_meta(folder)
    line = legacy.check(meta, run_id=folder.name, classes=CLASSES, size=64)
    assert "trained by the original repository, not by the sheet" in line
    with pytest.raises(BlendnetError, match="has image_size 64, the sheet 224"):
        legacy.check(meta, run_id=folder.name, classes=CLASSES, size=224)
    with pytest.raises(BlendnetError, match="has classes"):
        legacy.check(meta, run_id=folder.name, classes=CLASSES[:2], size=64)


def test_a_name_that_speaks_against_the_training_is_noted(resnet18, tmp_path):
    lines: list[str] = []
    import_legacy(resnet18, results=tmp_path, training="regular", say=lines.append)
    assert any("does not look like training regular" in line for line in lines)
