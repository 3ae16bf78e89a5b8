"""Correlation of two quantities given covariates, and its interval where points share architectures.

Plain arrays. The partial correlation is that of what least squares on the covariates leaves of both quantities, the
partial rank correlation that of the ranks of what it leaves (Liu, Li, Wanga and Shepherd 2018, doi 10.1111/biom.12812);
without covariates it is Spearman's. The other partial rank correlation, residuals of ranks on ranks, invents a relation
that the covariates explain: ranks of a sum are not the sum of ranks (0.07 to 0.14 on average in
benchmarks/results/calibration.md). What ours holds constant is the linear effect of the covariates.
"""

import numpy as np
from scipy.stats import norm

from analysis.stats.nested import LEFT, basis, left_over, norms, residual

FEWEST = 4


def fewest(n_covariates: int) -> int:
    """Points that a coefficient given so many covariates needs: the fewest for which Fisher's interval exists."""
    return FEWEST + n_covariates


def problem(covariates: np.ndarray, names: list[str], n: int) -> str:
    """Why the covariates (n, k) cannot be held constant, in words; '' where they can."""
    k = len(names)
    if n < fewest(k):
        given = f" given {k} covariate{'s' * (k > 1)}" if k else ""
        return f"{n} points, at least {fewest(k)} are needed{given}"
    for name, values in zip(names, covariates.T):
        if not np.isfinite(values).all():
            return f"{name} is not known at {int((~np.isfinite(values)).sum())} of {n} points"
        if np.ptp(values) <= LEFT * max(np.abs(values).max(), 1e-300):
            return f"{name} is the same at all {n} points"
    for i, name in enumerate(names):
        before = covariates[:, :i]
        left = residual(covariates[:, i : i + 1], basis(n, before))
        if i and norms(left)[0] <= LEFT * norms(covariates[:, i : i + 1] - covariates[:, i].mean())[0]:
            return f"{name} follows from {' and '.join(names[:i])} at these {n} points"
    return ""


def left_nothing(x: np.ndarray, y: np.ndarray, names: list[str]) -> str:
    """Why x (n,) and y (n,) have no coefficient given the covariates of those names, in words."""
    for values, name in ((x, "score"), (y, "accuracy")):
        if np.ptp(values) < 1e-12:
            return f"the {name} is the same at all {len(x)} points"
    return f"{' and '.join(names)} explain the score or the accuracy fully"


def coefficients(
    x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None = None, statistic: str = "spearman"
) -> np.ndarray:
    """Partial correlation (m,) of each column of x (n, m) with y (n,) given covariates (n, k): Pearson's of what least
    squares on the covariates and a constant leaves of both, or of its mid-ranks. NaN where nothing is left of one."""
    span = basis(len(y), covariates)
    rx = left_over(np.asarray(x, dtype=float), span, statistic)
    ry = left_over(np.asarray(y, dtype=float)[:, None], span, statistic)
    return np.clip(ry[:, 0] @ rx, -1, 1)


def shared(x: np.ndarray, groups: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Intraclass correlation (m,) of each column of x (n, m) within groups (n,), 0 to 1: the share of the variance
    beside `span` (n, rank) that the groups' means have, by equating the two sums of squares with their expectations
    (Henderson's method 1, 1953, doi 10.2307/3001853; the one-way analysis of variance where groups are of one size)."""
    same = _same(groups)
    t_m, t_mj, t_mjmj = _traces(groups, span)
    rx = residual(np.asarray(x, dtype=float), span)
    total, between = (rx * rx).sum(axis=0), (rx * (same @ rx)).sum(axis=0)
    # E[total] = own t_m + common t_mj; E[between] = own t_mj + common t_mjmj
    det = t_m * t_mjmj - t_mj**2
    if det <= 1e-9 * max(t_m * t_mjmj, 1.0):
        return np.zeros(x.shape[1])  # one point a group, or one group: nothing tells the two apart
    own = np.maximum((total * t_mjmj - between * t_mj) / det, 0.0)
    common = np.maximum((between * t_m - total * t_mj) / det, 0.0)
    both = own + common
    return np.where(both > 0, common / np.where(both > 0, both, 1.0), 0.0)


def degrees(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    covariates: np.ndarray | None = None,
    statistic: str = "spearman",
) -> np.ndarray:
    """Effective degrees of freedom (m,) of the coefficients of x (n, m) and y (n,): n - 1 - k for independent points,
    fewer the more both share within groups (n,).

    tr(M Sx) tr(M Sy) / tr(M Sx M Sy), M what the covariates leave and S the correlation of the points that the
    intraclass correlations say (Clifford, Richardson and Hemon 1989, doi 10.2307/2532039; with the mean taken out
    Dutilleul 1993, doi 10.2307/2532625, who have points in space for our points in architectures). NaN where nothing is
    left of a column.
    """
    span = basis(len(y), covariates)
    ix = shared(left_over(np.asarray(x, dtype=float), span, statistic), groups, span)
    iy = shared(left_over(np.asarray(y, dtype=float)[:, None], span, statistic), groups, span)[0]
    t_m, t_mj, t_mjmj = _traces(groups, span)
    trace_x, trace_y = (1 - ix) * t_m + ix * t_mj, (1 - iy) * t_m + iy * t_mj
    both = (1 - ix) * (1 - iy) * t_m + (ix * (1 - iy) + iy * (1 - ix)) * t_mj + ix * iy * t_mjmj
    return trace_x * trace_y / both


def interval(
    r: np.ndarray, df: np.ndarray, n: int, statistic: str, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval (lo, hi), each (m,), of coefficients r (m,) with `degrees` df (m,), from n points.

    Fisher's z with variance 1 / (df - 2), which is 1 / (n - 3 - k) for independent points (Fisher 1924); of ranks
    (1 + r^2 / 2) times that (Bonett and Wright 2000, doi 10.1007/BF02294183), and a coefficient of ranks is taken half
    a step of its grid from 1, since an order that agrees throughout is no proof of one that always will. -1 to 1 where
    df <= 2: the points are worth 3 or fewer, which say nothing.
    """
    edge = 1 - 6 / (n * (n * n - 1)) if statistic == "spearman" else 1 - 1e-12
    z = np.arctanh(np.clip(r, -edge, edge))
    spread = (1 + r**2 / 2 if statistic == "spearman" else np.ones_like(r)) / np.maximum(df - 2, 1e-12)
    half = norm.ppf((1 + level) / 2) * np.sqrt(spread)
    lo, hi = np.minimum(np.tanh(z - half), r), np.maximum(np.tanh(z + half), r)
    none = df <= 2
    return np.where(none, -1.0, lo), np.where(none, 1.0, hi)


def _same(groups: np.ndarray) -> np.ndarray:
    return (np.asarray(groups)[:, None] == np.asarray(groups)[None, :]).astype(float)


def _traces(groups: np.ndarray, span: np.ndarray) -> tuple[float, float, float]:
    """tr(M), tr(MJ) and tr(MJMJ): M projects off `span`, J is 1 for two points of one group."""
    maker = np.eye(len(span)) - span @ span.T
    mj = maker @ _same(groups)
    return float(np.trace(maker)), float(np.trace(mj)), float((mj * mj.T).sum())
