"""Zero-shot superposition: do networks that were trained on single objects name both objects of a blend?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("accuracy",)
_TESTS = (("blended", "both", "blends: both named (%)"), ("regular", "top1", "one object: top-1 (%)"))
_MOST = 4  # networks side by side


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """With one training the other figures of accuracy say it all."""
    return len(s.trainings(tables["accuracy"]["training"])) > 1


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A column a network, blends above images of one object; a point a seed with its Wilson interval, by training.

    Raises BlendnetError where accuracy is missing or holds no overall rates of trained runs.
    """
    df = _select(tables)
    networks, kinds = s.ordered(df["network"]), s.trainings(df["training"])
    across, blocks = min(_MOST, len(networks)), -(-len(networks) // _MOST)
    with s.style():
        fig = s.figure(s.PAGE if across > 1 else s.COLUMN, 2 * blocks * 48 + 14)
        axes = fig.subplots(2 * blocks, across, squeeze=False)
        for ax in axes.ravel():
            ax.set_axis_off()
        for i, network in enumerate(networks):
            for j, (test, outcome, words) in enumerate(_TESTS):
                ax = axes[2 * (i // across) + j, i % across]
                ax.set_axis_on()
                mine = df[(df["test"] == test) & (df["outcome"] == outcome)]
                _panel(ax, mine[mine["network"] == network], kinds, s.colour(network, networks))
                ax.set_ylim(0, max(10.0, min(103.0, 108 * mine["hi"].max())))
                if j == 0:
                    ax.set_title(s.label(network))
                if i % across == 0:
                    ax.set_ylabel(words)
        raw = [s.key("untrained", marker="o", mfc="white")] if (df["training"] == "untrained").any() else []
        s.keys(fig, s.twin_keys(s.attentions(df["attention"])) + raw
               + [s.key("mean of seeds", ls="-", lw=2), s.key("chance", s.GREY, ls=":")], 6)  # fmt: skip
    return fig


def _panel(ax: Axes, df: pd.DataFrame, kinds: list[str], shade: str) -> None:
    attentions = s.attentions(df["attention"])
    columns = kinds + (["untrained"] if (df["training"] == "untrained").any() else [])
    for shift, attention in zip(s.offsets(len(attentions), 0.4), attentions):
        for x, training in enumerate(columns):
            part = df[(df["attention"] == attention) & (df["training"] == training)].sort_values("seed")
            hollow = training == "untrained"
            for place, row in zip(x + shift + s.offsets(len(part), 0.05 * (len(part) - 1)), part.to_dict("records")):
                s.bar(ax, place, row, shade, 100)
                ax.plot(place, 100 * row["rate"], marker=s.marker(attention), color=shade, zorder=3,
                        mfc="white" if hollow else shade, ls="none")  # fmt: skip
            if not hollow and len(part) > 1:
                mean = 100 * part["rate"].mean()
                ax.plot([x + shift - 0.13, x + shift + 0.13], [mean, mean], color=shade, lw=2, alpha=0.6, zorder=1,
                        solid_capstyle="butt")  # fmt: skip
    for level in sorted(set(df["chance"].dropna().round(6))):
        ax.axhline(100 * level, color=s.GREY, ls=":", zorder=0)
        ax.annotate(f"{100 * level:.3g}", (0.01, 100 * level), xycoords=("axes fraction", "data"), va="bottom",
                    color=s.GREY)  # fmt: skip
    words = {"blended": "blends", "regular": "one object"}
    ax.set_xticks(range(len(columns)), [words.get(c, c) for c in columns], rotation=20 if len(columns) > 3 else 0)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.55, len(columns) - 0.45)


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    df = df[(df["by"] == "all") & df["outcome"].isin(("top1", "both")) & df["test"].isin(("blended", "regular"))]
    trained = s.some(df[df["training"].isin(s.columns.TRAINED)], "accuracy_by_training", "trained runs", "predict")
    return df[df["network"].isin(set(trained["network"])) & df["training"].isin((*s.columns.TRAINED, "untrained"))]


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, how many images and seeds, and what the intervals are."""
    df = _select(tables)
    counts = []
    for test, outcome, _ in _TESTS:
        n = sorted(set(df[(df["test"] == test) & (df["outcome"] == outcome)]["n"]))
        if n:
            many = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
            counts.append(f"{many} {'images of one object' if test == 'regular' else 'blends at alpha 0.5'}")
    trained = df[df["training"] != "untrained"]
    seeds = trained.groupby(["network", "attention", "training"])["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return (
        "The same tests for networks trained in different ways (below the axis: on blends, on images of one object, "
        "by a curriculum). Networks trained on one object have never seen a blend: what they name in one is zero-shot. "
        f"Each point is one seed ({many} a network and training), its line the Wilson 95 % interval over images (n = "
        f"{' and '.join(counts)}); bars are means over seeds, hollow points untrained networks, dotted lines guessing."
    )
