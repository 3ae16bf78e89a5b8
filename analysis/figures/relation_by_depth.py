"""Where in a network similarity goes with accuracy: the coefficient of each area along depth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _quantities as q
from analysis.figures import _style as s
from analysis.figures.relation import select

NEEDS = ("relation",)
_SIDE = 4


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a region, recording and metric, areas in order; rank coefficients, plain and given covariates.

    Raises BlendnetError where relation is missing or has no rows by depth.
    """
    df, _ = _select(tables)
    places = s.places(df)
    with s.style():
        fig, axes = s.panels(len(places), 46, 12, _SIDE)
        for i, (ax, place) in enumerate(zip(axes, places)):
            _panel(ax, s.at(df, place))
            ax.set_title(s.title(place))
            ax.set_xlabel("depth")
            if i % _SIDE == 0:
                ax.set_ylabel("rank correlation with\nblends, both named")
        q.invented(fig, sorted(set(df["recording"])))
        keys = [s.key("as they are", ls="-", marker="o")]
        if (df["adjusted"] != "").any():
            keys.append(s.key("given covariates", _SHADE, ls="--", marker="o", mfc="white"))
        s.keys(fig, keys)
    return fig


_SHADE = "#0072B2"


def _panel(ax: Axes, df: pd.DataFrame) -> None:
    ax.axhline(0, color=s.DARK, lw=0.5, zorder=0)
    for given, own in df.groupby("adjusted", sort=True):
        own = own.sort_values("depth")
        shade = _SHADE if given else s.DARK
        if own["lo"].notna().any():
            ax.fill_between(own["depth"], own["lo"], own["hi"], color=shade, alpha=0.13, lw=0)
        ax.plot(own["depth"], own["value"], color=shade, marker="o", ls="--" if given else "-", ms=3,
                mfc="white" if given else shade)  # fmt: skip
    if not df["value"].notna().any():
        ax.text(0.5, 0.5, f"not computed (n = {s.span(df['n_points'])})", ha="center", va="center",
                transform=ax.transAxes, color=s.DARK)  # fmt: skip
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-1.05, 1.05)
    ax.set_xticks([0, 0.5, 1])
    ax.set_yticks([-1, 0, 1])


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    df, words = select(tables, True, "relation_by_depth", "coefficients by depth with accuracy on blends")
    return df[df["statistic"] == "spearman"], words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where the table has coefficients along depth."""
    df = tables["relation"]
    return bool((df["depth"].notna() & (df["accuracy"] == "blended_both")).any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What a coefficient is over, and what the bands are."""
    df, which = _select(tables)
    given = sorted(set(df["adjusted"]) - {""})
    held = f" Dashed: holding constant {' or '.join(g.replace('_', ' ') for g in given)}." if given else ""
    known = df["lo"].notna() & df["hi"].notna()
    half = np.nan if not known.any() else float((df["hi"] - df["lo"])[known].median() / 2)
    width = f" (median half width {half:.2g})" if np.isfinite(half) else " (none could be computed)"
    return (
        "Rank correlation over networks between the brain score at one depth (layers of each network, the first 0 and "
        "the last 1) and the rate of blends with both objects named: "
        f"{s.span(df['n_points'])} points in {s.span(df['n_architectures'])} architectures. {which}Bands: 95 % "
        f"intervals{width}.{held} Scores of all layers are cross-validated over all stimuli; no p is adjusted for the "
        f"{df['depth'].nunique()} depths."
    )
