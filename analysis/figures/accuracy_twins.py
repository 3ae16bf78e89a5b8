"""Accuracy of the plain and the attention twin on images of one object and on blends (both objects named)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("accuracy",)
_TESTS = (("regular", "top1", "one object: top-1"), ("blended", "both", "blends: both named"))


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two panels; a point a seed with its Wilson interval over images, a bar their mean, hollow: untrained.

    Raises BlendnetError where accuracy is missing or holds no overall rates.
    """
    df = _select(tables)
    trained = s.trainings(df["training"]) or ["untrained"]
    tests = [t for t in _TESTS if ((df["test"] == t[0]) & (df["outcome"] == t[1])).any()]
    with s.style():
        fig = s.figure(s.PAGE, 62 * len(trained) + 12)
        axes = fig.subplots(len(trained), len(tests), squeeze=False)
        for i, training in enumerate(trained):
            for ax, (test, outcome, words) in zip(axes[i], tests):
                mine = df[(df["test"] == test) & (df["outcome"] == outcome)]
                _panel(ax, mine[mine["training"].isin((training, "untrained"))], s.ordered(df["network"]))
                # One scale for all trainings of a test.
                ax.set_ylim(0, max(10.0, min(100.0, 108 * mine["hi"].max())))
                ax.set_title(words + (f" ({s.trained_on(training)})" if len(trained) > 1 else ""))
        for ax in axes[:, 0]:
            ax.set_ylabel("correct (%)")
        kinds = s.attentions(df["attention"])
        extra = [s.key("untrained", marker="o", mfc="white")] if (df["training"] == "untrained").any() else []
        s.keys(fig, s.twin_keys(kinds) + extra + [s.key("mean of seeds", ls="-", lw=2),
                                                  s.key("chance", s.GREY, ls=":")], 6)  # fmt: skip
    return fig


def _panel(ax: Axes, df: pd.DataFrame, networks: list[str]) -> None:
    kinds = s.attentions(df["attention"])
    for x, network in enumerate(networks):
        shade = s.colour(network, networks)
        own = df[df["network"] == network]
        joined: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for shift, kind in zip(s.offsets(len(kinds), 0.4), kinds):
            for training, part in own[own["attention"] == kind].groupby("training"):
                hollow = training == "untrained"
                places = x + shift + s.offsets(len(part), 0.05 * (len(part) - 1))
                for place, row in zip(places, part.sort_values("seed").to_dict("records")):
                    s.bar(ax, place, row, shade, 100)
                    ax.plot(place, 100 * row["rate"], marker=s.marker(kind), color=shade, zorder=3,
                            mfc="white" if hollow else shade, ls="none")  # fmt: skip
                    joined.setdefault((training, int(row["seed"])), []).append((place, 100 * row["rate"]))
                if not hollow and len(part) > 1:
                    mean = 100 * part["rate"].mean()
                    ax.plot([x + shift - 0.13, x + shift + 0.13], [mean, mean], color=shade, lw=2, zorder=1,
                            solid_capstyle="butt", alpha=0.6)  # fmt: skip
        for pair in joined.values():
            ax.plot(*zip(*pair), color=shade, lw=0.5, alpha=0.5, zorder=1)
    for level in sorted(set(np.round(df["chance"].dropna(), 6))):
        ax.axhline(100 * level, color=s.GREY, ls=":", zorder=0)
        ax.annotate(f"{100 * level:.3g}", (1, 100 * level), xycoords=("axes fraction", "data"), ha="right",
                    va="bottom", color=s.GREY)  # fmt: skip
    ax.set_xticks(range(len(networks)), [s.label(n) for n in networks])
    if len(networks) > 4:  # their names would touch
        ax.tick_params(axis="x", rotation=30)
    ax.set_xlim(-0.6, len(networks) - 0.4)


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    df = df[(df["by"] == "all") & df["outcome"].isin(("top1", "both")) & df["training"].ne("")]
    return s.some(df, "accuracy_twins", "rows by 'all'", "predict")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, how many images and seeds, and what the intervals are."""
    df = _select(tables)
    counts = []
    for test, outcome, _ in _TESTS:
        part = df[(df["test"] == test) & (df["outcome"] == outcome)]
        if len(part):
            n = sorted(set(part["n"]))
            many = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
            counts.append(f"{many} {'images of one object' if test == 'regular' else 'blends at alpha 0.5'}")
    seeds = df[df["training"] != "untrained"].groupby(["network", "attention", "training"])["seed"].nunique()
    words = f"{seeds.min()}" if len(seeds) and seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return (
        "Accuracy of the plain and the attention twin. Each point is one seed "
        f"({words if len(seeds) else 'no'} trained per network), its line the Wilson 95 % interval over "
        f"images (n = {' and '.join(counts)}); twins of one seed are joined, bars are means over seeds, "
        "hollow points are untrained networks, dotted lines guessing."
    )
