"""How many of the two objects are named as one of them fades: both and one correct against alpha."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("accuracy",)
_SHADE = {"both": 1.0, "one": 0.45}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a network and training: mean over seeds, the band reaching over the seeds' Wilson intervals.

    Raises BlendnetError where accuracy is missing or has no rows by alpha of trained runs.
    """
    df = _select(tables)
    networks = s.ordered(df["network"])
    cells = [(n, t) for n in networks for t in s.trainings(df[df["network"] == n]["training"])]
    with s.style():
        fig, axes = s.panels(len(cells), 58, 12, most=3)
        several = df["training"].nunique() > 1
        for i, (ax, (network, training)) in enumerate(zip(axes, cells)):
            own = df[(df["network"] == network) & (df["training"] == training)]
            _panel(ax, own, s.colour(network, networks))
            ax.set_title(s.label(network) + (f", {s.trained_on(training)}" if several else ""))
            ax.set_xlabel("alpha (weight of the first object)")
            if i % 3 == 0:
                ax.set_ylabel("blends (%)")
        s.keys(fig, s.twin_keys(s.attentions(df["attention"]), lines=True) + [s.key("chance", s.GREY, ls=":")], 4)
    return fig


def _panel(ax: Axes, df: pd.DataFrame, shade: str) -> None:
    for outcome, strength in _SHADE.items():
        part = df[df["outcome"] == outcome]
        for kind in s.attentions(part["attention"]):
            own = part[part["attention"] == kind].groupby("alpha").agg(
                rate=("rate", "mean"), lo=("lo", "min"), hi=("hi", "max"))  # fmt: skip
            if outcome == "both":  # a second pair of bands over these would hide all four
                ax.fill_between(own.index, 100 * own["lo"], 100 * own["hi"], color=shade, alpha=0.13, lw=0)
            face = shade if outcome == "both" else "white"
            ax.plot(own.index, 100 * own["rate"], ls=s.line(kind), marker=s.marker(kind), color=shade, mfc=face,
                    alpha=strength, ms=3.2)  # fmt: skip
        level = part["chance"].dropna()
        for value in sorted(set(level)):
            ax.plot([0.1, 0.9], [100 * value] * 2, color=s.GREY, ls=":", zorder=0)
            ax.annotate(f"{100 * value:.3g}", (0.93, 100 * value), va="center", color=s.GREY)
        if len(part):
            edge = part[part["alpha"] == part["alpha"].max()]["rate"].mean()
            ax.annotate(f"{outcome} named", (0.93, 100 * edge), va="center", color=s.DARK, annotation_clip=False)
    ax.set_xticks([0.1, 0.3, 0.5, 0.7, 0.9])
    ax.set_xlim(0.05, 1.16)
    ax.set_ylim(0, 100)
    ax.spines["bottom"].set_bounds(0.1, 0.9)


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    df = df[(df["test"] == "blended") & (df["by"] == "alpha") & df["outcome"].isin(_SHADE)]
    df = df[df["training"].isin(s.columns.TRAINED)]
    s.some(df, "accuracy_alpha", "rows by alpha of trained runs", "predict")
    return df.assign(alpha=df["group"].astype(float))


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, how many blends, and what the bands are."""
    df = _select(tables)
    n = sorted(set(df["n"]))
    seeds = df.groupby(["network", "attention", "training"])["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    blends = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    return (
        "Blends with both objects (filled) and with exactly one (open) among the two highest outputs, "
        f"against the weight of the first object. Mean over {many} seed{'' if many == '1' else 's'}, "
        f"{blends} blends at each alpha; bands (both) reach from the lowest to the highest end of the "
        "seeds' Wilson 95 % intervals; dotted lines: guessing (both and one)."
    )
