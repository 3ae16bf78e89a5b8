"""Brain score against accuracy on blends, across networks, with the coefficient of correlation.csv."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s
from analysis.stats.correlation import CELL, rates

NEEDS = ("scores", "accuracy", "correlation")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a region, recording and metric: small points are runs, large ones their means over seeds.

    Raises BlendnetError where a table is missing or no trained run has both a score and an accuracy.
    """
    df, correlation = _select(tables)
    networks = s.ordered(df["network"])
    with s.style():
        places = s.places(df)
        kinds = s.trainings(df["training"])
        # A line a training above each panel needs a wider one.
        most, more = (3, 3.2 * len(kinds)) if len(kinds) > 1 else (4, 0.0)
        fig, axes = s.panels(len(places), 56 + more, 20, most)
        for i, (ax, place) in enumerate(zip(axes, places)):
            _panel(ax, s.at(df, place), networks)
            ax.set_title(s.title(place) + "\n" + _words(s.at(correlation, place)))
            ax.set_xlabel("blends, both named (%)")
            if i % most == 0:
                ax.set_ylabel("score (raw)")
        s.invented(fig, df)
        keys = s.network_keys(networks) + s.twin_keys(s.attentions(df["attention"]))
        s.keys(fig, keys + s.training_keys(kinds), 6 if len(kinds) < 2 else 4)
    return fig


def _panel(ax: Axes, df: pd.DataFrame, networks: list[str]) -> None:
    for row in df.to_dict("records"):
        shade, x = s.colour(row["network"], networks), 100 * row["rate"]
        if np.isfinite(row["lo"]) and np.isfinite(row["hi"]):
            ax.plot([x, x], [row["lo"], row["hi"]], lw=0.5, alpha=0.35, color=shade)
        look: dict[str, Any] = {"marker": s.marker(row["attention"]), "ms": 2.5, "mew": 0, "alpha": 0.45}
        look |= s.fill(row["training"])
        ax.plot(x, row["score"], ls="none", color=shade, **look)
    means = df.groupby(CELL, dropna=False)[["rate", "score"]].mean().reset_index()
    for row in means.to_dict("records"):
        shade = s.colour(row["network"], networks)
        edge = "white" if row["training"] == "blended" else shade  # half a marker needs its outline
        ax.plot(100 * row["rate"], row["score"], ls="none", marker=s.marker(row["attention"]), ms=6, color=shade,
                mec=edge, mew=0.5, zorder=3, **s.fill(row["training"]))  # fmt: skip
    ax.margins(0.15)
    ax.locator_params(nbins=4)


def _words(found: pd.DataFrame) -> str:
    """The coefficient over all points; where there are several trainings one line for each of them instead."""
    kinds = s.trainings(found["training"])
    if kinds:
        lines = [(kind, found[found["training"] == kind].iloc[0]) for kind in kinds]
        return "\n".join(f"{kind}: " + _coefficient(row, ", ") for kind, row in lines)
    return _coefficient(found.iloc[0], "\n") if len(found) else "no coefficient"


def _coefficient(row: pd.Series, space: str) -> str:
    if not np.isfinite(row["value"]):
        return f"no coefficient (n = {row['n_points']})"
    interval = f" [{_short(row['lo'])}, {_short(row['hi'])}]" if np.isfinite(row["lo"]) and space == "\n" else ""
    return f"ρ = {_short(row['value'])}{interval}{space}p = {row['p']:.2g}, n = {row['n_points']}"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores, accuracy, correlation = s.need(tables, NEEDS)
    trained = scores[(scores["kind"] == "network") & scores["score"].notna()]
    df = trained.merge(rates(accuracy, "blended_both"), on="run")
    s.some(df, "similarity_accuracy", "trained runs with both a score and an accuracy on blends", "predict")
    c = correlation
    chosen = (c["accuracy"] == "blended_both") & (c["statistic"] == "spearman") & (c["left_out"] == "")
    return df, correlation[chosen]


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What a point is, how many there are, and where interval and p come from."""
    df, correlation = _select(tables)
    kinds = s.trainings(df["training"])
    several = len(kinds) > 1
    mine = correlation[correlation["training"].isin(kinds)] if several else correlation
    notes = sorted(set(mine["note"]))
    planted = s.planted_words(df)
    n = sorted(set(mine["n_points"]))
    points = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}" if n else "no"
    each = " and training" if several else ""
    seeds = s.span(df.groupby(CELL)["seed"].nunique())
    return (
        "Brain score (raw, layer chosen on other stimuli) against the rate of blends with both objects "
        f"named. Large points ({points} a panel{each}) are means over {seeds} seeds, small ones the "
        f"{df['run'].nunique()} runs with the 95 % interval of their score. ρ: Spearman over the large "
        f"points{' of one training' if several else ' with its 95 % interval'}, p: two-sided permutation of "
        f"the points ({'; '.join(notes)}). "
        + ("The coefficients of all trainings together are in correlation.csv with their intervals; training changes "
           "both things, so they say little. " if several else "")
        + "With so few architectures a coefficient describes these networks only; "
        "leave-one-architecture-out and p within "
        "architectures are in correlation.csv." + (f" {planted[0].upper()}{planted[1:]}." if planted else "")
    )  # fmt: skip
