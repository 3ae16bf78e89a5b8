"""PLS where there are at least as many features as stimuli: one Gram matrix K = XX' for all splits and regions.

The dual form of Lindgren, Geladi, Wold 1993 (doi 10.1002/cem.1180070104) and Rosipal, Trejo 2001. A split only
leaves rows out: scores are zero at its test stimuli, so that all splits share K, and each component is two
products of K with one column a regression. X is never deflated: scores t are made orthogonal to the earlier
ones, and X_k'Y_k = X'Y_k. Nor is Y: what is wanted of Y_k = Y - TQ' is a product with it.
"""

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from analysis.similarity._arrays import dots, gram, moved, sums, zeros
from analysis.similarity._backend import Array, double, host, rows
from analysis.similarity._pls_power import (
    ROUNDINGS,
    STALE,
    Job,
    deflate,
    directions,
    dominant,
    explained,
    in_neuroids,
    starts,
)


@dataclass(frozen=True)
class Dual:
    """The Gram matrix of all stimuli; of each region the centred responses Y, with a column of ones beside them
    (n_stimuli, width + 1), KY and Y'KY. The width is the number of neuroids, or where these are many more than
    stimuli, that of a basis (n_neuroids, n_stimuli) of the responses, else None."""

    k: Array
    ys: list[Array]
    kys: list[Array]
    ykys: list[Array]
    bases: list[Array | None]


def prepare(xp: ModuleType, x: Array, ys: list[Array], like: Array) -> Dual:
    """What all splits and regions share. x: (n_stimuli, n_features); ys: centred responses of each region."""
    k = gram(xp, x, like)
    ones = zeros(xp, (len(x), 1), like) + 1.0
    bases: list[Array | None] = [None] * len(ys)
    for i, y in enumerate(ys):
        if _width(y.shape[1], len(x)) < y.shape[1]:
            bases[i], triangle = xp.linalg.qr(y.T)
            ys[i] = triangle.T
    ys = [xp.concatenate([y, ones], 1) for y in ys]
    kys = [k @ y for y in ys]
    return Dual(k, ys, kys, [y.T @ ky for y, ky in zip(ys, kys)], bases)


def numbers(shared: Dual, n_neuroids: int, n_components: int) -> int:
    """Numbers that one regression holds while it runs."""
    n = len(shared.k)
    width = _width(n_neuroids, n)
    return (n_components + 10) * n + width * n // 2 + 6 * width**2 + n_components * (width + n_neuroids)


def _width(n_neuroids: int, n_stimuli: int) -> int:
    return n_stimuli if n_neuroids > 2 * n_stimuli else n_neuroids


def fit(
    xp: ModuleType, shared: Dual, jobs: list[Job], n_components: int, tol: float, max_iter: int
) -> list[np.ndarray]:
    """Predictions for the test stimuli of each job, relative to the mean of all; float64 (n_test, n_neuroids)."""
    k_all, like = shared.k, shared.k
    n_jobs, n, width = len(jobs), len(k_all), max(shared.ys[job.region].shape[1] - 1 for job in jobs)
    wide = max(len(job.mean) for job in jobs)
    bases = [shared.bases[job.region] for job in jobs]
    mask, total, mean = np.zeros((n_jobs, n)), np.zeros((n_jobs, wide)), np.zeros((n_jobs, width))
    m = np.zeros((n_jobs, width, width))
    regions: dict[int, list[int]] = {}
    for i, job in enumerate(jobs):
        regions.setdefault(job.region, []).append(i)
        own = slice(shared.ys[job.region].shape[1] - 1)
        mask[i, job.train] = 1.0
        total[i, : len(job.square)] = job.square
        trained_mean = moved(xp, job.mean, like)
        if bases[i] is not None:
            trained_mean = trained_mean @ bases[i]
        mean[i, own] = host(double(trained_mean))
        m[i, own, own] = _cross_products(xp, shared, job, trained_mean)
    n_train = mask.sum(axis=1)
    trained_on, means, counts = (moved(xp, a, like) for a in (mask, mean, n_train))

    def against(v: Array) -> Array:
        """Y'v of each job, v (n_jobs, n), Y not centred; (n_jobs, width)."""
        out = zeros(xp, (n_jobs, width), like)
        for region, which in regions.items():
            y = shared.ys[region][:, :-1]
            out[which, : y.shape[1]] = v[which] @ y
        return out

    def combined(c: Array) -> Array:
        """Yc of each job, c (n_jobs, width), Y not centred; (n_jobs, n)."""
        out = zeros(xp, (n_jobs, n), like)
        for region, which in regions.items():
            y = shared.ys[region][:, :-1]
            out[which] = c[which, : y.shape[1]] @ y.T
        return out

    t = zeros(xp, (n_jobs, n_components, n), like)  # scores of all stimuli, centred on the training stimuli
    q = zeros(xp, (n_jobs, n_components, width), like)  # what one unit of score adds to each response
    squares = zeros(xp, (n_jobs, n_components), like) + 1.0  # sums of squares of the training scores
    trace, null = float(xp.einsum("nn->", k_all)), ROUNDINGS * float(xp.finfo(like.dtype).eps)
    fresh = np.einsum("fqq->f", m).copy()
    left = total.copy()  # sums of squares of the responses that are not explained yet
    active = fresh > 0
    for k in range(n_components):
        active &= n_train > k + 1
        size = np.einsum("fqq->f", m).copy()
        for i in np.flatnonzero(active & (size < STALE * fresh)):
            y = shared.ys[jobs[i].region][:, :-1]
            own = slice(y.shape[1])
            residual = ((y - means[i, own]).T - q[i, :k, own].T @ t[i, :k]) * trained_on[i]
            m[i, own, own] = host(double((residual @ k_all) @ residual.T))
            fresh[i] = size[i] = np.trace(m[i])
        start, active = starts(left, total, size, active, null)
        if not active.any():
            break
        c = moved(xp, dominant(m, directions(start, bases, width), active, tol, max_iter), like)
        # u = Y_k c; its length in K is that of the weights X'u.
        u = (combined(c) - _dot(means, c) - sums(dots(q[:, :k], c), t[:, :k])) * trained_on
        ku = u @ k_all
        length = _dot(u, ku)
        active &= host(length > null * trace * _dot(u, u))[:, 0]
        there = moved(xp, active, like)[:, None]
        scores = ku / xp.sqrt(xp.where(there > 0, length, 1.0))
        scores = scores - _dot(scores, trained_on) / counts[:, None]
        for _ in range(2):  # a second pass leaves only rounding errors between the scores
            scores = scores - sums(dots(t[:, :k], scores * trained_on) / squares[:, :k], t[:, :k])
        scores = scores * there
        trained = scores * trained_on
        square = xp.where(there > 0, _dot(trained, trained), 1.0)
        loading = against(trained) / square
        # M' = (Y - tq')' K (Y - tq') = M - vq' - qv' + (t'Kt) qq', with v = Y'Kt.
        kt = (trained @ k_all) * trained_on
        v = against(kt) - means * kt.sum(axis=1)[:, None] - sums(dots(t[:, :k], kt), q[:, :k])
        v = v - 0.5 * _dot(trained, kt) * loading
        deflate(m, host(double(v)), host(double(loading)))
        left -= explained(square, loading, bases, wide)
        t[:, k], q[:, k], squares[:, k] = scores, loading, square[:, 0]
    out = []
    for i, job in enumerate(jobs):
        own_q = in_neuroids(q[i], bases[i], len(job.mean))
        out.append(host(double(t[i][:, job.test].T @ own_q)) + job.mean)
    return out


def _cross_products(xp: ModuleType, shared: Dual, job: Job, mean: Array) -> np.ndarray:
    """M = Y'KY of the training stimuli, Y centred on them; float64 (n_neuroids, n_neuroids).

    From all stimuli, minus the few that are tested: with S the test rows and the column of ones beside Y (which
    then takes the means out), Y'KY - S'(KY) - (KY)'S + S'KS.
    """
    y, ky = shared.ys[job.region], shared.kys[job.region]
    out = np.setdiff1d(np.arange(len(shared.k)), job.train)
    s = rows(y, out)
    between = s.T @ rows(ky, out)
    kept = shared.ykys[job.region] - between - between.T + s.T @ (rows(rows(shared.k, out).T, out).T @ s)
    one = kept[:-1, -1:]
    a = mean[:, None]
    return host(double(kept[:-1, :-1] - one @ a.T - a @ one.T + kept[-1, -1] * (a @ a.T)))


def _dot(a: Array, b: Array) -> Array:
    """Inner product of each row of a and b (n_jobs, n); (n_jobs, 1)."""
    return (a * b).sum(axis=1)[:, None]
