"""Pictures of images: rows of them with a line above each, and the best and worst predicted stimuli of a layer."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from analysis.figures import _style as s
from analysis.notebook._neuroids import Agreement, best_and_worst
from analysis.similarity import rsa
from blendnet.errors import BlendnetError

_CELL_MM = 22.0
_LINE_MM = 3.4


def image_rows(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[Sequence[str]] | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Images in rows. rows: each a list of (h, w, 3), uint8 or floats in [0, 1]; titles: a text above each image;
    names: a text left of each row. Small images are shown as their pixels, not smoothed."""
    if not rows or not any(len(row) for row in rows):
        raise BlendnetError("there are no images to show; give at least one")
    across = max(len(row) for row in rows)
    lines = max((t.count("\n") + 1 for row in titles or [] for t in row if t), default=0)
    with s.style():
        fig = s.figure(across * _CELL_MM + (16 if names else 0), len(rows) * (_CELL_MM + _LINE_MM * lines))
        fig.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        axes = fig.subplots(len(rows), across, squeeze=False)
        for i, row in enumerate(rows):
            for j, ax in enumerate(axes[i]):
                _bare(ax)
                if j < len(row):
                    _image(ax, row[j])
                    if titles and titles[i][j]:
                        ax.set_title(titles[i][j], pad=2)
            if names:
                axes[i][0].set_ylabel(names[i], rotation=0, ha="right", va="center")
    return fig


def stimuli_figure(
    found: Agreement, read: Callable[[int], np.ndarray], ids: Sequence[str], title: str, k: int = 5
) -> tuple[Figure, list[str], list[str]]:
    """The k best and k worst predicted stimuli of a layer, each above what was predicted and recorded; and their ids.

    found: of n stimuli; read(i): the i-th image (h, w, 3), asked for those that are shown only; ids: n names. Raises
    BlendnetError where fewer than two stimuli have a value.
    """
    best, worst = best_and_worst(found.value, k)
    if not len(best):
        raise BlendnetError(f"{title}: no two stimuli have a value, so none is best; choose another layer")
    both = np.concatenate([best, worst])
    shown = np.isfinite(found.predicted[both]) & np.isfinite(found.recorded[both])
    lim_x, lim_y = (_limits(v[both][shown]) for v in (found.predicted, found.recorded))
    with s.style():
        fig = s.figure(s.PAGE, 2 * (2 * _CELL_MM + 14) + 6)
        axes = fig.subplots(4, len(best), squeeze=False, height_ratios=(1, 0.9, 1, 0.9))
        for top, chosen, word in ((0, best, "best"), (2, worst, "worst")):
            for j, i in enumerate(chosen):
                picture, points = axes[top][j], axes[top + 1][j]
                _bare(picture)
                _image(picture, read(int(i)))
                picture.set_title(f"r = {found.value[i]:.2f}".replace("-", "−"), pad=2)
                points.plot(found.predicted[i], found.recorded[i], "o", ms=2, color=s.DARK, alpha=0.6, mew=0)
                points.set(xlim=lim_x, ylim=lim_y)
                if found.what[0].endswith("(sd)"):
                    points.axline((0, 0), slope=1, color=s.GREY, lw=0.6, zorder=0)
                if j:
                    points.set_yticklabels([])
                else:
                    picture.set_ylabel(f"{word} {len(chosen)}", rotation=0, ha="right", va="center")
                    points.set_ylabel(found.what[1])
            axes[top + 1][len(chosen) // 2].set_xlabel(found.what[0])
        fig.suptitle(title, fontsize=7)
    return fig, [ids[i] for i in best], [ids[i] for i in worst]


def rdm_pair(x: np.ndarray, brain: np.ndarray, titles: tuple[str, str], most: int = 400) -> tuple[Figure, float]:
    """The RDM of a layer beside the brain's, each in ranks from alike (0) to different (1); and their Spearman r.

    x: features (n_stimuli, n_features); brain: (n_pairs,), or (n_subjects, n_pairs), of which the mean is shown and the
    mean of the r is returned, over all stimuli; the picture shows at most `most` evenly spaced ones.
    """
    model, brain = rsa.rdm(x), np.atleast_2d(brain)
    r = float(rsa.compare(model, brain).mean())
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(int))
    with s.style():
        fig = s.figure(0.75 * s.PAGE, 76)
        axes = fig.subplots(1, 2)
        for ax, values, title in zip(axes, (model, brain.mean(axis=0)), titles):
            own = rsa.subset(values, kept)
            ranks = (rankdata(own) - 1) / max(1, len(own) - 1)
            picture = ax.imshow(rsa.square(ranks), cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
            ax.set(title=title, xticks=[], yticks=[], xlabel=f"{len(kept)} stimuli")
        bar = fig.colorbar(picture, ax=axes, shrink=0.7, aspect=25, pad=0.01)
        bar.set_label("rank of dissimilarity (0 alike)")
        bar.outline.set_visible(False)
    return fig, r


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


def _image(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image, interpolation="nearest" if image.shape[1] < 100 else "antialiased")


def _limits(values: np.ndarray) -> tuple[float, float]:
    lo, hi = float(values.min()), float(values.max())
    room = 0.06 * (hi - lo) or 1.0
    return lo - room, hi + room
