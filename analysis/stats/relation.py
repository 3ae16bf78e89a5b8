"""Similarity and accuracy across runs, by area, layer and what is held constant.

Points are those of correlation.py: one (network, attention, heads, training) cell, the mean over its seeds. Where that
table leaves an architecture out in turn, this one holds covariates constant and goes through the depths of the
networks. Intervals let points of one architecture count for less than independent ones (partial.py), `p` permutes all
points, `p_within` those of one architecture only (nested.py): where architectures share what they have, `p` calls too
much significant and the other two do not; benchmarks/results/calibration.md says by how much.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from analysis.stats import nested, partial
from analysis.stats.correlation import CELL, QUANTITIES, STATISTICS, rates

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIZES = ("log_parameters", "log_flops", "readouts")
ALL_SIZES = "+".join(SIZES)
ADJUSTED = {
    "blended_both": ("", "regular_top1", *SIZES, "regular_top1+log_parameters", f"regular_top1+{ALL_SIZES}"),
    "regular_top1": ("", *SIZES, ALL_SIZES),
}
_KEY = ["recording", "region", "metric", "depth"]


def compute(
    scores: pd.DataFrame,
    layers: pd.DataFrame | None,
    accuracy: pd.DataFrame,
    *,
    n_permutations: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The relation table from the tables of those names; layers may be None, and then rows by depth are missing and
    'readouts' is not known.

    depth: empty for the committed layer's score; 0, .25, .5, .75, 1 for the layer profile, interpolated linearly in
    relative depth, so that networks with other layers can be compared. training: empty for all points together, then
    each training where there are several. adjusted: what is held constant, by partial.py; log_parameters and log_flops
    are log10, readouts the number of readout layers. value, interval and p are empty where they cannot be had, and
    `note` says why; rows by depth are adjusted only where there are points enough for one covariate.
    """
    columns = _columns(scores, layers)
    if not columns.shape[1]:
        return tables.empty("relation")
    runs = _runs(scores, layers, accuracy).reindex(columns.index)
    rows: list[dict[str, Any]] = []
    for quantity, adjustments in ADJUSTED.items():
        for training in _trainings(runs, quantity):
            mine = runs[quantity].notna() & ((runs["training"] == training) | (training == ""))
            for names, chosen in _batches(columns, mine.to_numpy(dtype=bool)):
                own = runs[chosen]
                cells = own.groupby(CELL, sort=True, dropna=False)
                points = cells[[*QUANTITIES, *SIZES]].mean().reset_index()
                x = columns.loc[chosen, names].groupby(cells.ngroup().to_numpy()).mean().to_numpy()
                base = {"accuracy": quantity, "training": training, "n_runs": len(own), "n_points": len(points),
                        "n_architectures": points["network"].nunique()}  # fmt: skip
                for adjusted in adjustments:
                    with_depth = not adjusted or len(points) >= partial.fewest(1)
                    kept = [i for i, name in enumerate(names) if with_depth or np.isnan(name[3])]
                    for statistic in STATISTICS:
                        found = _batch(x[:, kept], points, quantity, adjusted, statistic, n_permutations, level, seed)
                        about = base | {"adjusted": adjusted, "statistic": statistic}
                        rows += [dict(zip(_KEY, names[i])) | about | one for i, one in zip(kept, found)]
    return tables.from_rows(rows, "relation")


def _columns(scores: pd.DataFrame, layers: pd.DataFrame | None) -> pd.DataFrame:
    """Scores, one run a row, one (recording, region, metric, depth) a column; depth is NaN for the committed layer."""
    parts: dict[tuple[str, str, str, float], pd.Series] = {}
    trained = _trained(scores)
    for name, part in trained.groupby(_KEY[:3], sort=True):
        parts[(*name, float("nan"))] = part.set_index("run")["score"]
    if layers is not None:
        for name, part in _trained(layers).dropna(subset=["score"]).groupby(_KEY[:3], sort=True):
            profiles = {run: at_depths(own["depth"].to_numpy(float), own["score"].to_numpy(float))
                        for run, own in part.groupby("run", sort=True)}  # fmt: skip
            for i, depth in enumerate(DEPTHS):
                parts[(*name, depth)] = pd.Series({run: values[i] for run, values in profiles.items()}, dtype=float)
    index = sorted(set().union(*(part.index for part in parts.values()))) if parts else []
    frame = pd.DataFrame({i: part.reindex(index) for i, part in enumerate(parts.values())}, index=index, dtype=float)
    frame.columns = pd.Index(list(parts), tupleize_cols=False)
    return frame


def at_depths(depth: np.ndarray, score: np.ndarray, where: tuple[float, ...] = DEPTHS) -> np.ndarray:
    """Scores of layers at relative depths (n_layers,), interpolated linearly at `where`; NaN beyond the outermost
    known layer, since a score there would be made up."""
    order = np.argsort(depth, kind="stable")
    return np.interp(np.asarray(where), depth[order], score[order], left=np.nan, right=np.nan)


def _trained(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["kind"] == "network") & (table["training"] != "untrained")]


def _runs(scores: pd.DataFrame, layers: pd.DataFrame | None, accuracy: pd.DataFrame) -> pd.DataFrame:
    """The cell, accuracies and covariates of each trained run; index run."""
    known = [_trained(table)[["run", *CELL]] for table in (scores, layers) if table is not None]
    runs = pd.concat(known).drop_duplicates("run").set_index("run")
    for quantity in QUANTITIES:
        runs[quantity] = rates(accuracy, quantity).set_index("run")["rate"].astype(float)
    sizes = accuracy.drop_duplicates("run").set_index("run")
    for name, column in (("log_parameters", "parameters"), ("log_flops", "flops")):
        count = sizes[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            runs[name] = pd.Series(np.log10(np.where(count > 0, count, np.nan)), index=sizes.index)
    runs["readouts"] = np.nan if layers is None else layers.groupby("run")["layer"].nunique().astype(float)
    return runs


def _trainings(runs: pd.DataFrame, quantity: str) -> list[str]:
    found = sorted(runs.loc[runs[quantity].notna(), "training"].unique())
    return ["", *(found if len(found) > 1 else [])] if found else []


def _batches(columns: pd.DataFrame, mine: np.ndarray) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Columns that are known for the same runs, and those runs: permutations of their accuracies are shared."""
    known = columns.notna().to_numpy() & mine[:, None]
    sets: dict[bytes, list[int]] = {}
    for i in range(known.shape[1]):
        if known[:, i].any():
            sets.setdefault(known[:, i].tobytes(), []).append(i)
    for places in sets.values():
        yield [columns.columns[i] for i in places], known[:, places[0]]


def _batch(
    x: np.ndarray,
    points: pd.DataFrame,
    quantity: str,
    adjusted: str,
    statistic: str,
    n_permutations: int,
    level: float,
    seed: int,
) -> list[dict[str, Any]]:
    """value, lo, hi, p, p_within and note of each column of x (n_points, n_scores)."""
    nothing = {"value": np.nan, "lo": np.nan, "hi": np.nan, "p": np.nan, "p_within": np.nan}
    names = adjusted.split("+") if adjusted else []
    y, groups, n = points[quantity].to_numpy(float), points["network"].to_numpy(), len(points)
    z = points[names].to_numpy(float) if names else np.empty((n, 0))
    why = partial.problem(z, names, n)
    if why:
        return [nothing | {"note": f"not computed: {why}"}] * x.shape[1]
    value = partial.coefficients(x, y, z, statistic)
    df = partial.degrees(x, y, groups, z, statistic)
    lo, hi = partial.interval(value, df, n, statistic, level)
    how: dict[str, Any] = {"statistic": statistic, "n_permutations": n_permutations, "seed": seed}
    p, every = nested.permutation_p(x, y, z, **how)
    p_within, every_within = nested.permutation_p(x, y, z, groups, **how)
    rows = []
    for i in range(x.shape[1]):
        if not np.isfinite(value[i]):
            rows.append(nothing | {"note": f"not computed: {partial.left_nothing(x[:, i], y, names)}"})
            continue
        words = [f"p of {_how(every, n_permutations)}"]
        if np.isnan(p_within[i]):
            words.append("nothing to permute within architectures")
        elif every_within != every:
            words.append(f"p_within of {_how(every_within, n_permutations)}")
        words.append(f"interval: Fisher's z, {n} points worth {df[i] + 1 + len(names):.1f} independent ones")
        too_few = ", too few: no coefficient is ruled out" if df[i] <= 2 else ""
        rows.append(
            {"value": value[i], "lo": lo[i], "hi": hi[i], "p": p[i], "p_within": p_within[i],
             "note": "; ".join(words) + too_few}
        )  # fmt: skip
    return rows


def _how(every: bool, n_permutations: int) -> str:
    return "all permutations" if every else f"{n_permutations} random permutations"
