"""Brain recordings, one a file. The file's name is the recording's name in the sheet.

A file here has NAME, DOI, LICENCE and load(root, **options) -> list[Recording]. Planted recordings are not
among them: they are made from a network's activations, not read (see planted.py).
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import unknown

__all__ = ["Recording", "Stimuli", "load", "names"]

_NOT_READ_FROM_DISK = {"recording", "planted", "placement"}


def names() -> tuple[str, ...]:
    """Names that load() knows: the modules of this folder that read a recording."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(n for n in modules if not n.startswith("_") and n not in _NOT_READ_FROM_DISK))


def load(name: str, root: Path, **options: Any) -> list[Recording]:
    """The recordings of one source, checked against what was published.

    root: the data folder that holds a folder of this name; options: those of the source's own load(). Raises
    BlendnetError for an unknown name and for missing, altered or inconsistent files.
    """
    if name not in names():
        raise unknown("recording", name, names())
    module = importlib.import_module(f"{__name__}.{name}")
    return module.load(Path(root), **options)
