"""Ridge where there are not clearly fewer features than stimuli, the penalty chosen: one decomposition for all splits.

Let P be the inverse of K + alpha on the stimuli, without the constant direction (which the intercept takes; K is
centred). Leaving a set S of stimuli out of the fit, intercept included, leaves the errors e_S = (P_SS)^-1 (PY)_S at
them: the block form of the leave-one-out formula (Cook 1977, doi 10.1080/00401706.1977.10489493). Test stimuli are
such an S, and once they are out, so is each training stimulus (or clip of them) in turn: errors within the training
stimuli, by which alpha is chosen.
"""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from analysis.similarity._arrays import centred, gram, means, moved, zeros
from analysis.similarity._backend import Array, blocks, double, host, rows
from analysis.similarity._regression import Target


class _Eigen(NamedTuple):
    """Eigenvalues (r,) and eigenvectors (n_stimuli, r) of K, the mean eigenvalue trace(K) / n_stimuli, and whether
    the eigenvectors are a whole basis, the constant direction among them with the mean as its value.
    """

    values: Array
    vectors: Array
    mean: float
    whole: bool


def predict(
    xp: ModuleType,
    x: Array,
    targets: list[Target],
    like: Array,
    alphas: np.ndarray,
    labels: np.ndarray | None,
    max_bytes: int,
) -> list[list[np.ndarray]]:
    """As `_ridge_primal.predict`."""
    eigen = _eigen(xp, x, like)
    penalties = alphas * (eigen.mean or 1.0)
    # Regions with the same splits are one wider array of responses.
    together: dict[tuple[int, ...], list[int]] = {}
    for i, t in enumerate(targets):
        together.setdefault(tuple(t.numbers), []).append(i)
    members = list(together.values())
    ys = [np.concatenate([targets[i].centred for i in which], axis=1) for which in members]
    least = [[np.full(y.shape[1], np.inf) for _ in targets[which[0]].splits] for y, which in zip(ys, members)]
    best = [
        [np.zeros((len(test), y.shape[1])) for _, test in targets[which[0]].splits] for y, which in zip(ys, members)
    ]
    for alpha in penalties:
        p = _inverse(xp, eigen, float(alpha))
        for g, (y, which) in enumerate(zip(ys, members)):
            py = p @ moved(xp, y, like)
            for f, (train, test) in enumerate(targets[which[0]].splits):
                out = np.setdiff1d(np.arange(len(x)), train)
                across = rows(rows(p, out).T, train).T  # (n_out, n_train)
                # Tested stimuli, and any that are in neither part of the split, are all left out together.
                solved = xp.linalg.solve(rows(rows(p, out).T, out), xp.concatenate([rows(py, out), across], 1))
                error, carry = solved[:, : y.shape[1]], solved[:, y.shape[1] :]
                prediction = (y[out] - host(double(error)))[np.searchsorted(out, test)]
                if len(penalties) == 1:
                    best[g][f] = prediction
                    continue
                loss = np.empty(y.shape[1])
                for some in blocks(y.shape[1], max_bytes // (4 * len(x) * like.dtype.itemsize)):
                    rest = rows(py[:, some], train) - across.T @ error[:, some]
                    loss[some] = _inner_loss(xp, p, across, carry, rest, train, labels)
                better = loss < least[g][f]
                best[g][f] = np.where(better, prediction, best[g][f])
                least[g][f] = np.where(better, loss, least[g][f])
    predictions: list[list[np.ndarray]] = [[] for _ in targets]
    for which, found in zip(members, best):
        ends = np.cumsum([targets[i].y.shape[1] for i in which])[:-1]
        for predicted in found:
            for i, part in zip(which, np.split(predicted, ends, axis=1)):
                predictions[i].append(part + targets[i].mean)
    return predictions


def _eigen(xp: ModuleType, x: Array, like: Array) -> _Eigen:
    """The eigendecomposition of K, from X'X where there are clearly fewer features than stimuli."""
    n = len(x)
    if x.shape[1] < 0.8 * n:
        xc = centred(xp, x, means(xp, x, like))
        values, rotation = xp.linalg.eigh(xc.T @ xc)
        trace = float(values.clip(min=0.0).sum())
        kept = host(values) > trace * np.finfo(host(values).dtype).eps * 45
        values, rotation = values[kept], rotation[:, kept]
        return _Eigen(values, (xc @ rotation) / xp.sqrt(values), trace / n, False)
    k = gram(xp, x, like)
    mean = float(xp.einsum("nn->", k)) / n
    # K1 = 0. Raised to the mean eigenvalue, the constant direction is taken out of P without a difference of
    # two numbers of size 1/alpha.
    k += mean / n
    values, vectors = xp.linalg.eigh(k)
    return _Eigen(values.clip(min=0.0), vectors, mean, True)


def _inverse(xp: ModuleType, eigen: _Eigen, alpha: float) -> Array:
    """P = (K + alpha)^-1 without the constant direction; (n_stimuli, n_stimuli)."""
    n = len(eigen.vectors)
    if eigen.whole:
        half = eigen.vectors / xp.sqrt(eigen.values + alpha)
        p = half @ half.T
        p -= 1.0 / (n * (eigen.mean + alpha))
        return p
    # Outside the eigenvectors P is 1/alpha, inside alpha / (value + alpha) of that.
    half = eigen.vectors * xp.sqrt(eigen.values / (eigen.values + alpha))
    p = half @ half.T
    p += 1.0 / n
    p *= -1.0
    p[np.arange(n), np.arange(n)] += 1.0
    p /= alpha
    return p


def _inner_loss(
    xp: ModuleType,
    p: Array,
    across: Array,
    carry: Array,
    rest: Array,
    train: np.ndarray,
    labels: np.ndarray | None,
) -> np.ndarray:
    """Squared error of each neuroid when training stimuli are left out one by one, or group by group; (n_neuroids,).

    P of the training stimuli alone is P_tt - P_to (P_oo)^-1 P_ot; `across` is P_ot, `carry` is (P_oo)^-1 P_ot, `rest`
    its product with the responses.
    """
    if labels is None:
        own = p[train, train] - (across * carry).sum(axis=0)
        return host(double(((rest / own[:, None]) ** 2).sum(axis=0)))
    loss = double(zeros(xp, (rest.shape[1],), rest))
    for group in np.unique(labels[train]):
        g = np.flatnonzero(labels[train] == group)
        block = rows(rows(p, train[g]).T, train[g]).T - across[:, g].T @ carry[:, g]
        loss += double((xp.linalg.solve(block, rest[g]) ** 2).sum(axis=0))
    return host(loss)
