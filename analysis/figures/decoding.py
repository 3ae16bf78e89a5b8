"""What can be read out of each layer: both objects of a blend, or one, by a linear readout."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _depth as d
from analysis.figures import _style as s

NEEDS = ("decoding",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture; filled: both objects, open: exactly one, dotted: guessing.

    Raises BlendnetError where decoding is missing or has no trained run.
    """
    df, _ = _select(tables)
    networks = d.networks(df)
    with s.style():
        fig, axes = s.panels(len(networks), 58, 14, 4)
        for i, (ax, network) in enumerate(zip(axes, networks)):
            own, shade = df[df["network"] == network], s.colour(network, networks)
            d.lines(ax, own[own["outcome"] == "one"], "rate", shade, 100, band=False, mfc="white", alpha=0.5, lw=0.7)
            d.lines(ax, own[own["outcome"] == "both"], "rate", shade, 100)
            for value in sorted(set(own["chance"].dropna())):
                ax.axhline(100 * value, color=s.GREY, ls=":", zorder=0)
            d.axis(ax)
            ax.set_ylim(0, 100)
            ax.set_title(s.label(network))
            if i % 4 == 0:
                ax.set_ylabel("blends (%)")
        s.keys(fig, [*d.keys(df), s.key("both", marker="s"), s.key("exactly one", marker="s", mfc="white"),
                     s.key("chance", s.GREY, ls=":")], 6)  # fmt: skip
    return fig


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[df["outcome"].isin(("both", "one")) & df["rate"].notna()])
    return s.some(df, "decoding", "readouts of trained runs", "dissect"), words


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is read out, from how many blends and seeds, and what the bands are."""
    df, which = _select(tables)
    return (
        f"Blends whose two objects ({s.span(df['n'])} test blends) a linear readout of one layer names both (filled) "
        f"or exactly one (open, without its interval); the readout is fitted on {s.span(df['n_train'])} other "
        f"blends of other photographs. {d.words(df)} Dotted: guessing. {which}"
    ).rstrip()
