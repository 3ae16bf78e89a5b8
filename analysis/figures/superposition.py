"""A blend as a sum: the weight that the response to one object has in the response to the blend, layer by layer."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _depth as d
from analysis.figures import _style as s

NEEDS = ("superposition",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel an architecture; at each alpha the weight of the first object, against the pixels' weight (dotted).

    Raises BlendnetError where superposition is missing or has no weights of trained runs.
    """
    df, _ = _select(tables)
    networks = d.networks(df)
    low, high = df["weight_first"].min(), df["weight_first"].max()
    with s.style():
        fig, axes = s.panels(len(networks), 60, 12, 4)
        for i, (ax, network) in enumerate(zip(axes, networks)):
            for alpha in sorted(set(df["alpha"])):
                ax.axhline(alpha, color=s.GREY, ls=":", zorder=0)
                own = df[(df["network"] == network) & (df["alpha"] == alpha)]
                d.lines(ax, own, "weight_first", s.colour(network, networks))
            d.axis(ax)
            ax.set_ylim(min(0.0, low - 0.05), max(0.8, high + 0.05))
            ax.set_title(s.label(network))
            if i % 4 == 0:
                ax.set_ylabel("weight of the first object's response")
        s.keys(fig, [*d.keys(df), s.key("weight in the pixels", s.GREY, ls=":")], 5)
    return fig


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    return select(tables, "superposition", "weight_first", "weights of trained runs")


def select(tables: dict[str, pd.DataFrame], figure: str, value: str, what: str) -> tuple[pd.DataFrame, str]:
    """The rows over all blends of one training where `value` is known, and for the caption which training."""
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[(df["outcome"] == "all") & df[value].notna()])
    return s.some(df, figure, what, "dissect"), words


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What a weight is, over how many blends and seeds, and what the bands are."""
    df, which = _select(tables)
    alphas = ", ".join(f"{a:g}" for a in sorted(set(df["alpha"])))
    return (
        "The response of each layer to a blend as a weighted sum of its responses to the two photographs alone (least "
        f"squares over units, each blend on its own; responses less the layer's mean): the weight of the first, at "
        f"alpha {alphas} (dotted: its weight in the pixels, which a layer that only mixes would keep). "
        f"{d.words(df)} {s.span(df['n_blends'])} blends. {which}"
    ).rstrip()
