"""PLS where there are fewer features than stimuli: X'X of all stimuli, downdated by each split's test rows.

The kernel form of Dayal, MacGregor 1997 (J. Chemometrics 11, 73-85, second algorithm): once X'X and S = X'Y are
there, X itself is not needed. With the stimuli that a split leaves out as rows of O, and their sum over
sqrt(n_train) as one row more (which moves the centre to the training stimuli), X'X of the training stimuli is
X'X - O'O, and S likewise. All regressions advance together, so that X'X is read once a component.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from analysis.similarity._arrays import centred, cross, dots, means, moved, sums, zeros
from analysis.similarity._backend import Array, blocks, double, host, rows
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

# Numbers of the rows left out that are in hand at a time: 1 MB.
_NEAR = 2**17


@dataclass(frozen=True)
class Primal:
    """x (n_stimuli, n_features) in its own precision, its mean, X'X; of each region the centred responses, in the
    precision of the sums, and Y'X."""

    x: Array
    mean: Array
    own: Array
    ys: list[Array]
    others: list[Array]


class _Fold(NamedTuple):
    """Rows O (n_out + 1, n_features), which stimuli its first n_out are, the number trained on."""

    rows: Array
    out: np.ndarray
    n_train: int


def prepare(xp: ModuleType, x: Array, ys: list[Array], like: Array) -> Primal:
    """What all splits and regions share. x: (n_stimuli, n_features); ys: centred responses of each region."""
    mean = means(xp, x, like)
    sizes = np.cumsum([0] + [y.shape[1] for y in ys])
    own, other = cross(xp, x, mean, xp.concatenate(ys, 1) if len(ys) > 1 else ys[0])
    return Primal(x, mean, own, ys, [other[a:b] for a, b in zip(sizes, sizes[1:])])


def numbers(shared: Primal, n_neuroids: int, n_components: int) -> int:
    """Numbers that one regression holds while it runs, O included."""
    n, p = shared.x.shape
    width = _width(n_neuroids, p)
    held = (width + 2 * n_components + 8) * p + n * (p + n_components) // 4 + (6 * width + n_components) * width
    return held if width == n_neuroids else held + 3 * n_neuroids * p


def _width(n_neuroids: int, n_features: int) -> int:
    """Columns that the responses are held in: neuroids, or where these are many more, the directions of Y'X."""
    return n_features if n_neuroids > 2 * n_features else n_neuroids


def fit(
    xp: ModuleType, shared: Primal, jobs: list[Job], n_components: int, tol: float, max_iter: int
) -> list[np.ndarray]:
    """Predictions for the test stimuli of each job, relative to the mean of all; float64 (n_test, n_neuroids)."""
    own, like = shared.own, shared.own
    n_jobs, n, p, wide = len(jobs), len(shared.x), len(own), max(shared.ys[job.region].shape[1] for job in jobs)
    width = max(_width(shared.ys[job.region].shape[1], p) for job in jobs)
    folds: dict[int, _Fold] = {}
    members: dict[int, list[int]] = {}
    s, total = zeros(xp, (n_jobs, width, p), like), np.zeros((n_jobs, wide))
    bases: list[Array | None] = [None] * n_jobs
    for i, job in enumerate(jobs):
        y = shared.ys[job.region]
        if job.split not in folds:
            folds[job.split] = _fold(xp, shared, job)
        fold = folds[job.split]
        members.setdefault(job.split, []).append(i)
        q_own = y.shape[1]
        total[i, :q_own] = job.square
        product = _extended(xp, rows(y, fold.out), fold.n_train).T @ fold.rows
        fixed = np.flatnonzero(job.square == 0)
        if _width(q_own, p) < q_own:
            product = shared.others[job.region] - product
            product[fixed] = 0.0
            bases[i], s[i, :p] = xp.linalg.qr(product)
            continue
        s[i, :q_own] = shared.others[job.region]
        s[i, :q_own] -= product
        s[i, fixed] = 0.0
    n_train = np.array([len(job.train) for job in jobs])
    trace, eps = float(xp.einsum("pp->", own)), float(xp.finfo(like.dtype).eps)
    null = ROUNDINGS * eps

    # Scores of the rows left out, which are what a prediction is made of; rows that stay close to the processor between
    # the two products that read them.
    left_out = {f: zeros(xp, (len(which), n_components, len(folds[f].rows)), like) for f, which in members.items()}
    at_once = max(16, _NEAR // p) if xp is np else n
    r, loads = zeros(xp, (n_jobs, n_components, p), like), zeros(xp, (n_jobs, n_components, p), like)
    q = zeros(xp, (n_jobs, n_components, width), like)  # what one unit of score adds to each response
    squares = zeros(xp, (n_jobs, n_components), like) + 1.0  # sums of squares of the scores
    m = host(s @ s.swapaxes(1, 2)).astype(np.float64, copy=False)
    fresh = np.einsum("fqq->f", m).copy()
    left = total.copy()  # sums of squares of the responses that are not explained yet
    active = fresh > 0
    for k in range(n_components):
        active &= n_train > k + 1
        size = np.einsum("fqq->f", m).copy()
        for i in np.flatnonzero(active & (size < STALE * fresh)):
            residual = s[i] - (q[i, :k] * squares[i, :k, None]).T @ loads[i, :k]
            m[i] = host(double(residual @ residual.T))
            fresh[i] = size[i] = np.trace(m[i])
        start, active = starts(left, total, size, active, null)
        if not active.any():
            break
        c = moved(xp, dominant(m, directions(start, bases, width), active, tol, max_iter), like)
        w = sums(c, s) - sums(squares[:, :k] * dots(q[:, :k], c), loads[:, :k])
        length = double((w * w).sum(axis=1))
        bound = trace * host(double((c * c).sum(axis=1))) * total.sum(axis=1)
        # Weights come from S, which keeps the digits of its first size, so that they may become much smaller.
        active &= host(length) > 30.0 * eps**1.5 * bound
        w = w / moved(xp, xp.sqrt(xp.where(length > 0, length, 1.0)), like)[:, None]
        for _ in range(2):  # a second pass leaves only rounding errors between the scores
            w = w - sums(dots(loads[:, :k], w), r[:, :k])
        crossed = w @ own
        for split, which in members.items():
            for some in blocks(len(folds[split].rows), at_once):
                o = folds[split].rows[some]
                scored = w[which] @ o.T
                crossed[which] -= scored @ o
                left_out[split][:, k, some] = scored
        square = (w * crossed).sum(axis=1)
        active &= host(square > null * trace * (w * w).sum(axis=1))
        there = moved(xp, active, like)[:, None]
        square = xp.where(there[:, 0] > 0, square, 1.0)[:, None]
        load = there * crossed / square
        both = s @ xp.stack([there * w, load], 2)  # S is read once for the loadings and for what M loses
        loading = both[:, :, 0] / square
        v = both[:, :, 1] - sums(squares[:, :k] * dots(loads[:, :k], load), q[:, :k])
        # S'S of S - t't p q' = M - t't (vq' + qv') + (t't)^2 p'p qq', with v = S'p.
        v = square * (v - 0.5 * square * (load * load).sum(axis=1)[:, None] * loading)
        deflate(m, host(double(v)), host(double(loading)))
        left -= explained(square, loading, bases, wide)
        r[:, k], loads[:, k], q[:, k], squares[:, k] = there * w, load, loading, square[:, 0]
    out: list[np.ndarray] = [np.empty(0)] * n_jobs
    for split, which in members.items():
        for i, scores in zip(which, left_out[split]):
            # A component that was not taken explains nothing: its q is zero.
            own_q = in_neuroids(q[i], bases[i], len(jobs[i].mean))
            out[i] = _predicted(xp, folds[split], jobs[i], scores, own_q) + jobs[i].mean
    return out


def _fold(xp: ModuleType, shared: Primal, job: Job) -> _Fold:
    out = np.setdiff1d(np.arange(len(shared.x)), job.train)
    return _Fold(_extended(xp, centred(xp, rows(shared.x, out), shared.mean), len(job.train)), out, len(job.train))


def _extended(xp: ModuleType, left_out: Array, n_train: int) -> Array:
    """The rows left out (n_out, m) and below them their sum over sqrt(n_train): (n_out + 1, m)."""
    return xp.concatenate([left_out, left_out.sum(axis=0)[None] / n_train**0.5])


def _predicted(xp: ModuleType, fold: _Fold, job: Job, scores: Array, q: Array) -> np.ndarray:
    """Predictions relative to the mean of the training responses, from scores (n_components, n_out + 1)."""
    # The mean of the training stimuli is minus the last row over sqrt(n_train): all features sum to zero.
    tested = rows(scores.T, np.searchsorted(fold.out, job.test)) + scores[:, -1] / fold.n_train**0.5
    return host(double(tested @ q))
