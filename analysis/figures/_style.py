"""How every figure looks: one colour an architecture, one marker and line an attention kind, areas in order.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers; text is at least 7 pt at the
printed width (85 or 180 mm). The same tables give the same bytes: no clock, no host, no random number.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import tables as columns
from blendnet.errors import BlendnetError

COLUMN, PAGE = 85.0, 180.0  # mm
REGIONS = columns.REGIONS
GREY, DARK = "#8c8c8c", "#333333"
CONTROL = "#000000"
_SPARE = ("#56B4E9", "#E69F00", "#000000", "#F0E442")
_COLOURS = {"resnet18": "#0072B2", "cornet_z": "#D55E00", "resnet50": "#009E73", "inception_v3": "#CC79A7"}
_LABELS = {
    "resnet18": "ResNet18", "resnet50": "ResNet50", "cornet_z": "CORnet-Z", "inception_v3": "Inception V3",
    "mobilenet_v2": "MobileNetV2", "cornet_s": "CORnet-S", "efficientnet_b0": "EfficientNet-B0",
    "vit_small": "ViT-S", "vit_base": "ViT-B", "none": "plain", "aacn": "attention", "aacn-legacy": "legacy attention",
    "se": "SE", "cbam": "CBAM", "self": "own attention",
    "pls": "PLS", "ridge": "ridge", "rsa": "RSA", "rsa_whitened": "whitened RSA", "cka": "CKA",
    "procrustes": "Procrustes", "one_to_one": "one-to-one", "soft_matching": "soft matching",
    "pls_reverse": "PLS, brain to model", "ridge_reverse": "ridge, brain to model",
    "one_to_one_reverse": "one-to-one, brain to model", "procrustes_reverse": "Procrustes, brain to model",
}  # fmt: skip
_MARKERS = {"none": "o", "aacn": "^", "aacn-legacy": "v", "se": "D", "cbam": "p"}
_LINES: dict[str, Any] = {"none": "-", "aacn": "--", "aacn-legacy": "-.", "se": (0, (1, 1)), "cbam": (0, (4, 1, 1, 1))}
# Hollow is untrained; half a marker is filled where a network was trained on anything but blends.
_FILLS: dict[str, Any] = {"blended": "full", "regular": "left", "curriculum": "bottom"}
_RC = {
    "font.family": "DejaVu Sans", "font.size": 7, "axes.titlesize": 7, "axes.labelsize": 7,
    "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.0, "lines.markersize": 4.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": False,
    "axes.formatter.useoffset": False, "axes.unicode_minus": True, "legend.frameon": False,
    "figure.facecolor": "white", "savefig.bbox": None, "path.simplify": False, "text.usetex": False,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "blendnet",
}  # fmt: skip
# No date, and no version that would make the bytes of one table differ between two machines for no reason.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "blendnet"},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and save inside this, whatever matplotlibrc the machine has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of this printed size; no window, no pyplot state."""
    fig = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def render(fig: Figure, kind: str) -> bytes:
    """The bytes of a figure as 'png' (200 dpi), 'pdf' or 'svg'; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style():
        engine = fig.get_layout_engine()
        if engine is not None:
            # Lay out once, for all kinds: it is most of the time, and each kind would round in its own way.
            engine.execute(fig)
            fig.set_layout_engine("none")
        fig.savefig(buffer, format=kind, dpi=200, metadata=_METADATA[kind])
    return buffer.getvalue()


def need(given: dict[str, pd.DataFrame], names: Sequence[str], profile: str | None = None) -> list[pd.DataFrame]:
    """The tables of these names, checked; raises BlendnetError that names the command which makes a missing
    one."""
    for name in names:
        if given.get(name) is None:
            raise columns.missing(name, profile)
    return [columns.check(given[name], name) for name in names]


def some(df: pd.DataFrame, figure_name: str, what: str, step: str) -> pd.DataFrame:
    """The selection, which must not be empty: an empty picture would look like a result."""
    if not len(df):
        raise BlendnetError(f"figure {figure_name}: there are no {what}; run `blendnet {step} --force`")
    return df


def label(name: str) -> str:
    """How a network, metric or attention kind is written in a figure."""
    return _LABELS.get(name, name)


def colour(network: str, networks: Sequence[str] = ()) -> str:
    """The colour of an architecture; networks: all that are drawn, so that new names differ from one
    another."""
    if network in _COLOURS:
        return _COLOURS[network]
    others = sorted(n for n in {*networks, network} if n not in _COLOURS)
    return _SPARE[others.index(network) % len(_SPARE)]


def marker(attention: str) -> str:
    """Circle for the plain twin, triangle for aacn, square for a kind that is not in the list."""
    return _MARKERS.get(attention, "s")


def line(attention: str) -> Any:
    """Solid for the plain twin, dashed for aacn, dotted for a kind that is not in the list."""
    return _LINES.get(attention, ":")


def fill(training: str) -> dict[str, Any]:
    """How a marker is filled: wholly for networks trained on blends, its left half for those trained on regular
    images, its lower half for the curriculum."""
    return {"fillstyle": _FILLS.get(training, "full"), "markerfacecoloralt": "white"}


def twin(attention: str, heads: Any = 0) -> str:
    """In words: 'plain', 'attention (4 heads)', 'SE'."""
    return label(attention) + (f" ({heads} heads)" if heads and not pd.isna(heads) else "")


def trainings(values: pd.Series) -> list[str]:
    """The ways in which networks were trained, in the house's order; untrained and ready-made ones are none."""
    there = set(values)
    return [t for t in columns.TRAINED if t in there]


def trained_on(training: str) -> str:
    """In words: 'trained on blended images', 'trained by curriculum'."""
    return "trained by curriculum" if training == "curriculum" else f"trained on {training} images"


def ordered(values: pd.Series) -> list[str]:
    """Networks in the order of the study (as in _COLOURS), others after them by name."""
    known = list(_COLOURS)
    return sorted(map(str, set(values)), key=lambda v: (known.index(v) if v in known else len(known), v))


def attentions(values: pd.Series) -> list[str]:
    """Attention kinds, the plain twin first."""
    return sorted(map(str, set(values)), key=lambda v: (v != "none", v))


def places(df: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(region, recording, metric) in the order in which panels stand: areas first, then names, then
    metrics."""
    found = df[["region", "recording", "metric"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(found, key=lambda p: (REGIONS.index(p[0]), p[1], columns.METRICS.index(p[2])))


def at(df: pd.DataFrame, place: tuple[str, str, str]) -> pd.DataFrame:
    """The rows of one region, recording and metric."""
    region, recording, metric = place
    return df[(df["region"] == region) & (df["recording"] == recording) & (df["metric"] == metric)]


def panels(n: int, each_mm: float, extra_mm: float, most: int = 4) -> tuple[Figure, list[Axes]]:
    """A page-wide figure of n panels in rows of at most `most`, each row each_mm high."""
    across = min(most, n)
    down = -(-n // across)
    fig = figure(PAGE if across > 1 else COLUMN, down * each_mm + extra_mm)
    grid = fig.subplots(down, across, squeeze=False)
    axes = list(grid.ravel())
    for spare in axes[n:]:
        spare.set_axis_off()
    return fig, axes[:n]


def title(place: tuple[str, str, str]) -> str:
    """Two short lines above a panel."""
    region, recording, metric = place
    return f"{region} · {label(metric)}\n{recording}"


def invented(fig: Figure, df: pd.DataFrame) -> None:
    """Says in the figure itself that its recordings are planted."""
    words = planted_words(df)
    if words:
        fig.suptitle(words, fontsize=7, color=DARK)


def planted_words(df: pd.DataFrame) -> str:
    """'' for real recordings; else which are invented. df: scores, with recording and planted."""
    names = sorted(set(df.loc[df["planted"], "recording"]))
    if not names:
        return ""
    whole = set(df["recording"]) == set(names)
    return "planted (invented) recording" + (
        "s" if whole and len(names) > 1 else "" if whole else f": {', '.join(names)}"
    )


def span(values: Iterable[Any]) -> str:
    """Counts in words: '2', or '2 to 5' where they differ, 'no' where there are none."""
    n = sorted({int(v) for v in values if not pd.isna(v)})
    return "no" if not n else f"{n[0]}" if n[0] == n[-1] else f"{n[0]} to {n[-1]}"


def signed(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, and none before nought."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def trained(df: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the first training in the house's order, and for the caption which it is, '' where it is the only
    one; for figures that have no room for several."""
    kinds = trainings(df["training"])
    words = f"Of the networks {trained_on(kinds[0])}; others are in the table. " if len(kinds) > 1 else ""
    return (df[df["training"] == kinds[0]] if kinds else df.iloc[:0]), words


def twins(df: pd.DataFrame, name: str = "attention") -> list[tuple[str, Any]]:
    """(attention kind, heads) of the rows, the plain twin first; heads 0 where the kind has no
    or but one number of them."""
    found = df[[name, "heads"]].drop_duplicates()
    several = found.groupby(name)["heads"].nunique() > 1
    pairs = {(str(a), int(h) if several[a] and not pd.isna(h) else 0) for a, h in found.itertuples(index=False)}
    return sorted(pairs, key=lambda v: (v[0] != "none", v))


def of_twin(df: pd.DataFrame, twin: tuple[str, Any], name: str = "attention") -> pd.DataFrame:
    """The rows of one of `twins`."""
    own = df[df[name] == twin[0]]
    return own[own["heads"] == twin[1]] if twin[1] else own


def offsets(n: int, width: float) -> np.ndarray:
    """n places side by side around 0, in all `width` wide."""
    return np.linspace(-width / 2, width / 2, n) if n > 1 else np.zeros(1)


def bar(ax: Axes, x: float, row: Any, shade: str, factor: float = 1.0) -> None:
    """The interval of one row as a thin upright line; nothing where there is none."""
    if np.isfinite(row["lo"]) and np.isfinite(row["hi"]):
        ax.plot(
            [x, x],
            [factor * row["lo"], factor * row["hi"]],
            color=shade,
            lw=0.7,
            zorder=2,
            solid_capstyle="butt",
        )


def frame(ax: Axes, x: int, y: int, half: float = 0.42) -> None:
    """A frame around a cell of a matrix, black on white, so that it is seen on either end of the colours."""
    xs = [x - half, x + half, x + half, x - half, x - half]
    ys = [y - half, y - half, y + half, y + half, y - half]
    ax.plot(xs, ys, color="white", lw=2.4, zorder=3, clip_on=False)
    ax.plot(xs, ys, color="black", lw=1.1, zorder=3, clip_on=False)


def keys(fig: Figure, handles: Sequence[Line2D], across: int = 4) -> None:
    """One legend for the figure, below it, in at most `across` columns and no more than its width holds."""
    for n_columns in range(min(across, len(handles)), 0, -1):
        look = {"handlelength": 2.2, "columnspacing": 1.4, "ncols": n_columns}
        legend = fig.legend(handles=list(handles), loc="outside lower center", **look)
        if n_columns == 1 or legend.get_window_extent().width <= 0.98 * fig.bbox.width:
            return
        legend.remove()


def key(text: str, shade: str = DARK, **look: Any) -> Line2D:
    """One entry of the legend."""
    return Line2D([], [], **({"color": shade, "ls": "none", "label": text} | look))


def twin_keys(kinds: Sequence[str], lines: bool = False) -> list[Line2D]:
    """The legend entries of the attention kinds."""
    return [key(label(a), marker=marker(a), ls=line(a) if lines else "none") for a in kinds]


def network_keys(networks: Sequence[str]) -> list[Line2D]:
    """The legend entries of the architectures."""
    return [key(label(n), colour(n, networks), marker="s") for n in networks]


def training_keys(kinds: Sequence[str]) -> list[Line2D]:
    """The legend entries of the trainings; none where there is one only."""
    return [key(trained_on(t), marker="o", **fill(t)) for t in kinds] if len(kinds) > 1 else []
