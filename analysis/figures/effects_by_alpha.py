"""Where on the way from one object to the other attention helps: the difference in blends named, against alpha."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("effects",)
_ALL = "all networks"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture and one for their mean; a line an attention kind.

    Raises BlendnetError where effects is missing or has no rows by alpha of trained networks.
    """
    df, _ = _select(tables)
    networks, kinds = s.ordered(df[df["network"] != ""]["network"]), s.twins(df, "attention_kind")
    cells = [*networks, *([""] if len(networks) != 1 else [])]
    with s.style():
        fig, axes = s.panels(len(cells), 50, 12, 4)
        ends = np.concatenate([df["lo"].dropna(), df["hi"].dropna(), df["difference"]])
        reach = 100 * float(np.abs(ends).max()) * 1.08
        for i, (ax, name) in enumerate(zip(axes, cells)):
            _panel(ax, df[df["network"] == name], kinds, s.colour(name, networks) if name else s.DARK)
            ax.set_ylim(-reach, reach)
            ax.set_title(s.label(name) if name else _ALL)
            ax.set_xlabel("alpha")
            if i % 4 == 0:
                ax.set_ylabel("difference (points)")
        keys = [s.key(s.twin(*k), marker=s.marker(k[0]), ls=s.line(k[0])) for k in kinds]
        s.keys(fig, [*keys, s.key("counts as none", s.GREY, ls="-", lw=5, alpha=0.3)], 5)
    return fig


def _panel(ax: Axes, df: pd.DataFrame, kinds: list[tuple[str, int]], shade: str) -> None:
    ax.axhline(0, color=s.DARK, lw=0.5, zorder=0)
    margin = 100 * df["margin"].max()
    if np.isfinite(margin):
        ax.axhspan(-margin, margin, color=s.GREY, alpha=0.18, lw=0, zorder=0)
    for shift, kind in zip(s.offsets(len(kinds), 0.02 * (len(kinds) - 1)), kinds):
        own = s.of_twin(df, kind, "attention_kind").sort_values("alpha")
        for row in own.to_dict("records"):
            s.bar(ax, row["alpha"] + shift, row, shade, 100)
        ax.plot(own["alpha"] + shift, 100 * own["difference"], ls=s.line(kind[0]), marker=s.marker(kind[0]),
                color=shade, ms=3.2)  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_xticks([0.1, 0.3, 0.5, 0.7, 0.9])


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[(df["family"] == "alpha") & (df["left_out"] == "") & df["difference"].notna()])
    s.some(df, "effects_by_alpha", "differences by alpha of trained twins", "correlate")
    return df.assign(alpha=df["quantity"].str.rpartition("=")[2].astype(float)), words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where blends of several alphas were tested."""
    df = tables["effects"]
    return df[df["family"] == "alpha"]["quantity"].nunique() > 1


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, on how many blends, networks and seeds, and what the intervals are."""
    df, which = _select(tables)
    lowest = df["p_holm"].min()
    p = f"; the smallest p, Holm-adjusted over alphas, is {lowest:.2g}" if np.isfinite(lowest) else ""
    drawn = " or ".join(sorted(set(df["resampled"]) - {""}))
    return (
        "Blends with both objects named, attention minus its plain twin, in percentage points, against the weight of "
        f"the first object: {s.span(df['n_stimuli'])} blends at each alpha, {s.span(df['n_networks'])} networks of "
        f"{s.span(df['n_seeds'])} seeds. {which}Lines are 95 % intervals ({drawn} drawn "
        f"again){p}. Grey band: what counts as no difference."
    )
