"""The dominant directions of many small matrices at once, by power iteration stopped where scikit-learn stops it.

In numpy wherever the features are: these matrices are small, and what decides when to stop is in their loop. Where
there are many more neuroids than X'Y has dimensions, as in fMRI, they are those of its basis (n_neuroids, rank), in
which nothing changes but the weights that an iteration starts from.
"""

from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np

from analysis.similarity._backend import Array, blocks, double, host

# Below so many roundings, as a fraction of its largest possible value, a sum of squares is rounding error.
ROUNDINGS = 45.0
# M is computed afresh once updates have taken it below this fraction, so that it keeps ten digits.
STALE = 1e-6
# Steps of the power iteration between looks at whether to end.
_LOOK = 12
# A start below this fraction of the trace would lose all digits on the way to the next look.
_STEEP = 1e-12
# Numbers of matrices that stay close to the processor while they are multiplied again and again.
_NUMBERS = 2**16


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


def directions(start: np.ndarray, bases: list[Array | None], width: int) -> np.ndarray:
    """The neuroids (n_jobs,) that iterations start from as float64 (n_jobs, width), in the bases of the responses."""
    found = np.zeros((len(start), width))
    for i, (neuroid, basis) in enumerate(zip(start, bases)):
        if basis is None:
            found[i, neuroid] = 1.0
        else:
            found[i, : basis.shape[1]] = host(double(basis[neuroid]))
    return found


def in_neuroids(values: Array, basis: Array | None, n_neuroids: int) -> Array:
    """Values (k, width) of responses in a basis (n_neuroids, rank), for the neuroids themselves; (k, n_neuroids)."""
    return values[:, :n_neuroids] if basis is None else values[:, : basis.shape[1]] @ basis.T


def explained(square: Array, loading: Array, bases: list[Array | None], n_neuroids: int) -> np.ndarray:
    """What a component takes from each neuroid's sum of squares; float64 (n_jobs, n_neuroids), 0 beyond a job's own.

    square: sums of squares of the scores (n_jobs, 1); loading: (n_jobs, width), what one unit adds to the responses.
    """
    if all(basis is None for basis in bases):
        return host(double(square * loading**2))
    found = np.zeros((len(bases), n_neuroids))
    for i, basis in enumerate(bases):
        own = in_neuroids(loading[i : i + 1], basis, n_neuroids)
        found[i, : own.shape[1]] = host(double(square[i] * own[0] ** 2))
    return found


def dominant(m: np.ndarray, start: np.ndarray, active: np.ndarray, tol: float, max_iter: int) -> np.ndarray:
    """NIPALS' inner loop (Wegelin 2000) in M = Y'XX'Y: response weights c, of which X'Yc are the feature weights.

    m: float64 (n_jobs, n_neuroids, n_neuroids); start: float64 (n_jobs, n_neuroids), the weights that each starts
    from, 1 at one neuroid; active: bool (n_jobs,). Neuroids may be a basis of theirs. Returns c (n_jobs, n_neuroids)
    with c'mc = 1, zeros where not active. With weights X'Yc / sqrt(c'mc) the product of two successive ones is
    c'mc_before / (both lengths); as in scikit-learn the iteration ends once their squared change is below tol, or
    after max_iter steps.
    """
    n_neuroids = m.shape[1]
    c = np.zeros(m.shape[:2])
    each = np.arange(len(start))
    ahead = (m @ start[:, :, None])[:, :, 0]
    size = (start * ahead).sum(axis=1)
    alone = active & (size <= 0)  # a neuroid without covariance: its own direction
    c[alone] = start[alone]
    live = each[active & (size > 0)]
    if not len(live):
        return c
    c[live] = start[live] / np.sqrt(size[live])[:, None]
    if n_neuroids == 1:
        return c
    # More steps than these cost more than an eigendecomposition.
    patience = min(max_iter - 1, 8 * n_neuroids)
    at_once = _NUMBERS // n_neuroids**2
    together = np.zeros(len(m), dtype=bool)
    if at_once > 4:
        together[live] = size[live] > _STEEP * np.einsum("fqq->f", m)[live]
    rest = [i for i in live if not together[i] and not _alone(m[i], c[i], ahead[i], size[i], tol, patience)]
    live = np.flatnonzero(together)
    rest += [i for jobs in blocks(len(live), at_once) for i in _together(m, c, live[jobs], ahead, size, tol, patience)]
    for i in rest:
        c[i] = stopped(m[i], c[i], max_iter - 1 - patience, tol)
    c[~np.isfinite(c).all(axis=1)] = 0.0  # m is rounding error, which need not have positive eigenvalues
    return c


def _alone(m: np.ndarray, c: np.ndarray, first_step: np.ndarray, size: float, tol: float, steps: int) -> bool:
    """`_together` for one job, m (n_neuroids, n_neuroids), c and the first step (n_neuroids,); whether it has ended."""
    trace = np.trace(m)
    m = m / trace
    look = _LOOK if size / trace > _STEEP else 1
    ahead = np.empty((look + 1, len(c)))
    vs = list(ahead)
    np.divide(first_step / trace, np.sqrt(size / trace), out=vs[0])
    for first in range(0, steps, look):
        for now, after in pairwise(vs):
            np.dot(m, now, out=after)
        squares = np.einsum("sq,sq->s", ahead[:-1], ahead[:-1]).tolist()
        products = np.einsum("sq,sq->s", ahead[:-1], ahead[1:]).tolist()
        before = 1.0
        for v, square, product in zip(vs[: steps - first], squares, products):
            if not before * product > 0:
                c[:] = np.nan
                return True
            if 2.0 - 2.0 * square / sqrt(before * product) < tol:
                np.divide(v, sqrt(product * trace), out=c)
                return True
            before = product
        np.divide(v, sqrt(product * trace), out=c)
        np.divide(vs[-1], sqrt(product), out=vs[0])
    return False


def _together(
    m: np.ndarray, c: np.ndarray, live: np.ndarray, first_step: np.ndarray, size: np.ndarray, tol: float, steps: int
) -> np.ndarray:
    """At most so many steps from c of the jobs `live`, in place; which of them have not ended by then. first_step: the
    start times m (n_jobs, n_neuroids), and size (n_jobs,) its product with the start.

    v becomes Mv, with M divided by its trace so that nothing grows, and every few steps it is looked up whether there
    was one to end at: with `before`, v and Mv in a row its c is v / sqrt(v'Mv), and the product of its weights with
    those before is v'v / sqrt(before'v v'Mv).
    """
    part = m[live]
    trace = np.einsum("fqq->f", part)
    part /= trace[:, None, None]
    v = first_step[live] / trace[:, None]
    v /= np.sqrt(size[live] / trace)[:, None]
    done = np.zeros(len(live), dtype=bool)
    for first in range(0, steps, _LOOK):
        ahead = np.empty((min(_LOOK, steps - first) + 1, *v.shape))
        ahead[0] = v
        for now, after in pairwise(ahead[:, :, :, None]):
            np.matmul(part, now, out=after)
        squares = np.einsum("sfq,sfq->sf", ahead[:-1], ahead[:-1])
        products = np.einsum("sfq,sfq->sf", ahead[:-1], ahead[1:])
        between = products * np.concatenate([np.ones((1, len(live))), products[:-1]])
        # A product that is not positive ends the iteration too.
        below = ~((between > 0) & (2.0 - 2.0 * squares / np.sqrt(np.where(between > 0, between, 1.0)) >= tol))
        stop = np.where(below.any(axis=0), below.argmax(axis=0), len(below) - 1)
        each = np.arange(len(live))
        length = products[stop, each] * trace
        found = ahead[stop, each] / np.sqrt(np.where((length > 0) & (between[stop, each] > 0), length, np.nan))[:, None]
        c[live[~done]] = found[~done]
        done |= below.any(axis=0)
        if done.all():
            break
        v = ahead[-1] / np.sqrt(np.where(products[-1] > 0, products[-1], 1.0))[:, None]
        if 4 * done.sum() > len(done):  # what has ended is carried along until a copy of the rest is cheaper
            live, part, v, trace, done = live[~done], part[~done], v[~done], trace[~done], done[~done]
    return live[~done]


def deflate(m: np.ndarray, v: np.ndarray, loading: np.ndarray) -> None:
    """m - vq' - qv' in place, for m (n_jobs, n_neuroids, n_neuroids), v and loadings q (n_jobs, n_neuroids)."""
    left, right = np.stack([v, loading], axis=2), np.stack([loading, v], axis=1)
    for jobs in blocks(len(m), _NUMBERS // 2 // m.shape[1] ** 2):
        m[jobs] -= left[jobs] @ right[jobs]


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
