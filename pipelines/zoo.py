"""The zoo as a table: every network and kind of attention, with what it costs."""

from collections.abc import Callable, Sequence
from typing import Any

from blendnet import attention, models
from blendnet.errors import BlendnetError, unknown
from blendnet.models import cost

# Column, and how a cell is written; text is set left, numbers right.
_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "network": lambda row: row["network"],
    "attention": lambda row: row["attention"] + (str(row["heads"]) if row["heads"] else ""),
    "parameters": lambda row: f"{row['parameters']:,}",
    "GFLOP/image": lambda row: f"{row['flops'] / 1e9:.3f}",
    "sites": lambda row: str(row["sites"]),
    "layers": lambda row: str(row["layers"]),
    "px": lambda row: str(row["image_size"]),
}
_TEXT = ("network", "attention")


def zoo(
    networks: Sequence[str] = (),
    attentions: Sequence[str] | None = None,
    *,
    heads: int = 4,
    n_classes: int = 8,
    image_size: int | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Print the aligned table of the networks (default: all of blendnet/models) and return its rows.

    Operations are 2 a multiply-add, of one image of `px` pixels a side. Raises BlendnetError as models.build does.
    """
    for name in networks:
        check(name)
    for kind in attentions or ():
        if kind not in (*attention.names(), "self"):
            raise unknown("attention", kind, (*attention.names(), "self"))
    rows = cost.table(networks or models.names(), attentions, heads=heads, n_classes=n_classes, image_size=image_size)
    lines = [list(_COLUMNS), *([cell(row) for cell in _COLUMNS.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    for line in lines:
        cells = (
            text.ljust(width) if column in _TEXT else text.rjust(width)
            for column, text, width in zip(_COLUMNS, line, widths)
        )
        say("  ".join(cells).rstrip())
    return rows


def check(name: str) -> None:
    """Does a network's file state what it must, and are its layers and sites there? A wrong layer would otherwise be
    found after the training. Raises BlendnetError, one line."""
    network = models.load(name)
    for what in ("IMAGE_SIZE", "MIN_IMAGE_SIZE", "SITES", "LAYERS", "build"):
        if not hasattr(network, what):
            raise BlendnetError(f"the file of network {name!r} has no {what}; see docs/how-to/add-a-network.md")
    known = [n for n, _ in models.build(name).named_modules() if n]
    for what, found in (("layer", network.LAYERS), ("site", network.SITES)):
        for module in found:
            if module not in known:
                raise unknown(f"{what} of {name}", module, known)
