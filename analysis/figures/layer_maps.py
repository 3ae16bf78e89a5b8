"""Which layer goes with which area: score of every layer (rows) with every recording (columns)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("layers", "scores")
_MAP = "cividis"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A heat map a network and attention kind, first layer on top, means over seeds, one colour scale for
    all.

    Square: the layer committed in scores.csv (every seed's); diamond: the layer that a planted recording
    was made from. Raises BlendnetError where a table is missing or holds no trained run.
    """
    layers, scores = _select(tables)
    networks, kinds = s.ordered(layers["network"]), s.attentions(layers["attention"])
    places = s.places(layers)
    top = layers.groupby(["network", "attention", "layer", "recording", "region", "metric"])["score"].mean()
    norm = Normalize(min(0.0, top.min()), top.max())
    rows = [layers[layers["network"] == n]["layer"].nunique() for n in networks]
    with s.style():
        wide = s.PAGE if len(kinds) > 1 or len(places) > 6 else s.COLUMN
        fig = s.figure(wide, 4.2 * sum(rows) + 9 * len(networks) + 42)
        axes = fig.subplots(len(networks), len(kinds), squeeze=False, height_ratios=rows)
        for i, network in enumerate(networks):
            names = order(layers, network)
            for j, kind in enumerate(kinds):
                own = layers[(layers["network"] == network) & (layers["attention"] == kind)]
                chosen = scores[(scores["network"] == network) & (scores["attention"] == kind)]
                _panel(axes[i, j], own, chosen, names, places, norm)
                axes[i, j].set_title(f"{s.label(network)}, {s.label(kind)}", color=s.colour(network, networks))
                axes[i, j].set_yticks(range(len(names)), names if j == 0 else [])
                words = [f"{r} {s.label(m)} {rec}" for r, rec, m in places]
                below = words if i == len(networks) - 1 else []
                axes[i, j].set_xticks(range(len(places)), below, rotation=40, ha="right", rotation_mode="anchor")
        bar = fig.colorbar(ScalarMappable(norm, _MAP), ax=list(axes.ravel()), shrink=0.6, aspect=30, pad=0.01)
        bar.set_label("score (raw)")
        bar.outline.set_visible(False)
        keys = [s.key("committed layer", marker="s", mfc="none", ms=7)]
        if scores["planted"].any():
            keys.append(s.key("planted layer", marker="D", mfc="none", ms=5))
        s.invented(fig, scores)
        s.keys(fig, keys)
    return fig


def order(layers: pd.DataFrame, network: str) -> list[str]:
    """The layers of a network by depth."""
    own = layers[layers["network"] == network].drop_duplicates("layer")
    return list(own.sort_values(["depth", "layer"], kind="stable")["layer"])


def planted_in(truth: str, network: str, run: str, names: list[str]) -> str | None:
    """The layer of this network that a planted recording was made from, None where it was made from another.

    truth: 'layer3', 'resnet18:layer3' or '<run id>:layer3'.
    """
    source, _, layer = truth.rpartition(":")
    return layer if layer in names and source in ("", network, run) else None


def _panel(
    ax: Axes,
    own: pd.DataFrame,
    chosen: pd.DataFrame,
    names: list[str],
    places: list[tuple[str, str, str]],
    norm: Normalize,
) -> None:
    grid = np.full((len(names), len(places)), np.nan)
    for x, place in enumerate(places):
        means = s.at(own, place).groupby("layer")["score"].mean()
        grid[:, x] = [means.get(name, np.nan) for name in names]
    ax.imshow(np.ma.masked_invalid(grid), cmap=_MAP, norm=norm, aspect="auto", interpolation="nearest")
    crowded = len(places) > 12
    for (y, x), value in np.ndenumerate(grid):
        if np.isfinite(value) and not crowded:
            ink = "white" if norm(value) < 0.55 else "black"
            ax.text(x, y, _short(value), ha="center", va="center", color=ink)
    for x, place in enumerate(places):
        part = s.at(chosen, place)
        for layer in sorted(set(part["layer"]) & set(names)):
            s.frame(ax, x, names.index(layer))
        for row in part[part["planted"]].to_dict("records"):
            truth = planted_in(row["planted_layer"], row["network"], row["run"], names)
            if truth is not None:
                ax.plot(
                    x + 0.36,
                    names.index(truth),
                    marker="D",
                    ms=4,
                    mfc="white",
                    mec="black",
                    mew=0.8,
                    zorder=4,
                )
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _short(value: float) -> str:
    """.52, −.07; two digits and no leading 0, so that it fits a cell of 5 mm."""
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1).replace("-", "−")


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    layers, scores = s.need(tables, NEEDS)
    layers = s.some(layers[(layers["kind"] == "network") & layers["score"].notna()], "layer_maps",
                    "trained runs in layers.csv", "score")  # fmt: skip
    scores = scores[scores["kind"] == "network"]
    # One training fills a page; the rows of the others are in layers.csv, which the caption says.
    first = (s.trainings(layers["training"]) or sorted(set(layers["training"])))[0]
    return layers[layers["training"] == first], scores[scores["training"] == first]


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, over how many seeds and stimuli."""
    layers, scores = _select(tables)
    there = s.trainings(tables["layers"]["training"])
    others = f"Of the networks {s.trained_on(there[0])}; others are in layers.csv. " if len(there) > 1 else ""
    seeds = layers.groupby(["network", "attention"])["seed"].nunique()
    n = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    stimuli = "; ".join(f"{rec} {region}: {s.at(layers, (region, rec, m))['n_stimuli'].max()} stimuli"
                        for region, rec, m in {p[:2]: p for p in s.places(layers)}.values())  # fmt: skip
    planted = s.planted_words(scores)
    return (
        "Score of each layer (first on top) with each recording, raw, cross-validated over all stimuli "
        f"({stimuli}), mean over {n} seed{'' if n == '1' else 's'}; no intervals. {others}Squares: the layers "
        "committed on one half of the stimuli (one for each seed). For orientation: the scores that claims rest "
        "on, with their intervals, are those of scores.csv."
        + (f" Diamonds: the layer that the responses were made from; {planted}." if planted else "")
    )
