"""Ridge regression from features to neuroids, the penalty chosen inside the training stimuli for each neuroid.

Hoerl, Kennard 1970 (doi 10.1080/00401706.1970.10488634). With `fixed_alpha=1.0` it is Brain-Score's `ridge`.

One eigendecomposition serves all splits and penalties. Let P be the inverse of K + alpha on the stimuli,
without the constant direction (which the intercept takes; K is centred). Leaving a set S of stimuli out of
the fit, intercept included, leaves the errors e_S = (P_SS)^-1 (PY)_S at them: the block form of the
leave-one-out formula (Cook 1977, doi 10.1080/00401706.1977.10489493). Test stimuli are such an S, and once
they are out, so is each training stimulus (or clip of them) in turn: errors within the training stimuli, by
which alpha is chosen. It is exact, not GCV.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.similarity._arrays import centred, checked, constant, gram, pearson
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError

# In units of the mean eigenvalue of K, so that the scale of a layer's activations does not matter.
ALPHAS = tuple(np.logspace(-4, 4, 9))


class _Eigen(NamedTuple):
    """Eigenvalues (r,) and eigenvectors (n_stimuli, r) of K, the mean eigenvalue trace(K) / n_stimuli, and whether
    the eigenvectors are a whole basis, the constant direction among them with the mean as its value.
    """

    values: np.ndarray
    vectors: np.ndarray
    mean: float
    whole: bool


def score(
    x: np.ndarray,
    y: np.ndarray,
    splits: Splits,
    *,
    alphas: tuple[float, ...] = ALPHAS,
    fixed_alpha: float | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Pearson r between predicted and recorded responses to held-out stimuli.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids); splits: [(train, test), ...].
    alphas: penalties to choose from, as multiples of trace(K) / n_stimuli (the scale of the features; no
    response enters it); each neuroid gets the one with the least squared error in leave-one-out within the
    training stimuli of the split, or in leave-one-group-out where n_stimuli labels `groups` are given
    (near-identical frames of a clip would choose too small a penalty). fixed_alpha: one penalty in the units
    of the features instead, no choice. Returns float64 (n_splits, n_neuroids), NaN where a neuroid is
    constant in training or test. Raises BlendnetError as pls.score, and for penalties that are not positive.
    """
    predictions = predict(x, y, splits, alphas=alphas, fixed_alpha=fixed_alpha, groups=groups)
    y = np.asarray(y, dtype=np.float64)
    r = np.stack([pearson(predicted, y[test]) for predicted, (_, test) in zip(predictions, splits)])
    for row, (train, _) in zip(r, splits):
        row[constant(y[train])] = np.nan
    return r


def score_many(
    xs: Mapping[str, np.ndarray], y: np.ndarray, splits: Splits, *, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """`score` of several layers, {layer: (n_stimuli, n_features)} -> {layer: (n_splits, n_neuroids)}."""
    return {layer: score(x, y, splits, groups=groups) for layer, x in xs.items()}


def predict(
    x: np.ndarray,
    y: np.ndarray,
    splits: Splits,
    *,
    alphas: tuple[float, ...] = ALPHAS,
    fixed_alpha: float | None = None,
    groups: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Responses predicted for the test stimuli of each split; a list of float64 (n_test, n_neuroids)."""
    x, y = checked(x, y, splits)
    if groups is not None and np.shape(groups) != (len(x),):
        raise BlendnetError(f"groups has shape {np.shape(groups)}, but there are {len(x)} stimuli; give one label each")
    labels = None if groups is None else np.unique(groups, return_inverse=True)[1]
    if labels is not None and labels.max() + 1 == len(x):
        labels = None  # groups of one stimulus each: plain leave-one-out, without a system to solve for each
    eigen = _eigen(x)
    scale = eigen.mean or 1.0
    penalties = np.asarray([fixed_alpha] if fixed_alpha is not None else [a * scale for a in alphas])
    if not len(penalties) or not (penalties > 0).all():
        raise BlendnetError(f"the penalties {penalties.tolist()} must all be positive numbers")
    least = [np.full(y.shape[1], np.inf) for _ in splits]
    best = [np.zeros((len(test), y.shape[1])) for _, test in splits]
    yc = y - y.mean(axis=0)
    for alpha in penalties:
        p, py = _inverse(eigen, float(alpha), yc)
        for f, (train, test) in enumerate(splits):
            out = np.setdiff1d(np.arange(len(x)), train)
            # Tested stimuli, and any that are in neither part of the split, are all left out together.
            solved = np.linalg.solve(p[np.ix_(out, out)], np.column_stack([py[out], p[np.ix_(out, train)]]))
            error, carry = solved[:, : y.shape[1]], solved[:, y.shape[1] :]
            prediction = (y[out] - error)[np.searchsorted(out, test)]
            if len(penalties) == 1:
                best[f] = prediction
                continue
            rest = py[train] - p[np.ix_(train, out)] @ error
            loss = _inner_loss(p, carry, rest, train, out, labels)
            better = loss < least[f]
            best[f] = np.where(better, prediction, best[f])
            least[f] = np.where(better, loss, least[f])
    return best


def _eigen(x: np.ndarray) -> _Eigen:
    """The eigendecomposition of K, from X'X where there are clearly fewer features than stimuli."""
    n = len(x)
    if x.shape[1] < 0.8 * n:
        xc = centred(x)
        values, rotation = np.linalg.eigh(xc.T @ xc)
        trace = float(np.maximum(values, 0.0).sum())
        kept = values > trace * 1e-14
        return _Eigen(values[kept], (xc @ rotation[:, kept]) / np.sqrt(values[kept]), trace / n, False)
    k = gram(x)
    mean = float(np.trace(k)) / n
    # K1 = 0. Raised to the mean eigenvalue, the constant direction is taken out of P without a difference of
    # two numbers of size 1/alpha.
    values, vectors = np.linalg.eigh(k + mean / n)
    return _Eigen(np.maximum(values, 0.0), vectors, mean, True)


def _inverse(eigen: _Eigen, alpha: float, yc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P = (K + alpha)^-1 without the constant direction, and PY; (n_stimuli, n_stimuli), (n_stimuli, n_neuroids)."""
    n = len(eigen.vectors)
    if eigen.whole:
        half = eigen.vectors / np.sqrt(eigen.values + alpha)
        return half @ half.T - 1.0 / (n * (eigen.mean + alpha)), half @ (half.T @ yc)
    # Outside the eigenvectors P is 1/alpha, inside alpha / (value + alpha) of that.
    half = eigen.vectors * np.sqrt(eigen.values / (eigen.values + alpha))
    return (np.eye(n) - half @ half.T - 1.0 / n) / alpha, (yc - half @ (half.T @ yc)) / alpha


def _inner_loss(
    p: np.ndarray,
    carry: np.ndarray,
    rest: np.ndarray,
    train: np.ndarray,
    out: np.ndarray,
    labels: np.ndarray | None,
) -> np.ndarray:
    """Squared error of each neuroid when training stimuli are left out one by one, or group by group; (n_neuroids,).

    P of the training stimuli alone is P_tt - P_to (P_oo)^-1 P_ot; `carry` is (P_oo)^-1 P_ot, `rest` its
    product with the responses.
    """
    if labels is None:
        own = p[train, train] - np.einsum("to,ot->t", p[np.ix_(train, out)], carry)
        return ((rest / own[:, None]) ** 2).sum(axis=0)
    loss = np.zeros(rest.shape[1])
    for group in np.unique(labels[train]):
        g = np.flatnonzero(labels[train] == group)
        block = p[np.ix_(train[g], train[g])] - p[np.ix_(train[g], out)] @ carry[:, g]
        loss += (np.linalg.solve(block, rest[g]) ** 2).sum(axis=0)
    return loss
