"""What attention changes: the difference to the plain twin, for each quantity, in each architecture and in all."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _quantities as q
from analysis.figures import _style as s

NEEDS = ("effects",)
_ALL = "all networks"
_SIDE = 4


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a quantity, accuracies first and then areas in order; a row an architecture, and one for their mean.

    Raises BlendnetError where effects is missing or holds no accuracy and no score of trained networks.
    """
    df, _ = _select(tables)
    names, kinds = _rows(df), s.twins(df, "attention_kind")
    quantities = q.order(df["quantity"])
    with s.style():
        fig, axes = s.panels(len(quantities), 15 + len(names) * (3 + 2.2 * len(kinds)), 14, _SIDE)
        for i, (ax, quantity) in enumerate(zip(axes, quantities)):
            _panel(ax, df[df["quantity"] == quantity], names, kinds, q.factor(quantity))
            ax.set_title(q.title(quantity))
            ax.set_xlabel("difference (points)" if q.factor(quantity) > 1 else "difference (r)")
            ax.set_yticks(range(len(names)), [s.label(n) for n in names] if i % _SIDE == 0 else [])
        q.invented(fig, [place[1] for place in map(q.place, quantities) if place])
        keys = [s.key(s.twin(*kind), marker=s.marker(kind[0])) for kind in kinds]
        keys += [s.key("different", marker="s"), s.key("equivalent", marker="s", mfc=_PALE),
                 s.key("undecided", marker="s", mfc="white")]  # fmt: skip
        if (df["left_out"] != "").any():
            keys.append(s.key("one network left out", s.GREY, marker="|"))
        s.keys(fig, [*keys, s.key("counts as none", s.GREY, ls="-", lw=5, alpha=0.3)], 6)
    return fig


_PALE = "#c8c8c8"
_FACES = {"different": None, "equivalent": _PALE}


def _panel(ax: Axes, df: pd.DataFrame, names: list[str], kinds: list[tuple[str, int]], factor: float) -> None:
    ax.axvline(0, color=s.DARK, lw=0.5, zorder=0)
    margin = factor * df["margin"].max()
    if np.isfinite(margin):
        ax.axvspan(-margin, margin, color=s.GREY, alpha=0.18, lw=0, zorder=0)
    places = s.offsets(len(kinds), 0.16 * (len(kinds) + 1))
    for y, name in enumerate(names):
        shade = s.DARK if name == _ALL else s.colour(name, [n for n in names if n != _ALL])
        rows = df[df["network"] == ("" if name == _ALL else name)]
        for shift, kind in zip(places, kinds):
            for row in s.of_twin(rows, kind, "attention_kind").to_dict("records"):
                x = factor * row["difference"]
                if row["left_out"]:
                    ax.plot(x, y + shift, marker="|", ms=4, color=s.GREY, zorder=1, ls="none")
                    continue
                if np.isfinite(row["lo"]) and np.isfinite(row["hi"]):
                    ax.plot([factor * row["lo"], factor * row["hi"]], [y + shift] * 2, color=shade, lw=0.8, zorder=2)
                face = _FACES.get(row["verdict"], "white")
                ax.plot(x, y + shift, marker=s.marker(kind[0]), color=shade, mfc=face or shade, mew=0.8, zorder=3,
                        ls="none")  # fmt: skip
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)
    ax.locator_params(axis="x", nbins=3)


def _rows(df: pd.DataFrame) -> list[str]:
    """Architectures in order; their mean last, where there are several."""
    networks = s.ordered(df[df["network"] != ""]["network"])
    return [*networks, _ALL] if len(networks) != 1 else networks


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[df["family"].isin(("accuracy", "score")) & df["difference"].notna()])
    return s.some(df, "effects", "differences between trained twins", "correlate"), words


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, how many networks and seeds, what was resampled, and the adjusted p."""
    df, which = _select(tables)
    whole = df[(df["left_out"] == "") & (df["level"] == ("all" if (df["level"] == "all").any() else "network"))]
    own = df[df["left_out"] == ""]
    counts = own["verdict"].value_counts()
    verdicts = ", ".join(f"{counts[v]} {v}" for v in ("different", "equivalent", "undecided", "too few") if v in counts)
    margins = df.groupby("family")["margin"].max()
    band = " and ".join(
        f"{100 * m:g} points of accuracy" if f == "accuracy" else f"{m:g} of r" for f, m in margins.items() if m > 0
    )
    tested = whole.dropna(subset=["p_holm"]).sort_values(["p_holm", "quantity"], kind="stable")
    first = tested.iloc[0] if len(tested) else None
    smallest = "" if first is None else (
        f"The smallest Holm-adjusted p of a sign flip in the lowest rows is {first['p_holm']:.2g} "
        f"({q.words(first['quantity'])}, {first['difference'] * q.factor(first['quantity']):+.3g}). "
    )  # fmt: skip
    drawn = " or ".join(sorted(set(own["resampled"]) - {""}))
    return (
        f"Attention minus its plain twin, with 95 % intervals ({drawn} drawn again), in "
        f"{s.span(own['n_networks'])} networks of {s.span(own['n_seeds'])} seeds. {which}Filled: the "
        f"interval leaves 0 out; grey: the difference is shown to lie within the band, which counts as none ({band}); "
        f"white: neither ({verdicts}, not adjusted for their number). {smallest}"
        "Accuracy in percentage points, similarity as raw scores. Not drawn: p of each row, effect sizes (effects.csv)."
    ).replace("−", "-")
