"""The figures. A file in this folder is a figure: NEEDS = its tables, draw(tables) -> Figure, caption(tables) -> str,
and where it is not for every profile wanted(tables) -> bool, with absent(tables) -> str where the tables say why."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pandas as pd

from analysis import tables as columns
from analysis.figures import _style
from blendnet.errors import unknown
from blendnet.files import write_bytes

FORMATS = ("pdf", "png", "svg")


def names() -> list[str]:
    """All figures, by name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> ModuleType:
    """The figure of this name; raises BlendnetError for an unknown one."""
    if name not in names():
        raise unknown("figure", name, names())
    return importlib.import_module(f"{__name__}.{name}")


def drawable(tables: dict[str, pd.DataFrame]) -> list[str]:
    """The figures that these tables ask for: not those of an optional table that is not there or has no rows, nor those
    that the tables have nothing for. A figure whose other tables are missing is in the list: that is a mistake."""
    found = []
    for name in names():
        module = load(name)
        absent = [n for n in module.NEEDS if columns.TABLES[n].optional and not len(tables.get(n, ()))]
        # Whether it is wanted is asked of whole tables only.
        unwanted = set(module.NEEDS) <= set(tables) and not getattr(module, "wanted", lambda _: True)(tables)
        if not absent and not unwanted:
            found.append(name)
    return found


def not_drawable(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The figures that whole tables have nothing for, and why, where the figure can say it ('' where it cannot); those
    of an optional table that is not there are not among them."""
    drawn = drawable(tables)
    there = [name for name in names() if all(len(tables.get(n, ())) for n in load(name).NEEDS)]
    return {name: getattr(load(name), "absent", lambda _: "")(tables) for name in there if name not in drawn}


def draw(
    name: str, tables: dict[str, pd.DataFrame], profile: str | None = None, kinds: tuple[str, ...] = FORMATS
) -> dict[str, bytes]:
    """One figure in each of FORMATS, or the `kinds` given, {'pdf': bytes, ...}; the same tables give the same bytes.

    Raises BlendnetError for a missing table (naming the command, with --profile where given) or an empty one.
    """
    module = load(name)
    _style.need(tables, module.NEEDS, profile)
    picture = module.draw(tables)
    return {kind: _style.render(picture, kind) for kind in kinds}


def draw_all(
    tables: dict[str, pd.DataFrame],
    out_dir: Path | str,
    profile: str | None = None,
    only: list[str] | None = None,
) -> list[Path]:
    """Draw every drawable figure (or those in `only`) into out_dir in all FORMATS, atomically; the paths written."""
    chosen = drawable(tables) if only is None else only
    for name in chosen:  # say at once what is missing, before minutes of drawing
        _style.need(tables, load(name).NEEDS, profile)
    paths = []
    for name in chosen:
        for kind, content in draw(name, tables, profile).items():
            paths.append(Path(out_dir) / f"{name}.{kind}")
            write_bytes(paths[-1], content)
    return paths
