"""How much of the response to a blend a sum of the responses to its two objects explains, layer by layer."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _depth as d
from analysis.figures import _style as s
from analysis.figures.superposition import select

NEEDS = ("superposition",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture; filled: with the best weights, open: with the weights of the pixels.

    Raises BlendnetError where superposition is missing or has no fits of trained runs.
    """
    df, _ = _select(tables)
    networks = d.networks(df)
    # The fixed mixture may be worse than the mean response; far below 0 it would press all else flat.
    low = max(-0.5, min(0.0, float(df["r2_mixture"].min()), float(df["r2"].min())))
    with s.style():
        fig, axes = s.panels(len(networks), 54, 12, 4)
        for i, (ax, network) in enumerate(zip(axes, networks)):
            own, shade = df[df["network"] == network], s.colour(network, networks)
            d.lines(ax, own, "r2_mixture", shade, band=False, mfc="white", alpha=0.6, lw=0.6)
            d.lines(ax, own, "r2", shade)
            d.axis(ax)
            ax.set_ylim(low - 0.03, 1.03)
            ax.set_title(s.label(network))
            if i % 4 == 0:
                ax.set_ylabel("explained (R²)")
        s.keys(fig, [*d.keys(df), s.key("best weights", marker="s"),
                     s.key("weights of the pixels", marker="s", mfc="white")], 5)  # fmt: skip
    return fig


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    df, words = select(tables, "superposition_fit", "r2", "fits of trained runs")
    return df[df["alpha"] == d.middle(df)].assign(r2_mixture_lo=float("nan"), r2_mixture_hi=float("nan")), words


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is explained, over how many blends and seeds, and what the bands are."""
    df, which = _select(tables)
    below = int((df["r2_mixture"] < -0.5).sum())
    return (
        f"Part of each layer's response to a blend (alpha {d.middle(df):g}) that a weighted sum of its responses to "
        "the two photographs alone explains: with the best weights for each blend (filled) and with the weights of the "
        f"pixels (open, no interval). {d.words(df)} {s.span(df['n_blends'])} blends. {which}"
        + (f"{below} values below -0.5 are cut off." if below else "")
    ).rstrip()
