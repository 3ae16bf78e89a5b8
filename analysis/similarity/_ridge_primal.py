"""Ridge where there are fewer features than stimuli, the penalty chosen: nothing of stimuli x stimuli is held.

Of each split there are X'X = V L V' of the training stimuli (of all stimuli less those left out, where these are
fewer) and B = V'X'Y. With z = V'x each penalty alpha gives the prediction z'(L + alpha)^-1 B, and the leverage of a
training stimulus is h = 1/n_train + z'(L + alpha)^-1 z, intercept included. Left out, it would be missed by
e / (1 - h) with e its error in the fit (Cook 1977, doi 10.1080/00401706.1977.10489493), a clip of stimuli by
(1 - H)^-1 e with H their block of the hat matrix. Time is linear in stimuli; memory beside x is X'X, the smaller part
of a split and the block of stimuli in hand.
"""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from analysis.similarity._arrays import centred, cross, means, moved, zeros
from analysis.similarity._backend import Array, blocks, double, host, rows
from analysis.similarity._regression import Target, over_splits

# Training stimuli in hand at a time: products of so many rows are as fast as of all.
_ROWS = 2048


def predict(
    xp: ModuleType,
    x: Array,
    targets: list[Target],
    like: Array,
    alphas: np.ndarray,
    labels: np.ndarray | None,
    max_bytes: int,
) -> list[list[np.ndarray]]:
    """Predictions for the test stimuli of each split of each target; float64 (n_test, n_neuroids).

    alphas: penalties as multiples of the mean eigenvalue trace(X'X) / n_stimuli; labels: groups (n_stimuli,) that are
    left out together where the penalty is chosen, None for one stimulus at a time.
    """
    n = len(x)
    mean = means(xp, x, like)
    # A column of ones beside the responses brings the sums of the features.
    y = moved(xp, np.concatenate([*(t.centred for t in targets), np.ones((n, 1))], axis=1), like)
    own, other = cross(xp, x, mean, y)
    penalties = alphas * (float(xp.einsum("pp->", own)) / n or 1.0)

    def fit(train: np.ndarray, test: np.ndarray, columns: np.ndarray) -> np.ndarray:
        out = np.setdiff1d(np.arange(n), train)
        fewer = out if len(out) < len(train) else train
        g, s = cross(xp, rows(x, fewer), mean, rows(y, fewer))
        if fewer is out:
            g, s = own - g, other - s
        moving = s[-1] / len(train)  # from the mean of all stimuli to that of the training stimuli
        g -= len(train) * (moving[:, None] * moving)
        y_mean = rows(y, train)[:, columns].mean(axis=0)
        values, vectors = xp.linalg.eigh(g)
        values = values.clip(min=0.0)
        b = vectors.T @ (rows(s, columns) - len(train) * y_mean[:, None] * moving).T

        def rotated(stimuli: np.ndarray) -> Array:
            return (centred(xp, rows(x, stimuli), mean) - moving) @ vectors

        best = np.zeros(len(columns), dtype=int)
        if len(penalties) > 1:
            loss = np.zeros((len(penalties), len(columns)))
            size = (2 * x.shape[1] + 4 * len(columns)) * like.dtype.itemsize
            for some in _parts(train, labels, min(_ROWS, max_bytes // size)):
                those, sizes = np.concatenate(some), None if labels is None else [len(group) for group in some]
                z, e = rotated(those), rows(y, those)[:, columns] - y_mean
                for a, alpha in enumerate(penalties):
                    w = 1.0 / (values + float(alpha))
                    error = e - z @ (w[:, None] * b)
                    error = _left_out(xp, z, w, error, len(train), sizes)
                    loss[a] += host(double((error * error).sum(axis=0)))
            best = np.where(np.isfinite(loss), loss, np.inf).argmin(axis=0)
        w = 1.0 / (values[:, None] + moved(xp, penalties[best], like))
        return host(double(rotated(test) @ (w * b) + y_mean))

    return over_splits(targets, fit)


def _parts(train: np.ndarray, labels: np.ndarray | None, size: int) -> Iterator[list[np.ndarray]]:
    """The training stimuli in parts of at most `size`, each a list of the groups in it; a group is never divided."""
    if labels is None:
        yield from ([train[some]] for some in blocks(len(train), size))
        return
    ordered = train[np.argsort(labels[train], kind="stable")]
    part: list[np.ndarray] = []
    for group in np.split(ordered, np.flatnonzero(np.diff(labels[ordered])) + 1):
        if part and sum(map(len, part)) + len(group) > size:
            yield part
            part = []
        part.append(group)
    yield part


def _left_out(xp: ModuleType, z: Array, w: Array, error: Array, n_train: int, sizes: list[int] | None) -> Array:
    """Errors (m, n_neuroids) at stimuli z (m, n_features) were they not trained on, from those of the fit to all.

    w: (n_features,) 1 / (L + alpha); sizes: of the groups, in order, that are left out together, None for single
    stimuli.
    """
    if sizes is None:
        return error / (1.0 - 1.0 / n_train - (z * z) @ w)[:, None]
    ends = np.cumsum(sizes)
    out = [_group_left_out(xp, z[a:b] * xp.sqrt(w), error[a:b], 1.0 / n_train) for a, b in zip([0, *ends[:-1]], ends)]
    return xp.concatenate(out, 0)


def _group_left_out(xp: ModuleType, half: Array, error: Array, constant: float) -> Array:
    """(1 - H)^-1 e for H = half half' + constant, half (m, n_features), in the smaller of its two sides."""
    m, p = half.shape
    if m <= p + 1:
        kept = -(half @ half.T) - constant
        kept[np.arange(m), np.arange(m)] += 1.0
        return xp.linalg.solve(kept, error)
    half = xp.concatenate([half, zeros(xp, (m, 1), half) + constant**0.5], 1)
    kept = -(half.T @ half)
    kept[np.arange(p + 1), np.arange(p + 1)] += 1.0
    return error + half @ xp.linalg.solve(kept, half.T @ error)
