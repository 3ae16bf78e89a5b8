"""How heavy an object must be to be named: the rate at which it is, against its weight in the blend."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("psychometric", "psychometric_points")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture: points of each run with the fitted curve and its threshold; last, all thresholds.

    Raises BlendnetError where a table is missing or holds no trained run.
    """
    fits, points, _ = _select(tables)
    networks, kinds = s.ordered(points["network"]), s.twins(points)
    with s.style():
        fig, axes = s.panels(len(networks) + 1, 56, 12, 4 if len(networks) != 2 else 3)
        across = 4 if len(networks) != 2 else 3
        for i, (ax, network) in enumerate(zip(axes, networks)):
            shade = s.colour(network, networks)
            _curves(ax, fits[fits["network"] == network], points[points["network"] == network], kinds, shade)
            ax.set_title(s.label(network))
            if i % across == 0:
                ax.set_ylabel("object named (%)")
        _thresholds(axes[-1], fits, networks, kinds)
        s.keys(fig, [s.key(s.twin(*k), marker=s.marker(k[0]), ls=s.line(k[0])) for k in kinds]
               + [s.key("not in the blend", s.GREY, ls=":")], 5)  # fmt: skip
    return fig


def _curves(ax: Axes, fits: pd.DataFrame, points: pd.DataFrame, kinds: list[tuple[str, int]], shade: str) -> None:
    fine = np.linspace(0, 1, 101)
    for shift, kind in zip(s.offsets(len(kinds), 0.012 * (len(kinds) - 1)), kinds):
        for row in s.of_twin(points, kind).to_dict("records"):
            s.bar(ax, row["weight"] + shift, row, shade, 100)
            ax.plot(row["weight"] + shift, 100 * row["rate"], marker=s.marker(kind[0]), color=shade, ms=2.2, mew=0,
                    ls="none")  # fmt: skip
        for row in s.of_twin(fits, kind).dropna(subset=["threshold"]).to_dict("records"):
            slope = row["slope"] if np.isfinite(row["slope"]) else 200.0
            rise = 0.5 * (1 + np.tanh(0.5 * slope * (fine - row["threshold"])))
            ax.plot(fine, 100 * (row["floor"] + (row["top"] - row["floor"]) * rise), ls=s.line(kind[0]), color=shade,
                    lw=0.8)  # fmt: skip
    if len(fits):
        ax.axhline(100 * fits["floor"].mean(), color=s.GREY, ls=":", zorder=0)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 100)
    ax.set_xticks([0, 0.5, 1])
    ax.set_xlabel("weight of the object")


def _thresholds(ax: Axes, fits: pd.DataFrame, networks: list[str], kinds: list[tuple[str, int]]) -> None:
    for y, network in enumerate(networks):
        shade = s.colour(network, networks)
        for shift, kind in zip(s.offsets(len(kinds), 0.6), kinds):
            rows = s.of_twin(fits[fits["network"] == network], kind).sort_values("seed").to_dict("records")
            width = 0.6 / max(len(kinds), 1) * 0.6
            for place, row in zip(y + shift + s.offsets(len(rows), width), rows):
                if np.isfinite(row["threshold_lo"]) and np.isfinite(row["threshold_hi"]):
                    ax.plot([row["threshold_lo"], row["threshold_hi"]], [place] * 2, color=shade, lw=0.7)
                ax.plot(row["threshold"], place, marker=s.marker(kind[0]), color=shade, ms=3.2, ls="none")
    ax.set_yticks(range(len(networks)), [s.label(n) for n in networks])
    ax.set_ylim(len(networks) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)
    ax.margins(x=0.1)
    ax.set_title("thresholds")
    ax.set_xlabel("weight at half way")


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    fits, points = s.need(tables, NEEDS)
    points, words = s.trained(points[points["group"] == ""])
    s.some(points, "psychometric", "curves of trained runs", "predict")
    return fits[(fits["group"] == "") & fits["run"].isin(points["run"])], points, words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where a trained run has a point."""
    df = tables["psychometric_points"]
    return bool((df["training"].isin(s.columns.TRAINED) & (df["group"] == "")).any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is fitted to how many objects, and what the intervals are."""
    fits, points, which = _select(tables)
    known = fits.dropna(subset=["threshold"])
    poor = int((known["p_fit"] < 0.05).sum())
    seeds = points.groupby(["network", "attention", "heads"], dropna=False)["seed"].nunique()
    gone = len(fits) - len(known)
    return (
        "How often an object is among the two highest outputs, against its weight in the blend (of two objects one has "
        f"alpha, the other 1 - alpha), with Wilson 95 % intervals; {points['run'].nunique()} runs, {s.span(seeds)} "
        f"seeds a network and attention kind, {s.span(points.groupby('run')['n'].sum())} objects a run. {which}Curves: "
        "logistic fits by maximum likelihood between a floor (dotted: how often a class that is not in the blend is "
        "named) and a free top (Wichmann and Hill 2001). Right: threshold, the weight half way between them, with the "
        f"95 % bootstrap interval over pairs of photographs. {poor} of {len(known)} fits are refused by their deviance "
        "at the 5 % level." + (f" {gone} run{'s have' if gone > 1 else ' has'} no threshold." if gone else "")
    )
