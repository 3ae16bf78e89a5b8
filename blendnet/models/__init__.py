"""Networks, one file each; a file's name is the network's name in the sheet. Any classifier of torchvision or timm
goes by 'torchvision:NAME' or 'timm:NAME', by the rules of _open.py.

A file states IMAGE_SIZE and MIN_IMAGE_SIZE (px, square), SITES (names of the convolutions that attention may
replace), LAYERS (names of the modules that are read out, from the image to the classes) and `build(n_classes)
-> nn.Module`, the plain network, drawn from PyTorch's global generator (which build() below seeds and puts
back). A build() that names image_size among its parameters is told it.

A network with attention of its own states ATTENTIONS = ('none', 'self') as well, and its build() takes attention:
'self' is the published network, 'none' has the attention ablated, and SITES are the attention layers, where alone
the two differ. So 'attention minus none' asks the same of every network. cost.py counts parameters and operations.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from blendnet.errors import BlendnetError, unknown

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("timm", "torchvision")

_NOT_NETWORKS = {"cost"}
_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The networks of this folder, in alphabetical order."""
    found = (m.name for m in iter_modules(__path__))
    return tuple(sorted(n for n in found if not n.startswith("_") and n not in _NOT_NETWORKS))


def load(name: str) -> Any:
    """A network's file, or what stands for one with 'torchvision:NAME' and 'timm:NAME'; raises BlendnetError, with
    the nearest name, for one that is not there."""
    if ":" in name:
        from blendnet.models import _open

        return _open.load(name)
    if name not in names():
        raise unknown("network", name, names())
    return import_module(f"{__name__}.{name}")


def attentions(name: str) -> tuple[str, ...]:
    """The kinds of attention that a network can be built with, 'none' first.

    ('none', 'self') for a network with attention of its own, where 'none' is the ablation; 'none' and all kinds of
    blendnet/attention for one with sites; ('none',) for others, which are as published, whatever is in them.
    """
    from blendnet import attention

    network = load(name)
    if hasattr(network, "ATTENTIONS"):
        return tuple(network.ATTENTIONS)
    return attention.names() if network.SITES else ("none",)


def build(
    name: str,
    *,
    attention: str = "none",
    heads: int = 4,
    n_classes: int = 8,
    seed: int = 0,
    image_size: int | None = None,
) -> nn.Module:
    """A network with fresh weights: (B, 3, S, S) images -> (B, n_classes) logits.

    attention: one of attentions(name): 'none', a file in blendnet/attention, put in place of the convolutions at
        sites(name), or 'self', a network's own
    heads: attention heads (no meaning with 'none' and 'self')
    seed: of all initial weights
    image_size: S in px, default image_size(name); a plain network also runs at others, a twin does not, and
        neither does one whose weights depend on it (ViT)

    Twins, the plain and the attention network of one seed, are equal bit for bit outside the sites. PyTorch's
    global generator is left as it was. Raises BlendnetError for unknown names, a network without sites,
    numbers of heads that do not divide the attention channels, and sizes that the network does not take.
    """
    from blendnet.models import _twins

    network = load(name)
    _check_attention(name, attention)
    size = network.IMAGE_SIZE if image_size is None else image_size
    if size != network.IMAGE_SIZE and size < network.MIN_IMAGE_SIZE:
        raise BlendnetError(f"image size {size} is too small for {name}; choose {network.MIN_IMAGE_SIZE} px or more")
    if n_classes < 1:
        raise BlendnetError(f"n_classes {n_classes} for {name} is not a number of classes; choose 1 or more")
    model = _twins.plain(network, n_classes, seed, image_size=size, attention=attention)
    if attention == "none" or hasattr(network, "ATTENTIONS"):
        return model
    from blendnet.attention import load as load_attention

    return _twins.with_attention(model, network, load_attention(attention), heads, seed, size)


def _check_attention(name: str, attention: str) -> None:
    from blendnet.attention import names as kinds

    possible = attentions(name)
    if attention in possible:
        return
    if attention not in (*kinds(), "self"):
        raise unknown("attention", attention, (*kinds(), "self"))
    choices = " or ".join(repr(kind) for kind in possible)
    if "self" in possible:
        reason = f"{name} has attention of its own, so that {attention!r} cannot be put into it"
    elif attention == "self":
        reason = f"{name} has no attention of its own that 'self' could name"
    else:
        with_sites = ", ".join(n for n in names() if attention in attentions(n))
        raise BlendnetError(
            f"{name} has no convolution that attention {attention!r} may replace; "
            f"build it with attention 'none' or choose one of {with_sites}"
        )
    raise BlendnetError(f"{reason}; build it with attention {choices}")


def layers(name: str) -> tuple[str, ...]:
    """Names of the modules read out, in order from the image to the classes; the same in both twins."""
    return tuple(load(name).LAYERS)


def sites(name: str) -> tuple[str, ...]:
    """Names of the modules in which twins differ: the convolutions that attention replaces, or the attention layers
    of a network that has its own; empty for a network that has no twin."""
    return tuple(load(name).SITES)


def image_size(name: str) -> int:
    """Side of the network's usual square input, in px."""
    return int(load(name).IMAGE_SIZE)


def min_image_size(name: str) -> int:
    """Side of the smallest square input that the network takes, in px."""
    return int(load(name).MIN_IMAGE_SIZE)


def source(name: str) -> tuple[str, ...]:
    """The source files that a network's numbers depend on, as paths below the repository root, sorted: its own, those
    of this folder that it imports, and those that all networks share. Needs no PyTorch."""
    own = _with_imported("_open" if ":" in name and split(name) else _checked(name))
    return tuple(sorted(f"blendnet/models/{stem}.py" for stem in {"__init__", "_twins", *own}))


def versions(name: str) -> dict[str, str]:
    """The versions of the packages, beside PyTorch, that make a network: {'torchvision': '0.29.2'}, or {'timm': ...},
    or {} for one that is wholly ours. Needs no PyTorch. Raises BlendnetError for a package that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    if ":" in name:
        packages = {split(name)[0]}
    else:
        packages = {p for stem in _with_imported(_checked(name)) for p in _imports(stem)} & set(LIBRARIES)
    try:
        return {package: version(package) for package in sorted(packages)}
    except PackageNotFoundError as error:
        raise BlendnetError(f"{name} needs the package {error.name}, which is not installed; install it") from error


def split(name: str) -> tuple[str, str]:
    """('torchvision', 'convnext_tiny') of 'torchvision:convnext_tiny'; raises BlendnetError for an unknown library."""
    library, _, rest = name.partition(":")
    if library not in LIBRARIES:
        raise unknown("library of networks", library, LIBRARIES)
    return library, rest


def _checked(name: str) -> str:
    if name not in names():
        raise unknown("network", name, names())
    return name


def _with_imported(stem: str) -> tuple[str, ...]:
    found = [stem]
    for known in found:  # grows while it is read
        ours = (p.removeprefix(f"{__name__}.") for p in _imports(known) if p.startswith(f"{__name__}."))
        found += [other for other in ours if other not in found]
    return tuple(found)


@cache
def _imports(stem: str) -> tuple[str, ...]:
    """The modules that a file of this folder imports: whole names within this folder, else the package."""
    tree = ast.parse((_FOLDER / f"{stem}.py").read_text())
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    return tuple(m if m.startswith(f"{__name__}.") else m.partition(".")[0] for m in modules)
