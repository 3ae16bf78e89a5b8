"""Does similarity go with accuracy once what else differs is held constant? Coefficients by area, plain and partial."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _quantities as q
from analysis.figures import _style as s

NEEDS = ("relation",)
_SIDE = 4
_LOOKS = {"spearman": ("o", None, "rank (Spearman)"), "pearson": ("D", "white", "linear (Pearson)")}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a region, recording and metric, areas in order; a row for what is held constant, with its interval.

    Raises BlendnetError where relation is missing or has no rows of committed layers.
    """
    df, _ = _select(tables)
    places, given = s.places(df), _given(df[df["value"].notna()]) or [""]
    with s.style():
        fig, axes = s.panels(len(places), 21 + 8 * len(given), 12, _SIDE)
        for i, (ax, place) in enumerate(zip(axes, places)):
            _panel(ax, s.at(df, place), given)
            ax.set_title(s.title(place))
            ax.set_xlabel("correlation with\nblends, both named")
            ax.set_yticks(range(len(given)), [_short(g) for g in given] if i % _SIDE == 0 else [])
        q.invented(fig, sorted(set(df["recording"])))
        s.keys(fig, [s.key(words, marker=marker, mfc=face or s.DARK) for marker, face, words in _LOOKS.values()])
    return fig


def _panel(ax: Axes, df: pd.DataFrame, given: list[str]) -> None:
    ax.axvline(0, color=s.DARK, lw=0.5, zorder=0)
    for y, name in enumerate(given):
        rows = df[df["adjusted"] == name]
        for shift, (statistic, (marker, face, _)) in zip(s.offsets(len(_LOOKS), 0.34), _LOOKS.items()):
            for row in rows[rows["statistic"] == statistic].to_dict("records"):
                if np.isfinite(row["lo"]) and np.isfinite(row["hi"]):
                    ax.plot([row["lo"], row["hi"]], [y + shift] * 2, color=s.DARK, lw=0.8, zorder=2)
                ax.plot(
                    row["value"],
                    y + shift,
                    clip_on=False,
                    marker=marker,
                    color=s.DARK,
                    mfc=face or s.DARK,
                    ls="none",
                    zorder=3,
                )
        if not rows["value"].notna().any():
            n = s.span(rows["n_points"])
            ax.text(0, y, f"not computed (n = {n})", ha="center", va="center", color=s.DARK,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    ax.set_xlim(-1.05, 1.05)
    ax.set_xticks([-1, 0, 1])
    ax.set_ylim(len(given) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _given(df: pd.DataFrame) -> list[str]:
    """What is held constant, nothing first, then by the number of covariates."""
    return sorted(set(df["adjusted"]), key=lambda g: (len(_names(g)), g))


_WORDS = {"regular_top1": "top-1", "log_parameters": "parameters", "log_flops": "operations", "readouts": "readouts"}


def _names(given: str) -> list[str]:
    return [_WORDS.get(name, name.replace("_", " ")) for name in given.split("+") if name]


def _short(given: str) -> str:
    names = _names(given)
    return "as they are" if not names else f"given {names[0]}" if len(names) == 1 else f"given {len(names)} others"


def select(tables: dict[str, pd.DataFrame], by_depth: bool, figure: str, what: str) -> tuple[pd.DataFrame, str]:
    """The rows on blends of one training, at committed layers or along depth, and for the caption which training."""
    (df,) = s.need(tables, NEEDS)
    df = df[(df["accuracy"] == "blended_both") & (df["depth"].notna() == by_depth)]
    first, words = s.trained(df)
    df = first if words else df[df["training"] == ""] if (df["training"] == "").any() else first
    return s.some(df, figure, what, "correlate"), words


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    return select(tables, False, "relation", "coefficients of committed layers with accuracy on blends")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What a coefficient is over, what is held constant, and where the interval and p come from."""
    df, which = _select(tables)
    many = [f"{_short(g)}: {', '.join(_names(g))}" for g in _given(df) if "+" in g]
    never = sorted(set(_given(df)) - set(_given(df[df["value"].notna()])))
    p = df[(df["adjusted"] == "") & (df["statistic"] == "spearman")]
    lowest, within = p["p"].min(), p["p_within"].min()
    words = [f"{lowest:.2g} over all points" if np.isfinite(lowest) else "",
             f"{within:.2g} permuting within architectures only" if np.isfinite(within) else ""]  # fmt: skip
    least = " and ".join(w for w in words if w)
    notes = sorted({n.removeprefix("not computed: ") for n in df[df["value"].isna()]["note"] if n})
    return (
        "Correlation over networks between brain score (raw, of the committed layer) and the rate of blends with both "
        f"objects named, with its 95 % interval: {s.span(df['n_points'])} points (means over the seeds of one network "
        f"and attention kind; {s.span(df['n_runs'])} runs) in {s.span(df['n_architectures'])} architectures. {which}"
        "Rows: as they are, and with what else differs held constant by regression"
        + (f" ({'; '.join(many)})" if many else "") + ". "
        + (f"The smallest of the {len(p)} two-sided permutation p of the rank coefficients as they are: {least}, not "
           "adjusted for their number. " if least else "")
        + (f"In no panel, and so without a row: {', '.join(_short(g) for g in never)}. " if never else "")
        + (f"Not computed: {'; '.join(notes)}. " if notes else "")
        + "Few architectures: a coefficient describes these networks only."
    )  # fmt: skip
