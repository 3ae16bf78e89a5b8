"""Checkpoints of the original repository (Portscher, Stabinger, Rodriguez-Sanchez 2022, doi
10.1109/IPAS55744.2022.10052853): what they hold, and networks here that compute the same.

What is known of them, from the interface of that repository:

- Tensors have torchvision's names (ResNet18, ResNet50, Inception V3, the last with its auxiliary classifier) or
  CORnet's (V1, V2, V4, IT, decoder); CORnet-Z was wrapped for several GPUs, so that its names begin with 'module.'.
- At a site of attention, `conv2` or `conv`, stand conv_out (weight, bias), kqv_conv (keys, queries, values in this
  order), attn_out, and the tables rel_encoding_h and rel_encoding_w of (2 S - 1, dk / heads) for a map of S x S. dk, dv
  and heads follow from these shapes.
- The attention twin of ResNet50 strides in the first 1x1 convolution of a stage, the plain one (torchvision's) in the
  3x3 convolution, as both of ours do. No tensor tells: it is done by `build` for every such checkpoint and stored with
  it.
- Images were normalised with ImageNet's mean and standard deviation, at one stage of the repository with those of
  NORMALISATIONS['dataset']; the file does not say which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blendnet import models
from blendnet._legacy_file import read
from blendnet.attention.aacn_legacy import LegacyConv2d
from blendnet.errors import BlendnetError, unknown

__all__ = [
    "NORMALISATIONS", "Found", "build", "check", "from_meta", "image_size", "legacy_strides", "read", "recognise",
    "renamed",
]  # fmt: skip

ATTENTION = "aacn-legacy"
NETWORKS = ("resnet18", "resnet50", "cornet_z", "inception_v3")
# (mean, standard deviation) of the channels of images in 0..1, in the order red, green, blue.
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "dataset": ((0.0449, -0.0222, 0.0572), (0.9864, 0.9709, 0.9740)),
}
# Tensors that tell the four networks apart; loading is strict, so that they need not tell all others.
_MARKS = {
    "resnet18": ("layer1.0.conv1.weight", "layer4.1.bn2.weight", "fc.weight"),
    "resnet50": ("layer1.0.conv3.weight", "layer3.5.conv3.weight", "fc.weight"),
    "cornet_z": ("V1.conv.weight", "decoder.linear.weight"),
    "inception_v3": ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch1x1.conv.weight", "fc.weight"),
}
_NAMES = {
    "conv_out": "conv", "kqv_conv": "kqv", "attn_out": "project",
    "rel_encoding_h": "relative_h", "rel_encoding_w": "relative_w",
}  # fmt: skip
_AUXILIARY = "AuxLogits."
_LARGEST = 1024  # px; building for the map of a made-up table could take all memory


@dataclass(frozen=True)
class Found:
    """What the tensors of a checkpoint say by their names and shapes.

    attention: 'none' or 'aacn-legacy', with heads, dk and dv 0 for 'none'; maps: side of the map at each site, in px
    """

    network: str
    attention: str
    heads: int
    dk: int
    dv: int
    maps: tuple[int, ...]
    n_classes: int


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names, values untouched; the auxiliary classifier, used in training only, is left out."""
    wrapped = all(name.startswith("module.") for name in tensors)
    found = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.") if wrapped else name
        if not name.startswith(_AUXILIARY):
            found[".".join(_NAMES.get(part, part) for part in name.split("."))] = tensor
    return found


def recognise(tensors: dict[str, Tensor], source: Path | str) -> Found:
    """Which network and attention the renamed tensors belong to. Raises BlendnetError, naming source, for none of the
    four networks, and for attention whose sites or shapes do not go together."""
    # From the last on: the marks of ResNet18 are in ResNet50, too.
    network = next((n for n, marks in reversed(_MARKS.items()) if all(m in tensors for m in marks)), None)
    if network is None:
        first = ", ".join(name[:60] for name in list(tensors)[:3]) or "none"
        raise BlendnetError(
            f"{source} is none of {', '.join(NETWORKS)} (its tensors begin with: {first}); only these can be imported"
        )
    head = tensors["decoder.linear.weight" if network == "cornet_z" else "fc.weight"]
    n_classes = head.shape[0] if head.ndim else 0
    at = {name.removesuffix(".kqv.weight") for name in tensors if name.endswith(".kqv.weight")}
    sites = models.sites(network)
    if not at:
        return Found(network, "none", 0, 0, 0, (), n_classes)
    if at != set(sites):
        odd = sorted(at ^ set(sites))
        raise BlendnetError(
            f"{source}: attention of this {network} is not at the paper's sites ({odd[0]} differs); "
            "only the paper's networks can be imported"
        )
    shapes = {site: _shapes(tensors, site, source) for site in sites}
    if len({shape[:3] for shape in shapes.values()}) > 1:
        raise BlendnetError(f"{source}: heads, dk and dv differ between its sites: {list(shapes.values())[:2]}")
    heads, dk, dv, _ = shapes[sites[0]]
    return Found(network, ATTENTION, heads, dk, dv, tuple(shape[3] for shape in shapes.values()), n_classes)


def _shapes(tensors: dict[str, Tensor], site: str, source: Path | str) -> tuple[int, int, int, int]:
    """(heads, dk, dv, side of the map) of one site."""
    try:
        both, dv = tensors[f"{site}.kqv.weight"].shape[0], tensors[f"{site}.project.weight"].shape[0]
        (rows_h, per_head), (rows_w, also) = (tensors[f"{site}.relative_{axis}"].shape for axis in "hw")
    except (KeyError, IndexError, ValueError) as error:
        raise BlendnetError(f"{source}: the attention tensors of {site} are not all there, or misshapen") from error
    dk, odd = divmod(both - dv, 2)
    whole = not odd and per_head == also > 0 and dk > 0 and dk % per_head == 0 and rows_h == rows_w and rows_h % 2 == 1
    if not whole:
        raise BlendnetError(
            f"{source}: {both} key, query and value channels, {dv} of them values, and tables of {rows_h}x{per_head} "
            f"and {rows_w}x{also} at {site} do not go together"
        )
    return dk // per_head, dk, dv, (rows_h + 1) // 2


def image_size(found: Found, wanted: int | None, source: Path | str) -> int:
    """Side in px of the images that a checkpoint was trained on: from its tables, else `wanted`, else the network's
    usual size. Raises BlendnetError where the tables and `wanted` do not go together."""
    usual = models.image_size(found.network)
    if found.attention == "none":
        return wanted or usual
    if found.network == "inception_v3":
        size = found.maps[0]
        for grow in (1, 1, 1, 0, 1, 0, 1):  # backwards through unpadded 3x3 windows, of stride 2 or 1
            size = 2 * size + 1 if grow else size + 2
    else:
        size = found.maps[0] * (4 if found.network == "cornet_z" else 8)
    maps = ", ".join(f"{m}x{m}" for m in dict.fromkeys(found.maps))
    if size > _LARGEST:
        raise BlendnetError(f"{source}: relative tables for maps of {maps} would be images of {size} px; is it whole?")
    if wanted is not None and wanted != size and _maps(found, wanted) != found.maps:
        raise BlendnetError(
            f"{source}: its relative tables are for maps of {maps} (images of {size} px), not {wanted} px"
        )
    if _maps(found, size) != found.maps:
        raise BlendnetError(f"{source}: relative tables for maps of {maps} go with no size of square images")
    return wanted or size


def _maps(found: Found, size: int) -> tuple[int, ...]:
    if size < models.min_image_size(found.network):
        return ()
    with torch.device("meta"):  # shapes alone: nothing is drawn or computed
        model = models.build(found.network, attention=ATTENTION, n_classes=1, image_size=size)
    sides = [model.get_submodule(site).map_size for site in models.sites(found.network)]
    return tuple(int(height) for height, _ in sides)  # type: ignore[misc]


def build(found: Found, *, size: int, normalisation: str = "imagenet") -> nn.Module:
    """The network of a checkpoint, with weights still to be loaded: (B, 3, size, size), normalised with ImageNet's mean
    and standard deviation as everywhere here -> (B, n_classes) logits.

    Another `normalisation` (a name in NORMALISATIONS) is brought about inside, before the first layer.
    """
    if normalisation not in NORMALISATIONS:
        raise unknown("normalisation", normalisation, NORMALISATIONS)
    plain = found.attention == "none"
    model = models.build(
        found.network, attention=found.attention, heads=0 if plain else 4, n_classes=found.n_classes, image_size=size
    )
    for site in () if plain else models.sites(found.network):
        _as_the_original(model, site, found)
    if normalisation != "imagenet":
        (mean, std), (new_mean, new_std) = NORMALISATIONS["imagenet"], NORMALISATIONS[normalisation]
        # As buffers they are in the state dict and its hash: results of another normalisation are not reused.
        scale = [s / t for s, t in zip(std, new_std)]
        shift = [(m - n) / t for m, n, t in zip(mean, new_mean, new_std)]
        model.register_buffer("input_scale", torch.tensor(scale)[:, None, None])
        model.register_buffer("input_shift", torch.tensor(shift)[:, None, None])
        model.register_forward_pre_hook(_renormalise)
    return model


def _as_the_original(model: nn.Module, site: str, found: Found) -> None:
    """Give a site the checkpoint's heads, dk and dv; and move the stride of a ResNet50 stage into its first 1x1."""
    parent, _, leaf = site.rpartition(".")
    block, old = model.get_submodule(parent), model.get_submodule(site)
    if not isinstance(old, LegacyConv2d):
        raise BlendnetError(f"{found.network}: {site} is a {type(old).__name__}, not the original's operator")
    stride = old.stride
    if legacy_strides(found) and stride != (1, 1):
        block.conv1.stride, stride = stride, (1, 1)  # type: ignore[assignment]
    with torch.random.fork_rng(devices=[]):  # nn.Conv2d draws when it is made
        new = LegacyConv2d(
            old.in_channels, old.out_channels, old.kernel_size, stride=stride,
            dk=found.dk, dv=found.dv, num_heads=found.heads, map_size=old.map_size,
        )  # fmt: skip
    setattr(block, leaf, new)


def legacy_strides(found: Found) -> bool:
    """True where the original strides elsewhere than our network of that name."""
    return found.network == "resnet50" and found.attention != "none"


def _renormalise(model: Any, inputs: tuple[Tensor, ...]) -> Tensor:
    found: Tensor = inputs[0] * model.input_scale + model.input_shift
    return found


def from_meta(meta: dict[str, Any]) -> nn.Module:
    """The network of an imported checkpoint, from its meta.json, with weights still to be loaded (strictly)."""
    made = meta["legacy_build"]
    found = Found(
        meta["network"], meta["attention"], meta["heads"], made["dk"], made["dv"], tuple(made["maps"]),
        len(meta["classes"]),
    )  # fmt: skip
    if made["legacy_strides"] != legacy_strides(found):
        raise BlendnetError(f"{meta['run']}: imported with other strides than this version builds; import it again")
    return build(found, size=meta["image_size"], normalisation=made["normalisation"])


def check(meta: dict[str, Any], *, run_id: str, classes: Sequence[str], size: int) -> str:
    """Whether an imported checkpoint can stand for a run of the sheet, whose recipe it cannot have: run, classes and
    image size must be equal. Returns a line to be said; raises BlendnetError for one that differs."""
    for what, stored, wanted in (
        ("run", meta["run"], run_id),
        ("classes", list(meta["classes"]), list(classes)),
        ("image_size", meta["image_size"], size),
    ):
        if stored != wanted:
            raise BlendnetError(
                f"the imported checkpoint of {run_id} has {what} {stored}, the sheet {wanted}; "
                "import another, or change the profile"
            )
    return f"{run_id} is imported ({meta['origin']['file']}): trained by the original repository, not by the sheet"
