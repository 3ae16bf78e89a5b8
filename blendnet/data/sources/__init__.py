"""Image sources: one file each, and the file's name is the name in the sheet.

A source module has CLASSES (its class names in order; empty where the folder decides), DOI, LICENCE and
index(root, ...) -> list[Photo]. It may have splits(root) -> dict[image_id, 'train' | 'val' | 'test'] where the
source itself divides its photographs.
"""

import importlib
import pkgutil
from types import ModuleType

from blendnet.errors import unknown


def names() -> tuple[str, ...]:
    """The names of all sources, sorted: every file of this folder that does not begin with an underscore."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> ModuleType:
    """The source module of that name; raises BlendnetError with the nearest name where there is none."""
    if name not in names():
        raise unknown("image source", name, names())
    return importlib.import_module(f"{__name__}.{name}")
