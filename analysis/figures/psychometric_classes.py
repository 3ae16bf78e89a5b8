"""Which objects shine through: the threshold of each class, the weight that it needs to be named."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("psychometric",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture, a row a class, lowest mean threshold on top; a point a run with its interval.

    Raises BlendnetError where psychometric is missing or has no threshold of a class in a trained run.
    """
    df, _ = _select(tables)
    networks, kinds = s.ordered(df["network"]), s.twins(df)
    means = df.groupby("group")["threshold"].mean()
    classes = sorted(means.index, key=lambda c: (np.isnan(means[c]), means[c], c))
    ends = df[["threshold", "threshold_lo", "threshold_hi"]].to_numpy(dtype=float)
    ends = ends[np.isfinite(ends)]
    with s.style():
        fig, axes = s.panels(len(networks), 14 + len(classes) * (2.5 + 2.0 * len(kinds)), 10, 4)
        for i, (ax, network) in enumerate(zip(axes, networks)):
            _panel(ax, df[df["network"] == network], classes, kinds, s.colour(network, networks))
            ax.set_title(s.label(network))
            ax.set_xlabel("threshold (weight)")
            ax.set_xlim(ends.min() - 0.03, ends.max() + 0.03)
            ax.set_yticks(range(len(classes)), classes if i % 4 == 0 else [])
        looks = [{"marker": s.marker(k[0]), "mfc": "white" if k[0] == "none" else s.DARK} for k in kinds]
        s.keys(fig, [s.key(s.twin(*k), **look) for k, look in zip(kinds, looks)], 5)
    return fig


def _panel(ax: Axes, df: pd.DataFrame, classes: list[str], kinds: list[tuple[str, int]], shade: str) -> None:
    for y, name in enumerate(classes):
        for shift, kind in zip(s.offsets(len(kinds), 0.5), kinds):
            rows = s.of_twin(df[df["group"] == name], kind).sort_values("seed").to_dict("records")
            for place, row in zip(y + shift + s.offsets(len(rows), 0.3 / len(kinds)), rows):
                if np.isfinite(row["threshold_lo"]) and np.isfinite(row["threshold_hi"]):
                    ax.plot([row["threshold_lo"], row["threshold_hi"]], [place] * 2, color=shade, lw=0.6)
                face = "white" if kind[0] == "none" else shade
                ax.plot(row["threshold"], place, marker=s.marker(kind[0]), color=shade, mfc=face, ms=2.8, mew=0.7,
                        ls="none", zorder=3)  # fmt: skip
        if y:
            ax.axhline(y - 0.5, color=s.GREY, lw=0.3, zorder=0)
    ax.set_ylim(len(classes) - 0.45, -0.55)
    ax.locator_params(axis="x", nbins=4)
    ax.tick_params(axis="y", length=0)


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[df["group"] != ""])
    if not df["threshold"].notna().any():
        df = df.iloc[:0]
    return s.some(df, "psychometric_classes", "thresholds of classes in trained runs", "predict"), words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where a class has a threshold in a trained run."""
    df = tables["psychometric"]
    return bool((df["training"].isin(s.columns.TRAINED) & (df["group"] != "") & df["threshold"].notna()).any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What a threshold is, from how many objects, and what the intervals are."""
    df, which = _select(tables)
    gone = int(df["threshold"].isna().sum())
    seeds = df.groupby(["network", "attention", "heads"], dropna=False)["seed"].nunique()
    return (
        "Threshold of each class: the weight at which it is named half as often above its floor (how often it is named "
        "where it is not in the blend) as at its best; classes that need least weight on top. A point a run "
        f"({df['run'].nunique()} runs, {s.span(seeds)} seeds a network and attention kind, {s.span(df['n'])} objects a "
        f"class and run), its line the 95 % bootstrap interval over pairs of photographs. {which}"
        + (f"{gone} of {len(df)} have no threshold between 0 and 1; note in psychometric.csv says why." if gone else "")
    ).rstrip()
