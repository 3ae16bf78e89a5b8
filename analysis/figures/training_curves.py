"""How training went: loss and validation accuracy of every run by epoch, and the epoch whose weights were kept."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s
from analysis.stats.accuracy import wilson

NEEDS = ("training",)
_MOST = 4  # networks side by side


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """For each training a row of losses above a row of accuracies, a column a network, a line a run.

    Raises BlendnetError where training is missing or empty.
    """
    df = _select(tables)
    networks = s.ordered(df["network"])
    rows = [(t, networks[i : i + _MOST]) for t in s.trainings(df["training"]) for i in range(0, len(networks), _MOST)]
    across = min(_MOST, len(networks))
    with s.style():
        fig = s.figure(s.PAGE if across > 1 else s.COLUMN, 78 * len(rows) + 16)
        axes = fig.subplots(2 * len(rows), across, squeeze=False)
        for ax in axes.ravel():
            ax.set_axis_off()
        several = df["training"].nunique() > 1
        for i, (training, names) in enumerate(rows):
            for j, network in enumerate(names):
                own = df[(df["training"] == training) & (df["network"] == network)]
                if not len(own):
                    continue
                upper, lower = axes[2 * i, j], axes[2 * i + 1, j]
                _panel(upper, lower, own, training, s.colour(network, networks))
                upper.set_title(s.label(network) + (f"\n{s.trained_on(training)}" if several else ""))
                lower.set_xlabel("epoch")
                if j == 0:
                    upper.set_ylabel("cross-entropy")
                    lower.set_ylabel(_words(training))
        s.keys(fig, s.twin_keys(s.attentions(df["attention"]), lines=True)
               + [s.key("training", ls="-", lw=0.7, alpha=0.45), s.key("validation", ls="-"),
                  s.key("weights kept", marker="o", mfc="white")], 5)  # fmt: skip
    return fig


def _words(training: str) -> str:
    return "one object: top-1 (%)" if training == "regular" else "blends: both named (%)"


def _criterion(training: str) -> tuple[str, str]:
    return ("val_top1", "n_val_regular") if training == "regular" else ("val_both", "n_val_blends")


def _panel(upper: Axes, lower: Axes, df: pd.DataFrame, training: str, shade: str) -> None:
    rate, n = _criterion(training)
    for _, run in df.groupby("run", sort=True):
        run = run.sort_values("epoch")
        kind = run["attention"].iloc[0]
        upper.plot(run["epoch"], run["train_loss"], ls=s.line(kind), color=shade, lw=0.7, alpha=0.45)
        upper.plot(run["epoch"], run["val_loss"], ls=s.line(kind), color=shade)
        lower.plot(run["epoch"], 100 * run[rate], ls=s.line(kind), color=shade)
        for row in run[run["kept"]].to_dict("records"):
            lo, hi = wilson(row[rate] * row[n], row[n])
            s.bar(lower, row["epoch"], {"lo": lo, "hi": hi}, shade, 100)
            for ax, value in ((upper, row["val_loss"]), (lower, 100 * row[rate])):
                ax.plot(row["epoch"], value, marker=s.marker(kind), color=shade, mfc="white", zorder=3)
    last = int(df["epoch"].max())
    for ax in (upper, lower):
        ax.set_axis_on()
        ax.set_xlim(0.5, last + 0.5)
        ax.locator_params(axis="x", integer=True, nbins=6)
    upper.set_ylim(0, 1.05 * df[["train_loss", "val_loss"]].max().max())
    lower.set_ylim(0, 100)


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    return s.some(df[df["training"].isin(s.columns.TRAINED)], "training_curves", "finished trainings", "train")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, of how many runs and seeds, on how many images, on what hardware."""
    df = _select(tables)
    runs = df.drop_duplicates("run")
    early = runs[runs["stopped_early"]]
    seeds = runs.groupby(["network", "attention", "training"])["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    n = sorted({int(row[_criterion(t)[1]]) for t, part in df.groupby("training") for row in part.to_dict("records")})
    images = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    hours = df["seconds"].sum() / 3600
    stopped = f"; {len(early)} stopped before the recipe's last epoch for want of a better one" if len(early) else ""
    machines = ", ".join(sorted(set(runs["hardware"]) - {""})) or "hardware not recorded"
    return (
        f"Training of {len(runs)} runs ({many} seed{'' if many == '1' else 's'} a network, attention and training), a "
        f"line each{stopped}. Above: cross-entropy, thin on augmented training images, full on validation; below: "
        f"validation accuracy, on {images} fixed images. Markers: the epoch whose weights were kept (the best in "
        "validation, so that its accuracy there is a little too high), with the Wilson 95 % interval over images. "
        f"{hours:.3g} hours in all, {df['images_per_s'].median():.3g} training images/s (median over epochs; "
        f"{machines})."
    )
