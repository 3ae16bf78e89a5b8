"""Where attention looks in a blend: the two objects, their blend, and the attention each place receives."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures import _style as s

NEEDS = ("attention_maps",)
_MAP = "cividis"
_BLENDS = 2  # side by side; more are too small to be seen
_ROWS = 9  # a page
_LIGHT = (("luminance", "blend"), ("luminance_a", ""), ("luminance_b", ""))


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a network and attention kind (its first seed); for each of two blends the luminance of blend and objects,
    as coarse as the finest map, then the attention received at each layer, mean over heads.

    Raises BlendnetError where attention_maps is missing or has no trained run.
    """
    df, _ = _select(tables)
    runs, blends = _runs(df), _blends(df)
    layers = {run: _layers(df[df["run"] == run]) for run in runs["run"]}
    deep = max(map(len, layers.values()))
    width = len(_LIGHT) + deep
    # 1 is an even spread; a few places that draw all would leave the rest dark.
    highest = max(1.5, float(df["times"].quantile(0.995)))
    norm = Normalize(0, highest)
    with s.style():
        fig = s.figure(s.PAGE, 23 * len(runs) + 20)
        axes = fig.subplots(len(runs), width * len(blends), squeeze=False)
        for i, about in enumerate(runs.to_dict("records")):
            for j, blend in enumerate(blends):
                own = df[(df["run"] == about["run"]) & (df["blend_id"] == blend)]
                row = axes[i, width * j : width * (j + 1)]
                _light(row[: len(_LIGHT)], own, i == 0)
                for ax, layer in zip(row[len(_LIGHT) :], layers[about["run"]]):
                    part = own[own["layer"] == layer]
                    if len(part):
                        ax.imshow(_grid(part, "times"), cmap=_MAP, norm=norm, interpolation="nearest")
                    ax.set_title(_short(layer))
            words = f"{s.label(about['network'])}\n{s.label(about['attention'])}"
            axes[i, 0].set_ylabel(words, color=s.colour(about["network"], list(runs["network"])))
        for ax in axes.ravel():
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_visible(False)
        bar = fig.colorbar(ScalarMappable(norm, _MAP), ax=list(axes.ravel()), orientation="horizontal", shrink=0.4,
                           aspect=30, pad=0.02, extend="max")  # fmt: skip
        bar.set_label("attention received (1: an even spread)")
        bar.outline.set_visible(False)
    return fig


def _light(axes: np.ndarray, own: pd.DataFrame, named: bool) -> None:
    """Blend and objects in grey, on the finest grid there is."""
    if not len(own):
        return
    finest = own[own["layer"] == own.loc[own["row"].idxmax(), "layer"]]
    first = finest.iloc[0]
    for ax, (column, word) in zip(axes, _LIGHT):
        ax.imshow(_grid(finest, column), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if named:
            ax.set_title(word or first["class_a" if column.endswith("a") else "class_b"])


def _layers(own: pd.DataFrame) -> list[str]:
    """From the image to the classes: finer maps first, then by name."""
    return list(own.groupby("layer")["row"].max().sort_index().sort_values(ascending=False, kind="stable").index)


def _grid(part: pd.DataFrame, column: str) -> np.ndarray:
    """(rows, columns), mean over heads."""
    return part.pivot_table(index="row", columns="column", values=column, aggfunc="mean").to_numpy(dtype=float)


def _short(layer: str) -> str:
    """The name without its ending, in two lines where it is long: a map is 15 mm wide."""
    name = layer.removesuffix(".conv2").removesuffix(".attention")
    if len(name) <= 9:
        return name
    head, dot, tail = name.partition(".")
    return f"{head}\n{tail[:10]}" if dot else name[:10]


def _runs(df: pd.DataFrame) -> pd.DataFrame:
    """The first seed of each network and attention kind, as many as a page holds."""
    first = df.drop_duplicates("run").sort_values(["seed", "run"], kind="stable")
    first = first.drop_duplicates(["network", "attention", "heads"])[["run", "network", "attention", "heads"]]
    networks = s.ordered(first["network"])
    place = first["network"].map({n: i for i, n in enumerate(networks)})
    return first.assign(place=place).sort_values(["place", "attention", "heads"], kind="stable").head(_ROWS)


def _blends(df: pd.DataFrame) -> list[str]:
    """The first and the last of the blends, so that they are of different classes."""
    there = sorted(set(df["blend_id"]))
    return there if len(there) <= _BLENDS else [there[0], there[-1]]


def _select(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    (df,) = s.need(tables, NEEDS)
    df, words = s.trained(df)
    s.some(df, "attention_maps", "attention maps of trained runs", "dissect")
    places = df.groupby(["run", "layer", "blend_id"])["received"].transform("mean")
    return df.assign(times=df["received"] / places), words


def _other_kinds(runs: pd.DataFrame) -> str:
    """What a map is where it is not the softmax weights of places."""
    kinds = set(runs["attention"])
    return ("Legacy attention: its tokens are strips of one channel, shared among their pixels. "
            if "aacn-legacy" in kinds else "") + (
        "CBAM: the gate of each place, not what others take from it. " if "cbam" in kinds else ""
    )  # fmt: skip


def wanted(tables: dict[str, pd.DataFrame]) -> bool:
    """Only where a trained run has maps."""
    return bool(tables["attention_maps"]["training"].isin(s.columns.TRAINED).any())


def caption(tables: dict[str, pd.DataFrame]) -> str:
    """What is shown, of which runs and blends, and that single images have no interval."""
    df, which = _select(tables)
    runs = _runs(df)
    heads = df.groupby("run")["head"].nunique()
    seeds = df["seed"].nunique()
    return (
        f"Where attention looks: {min(_BLENDS, len(_blends(df)))} of {df['blend_id'].nunique()} test blends (all in "
        "attention_maps.csv), their luminance and that of the two photographs at the resolution of the finest map, and "
        "the attention that each place receives at the first and the last layer that has it, relative to an even "
        f"spread; means over {s.span(heads)} heads and all places that look. The first of {seeds} "
        f"seed{'' if seeds == 1 else 's'} of each network ({', '.join(runs['run'])}). {_other_kinds(runs)}{which}"
        "Examples, single images: no interval."
    )
