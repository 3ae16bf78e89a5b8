"""Kinds of attention, one file each; a file's name (with - for _) is its name in the sheet, 'none' is the plain
network.

A file offers `replace(conv, *, heads, map_size, generator) -> nn.Module`: a module of the same shape in and
out as the convolution it replaces. A module may also offer `matmul_flops() -> int`, the floating-point
operations of one image outside its own Conv2d and Linear children, which blendnet.models.cost then counts.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from blendnet.errors import BlendnetError, unknown
from blendnet.keys import imported

if TYPE_CHECKING:
    from torch import nn


def names() -> tuple[str, ...]:
    """'none' and every attention kind of this folder, in alphabetical order; files with a leading _ are
    private."""
    found = (m.name for m in iter_modules(__path__) if not m.name.startswith("_"))
    return ("none", *sorted(name.replace("_", "-") for name in found))


def source(name: str) -> tuple[str, ...]:
    """The source files that a kind's numbers depend on, as paths below the repository root; none for 'none' and for a
    network's own attention. Needs no PyTorch."""
    if name in ("none", "self"):
        return ()
    if name not in names():
        raise unknown("attention", name, names())
    return imported(f"blendnet/attention/{name.replace('-', '_')}.py")


def load(name: str) -> ModuleType:
    """The file of an attention kind. Raises BlendnetError for an unknown name, and for 'none', which has no
    file."""
    if name not in names():
        raise unknown("attention", name, names())
    if name == "none":
        raise BlendnetError("attention 'none' replaces nothing and has no file; choose another kind to load one")
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def set_lesion(model: "nn.Module", lesion: str | None) -> int:
    """Silence the attention of a trained twin ('attention'), or give it back (None): see _lesion.set_lesion."""
    from blendnet.attention import _lesion

    return _lesion.set_lesion(model, lesion)
