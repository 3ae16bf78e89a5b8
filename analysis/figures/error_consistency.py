"""Do networks fail on the same images? Kappa of pairs of runs, by what the two share."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("consistency",)
_TESTS = (("blended", "blends: both named"), ("regular", "one object: top-1"))
_RELATIONS = {"seed": "other\nseed", "twin": "twin", "attention": "other\nattention", "network": "other\nnetwork"}
_MOST = 80  # points in a column; of more the middle 95 % and 50 % are drawn


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a test, a column a relation, a point a pair of runs with its interval, a bar their median.

    Raises BlendnetError where consistency is missing or has no kappa at all.
    """
    df, _ = _select(tables)
    networks = s.ordered(pd.concat([df["network_a"], df["network_b"]]))
    tests = [t for t in _TESTS if (df["test"] == t[0]).any()]
    with s.style():
        fig, axes = s.panels(len(tests), 66, 10, 2)
        low = min(0.0, float(df["kappa"].min()), float(df["lo"].min()))
        for i, (ax, (test, words)) in enumerate(zip(axes, tests)):
            _panel(ax, df[df["test"] == test], networks)
            ax.set_title(words)
            ax.set_ylim(low - 0.03, 1)
            if i == 0:
                ax.set_ylabel("error consistency (κ)")
        s.keys(fig, [*s.network_keys(networks), s.key("two networks", s.GREY, marker="s"),
                     s.key("median", ls="-", lw=2)], 6)  # fmt: skip
    return fig


def _panel(ax: Axes, df: pd.DataFrame, networks: list[str]) -> None:
    ax.axhline(0, color=s.DARK, lw=0.5, zorder=0)
    there = [r for r in _RELATIONS if (df["relation"] == r).any()]
    for x, relation in enumerate(there):
        own = df[(df["relation"] == relation) & df["kappa"].notna()].sort_values(["network_a", "kappa"], kind="stable")
        if not len(own):
            continue
        if len(own) > _MOST:
            for ends, width in (([0.025, 0.975], 1.2), ([0.25, 0.75], 5.0)):
                ax.plot([x, x], np.quantile(own["kappa"], ends), color=s.GREY, lw=width, solid_capstyle="butt")
        else:
            for place, row in zip(x + s.offsets(len(own), min(0.7, 0.06 * (len(own) - 1))), own.to_dict("records")):
                same = row["network_a"] == row["network_b"]
                shade = s.colour(row["network_a"], networks) if same else s.GREY
                s.bar(ax, place, row, shade)
                ax.plot(place, row["kappa"], marker="o", ms=2.6, mew=0, color=shade, ls="none", zorder=3)
        ax.plot([x - 0.42, x + 0.42], [own["kappa"].median()] * 2, color=s.DARK, lw=2, solid_capstyle="butt", zorder=1,
                alpha=0.7)  # fmt: skip
    ax.set_xticks(range(len(there)), [f"{_RELATIONS[r]}\nn = {int((df['relation'] == r).sum())}" for r in there])
    ax.set_xlim(-0.6, len(there) - 0.4)
    ax.tick_params(axis="x", length=0)


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df)
    return s.some(df if df["kappa"].notna().any() else df.iloc[:0], "error_consistency", "pairs with a kappa",
                  "predict"), words  # fmt: skip


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where two runs can be compared."""
    return bool(tables["consistency"]["kappa"].notna().any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What kappa is, over how many images and pairs, and what the intervals are."""
    df, which = _select(tables)
    n = "; ".join(f"{s.span(df[df['test'] == t]['n'])} {'blends at alpha 0.5' if t == 'blended' else 'photographs'}"
                  for t, _ in _TESTS if (df["test"] == t).any())  # fmt: skip
    medians = []
    for test, words in _TESTS:
        part = df[df["test"] == test].groupby("relation")["kappa"].median().dropna()
        found = [f"{_RELATIONS[r].replace(chr(10), ' ')} {part[r]:.2f}" for r in _RELATIONS if r in part.index]
        if found:
            medians.append(f"{words}: {', '.join(found)}")
    gone = int(df["kappa"].isna().sum())
    runs = len(set(df["run_a"]) | set(df["run_b"]))
    return (
        "Error consistency of pairs of runs (Geirhos et al. 2020): Cohen's kappa of naming an image rightly, 0 where "
        "errors go together only as their rates make them, 1 where they are the same, negative where they shun each "
        f"other. {len(df)} pairs of {runs} runs, on {n}. {which}Lines: 95 % intervals over images, the same draws for "
        f"all pairs. Medians: {'; '.join(medians)}. Pairs share runs, so that points are not independent."
        + (f" {gone} pair{'s have' if gone > 1 else ' has'} no kappa (a rate of 0 or 1)." if gone else "")
    )
