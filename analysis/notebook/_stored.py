"""The activations that lie on disk: which there are, and the RDM of a layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _style as s
from analysis.similarity import rsa
from blendnet import stored as kinds
from blendnet.errors import BlendnetError, unknown
from blendnet.files import read_object

# A picture shows no more than this; the RDM of 2,500 stimuli would also be 50 MB.
MOST_STIMULI = 400


def stored(results: Path | str, profile: str, scores: pd.DataFrame) -> pd.DataFrame:
    """The activations on disk: run, stimuli, n_stimuli, layers (tuple, in order), scored; no rows where none lie there.

    scored: True where scores.csv rests on exactly these activations (equal key). What a planted recording was made
    from ('planted-source') is left out: it is another projection on purpose, and nothing is scored on it.
    """
    keys = set(zip(scores["run"], scores["activations_key"]))
    rows = []
    for path in sorted((Path(results) / profile / "activations").glob("*/*/key.json")):
        run, stimuli = path.parts[-3:-1]
        if not stimuli.endswith((".partial", "-source")):
            info = read_object(path, kinds.ACTIVATIONS)
            rows.append((run, stimuli, int(info["n_stimuli"]), tuple(info["key"]["layers"]),
                         (run, info["sha256"]) in keys))  # fmt: skip
    return pd.DataFrame(rows, columns=["run", "stimuli", "n_stimuli", "layers", "scored"])


def stored_words(found: pd.DataFrame, profile: str) -> str:
    """One sentence: what lies on disk, or how to make it."""
    if not len(found):
        return (
            "No activations of this profile are on disk (they are large and not kept in git), so there is no RDM to "
            f"show; `.venv/bin/blendnet extract --profile {profile}` makes them from the checkpoints."
        )
    stale = int((~found["scored"]).sum())
    return f"Activations of {found['run'].nunique()} runs are on disk." + (
        f" {stale} of {len(found)} extractions are not those that scores.csv rests on." if stale else ""
    )


def layer_rdm(results: Path | str, profile: str, run: str, stimuli: str, layer: str) -> tuple[np.ndarray, list[str]]:
    """RDM of one stored layer, float64 (n, n), 1 - Pearson r of two patterns (0 to 2), and the n stimulus ids.

    Of more than MOST_STIMULI stimuli, that many evenly spaced ones are taken. The patterns are the stored (randomly
    projected) activations. Raises BlendnetError for an unknown layer, a stimulus whose pattern does not vary, and a
    file that cannot be read.
    """
    folder = Path(results) / profile / "activations" / run / stimuli
    info = read_object(folder / "key.json", kinds.ACTIVATIONS)
    if layer not in info["key"]["layers"]:
        raise unknown("layer", layer, info["key"]["layers"])
    ids = info["stimulus_id"]
    kept = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), MOST_STIMULI)).round().astype(int))
    path = folder / f"{layer}.npy"
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)[kept]
    except (OSError, ValueError) as error:
        raise BlendnetError(f"{path} cannot be read ({error}); run `blendnet extract --force`") from error
    return rsa.square(rsa.rdm(x)), [ids[i] for i in kept]


def rdm_figure(results: Path | str, profile: str, runs: Sequence[str], stimuli: str, layer: str) -> Figure:
    """The RDM of one layer, one panel a run, one colour scale; above later panels the Spearman correlation with the
    first."""
    if not runs:
        raise BlendnetError("no run is chosen; choose at least one")
    matrices = [layer_rdm(results, profile, run, stimuli, layer)[0] for run in runs]
    upper = np.triu_indices(len(matrices[0]), 1)
    top = max(m.max() for m in matrices)
    with s.style():
        fig, axes = s.panels(len(runs), 66, 12, most=3)
        for i, (ax, run, matrix) in enumerate(zip(axes, runs, matrices)):
            image = ax.imshow(matrix, cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
            r = float(rsa.compare(matrices[0][upper], matrix[upper])) if i else None
            ax.set_title(run + ("" if r is None else f"\nSpearman with the first: {r:.2f}".replace(": -", ": −")))
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_xlabel(f"{len(matrix)} stimuli of {stimuli}")
        bar = fig.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.01)
        bar.set_label(f"1 − Pearson r, {layer}")
        bar.outline.set_visible(False)
    return fig
