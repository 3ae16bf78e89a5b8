"""Similarity and attention in one model of accuracy: the fixed effects of the mixed model, area by area."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import _quantities as q
from analysis.figures import _style as s

NEEDS = ("mixed",)
# (term, factor, title, axis): rates in percentage points, and scores by tenths, which networks do differ by.
_TERMS = (("score", 10.0, "brain score", "points of accuracy for each 0.1 of score"),
          ("attention", 100.0, "attention", "points of accuracy, attention less plain"))  # fmt: skip
_GIVEN = "|regular_top1"
# (accuracy, what follows the term): marker, face, words.
_LOOKS = {
    ("blended_both", ""): ("o", s.DARK, "blends, both named"),
    ("blended_both", _GIVEN): ("o", "white", "the same, given top-1 of one object"),
    ("regular_top1", ""): ("D", "#c8c8c8", "one object, top-1"),
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel for brain score and one for attention; a row a region, recording and metric, areas in order, with an
    estimate and its interval for each accuracy.

    Raises BlendnetError where mixed is missing or holds no estimate.
    """
    df = _select(tables)
    places = s.places(df)
    with s.style():
        fig = s.figure(s.PAGE, 22 + 9 * len(places))
        axes = fig.subplots(1, len(_TERMS), squeeze=False)[0]
        for ax, (term, factor, words, unit) in zip(axes, _TERMS):
            _panel(ax, df, places, term, factor)
            ax.set_title(words)
            ax.set_xlabel(unit)
            ax.set_yticks(range(len(places)), [s.title(p) for p in places] if ax is axes[0] else [])
        q.invented(fig, sorted(set(df["recording"])))
        there = [look for (accuracy, given), look in _LOOKS.items() if len(_of(df, accuracy, given))]
        s.keys(fig, [s.key(words, marker=marker, mfc=face) for marker, face, words in there])
    return fig


def _panel(ax: Axes, df: pd.DataFrame, places: list[tuple[str, str, str]], term: str, factor: float) -> None:
    ax.axvline(0, color=s.DARK, lw=0.5, zorder=0)
    for y, place in enumerate(places):
        shown = False
        for shift, ((accuracy, given), (marker, face, _)) in zip(s.offsets(len(_LOOKS), 0.5), _LOOKS.items()):
            rows = s.at(df, place)
            rows = rows[(rows["accuracy"] == accuracy) & (rows["term"] == term + given) & rows["estimate"].notna()]
            for row in rows.to_dict("records"):
                shown = True
                ends = [factor * row["lo"], factor * row["hi"]]
                ax.plot(ends, [y + shift] * 2, color=s.DARK, lw=0.8, zorder=2, solid_capstyle="butt")
                ax.plot(factor * row["estimate"], y + shift, marker=marker, color=s.DARK, mfc=face, ls="none", zorder=3)
        if not shown:
            ax.text(0.5, y, "not computed", transform=ax.get_yaxis_transform(), ha="center", va="center", color=s.DARK,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_ylim(len(places) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _of(df: pd.DataFrame, accuracy: str, given: str) -> pd.DataFrame:
    """The estimates of one accuracy, with or without what is held constant."""
    names = [term + given for term, *_ in _TERMS]
    return df[(df["accuracy"] == accuracy) & df["term"].isin(names) & df["estimate"].notna()]


def _all_trainings(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    return df[df["training"] == ""]


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    df = _all_trainings(tables)
    there = any(len(_of(df, *look)) for look in _LOOKS)
    return s.some(df if there else df.iloc[:0], "mixed_model", "estimates of a mixed model", "correlate")


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where a model could be fitted."""
    return not absent(tables)


def absent(tables: dict[str, pd.DataFrame]) -> str:
    """Why the table has nothing to draw, in a few words; '' where it has."""
    df = _all_trainings(tables)
    if any(len(_of(df, *look)) for look in _LOOKS):
        return ""
    return "; ".join(_refused(df)) or "no model in the table"


def _refused(df: pd.DataFrame) -> list[str]:
    """The reasons of all that was not computed, each once."""
    return sorted({note.removeprefix("not computed: ") for note in df[df["estimate"].isna()]["note"] if note})


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What the model is, how many runs it is over, and where intervals and p come from."""
    df = _select(tables)
    fitted = df[df["estimate"].notna()]
    main = fitted[fitted["term"] == "score"]
    p = main[main["accuracy"] == "blended_both"]["p"]
    several = fitted["term"].str.startswith("training:").any()
    sds = " to ".join(dict.fromkeys(f"{100 * v:.2g}" for v in (fitted["network_sd"].min(), fitted["network_sd"].max())))
    refused = _refused(df)
    return (
        f"Fixed effects of a mixed model of accuracy over {s.span(fitted['n_runs'])} trained runs of "
        f"{s.span(fitted['n_architectures'])} architectures, with 95 % intervals (Student's t, Satterthwaite's degrees "
        "of freedom): brain score (raw, of the committed layer) and attention together"
        + (", with one effect for each training" if several else "")
        + ", and random effects of architectures (standard deviation "
        f"{sds} points) and of cells, whose seeds are no points of their own. Open circles: with the top-1 rate of "
        "single objects held constant, too. "
        + (f"The smallest of the {len(p)} p of brain score for blends is {p.min():.2g}, not adjusted for their number. "
           if len(p) else "")
        + (f"Not computed: {'; '.join(refused)}. " if refused else "")
        + "Few architectures: an estimate describes these networks only."
    )  # fmt: skip
