"""Permutation p of plain and partial correlation, over all points or within groups (architectures) only.

Covariates are treated as by Freedman and Lane (1983, doi 10.1080/07350015.1983.10509354; Winkler et al. 2014, doi
10.1016/j.neuroimage.2014.01.060): what the covariates leave of the accuracy is permuted and added back to what they
explain, and the coefficient given the covariates is taken anew. The fitted part falls out of a coefficient given the
same covariates, so that it is never added here.

Within groups the coefficient tested is the part within groups: the groups' means go the way of the covariates. Of the
whole coefficient, the part between groups would stay in every permutation and make the two-sided p a one-sided one of
its sign.
"""

from itertools import permutations
from math import factorial, prod

import numpy as np
from scipy.stats import rankdata

ALL_UP_TO = 50_000
LEFT = 1e-6


def orders(
    n: int, groups: np.ndarray | None = None, *, n_permutations: int = 10_000, seed: int = 0
) -> tuple[np.ndarray, bool]:
    """Permutations of n points as integer (n_orders, n), and whether they are all there are.

    groups (n,): points change places within their group only. All are enumerated where there are at most 50,000, the
    identity first; else n_permutations random ones are drawn.
    """
    groups = np.zeros(n) if groups is None else np.asarray(groups)
    blocks = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    if prod(factorial(len(block)) for block in blocks) <= ALL_UP_TO:
        out = np.arange(n)[None, :]
        for block in blocks:
            own = np.array(list(permutations(block)), dtype=int)
            out = np.repeat(out, len(own), axis=0)
            out[:, block] = np.tile(own, (len(out) // len(own), 1))
        return out, True
    rng = np.random.default_rng(seed)
    out = np.tile(np.arange(n), (n_permutations, 1))
    for block in blocks:
        out[:, block] = rng.permuted(np.tile(block, (n_permutations, 1)), axis=1)
    return out, False


def basis(n: int, covariates: np.ndarray | None = None, groups: np.ndarray | None = None) -> np.ndarray:
    """Orthonormal columns (n, rank) that span the constant, the covariates (n, k) and the means of the groups (n,)."""
    parts = [np.ones((n, 1))]
    if covariates is not None and covariates.shape[1]:
        z = covariates - covariates.mean(axis=0)
        parts.append(z / norms(z))
    if groups is not None:
        names = np.unique(groups)
        parts.append((np.asarray(groups)[:, None] == names[None, :]).astype(float))
    u, s, _ = np.linalg.svd(np.hstack(parts), full_matrices=False)
    return u[:, s > 1e-8 * s[0]]


def permutation_p(
    x: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    *,
    statistic: str = "spearman",
    n_permutations: int = 10_000,
    seed: int = 0,
) -> tuple[np.ndarray, bool]:
    """Two-sided p (n_scores,) of the correlation of each column of x (n, n_scores) with y (n,) given covariates (n, k),
    and whether all permutations were taken.

    The coefficient is that of `partial.coefficients`. groups (n,): permute within groups and test the part within
    them. Where not all permutations are taken, p is (b + 1) / (m + 1) (Phipson and Smyth 2010, doi
    10.2202/1544-6115.1585). NaN where a column or y has nothing left, and where fewer than two dimensions are: every
    coefficient is 1 or -1 there.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    span = basis(len(y), covariates, groups)
    if len(y) - span.shape[1] < 2:
        return np.full(x.shape[1], np.nan), True
    unit_x, unit_y = left_over(x, span, statistic), left_over(y[:, None], span, statistic)
    order, every = orders(len(y), groups, n_permutations=n_permutations, seed=seed)
    # Each permutation of the residuals goes through the covariates once more, then is compared with all scores at once.
    moved = left_over(residual(y[:, None], span)[:, 0][order].T, span, statistic, nothing=0.0)
    found, observed = np.abs(moved.T @ unit_x), np.abs(unit_y[:, 0] @ unit_x)
    # Equal arrangements must count as equal whatever the order in which their sums were rounded.
    beyond = (found >= observed - 1e-9).sum(axis=0)
    p = beyond / len(order) if every else (beyond + 1) / (len(order) + 1)
    return np.where(np.isfinite(observed), p, np.nan), every


def left_over(values: np.ndarray, span: np.ndarray, statistic: str, nothing: float = np.nan) -> np.ndarray:
    """What orthonormal columns (n, rank) leave of values (n, m), in mid-ranks for 'spearman', centred and of length 1;
    a column of which nothing is left is filled with `nothing`."""
    rest = residual(values, span)
    left = norms(rest) > LEFT * norms(values - values.mean(axis=0))
    if statistic == "spearman":
        # Residuals that are equal but for rounding are tied.
        rest = rankdata(np.round(rest / norms(rest), 9), axis=0)
        rest = rest - rest.mean(axis=0)
    size = norms(rest)
    left &= size > LEFT
    return np.where(left, rest / size, nothing)


def residual(values: np.ndarray, span: np.ndarray) -> np.ndarray:
    """What orthonormal columns (n, rank) leave of values (n, m)."""
    return values - span @ (span.T @ values)


def norms(values: np.ndarray) -> np.ndarray:
    """Length of each column of values (n, m), and at least 1e-300."""
    return np.maximum(np.sqrt((values * values).sum(axis=0)), 1e-300)
