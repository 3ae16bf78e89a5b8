"""Brain score by area, plain against attention, between its chance rows and its ceiling."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("scores",)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel a region, recording and metric, areas in order; a point a run with its interval.

    Raises BlendnetError where scores is missing or empty.
    """
    df = _select(tables)
    networks = _networks(df)
    with s.style():
        places = s.places(df)
        most = 4 if len(s.trainings(df["training"])) < 2 else 2
        fig, axes = s.panels(len(places), 52, 22, most)
        for i, (ax, place) in enumerate(zip(axes, places)):
            _panel(ax, s.at(df, place), networks)
            ax.set_title(s.title(place))
            if i % most == 0:
                ax.set_ylabel("score (raw)")
        s.invented(fig, df)
        s.keys(fig, _keys(df), 4)
    return fig


def _panel(ax: Axes, df: pd.DataFrame, networks: list[str]) -> None:
    kinds = s.attentions(df[df["network"].isin(networks)]["attention"])
    ax.axhline(0, color=s.DARK, lw=0.4, zorder=0)
    ceiling = df["ceiling"].dropna().median()
    if pd.notna(ceiling):
        ax.axhline(ceiling, color=s.DARK, lw=1.2, zorder=0)
        lo, hi = df["ceiling_lo"].dropna().median(), df["ceiling_hi"].dropna().median()
        if pd.notna(lo) and pd.notna(hi):
            ax.axhspan(lo, hi, color=s.DARK, alpha=0.10, lw=0, zorder=0)
    for value in df[df["kind"] == "pixels"]["score"]:
        ax.axhline(value, color=s.GREY, ls="--", zorder=0)
    for row in _controls(df).to_dict("records"):
        ax.axhline(row["score"], color=s.CONTROL, ls=(0, (1, 3)) if _raw(row) else "-.", zorder=0)
    for x, network in enumerate(networks):
        shade = s.colour(network, networks)
        for shift, attention in zip(s.offsets(len(kinds), 0.42), kinds):
            own = df[(df["network"] == network) & (df["attention"] == attention)]
            for kind, look in _LOOKS.items():
                part = own[own["kind"] == kind].sort_values(["training", "seed"]).to_dict("records")
                for place, row in zip(x + shift + s.offsets(len(part), min(0.36, 0.07 * (len(part) - 1))), part):
                    s.bar(ax, place, row, shade if kind != "shuffled" else s.GREY)
                    filled = s.fill(row["training"]) if kind == "network" else {}
                    ax.plot(place, row["score"], ls="none", zorder=3, **look(shade, s.marker(attention)), **filled)
    ax.set_xticks(range(len(networks)), [s.label(n) for n in networks])
    ax.tick_params(axis="x", length=0)
    if len(networks) > 2:
        ax.tick_params(axis="x", rotation=30)
    ax.set_xlim(-0.55, len(networks) - 0.45)


_LOOKS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "network": lambda shade, marker: {"marker": marker, "color": shade},
    "untrained": lambda shade, marker: {"marker": marker, "color": shade, "mfc": "white"},
    "shuffled": lambda shade, marker: {"marker": "x", "color": s.GREY, "ms": 3},
}


def _networks(df: pd.DataFrame) -> list[str]:
    """The networks of the study: those with a trained run; where there is none at all, the untrained ones."""
    trained = df[df["kind"] == "network"]
    return s.ordered((trained if len(trained) else df[df["kind"] == "untrained"])["network"])


def _controls(df: pd.DataFrame) -> pd.DataFrame:
    """The positive control and its untrained self, drawn as lines: they have no twin."""
    outside = (df["kind"] == "untrained") & ~df["network"].isin(_networks(df))
    return df[(df["kind"] == "control") | outside]


def _raw(row: dict[str, Any]) -> bool:
    return row["training"] == "untrained"


def _keys(df: pd.DataFrame) -> list:
    rows = df[df["kind"].isin(("network", "untrained")) & df["network"].isin(_networks(df))]
    keys = s.twin_keys(s.attentions(rows["attention"])) + s.training_keys(s.trainings(rows["training"]))
    has = set(df["kind"])
    if "untrained" in has:
        keys.append(s.key("untrained", marker="o", mfc="white"))
    if "shuffled" in has:
        keys.append(s.key("stimuli shuffled", s.GREY, marker="x", ms=3))
    if "pixels" in has:
        keys.append(s.key("pixels", s.GREY, ls="--"))
    controls = _controls(df).sort_values(["network", "training"]).drop_duplicates(["network", "training"])
    for row in controls.to_dict("records"):
        words = f"{s.label(row['network'])}{', untrained' if _raw(row) else ' (control)'}"
        keys.append(s.key(words, s.CONTROL, ls=(0, (1, 3)) if _raw(row) else "-."))
    if df["ceiling"].notna().any():
        keys.append(s.key("ceiling, interval", ls="-", lw=1.2))
    return keys


def _select(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (df,) = s.need(tables, NEEDS)
    return s.some(df[df["score"].notna()], "similarity_by_area", "scores", "score")


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, on how many stimuli, and what the intervals are."""
    df = _select(tables)
    trained = df[df["kind"] == "network"]
    parts = []
    for place in s.places(df):
        own = s.at(df, place)
        neuroids, subjects = own["n_neuroids"].dropna(), own["n_subjects"].dropna()
        many = f", {neuroids.max()} neuroids" if len(neuroids) else f", {subjects.max()} RDMs" if len(subjects) else ""
        parts.append(f"{place[0]} {place[1]} {s.label(place[2])}: {own['n_report'].max()} stimuli{many}")
    planted = s.planted_words(df)
    return (
        f"Brain score by area, raw (not divided by the ceiling), of {trained['run'].nunique()} trained "
        "runs. The layer of each run is chosen on one half of the stimuli, the score is from the other "
        "half; lines are 95 % intervals. "
        + ("Filling tells how a network was trained. " if len(s.trainings(trained["training"])) > 1 else "")
        + "Hollow points: untrained twins; crosses: stimulus order of the "
        "brain permuted; dashed: pixels; dark line and band: noise ceiling with its interval. Scored on: "
        f"{'; '.join(parts)}." + (f" {planted[0].upper()}{planted[1:]}." if planted else "")
    )
