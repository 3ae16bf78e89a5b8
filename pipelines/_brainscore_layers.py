"""Which layer goes with which region: blendnet's commitments from the table, and what Brain-Score would commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.similarity import pls
from analysis.similarity._splits import Splits
from analysis.stats.layers import aggregate
from blendnet.errors import BlendnetError, unknown

REGIONS = ("V1", "V2", "V4", "IT")
# Recordings and metrics by which a commitment is preferred: Brain-Score's own come first.
OF_BRAIN_SCORE = ("freemanziemba2013public", "majajhong2015public")
BY_METRIC = ("pls", "ridge", "rsa", "rsa_whitened")
N_COMPONENTS = 1000  # Brain-Score's


@dataclass(frozen=True)
class Committed:
    """The layer that goes with a region, and the row of scores.csv that says so ('' for one named by hand)."""

    layer: str
    recording: str = ""
    metric: str = ""


def committed(
    scores: pd.DataFrame, run: str, *, recordings: Sequence[str] = (), named: Mapping[str, str] | None = None
) -> dict[str, Committed]:
    """{region: layer} of a run, as scores.csv has them; regions without a row are left out.

    recordings: names, or beginnings of names, that alone are looked at (an invented, planted one must be among them to
    count); named: {region: layer} that go before the table. Of several rows for a region the first is taken: one of
    Brain-Score's own recordings, then by PLS, then of the most stimuli. Raises BlendnetError for a run that has not
    been scored and for recordings that fit no row.
    """
    rows = scores[(scores["run"] == run) & (scores["kind"] != "shuffled") & scores["region"].isin(REGIONS)]
    if rows.empty:
        raise BlendnetError(f"{run} has no committed layer, since it was not scored; run blendnet score --only {run}")
    if recordings:
        fits = [any(name == r or name.startswith(r + "-") for r in recordings) for name in rows["recording"]]
        if not any(fits):
            raise unknown(f"recording that {run} was scored on", ", ".join(recordings), set(rows["recording"]))
        rows = rows[fits]
    else:
        rows = rows[~rows["planted"].astype(bool)]
    found: dict[str, Committed] = {}
    for region in REGIONS:
        choices = [row for row in rows[rows["region"] == region].to_dict("records") if isinstance(row["layer"], str)]
        if choices:
            row = min(choices, key=_preference)
            found[region] = Committed(row["layer"], row["recording"], row["metric"])
        if named and region in named:
            found[region] = Committed(named[region])
    return found


def _preference(row: Mapping[str, Any]) -> tuple:
    own = row["recording"].split("-")[0] in OF_BRAIN_SCORE
    return (not own, BY_METRIC.index(row["metric"]) if row["metric"] in BY_METRIC else len(BY_METRIC),
            -int(row["n_stimuli"]), row["recording"])  # fmt: skip


def brain_score_layer(
    xs: Mapping[str, np.ndarray],
    y: np.ndarray,
    splits: Splits,
    *,
    bases: Mapping[str, np.ndarray] | None = None,
    n_components: int = N_COMPONENTS,
) -> tuple[str, dict[str, float]]:
    """The layer that Brain-Score itself would commit to a region, and every layer's raw PLS score there.

    xs: {layer: features (n_stimuli, units)} on the stimuli of the public benchmark; y: (n_stimuli, n_neuroids); splits:
    Brain-Score's (blendnet.data.brain._brainscore.splits_of); bases: {layer: (n_images, units)} of the images on which
    the principal components are fitted (Brain-Score takes 1000 of ImageNet's validation images). A layer of more than
    n_components units is seen through its first n_components; a smaller one, such as a projected one, as it is. The
    best layer is that of the largest r^2 (the ceiling is the same for all), the earlier one of equals.

    The benchmark on which the layer is chosen is the one that is then reported, so this score is optimistic; it is
    here to be put beside the nested commitment, not in its place. Raises BlendnetError where a wide layer has no basis
    of at least n_components images.
    """
    raw = {}
    for layer, x in ((layer, np.asarray(x)) for layer, x in xs.items()):
        pca = components(layer, x.shape[1], None if bases is None else bases.get(layer), n_components)
        raw[layer] = aggregate(pls.score(x if pca is None else pca.transform(x), y, splits))
    return best(raw), raw


def best(raw: Mapping[str, float | None]) -> str:
    """The layer of the largest r^2, the earlier one of equals; BlendnetError where none has a score (None or NaN)."""
    known = {layer: value**2 for layer, value in raw.items() if value is not None and np.isfinite(value)}
    if not known:
        raise BlendnetError(f"none of the {len(raw)} layers has a score; check the responses for constant neuroids")
    return max(known, key=lambda layer: known[layer])


def components(layer: str, n_units: int, basis: np.ndarray | None, n: int = N_COMPONENTS) -> Any:
    """The PCA through which Brain-Score sees a layer of n_units, with a transform(x); None for one that it sees as it
    is. basis: (n_images, n_units), the layer's answers to the images; BlendnetError where they are too few."""
    if n_units <= n:
        return None
    there = 0 if basis is None else len(basis)
    if there < n:
        raise BlendnetError(
            f"layer {layer!r} has {n_units} units; its {n} principal components need as many images, not {there}; "
            "give its answers to them as bases, or projected features"
        )
    from sklearn.decomposition import PCA

    return PCA(n_components=n, random_state=0).fit(basis)
