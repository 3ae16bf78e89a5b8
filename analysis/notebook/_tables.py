"""What notebooks/3_explore_layers.ipynb shows of the tables: pandas tables and figures; no torch, no widgets.

Every number drawn is also returned as a table (`profile_table`, `level_table`), so that a picture can be checked.
`training` names how the chosen networks were trained; ready-made networks (kind 'control') are shown whatever it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import tables as columns
from analysis.figures import _style as s
from analysis.notebook._start import TABLES
from blendnet.errors import BlendnetError, unknown

CHANCE = ("untrained", "shuffled", "pixels")
_WHERE = ["recording", "region", "metric", "network", "attention", "seed"]


def profiles(results: Path | str) -> list[str]:
    """The profiles under results/ that have every table in TABLES; raises BlendnetError where there is none."""
    folders = Path(results).glob("*/tables")
    found = sorted(f.parent.name for f in folders if all((f / f"{name}.csv").exists() for name in TABLES))
    if not found:
        files = ", ".join(f"{name}.csv" for name in TABLES)
        raise BlendnetError(f"no profile under {Path(results).resolve()} has {files}; run `make demo` first")
    return found


def load(results: Path | str, profile: str) -> dict[str, pd.DataFrame]:
    """The checked tables of a profile, {name: table}; a missing one names the command that makes it."""
    folder = Path(results) / profile / "tables"
    return {name: columns.read(folder / f"{name}.csv", profile=profile) for name in TABLES}


def networks(layers: pd.DataFrame) -> list[str]:
    """The networks with a layer profile, in the order of the study; pixels are drawn as a level, not as a network."""
    return s.ordered(layers.loc[layers["kind"] != "pixels", "network"])


def trainings(layers: pd.DataFrame) -> list[str]:
    """How the networks were trained, e.g. ['blended', 'regular']."""
    return sorted(set(layers.loc[layers["kind"] == "network", "training"]))


def metrics(layers: pd.DataFrame, recording: str) -> list[str]:
    """The metrics that a recording was scored with; raises BlendnetError for an unknown recording."""
    there = set(layers.loc[layers["recording"] == recording, "metric"])
    if not there:
        raise unknown("recording", recording, set(layers["recording"]))
    return [m for m in columns.METRICS if m in there]


def profile_table(
    layers: pd.DataFrame, network: str, recording: str, metric: str, training: str = "blended"
) -> pd.DataFrame:
    """The layer profile of a network in each region of a recording, means over seeds.

    One row a region, kind ('network', 'control', 'untrained'), attention and layer: depth (0 first readout, 1 last),
    score (raw, cross-validated over all stimuli), n_seeds, n_stimuli. Layers without a score are left out.
    """
    if metric not in metrics(layers, recording):
        raise unknown("metric", metric, metrics(layers, recording))
    own = _trained(layers[layers["network"] == network], training, ("untrained",))
    own = own[(own["recording"] == recording) & (own["metric"] == metric) & own["score"].notna()]
    groups = own.groupby(["region", "kind", "attention", "depth", "layer"], as_index=False)
    return groups.agg(score=("score", "mean"), n_seeds=("run", "nunique"), n_stimuli=("n_stimuli", "max"))


def committed_table(
    scores: pd.DataFrame,
    chosen: Sequence[str],
    metric: str,
    training: str = "blended",
    recording: str | None = None,
) -> pd.DataFrame:
    """The committed layer of each area, one row a run, for all recordings or one.

    layer was chosen on one half of the stimuli; score, lo, hi (95 %) are of the other half (n_report stimuli), ceiling
    of that half; optimism: what choosing on the reported half would have added. Beside them the chance rows:
    untrained (twin, mean over its seeds), shuffled (same run, stimuli permuted) and pixels; NaN where not scored.
    """
    rows = scores[(scores["metric"] == metric) & ((scores["recording"] == recording) if recording else True)]
    own = _trained(rows[rows["network"].isin(list(chosen))], training)
    place = ["recording", "region", "metric"]
    for kind, by in zip(CHANCE, ([*place, "network", "attention"], [*place, "run"], place)):
        means = rows[rows["kind"] == kind].groupby(by, as_index=False)["score"].mean()
        own = own.merge(means.rename(columns={"score": kind}), on=by, how="left")
    shown = ["layer", "score", "lo", "hi", "ceiling", "score_ceiled", "naive_layer", "optimism"]
    return own.sort_values(_WHERE)[[*_WHERE, *shown, *CHANCE, "n_neuroids", "n_report"]].reset_index(drop=True)


def level_table(
    scores: pd.DataFrame, network: str, recording: str, metric: str, training: str = "blended"
) -> pd.DataFrame:
    """The level lines of a panel: ceiling (with ceiling_lo, ceiling_hi), shuffled, pixels; one row a region.

    On the reported half of the stimuli, means over runs; NaN where there is none.
    """
    rows = scores[(scores["recording"] == recording) & (scores["metric"] == metric)]
    ends = ["ceiling", "ceiling_lo", "ceiling_hi"]
    own = _trained(rows[rows["network"] == network], training)
    out = own.groupby("region")[ends].mean()
    shuffled = rows[(rows["kind"] == "shuffled") & rows["run"].isin(set(own["run"]))]
    out["shuffled"] = shuffled.groupby("region")["score"].mean()
    out["pixels"] = rows[rows["kind"] == "pixels"].groupby("region")["score"].mean()
    return out.reset_index()


def profile_figure(
    given: dict[str, pd.DataFrame],
    chosen: Sequence[str],
    recording: str,
    metric: str,
    training: str = "blended",
) -> Figure:
    """Score by depth, plain against attention: one row a region of the recording, one column a network.

    Large open markers with intervals: each seed's committed layer and its score on the reported half. Grey: untrained
    twins, pixels, shuffled stimuli; black: ceiling with its interval. Raises BlendnetError for an unknown name.
    """
    layers, scores = s.need(given, ("layers", "scores"))
    if not chosen:
        raise BlendnetError("no network is chosen; choose at least one")
    for name in chosen:
        if name not in set(layers["network"]):
            raise unknown("network", name, set(layers["network"]))
    parts = {n: profile_table(layers, n, recording, metric, training) for n in chosen}
    found = {region for part in parts.values() for region in part["region"]}
    if not found:
        raise BlendnetError(f"no layer of {', '.join(chosen)} has a {metric} score on {recording}; choose another")
    regions = [r for r in s.REGIONS if r in found]
    commits = committed_table(scores, chosen, metric, training, recording)
    with s.style():
        fig = s.figure(s.PAGE if len(chosen) > 1 else 1.3 * s.COLUMN, 52 * len(regions) + 30)
        axes = fig.subplots(len(regions), len(chosen), squeeze=False, sharey="row")
        for j, network in enumerate(chosen):
            levels = level_table(scores, network, recording, metric, training)
            for ax, region in zip(axes[:, j], regions):
                own = commits[(commits["network"] == network) & (commits["region"] == region)]
                part = parts[network][parts[network]["region"] == region]
                _panel(ax, part, own, levels[levels["region"] == region], s.colour(network, chosen))
                ax.set_title(f"{s.label(network)} · {region}", color=s.colour(network, chosen))
                if j == 0:
                    ax.set_ylabel(f"score ({s.label(metric)}, raw)")
        s.invented(fig, scores[scores["recording"] == recording])
        kinds = s.attentions(pd.concat(parts.values())["attention"])
        s.keys(fig, [*s.twin_keys(kinds, lines=True),
                     s.key("committed, on other half", marker="o", mfc="white", ms=6),
                     s.key("ceiling", s.CONTROL, ls="-"), s.key("untrained twins", s.GREY, ls="-"),
                     s.key("pixels", s.GREY, ls=":"), s.key("stimuli shuffled", s.GREY, ls="-.")])  # fmt: skip
    return fig


def profile_words(
    given: dict[str, pd.DataFrame], chosen: Sequence[str], recording: str, metric: str, training: str = "blended"
) -> str:
    """One sentence below the picture: over what the lines are means, and what they may be used for."""
    part = pd.concat([profile_table(given["layers"], n, recording, metric, training) for n in chosen])
    seeds = part.loc[part["kind"] != "untrained", "n_seeds"].max() if len(part) else 0
    return (
        f"{recording}, {s.label(metric)}: lines are means over up to {seeds} seed(s), cross-validated over all "
        f"{part['n_stimuli'].max()} stimuli, for orientation; claims rest on the committed layers (open markers, "
        "95 % intervals), chosen on one half of the stimuli and scored on the other, as are ceiling, pixels "
        "and shuffled."
    )


def accuracy_table(accuracy: pd.DataFrame, chosen: Sequence[str], training: str = "blended") -> pd.DataFrame:
    """How well the same networks see: rates over all blends (both objects right) and all regular images (top 1).

    One row a run and test, with Wilson 95 % interval, chance and n.
    """
    both = accuracy["outcome"] == accuracy["test"].map({"blended": "both", "regular": "top1"})
    own = accuracy[both & (accuracy["by"] == "all") & accuracy["network"].isin(list(chosen))]
    own = own[own["training"] == training].sort_values(["test", "network", "attention", "seed"])
    shown = ["test", "network", "attention", "seed", "rate", "lo", "hi", "chance", "n", "parameters", "flops"]
    return own[shown].reset_index(drop=True)


def png(fig: Figure) -> bytes:
    """The figure as PNG, for IPython.display.Image: the same in every notebook front end."""
    return s.render(fig, "png")


def image(fig: Figure, alt: str = "") -> Any:
    """The figure for display(): a PNG as IPython.display.Image, 5 px a printed millimetre, so 900 px for a page.

    alt: what a screen reader says, by default the titles of the panels.
    """
    from IPython.display import Image

    words = alt or ", ".join(dict.fromkeys(" ".join(ax.get_title().split()) for ax in fig.axes if ax.get_title()))
    return Image(data=png(fig), width=round(fig.get_figwidth() * 25.4 * 5), alt=words or "images without a title")


def _trained(df: pd.DataFrame, training: str, also: tuple[str, ...] = ()) -> pd.DataFrame:
    network = (df["kind"] == "network") & (df["training"] == training)
    return df[network | df["kind"].isin(("control", *also))]


def _panel(ax: Axes, part: pd.DataFrame, commits: pd.DataFrame, levels: pd.DataFrame, shade: str) -> None:
    for level in levels.to_dict("records"):
        for name, look in (("ceiling", "-"), ("pixels", ":"), ("shuffled", "-.")):
            if np.isfinite(level[name]):
                ax.axhline(level[name], color=s.CONTROL if name == "ceiling" else s.GREY, ls=look, lw=0.8, zorder=1)
        if np.isfinite(level["ceiling_lo"]) and np.isfinite(level["ceiling_hi"]):
            ax.axhspan(level["ceiling_lo"], level["ceiling_hi"], color=s.CONTROL, alpha=0.07, lw=0, zorder=0)
    for (kind, attention), own in part.groupby(["kind", "attention"]):
        chance = kind == "untrained"
        own = own.sort_values("depth")
        ax.plot(own["depth"], own["score"], color=s.GREY if chance else shade, ls=s.line(attention),
                marker=s.marker(attention), ms=2.5 if chance else 4, zorder=2 if chance else 3,
                label=f"{kind} {attention}")  # fmt: skip
    depth = part.drop_duplicates("layer").set_index("layer")["depth"].sort_values(kind="stable")
    known = commits[commits["layer"].isin(depth.index)].to_dict("records")
    # Side by side, so that seeds and twins that chose one layer do not hide one another.
    for row, aside in zip(known, s.offsets(len(known), 0.05)):
        x = float(depth[row["layer"]]) + aside
        s.bar(ax, x, row, shade)
        ax.plot(
            [x], [row["score"]], marker=s.marker(row["attention"]), mfc="white", mec=shade, ms=6, ls="none", zorder=4
        )
    ax.set_xticks(depth.to_numpy(), list(depth.index), rotation=40, ha="right", rotation_mode="anchor")
    ax.axhline(0, color=s.GREY, lw=0.4, zorder=0)
