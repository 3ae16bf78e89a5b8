"""The learning-rate range test: loss against a rising learning rate, and what it suggests beside what the sheet has."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("lr_finder",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a network and training, a line an attention kind. Raises BlendnetError where lr_finder is missing or
    empty."""
    df = _select(tables)
    networks = s.ordered(df["network"])
    cells = [(n, t) for n in networks for t in s.trainings(df[df["network"] == n]["training"])]
    several = df["training"].nunique() > 1
    with s.style():
        fig, axes = s.panels(len(cells), 52, 14, most=3)
        for i, (ax, (network, training)) in enumerate(zip(axes, cells)):
            own = df[(df["network"] == network) & (df["training"] == training)]
            _panel(ax, own, s.colour(network, networks))
            ax.set_title(s.label(network) + (f", {s.trained_on(training)}" if several else ""))
            ax.set_xlabel("learning rate")
            if i % 3 == 0:
                ax.set_ylabel("cross-entropy")
        s.keys(fig, s.twin_keys(s.attentions(df["attention"]), lines=True)
               + [s.key("steepest fall", marker="o"), s.key("a tenth of the lowest", marker="o", mfc="white"),
                  s.key("the sheet's", s.GREY, ls=":")], 5)  # fmt: skip
    return fig


def _panel(ax: Axes, df: pd.DataFrame, shade: str) -> None:
    for kind in s.attentions(df["attention"]):
        for _, run in df[df["attention"] == kind].groupby("run", sort=True):
            run = run.sort_values("step")
            ax.plot(run["lr"], run["loss"], ls="none", marker=".", ms=1.5, mew=0, color=shade, alpha=0.35)
            ax.plot(run["lr"], run["smoothed"], ls=s.line(kind), color=shade)
            for row in run[run["suggested"] != ""].to_dict("records"):
                hollow = row["suggested"] == "tenth"
                ax.plot(row["lr"], row["smoothed"], marker=s.marker(kind), color=shade, zorder=3, ls="none",
                        mfc="white" if hollow else shade)  # fmt: skip
    for lr in sorted(set(df["recipe_lr"])):
        ax.axvline(lr, color=s.GREY, ls=":", zorder=0)
    ax.set_xscale("log")
    # The wall would press everything else flat; a line that leaves the panel above is one that diverges.
    first = df[df["step"] == df["step"].min()]["smoothed"].max()
    low = df["smoothed"].min()
    ax.set_ylim(low - 0.1 * (first - low) - 0.02, first + 0.6 * (first - low) + 0.05)


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    return s.some(df, "lr_finder", "curves", "find-lr")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, over how many steps, and what has no interval."""
    df = _select(tables)
    steps = df.groupby("run").size()
    many = f"{steps.min()}" if steps.min() == steps.max() else f"{steps.min()} to {steps.max()}"
    return (
        f"Learning-rate range test (Smith 2017) of {df['run'].nunique()} runs: {many} training steps with a rising "
        "rate each; dots are single batches, lines their bias-corrected moving average. A line that leaves the panel "
        "at the top diverges. One test each, so no interval: read the order of magnitude. Dotted: the learning rate "
        f"of the sheet's recipe ({', '.join(f'{lr:g}' for lr in sorted(set(df['recipe_lr'])))})."
    )
