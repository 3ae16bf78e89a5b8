"""The dominant directions of many small matrices at once, by power iteration stopped where scikit-learn stops it.

In numpy wherever the features are: these matrices are small, and what decides when to stop is in their loop.
"""

from typing import NamedTuple

import numpy as np

# Below so many roundings, as a fraction of its largest possible value, a sum of squares is rounding error.
ROUNDINGS = 45.0
# M is computed afresh once updates have taken it below this fraction, so that it keeps ten digits.
STALE = 1e-6


class Job(NamedTuple):
    """One regression: the number of its region and of its split, training and test stimuli; of each neuroid
    (n_neuroids,) the mean over the training stimuli and the sum of squares about it, 0 where it is constant."""

    region: int
    split: int
    train: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    square: np.ndarray


def starts(
    left: np.ndarray, total: np.ndarray, size: np.ndarray, active: np.ndarray, null: float
) -> tuple[np.ndarray, np.ndarray]:
    """The neuroid that each job's iteration starts from (n_jobs,), the first that is not explained yet, as in
    scikit-learn, and which jobs go on. left, total: sums of squares (n_jobs, n_neuroids) now and at first; size:
    traces of M; null: fraction of the first below which nothing is left."""
    varying = left > null * total
    return np.argmax(varying, axis=1), active & varying.any(axis=1) & (size > 0)


def dominant(m: np.ndarray, start: np.ndarray, active: np.ndarray, tol: float, max_iter: int) -> np.ndarray:
    """NIPALS' inner loop (Wegelin 2000) in M = Y'XX'Y: response weights c, of which X'Yc are the feature weights.

    m: float64 (n_jobs, n_neuroids, n_neuroids); start: integer (n_jobs,), the neuroid that each starts from;
    active: bool (n_jobs,). Returns c (n_jobs, n_neuroids) with c'mc = 1, zeros where not active. With weights
    X'Yc / sqrt(c'mc) the product of two successive ones is c'mc_before / (both lengths); as in scikit-learn the
    iteration ends once their squared change is below tol, or after max_iter steps.
    """
    n_neuroids = m.shape[1]
    c = np.zeros(m.shape[:2])
    each = np.arange(len(start))
    diagonal = m[each, start, start]
    alone = active & (diagonal <= 0)  # a neuroid without covariance: its own direction
    c[each[alone], start[alone]] = 1.0
    live = each[active & (diagonal > 0)]
    if not len(live):
        return c
    lengths = np.sqrt(diagonal[live])
    c[live, start[live]] = 1.0 / lengths
    if n_neuroids == 1:
        return c
    part = m if len(live) == len(m) else m[live]
    d = part[np.arange(len(live)), start[live]] / lengths[:, None]
    done = np.zeros(len(live), dtype=bool)
    # More steps than these cost more than an eigendecomposition.
    patience = min(max_iter - 1, 2 * n_neuroids)
    for _ in range(patience):
        after = (part @ d[:, :, None])[:, :, 0]
        lengths = np.sqrt((d * after).sum(axis=1))
        below = 2.0 - 2.0 * (d * d).sum(axis=1) / lengths < tol
        c[live[~done]] = (d / lengths[:, None])[~done]
        done |= below
        if done.all():
            return c
        d = after / lengths[:, None]
        if 2 * done.sum() > len(done):  # what has ended is carried along until a copy of the rest is cheaper
            live, part, d, done = live[~done], part[~done], d[~done], np.zeros((~done).sum(), dtype=bool)
    for i in live[~done]:
        c[i] = stopped(m[i], c[i], max_iter - 1 - patience, tol)
    return c


def deflate(m: np.ndarray, v: np.ndarray, loading: np.ndarray) -> None:
    """m - vq' - qv' in place, for m (n_jobs, n_neuroids, n_neuroids), v and loadings q (n_jobs, n_neuroids)."""
    half = v[:, :, None] * loading[:, None, :]
    m -= half
    m -= half.swapaxes(1, 2)


def stopped(m: np.ndarray, c: np.ndarray, steps: int, tol: float) -> np.ndarray:
    """What at most `steps` further steps of the power iteration make of c, by the eigenvectors of m at once.

    m: (n_neuroids, n_neuroids); c: (n_neuroids,). After j steps c is V L^j V'c, so that the product of successive
    weights, c_j'm c_j+1, and their lengths are sums of powers of the eigenvalues: the first j at which they change
    by less than `tol` is looked up, not stepped to.
    """
    if steps <= 0:
        return c
    values, vectors = np.linalg.eigh(m)
    ratio = np.maximum(values, 0.0) / values[-1]
    start = vectors.T @ c
    sums = (start**2)[:, None] * ratio[:, None] ** np.arange(1, 4)
    last = steps
    for first in range(0, steps, 64):
        j = np.arange(first, min(first + 64, steps))
        before, between, after = (ratio ** (2 * j[:, None]) @ sums).T
        below = 2.0 - 2.0 * between / np.sqrt(before * after) < tol
        if below.any():
            last = int(j[np.argmax(below)]) + 1
            break
    c = vectors @ (start * ratio**last)
    return c / np.sqrt(c @ m @ c)
