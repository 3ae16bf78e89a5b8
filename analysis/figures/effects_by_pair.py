"""Which objects attention helps to tell apart: the difference in blends named, for each pair of classes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("effects",)
_MAP = "PuOr"  # told apart by colour-blind readers, and neutral in the middle


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A matrix an attention kind: classes by classes, the mean over architectures (or the only one).

    Raises BlendnetError where effects is missing or has no rows by pair of trained networks.
    """
    df, _ = _select(tables)
    kinds = s.twins(df, "attention_kind")
    classes = list(dict.fromkeys(c for pair in df["pair"] for c in pair.split("+")))
    reach = 100 * max(float(df["difference"].abs().max()), 0.01)
    norm = Normalize(-reach, reach)
    with s.style():
        fig, axes = s.panels(len(kinds), 72, 12, 2)
        for i, (ax, kind) in enumerate(zip(axes, kinds)):
            _panel(ax, s.of_twin(df, kind, "attention_kind"), classes, norm, i % 2 == 0)
            ax.set_title(f"{s.twin(*kind)} minus plain")
        bar = fig.colorbar(ScalarMappable(norm, _MAP), ax=axes, shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("both named, difference (points)")
        bar.outline.set_visible(False)
        s.keys(fig, [s.key("interval leaves 0 out", marker="s", mfc="none", ms=7)])
    return fig


def _panel(ax: Axes, df: pd.DataFrame, classes: list[str], norm: Normalize, named: bool) -> None:
    grid = np.full((len(classes), len(classes)), np.nan)
    for row in df.to_dict("records"):
        x, y = sorted(classes.index(c) for c in row["pair"].split("+"))
        grid[y, x] = 100 * row["difference"]
        ink = "white" if abs(grid[y, x]) > 0.55 * float(norm.vmax or 0) else "black"
        ax.text(x, y, s.signed(grid[y, x], 0), ha="center", va="center", color=ink)
        if row["verdict"] == "different":
            s.frame(ax, x, y)
    ax.imshow(np.ma.masked_invalid(grid)[1:, :-1], cmap=_MAP, norm=norm, interpolation="nearest",
              extent=(-0.5, len(classes) - 1.5, len(classes) - 0.5, 0.5))  # fmt: skip
    ax.set_xticks(range(len(classes) - 1), classes[:-1], rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(1, len(classes)), classes[1:] if named else [])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[(df["family"] == "pair") & (df["left_out"] == "") & df["difference"].notna()])
    s.some(df, "effects_by_pair", "differences by pair of trained twins", "correlate")
    level = "all" if (df["level"] == "all").any() else "network"
    df = df[df["level"] == level]
    return df.assign(pair=df["quantity"].str.rpartition("=")[2]), words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where the table has pairs."""
    return bool((tables["effects"]["family"] == "pair").any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, on how many blends, and how many cells stand out by chance."""
    df, which = _select(tables)
    marked, known = int((df["verdict"] == "different").sum()), int(df["lo"].notna().sum())
    adjusted = int((df["p_holm"] < 0.05).sum())
    half = 50 * (df["hi"] - df["lo"]).dropna().median()
    width = f"their median half width is {half:.2g} points" if np.isfinite(half) else "none could be computed"
    return (
        "Blends of each pair of classes at alpha 0.5 with both objects named, attention minus its plain twin, in "
        f"percentage points: mean over {s.span(df['n_networks'])} networks of {s.span(df['n_seeds'])} seeds, "
        f"{s.span(df['n_stimuli'])} blends a pair. {which}Framed: the 95 % interval leaves 0 out ({marked} of {known}, "
        f"not adjusted for their number; {adjusted} have a Holm-adjusted p of a sign flip below .05). The intervals "
        f"are in effects.csv; {width}."
    )
