"""Which object wins inside a network: the weight beyond its share of the one that the network knows better."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _depth as d
from analysis.figures import _style as s
from analysis.figures.superposition import NEEDS as NEEDS

_OUTCOMES = {"both": "both objects named", "one": "one object named"}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row for blends of which both objects were named and one for those with one; a panel an architecture.

    Raises BlendnetError where superposition is missing or has no bias of trained runs.
    """
    df, _ = _select(tables)
    networks = d.networks(df)
    there = [o for o in _OUTCOMES if (df["outcome"] == o).any()]
    cells = [(o, n) for k in range(0, len(networks), 4) for o in there for n in networks[k : k + 4]]
    across = min(4, len(networks))
    low, high = df[["bias", "bias_lo"]].min().min(), df[["bias", "bias_hi"]].max().max()
    with s.style():
        down = -(-len(networks) // 4) * len(there)
        fig = s.figure(s.PAGE if across > 1 else s.COLUMN, 46 * down + 12)
        axes = fig.subplots(down, across, squeeze=False)
        for ax in axes.ravel():
            ax.set_axis_off()
        for outcome, network in cells:
            at = networks.index(network)
            ax = axes[at // 4 * len(there) + there.index(outcome), at % 4]
            ax.set_axis_on()
            ax.axhline(0, color=s.DARK, lw=0.5, zorder=0)
            own = df[(df["network"] == network) & (df["outcome"] == outcome)]
            d.lines(ax, own, "bias", s.colour(network, networks))
            d.axis(ax)
            ax.set_ylim(min(0, low) - 0.02, max(0, high) + 0.02)
            ax.set_title(f"{s.label(network)}\n{_OUTCOMES[outcome]}")
            if at % 4 == 0:
                ax.set_ylabel("bias (weight)")
        s.keys(fig, d.keys(df), 5)
    return fig


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df[df["outcome"].isin(_OUTCOMES) & df["bias"].notna()])
    df = df[df["alpha"] == d.middle(df)] if len(df) else df
    return s.some(df, "superposition_bias", "biases of trained runs", "dissect"), words


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where enough blends of a trained run had both or one of their objects named."""
    df = tables["superposition"]
    known = df["outcome"].isin(_OUTCOMES) & df["bias"].notna() & df["training"].isin(s.columns.TRAINED)
    return bool(known.any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What the bias is, over how many blends and seeds, and what the bands are."""
    df, which = _select(tables)
    return (
        "Bias of each layer towards the object that the network recognises better when alone: how much more weight its "
        "response has in the response to the blend than the other's, beyond their weights in the pixels (alpha "
        f"{d.middle(df):g}); 0 for a layer that only mixes. {d.words(df)} {s.span(df['n_blends'])} blends, by what the "
        f"network named. {which}"
    ).rstrip()
