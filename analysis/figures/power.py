"""How many networks and seeds it takes to find an effect of a given size: power by simulation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _quantities as q
from analysis.figures import _style as s

NEEDS = ("power",)
_ENOUGH = 0.8
_SHADES = ("#56B4E9", "#0072B2", "#009E73", "#D55E00", "#000000", "#CC79A7")
_MARKS = ("o", "^", "s", "D", "v", "p")
_CELL = ["quantity", "difference", "network_sd", "seed_sd", "test"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a quantity, size of effect, spread and test; a line a number of seeds.

    Raises BlendnetError where power is missing or empty.
    """
    df = _select(tables)
    cells = [(cell, own) for cell, own in df.groupby(_CELL, sort=True, dropna=False)]
    seeds = sorted(set(df["n_seeds"]))
    ticks = sorted(set(df["n_networks"]))
    with s.style():
        fig, axes = s.panels(len(cells), 56, 12, 3)
        for i, (ax, (cell, own)) in enumerate(zip(axes, cells)):
            _panel(ax, own, seeds, ticks)
            ax.set_title(_title(cell, df))
            ax.set_xlabel("architectures")
            if i % 3 == 0:
                ax.set_ylabel("power (%)")
        s.keys(fig, [s.key(f"{n} seed{'' if n == 1 else 's'}", *_look(i)[:1], marker=_look(i)[1], ls="-")
                     for i, n in enumerate(seeds)] + [s.key(f"{100 * _ENOUGH:.0f} %", s.GREY, ls=":")], 7)  # fmt: skip
    return fig


def _look(i: int) -> tuple[str, str]:
    return _SHADES[i % len(_SHADES)], _MARKS[i % len(_MARKS)]


def _title(cell: tuple, df: pd.DataFrame) -> str:
    quantity, difference, network_sd, seed_sd, test = cell
    size, unit = (100.0, " points") if q.place(quantity) is None else (1.0, " of r")
    where = q.words(quantity) if df["quantity"].nunique() > 1 else "difference"
    spread = f"SD networks {size * network_sd:.2g}, seeds {size * seed_sd:.2g}"
    more = f"\n{test}" if df["test"].nunique() > 1 else ""
    return f"{where} {q.signed(size * difference)}{unit}\n{spread}{more}"


def _panel(ax: Axes, df: pd.DataFrame, seeds: list[int], ticks: list[int]) -> None:
    ax.axhline(100 * _ENOUGH, color=s.GREY, ls=":", zorder=0)
    for i, n in enumerate(seeds):
        own = df[df["n_seeds"] == n].sort_values("n_networks")
        shade, mark = _look(i)
        for row in own.to_dict("records"):
            s.bar(ax, row["n_networks"], row, shade, 100)
        ax.plot(own["n_networks"], 100 * own["power"], color=shade, marker=mark, ms=3.2)
    ax.set_ylim(-2, 102)
    ax.set_xticks(_spaced(ticks))


def _spaced(ticks: list[int]) -> list[int]:
    """Not so many that their numbers touch."""
    return ticks if len(ticks) <= 8 else ticks[:: -(-len(ticks) // 8)]


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    return s.some(df[df["power"].notna()], "power", "simulated powers", "power")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What was simulated, how often, and what is the least that reaches 80 %."""
    df = _select(tables)
    enough = df[df["power"] >= _ENOUGH]
    parts = []
    for (quantity, difference), own in df.groupby(["quantity", "difference"], sort=True):
        size, unit = (100.0, " points") if q.place(str(quantity)) is None else (1.0, " of r")
        least = enough[(enough["quantity"] == quantity) & (enough["difference"] == difference)]
        first = least.sort_values(["n_networks", "n_seeds"], kind="stable").head(1).to_dict("records")
        need = f"{first[0]['n_networks']} architectures of {first[0]['n_seeds']} seeds" if first else (
            f"none of those tried (up to {own['n_networks'].max()} of {own['n_seeds'].max()})")  # fmt: skip
        parts.append(f"{q.words(str(quantity))}, {q.signed(size * float(np.asarray(difference)))}{unit}: {need}")
    sources = "; ".join(sorted(set(df["source"]) - {""}))
    return (
        "Power: how often a true difference between twins is found at the 5 % level, against the number of "
        f"architectures; lines with 95 % Monte Carlo intervals ({s.span(df['n_simulations'])} simulations each; test: "
        f"{' or '.join(sorted(set(df['test'])))}). The fewest architectures with {100 * _ENOUGH:.0f} % power: "
        f"{'; '.join(parts)}." + (f" Spread of networks and seeds: {sources}." if sources else "")
    )
