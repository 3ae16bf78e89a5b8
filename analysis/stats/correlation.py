"""Does brain similarity go with accuracy? Rank and linear correlation across networks, with few networks in
mind.

Seeds are replicates within an architecture, not extra points: a point is one (network, attention, heads,
training), the mean over its seeds. The two members of a twin share an architecture, so beside the p over
all points there is `p_within`, which permutes within architectures only, and each coefficient is repeated
with each architecture left out. Untrained runs, chance rows and controls are no points: with them any two
things that training changes correlate.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis import tables
from analysis.stats import nested, partial

STATISTICS = ("spearman", "pearson")
QUANTITIES = {"blended_both": ("blended", "both"), "regular_top1": ("regular", "top1")}
CELL = ["network", "attention", "heads", "training"]
FEWEST = 4
_TINY = 1e-12


def compute(
    scores: pd.DataFrame,
    accuracy: pd.DataFrame,
    *,
    n_permutations: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The correlation table: each region, recording and metric against blended both-correct and regular
    top-1.

    scores, accuracy: the tables of those names; `score` is used raw (one ceiling a recording and region, so
    dividing would not change a coefficient). Rows with left_out name the architecture whose points are not
    in them. With fewer than 4 points, or no variance, value, interval and p are empty and `note` says why.
    training is empty where the points of all trainings are taken together; where there are several trainings, each
    has rows of its own, too, since a training that changes both things makes them go together by itself.
    """
    chosen = scores[(scores["kind"] == "network") & (scores["training"] != "untrained")]
    rows = []
    for (recording, region, metric), part in chosen.groupby(["recording", "region", "metric"], sort=True):
        for quantity in QUANTITIES:
            runs = part.merge(rates(accuracy, quantity), on="run", how="inner").dropna(subset=["score", "rate"])
            points = runs.groupby(CELL, dropna=False)[["score", "rate"]].mean().reset_index()
            for training, left_out in _parts(points):
                mine = (points["network"] != left_out) & ((points["training"] == training) | (training == ""))
                kept = points[mine]
                base = {"region": region, "recording": recording, "metric": metric, "accuracy": quantity,
                        "training": training, "left_out": left_out, "n_points": len(kept),
                        "n_architectures": kept["network"].nunique(),
                        "n_runs": len(runs.merge(kept[CELL], on=CELL))}  # fmt: skip
                x, y = kept["score"].to_numpy(float), kept["rate"].to_numpy(float)
                for statistic in STATISTICS:
                    found = _row(x, y, kept["network"].to_numpy(), statistic, n_permutations, level, seed)
                    rows.append(base | {"statistic": statistic} | found)
    return tables.from_rows(rows, "correlation")


def _parts(points: pd.DataFrame) -> list[tuple[str, str]]:
    """(training, left out): all points first, then each training where there are several; each without each
    architecture."""
    trainings = sorted(points["training"].unique())
    out = []
    for training in ["", *(trainings if len(trainings) > 1 else [])]:
        own = points[(points["training"] == training) | (training == "")]
        out += [(training, left_out) for left_out in ["", *sorted(own["network"].unique())]]
    return out


def rates(accuracy: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Columns run and rate: the overall accuracy of each run; quantity: 'blended_both' or 'regular_top1'."""
    test, outcome = QUANTITIES[quantity]
    a = accuracy
    return a[(a["test"] == test) & (a["by"] == "all") & (a["outcome"] == outcome)][["run", "rate"]]


def _row(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    statistic: str,
    n_perm: int,
    level: float,
    seed: int,
) -> dict[str, Any]:
    nothing = {"value": np.nan, "lo": np.nan, "hi": np.nan, "p": np.nan, "p_within": np.nan}
    if len(x) < FEWEST:
        return nothing | {"note": f"not computed: {len(x)} points, at least {FEWEST} are needed"}
    for values, name in ((x, "score"), (y, "accuracy")):
        if np.ptp(values) < _TINY:
            return nothing | {"note": f"not computed: the {name} is the same at all {len(x)} points"}
    p, exact = permutation_p(x, y, statistic=statistic, n_permutations=n_perm, seed=seed)
    p_within, _ = permutation_p(x, y, statistic=statistic, groups=groups, n_permutations=n_perm, seed=seed)
    value = partial.coefficients(x[:, None], y, None, statistic)
    df = partial.degrees(x[:, None], y, groups, None, statistic)
    lo, hi = partial.interval(value, df, len(x), statistic, level)
    how = f"interval: Fisher's z, {len(x)} points worth {df[0] + 1:.1f} independent ones"
    note = f"p {'exact' if exact else f'of {n_perm} random permutations'}; {how}"
    return {
        "value": float(value[0]),
        "lo": float(lo[0]),
        "hi": float(hi[0]),
        "p": p,
        "p_within": p_within,
        "note": note,
    }


def coefficient(x: np.ndarray, y: np.ndarray, statistic: str = "spearman") -> float:
    """Pearson's r of x and y (n,), or of their mid-ranks (Spearman 1904, ties averaged); NaN without
    variance."""
    if statistic == "spearman":
        x, y = rankdata(x), rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > _TINY else float("nan")


def permutation_p(
    x: np.ndarray,
    y: np.ndarray,
    *,
    statistic: str = "spearman",
    groups: np.ndarray | None = None,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> tuple[float, bool]:
    """Two-sided permutation p of a coefficient of x, y (n,), and whether it is exact; with `groups` (n,) that of the
    part within groups (architectures), so that what differs between architectures is no evidence. See nested.py."""
    p, every = nested.permutation_p(
        np.asarray(x, dtype=float)[:, None], y, None, groups,
        statistic=statistic, n_permutations=n_permutations, seed=seed,
    )  # fmt: skip
    return float(p[0]), every


def bootstrap(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    statistic: str = "spearman",
    n_bootstrap: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, str]:
    """Percentile interval (lo, hi) of a coefficient of x, y (n,), and in words how it was made.

    With 3 or more groups (architectures), these are drawn with replacement, then points within each drawn one
    (two stages; Davison and Hinkley 1997, section 3.8); with fewer, points alone. Draws without variance say
    nothing and are left out; where they are more than half, the interval is empty.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(groups, return_inverse=True)
    n = len(x)
    if len(names) >= 3:
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstrap)
        weights = np.zeros((n_bootstrap, n))
        for g in range(len(names)):
            members = np.flatnonzero(codes == g)
            share = np.full(len(members), 1 / len(members))
            weights[:, members] = rng.multinomial(drawn[:, g] * len(members), share)
        how = f"interval: {n_bootstrap} draws of architectures, then points"
    else:
        weights = rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(float)
        how = f"interval: {n_bootstrap} draws of points ({len(names)} architectures are too few to draw)"
    values = weighted(x, y, weights, statistic)
    values = values[np.isfinite(values)]
    if len(values) < n_bootstrap / 2:
        return float("nan"), float("nan"), "no interval: most draws have no variance"
    tail = (1 - level) / 2
    lo, hi = np.quantile(values, (tail, 1 - tail))
    return float(lo), float(hi), how


def weighted(x: np.ndarray, y: np.ndarray, weights: np.ndarray, statistic: str) -> np.ndarray:
    """Coefficients (n_draws,) of x, y (n,) with each point repeated weights[draw, point] times; NaN without
    variance. The ranks are those within the draw."""
    if statistic == "spearman":
        x_all, y_all = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    else:
        x_all, y_all = np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape)
    total = weights.sum(axis=1, keepdims=True)
    dx = x_all - (weights * x_all).sum(axis=1, keepdims=True) / total
    dy = y_all - (weights * y_all).sum(axis=1, keepdims=True) / total
    xx, yy = (weights * dx * dx).sum(axis=1), (weights * dy * dy).sum(axis=1)
    small = (xx <= _TINY) | (yy <= _TINY)
    r = (weights * dx * dy).sum(axis=1) / np.sqrt(np.where(small, 1.0, xx * yy))
    return np.where(small, np.nan, np.clip(r, -1, 1))


def _weighted_ranks(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    below = weights @ (x[:, None] < x[None, :]).astype(float)
    equal = weights @ (x[:, None] == x[None, :]).astype(float)
    return below + (equal + 1) / 2
