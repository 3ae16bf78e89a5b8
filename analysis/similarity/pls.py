"""Partial least squares regression from features to neuroids: Brain-Score's `pls`, at the speed of a few products.

Brain-Score (Schrimpf et al. 2018, doi 10.1101/407007) fits scikit-learn's PLSRegression(n_components=25,
scale=False) anew in every split. The algorithm is NIPALS (Wegelin 2000): each component is the dominant pair
of singular vectors of X'Y, found by power iteration and stopped early (squared change of the weights below
1e-6, or 500 iterations); then X and Y are deflated. Here the same numbers come from the Gram matrix K = XX'
of all stimuli (Lindgren, Geladi, Wold 1993, doi 10.1002/cem.1180070104; Rosipal, Trejo 2001):

- The weights are w = X'u with u = Y c, so the power iteration on c runs in M = Y'KY (n_neuroids, n_neuroids)
  from the same start with the same stopping rule. It is kept because on flat spectra the stopped weights are
  not the singular vectors, and scores would differ from Brain-Score's in the third decimal.
- X is never deflated: scores t are made orthogonal to the earlier ones, and X_k'Y_k = X'Y_k. Nor is Y: what
  is wanted of Y_k = Y - TQ' is a product with it. M follows by a rank-two update.
- A split only leaves rows out: u and t are zero at its test stimuli, so all splits share K, and each step is
  one product of K with one column a split. Where there are fewer features than stimuli K is applied as
  X(X'u).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.similarity._arrays import centred, checked, constant, gram, pearson
from analysis.similarity._splits import Splits

# Numbers in the (n_splits, n_neuroids, n_neuroids) array that are held at once: 0.5 GB.
_NUMBERS = 2**26
# Below this fraction of its largest possible value a sum of squares is rounding error of the Gram matrix.
_NULL = 1e-14
# M is computed afresh once updates have taken it below this fraction, so that it keeps ten digits.
_STALE = 1e-6


@dataclass(frozen=True)
class _Kernel:
    """K = XX' as products: times(v) = vK for v (m, n); squared(v, rows) = v K[rows, rows] v'; its trace."""

    times: Callable[[np.ndarray], np.ndarray]
    squared: Callable[[np.ndarray, np.ndarray], np.ndarray]
    trace: float


def score(
    x: np.ndarray,
    y: np.ndarray,
    splits: Splits,
    *,
    n_components: int = 25,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> np.ndarray:
    """Pearson r between predicted and recorded responses to held-out stimuli.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids); splits: [(train, test), ...].
    Returns float64 (n_splits, n_neuroids), NaN where a neuroid is constant in training or test (or its
    prediction is), so that r does not exist. Brain-Score's aggregate of it is `np.nanmedian(r,
    axis=1).mean()`. Raises BlendnetError for NaN, infinity, unequal numbers of stimuli and impossible splits.
    """
    predictions = predict(x, y, splits, n_components=n_components, tol=tol, max_iter=max_iter)
    y = np.asarray(y, dtype=np.float64)
    r = np.stack([pearson(predicted, y[test]) for predicted, (_, test) in zip(predictions, splits)])
    for row, (train, _) in zip(r, splits):
        row[constant(y[train])] = np.nan
    return r


def score_many(
    xs: Mapping[str, np.ndarray], y: np.ndarray, splits: Splits, *, n_components: int = 25
) -> dict[str, np.ndarray]:
    """`score` of several layers, {layer: (n_stimuli, n_features)} -> {layer: (n_splits, n_neuroids)}."""
    return {layer: score(x, y, splits, n_components=n_components) for layer, x in xs.items()}


def predict(
    x: np.ndarray,
    y: np.ndarray,
    splits: Splits,
    *,
    n_components: int = 25,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> list[np.ndarray]:
    """Responses predicted for the test stimuli of each split; a list of float64 (n_test, n_neuroids).

    At most min(n_components, n_features, n_train - 1) components are used, and fewer once either the features
    or the responses are exhausted (scikit-learn goes on and fits rounding errors). Shapes and errors as in
    `score`.
    """
    x, y = checked(x, y, splits)
    kernel = _kernel(x)
    n_components = min(n_components, x.shape[1])
    step = max(1, _NUMBERS // y.shape[1] ** 2)
    predictions: list[np.ndarray] = []
    for start in range(0, len(splits), step):
        predictions += _predict(kernel, y, splits[start : start + step], n_components, tol, max_iter)
    return predictions


def _kernel(x: np.ndarray) -> _Kernel:
    """K of the features x (n_stimuli, n_features), each feature centred on all stimuli.

    Forming K costs n*n*p and saves 2np - n*n on each of some 50 products, so only wide features are worth it.
    """
    if x.shape[1] < len(x):
        xc = centred(x)

        def squared(v: np.ndarray, rows: np.ndarray) -> np.ndarray:
            weights = v @ xc[rows]
            return weights @ weights.T

        return _Kernel(lambda v: (v @ xc) @ xc.T, squared, float((xc * xc).sum()))
    k = gram(x)
    return _Kernel(lambda v: v @ k, lambda v, rows: (v @ k[np.ix_(rows, rows)]) @ v.T, float(np.trace(k)))


def _predict(
    kernel: _Kernel, y: np.ndarray, splits: Splits, n_components: int, tol: float, max_iter: int
) -> list[np.ndarray]:
    times = kernel.times
    n_splits, n, n_neuroids = len(splits), len(y), y.shape[1]
    shift = y.mean(axis=0)
    y = y - shift
    mask = np.zeros((n_splits, n))
    means = np.empty((n_splits, n_neuroids))
    total = np.empty((n_splits, n_neuroids))
    for f, (train, _) in enumerate(splits):
        mask[f, train] = 1.0
        means[f] = y[train].mean(axis=0)
        total[f] = np.where(constant(y[train] + shift), 0.0, ((y[train] - means[f]) ** 2).sum(axis=0))
    n_train = mask.sum(axis=1)

    t = np.zeros((n_splits, n_components, n))  # scores of all stimuli, centred on the training stimuli
    q = np.zeros((n_splits, n_components, n_neuroids))  # what one unit of score adds to each response
    squares = np.ones((n_splits, n_components))  # sums of squares of the training scores
    m = _cross_products(kernel, y, means, splits)
    fresh = np.trace(m, axis1=1, axis2=2)
    left = total.copy()  # sums of squares of the responses that are not explained yet
    active = fresh > 0
    for k in range(n_components):
        c = np.zeros((n_splits, n_neuroids))
        active &= n_train > k + 1
        for f in np.flatnonzero(active):
            if np.trace(m[f]) < _STALE * fresh[f]:
                residual = ((y - means[f]).T - q[f, :k].T @ t[f, :k]) * mask[f]
                m[f] = times(residual) @ residual.T
                fresh[f] = np.trace(m[f])
            varying = left[f] > _NULL * total[f]
            if varying.any() and fresh[f] > 0:
                c[f] = _dominant(m[f], int(np.argmax(varying)), tol, max_iter)
        # u = Y_k c; its length in K is that of the weights X'u.
        u = (c @ y.T - _dot(means, c) - _rows(_dots(q[:, :k], c), t[:, :k])) * mask
        ku = times(u)
        length = _dot(u, ku)
        active &= length[:, 0] > _NULL * kernel.trace * _dot(u, u)[:, 0]
        if not active.any():
            break
        scores = ku / np.sqrt(np.where(active[:, None], length, 1.0))
        scores -= _dot(scores, mask) / n_train[:, None]
        for _ in range(2):  # a second pass leaves only rounding errors between the scores
            scores -= _rows(_dots(t[:, :k], scores * mask) / squares[:, :k], t[:, :k])
        scores *= active[:, None]
        trained = scores * mask
        square = np.where(active, (trained**2).sum(axis=1), 1.0)[:, None]
        loading = trained @ y / square
        # M' = (Y - tq')' K (Y - tq') = M - vq' - qv' + (t'Kt) qq', with v = Y'Kt.
        s = times(trained) * mask
        v = s @ y - means * s.sum(axis=1, keepdims=True) - _rows(_dots(t[:, :k], s), q[:, :k])
        half = (v - 0.5 * _dot(trained, s) * loading)[:, :, None] * loading[:, None, :]
        m -= half
        m -= half.transpose(0, 2, 1)
        left -= square * loading**2
        t[:, k], q[:, k], squares[:, k] = scores, loading, square[:, 0]
    return [t[f][:, test].T @ q[f] + (means[f] + shift) for f, (_, test) in enumerate(splits)]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner product of each row of a and b (n_splits, n); (n_splits, 1)."""
    return np.einsum("fn,fn->f", a, b)[:, None]


def _dots(rows: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Inner products of rows (n_splits, k, n) with v (n_splits, n); (n_splits, k)."""
    return (rows @ v[:, :, None])[:, :, 0]


def _rows(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum of rows (n_splits, k, n) with weights (n_splits, k); (n_splits, n)."""
    return (weights[:, None, :] @ rows)[:, 0]


def _cross_products(kernel: _Kernel, y: np.ndarray, means: np.ndarray, splits: Splits) -> np.ndarray:
    """M = Y'KY of each split's training stimuli, Y centred on them; (n_splits, n_neuroids, n_neuroids).

    From all stimuli, minus the few that are tested: with S the test rows and a column of ones beside Y (which
    then takes the means out), Y'KY - S'(KY) - (KY)'S + S'KS.
    """
    n, n_neuroids = y.shape
    ones = np.column_stack([y, np.ones(n)]).T
    k_ones = kernel.times(ones)
    whole = k_ones @ ones.T
    m = np.empty((len(splits), n_neuroids, n_neuroids))
    for f, (train, _) in enumerate(splits):
        out = np.setdiff1d(np.arange(n), train)
        cross = k_ones[:, out] @ ones[:, out].T
        kept = whole - cross - cross.T + kernel.squared(ones[:, out], out)
        a = means[f][:, None]
        one = kept[:-1, -1:]
        m[f] = kept[:-1, :-1] - one @ a.T - a @ one.T + kept[-1, -1] * (a @ a.T)
    return m


def _dominant(m: np.ndarray, start: int, tol: float, max_iter: int) -> np.ndarray:
    """scikit-learn's power iteration for the dominant direction of m (n_neuroids, n_neuroids), stopped as there.

    start: the neuroid that it starts from. Returns c (n_neuroids,): the weights of the component are X'Y c.
    With weights X'Yc / sqrt(c'mc), the product of two successive ones is c'mc_before / (both lengths).
    """
    d = m[start] / np.sqrt(m[start, start]) if m[start, start] > 0 else np.zeros(len(m))
    c = np.zeros(len(m))
    c[start] = 1.0
    if len(m) == 1 or not d.any():
        return c
    c /= np.sqrt(m[start, start])
    patience = min(max_iter - 1, len(m))
    for _ in range(patience):
        after = m @ d
        length = np.sqrt(d @ after)
        change = 2.0 - 2.0 * (d @ d) / length
        c = d / length
        if change < tol:
            return c
        d = after / length
    return _stopped(m, c, max_iter - 1 - patience, tol)


def _stopped(m: np.ndarray, c: np.ndarray, steps: int, tol: float) -> np.ndarray:
    """What at most `steps` further steps of the power iteration make of c, by the eigenvectors of m at once.

    Slow convergence costs more steps than an eigendecomposition. After j steps c is V L^j V'c, so that the
    product of successive weights, c_j'm c_j+1, and their lengths are sums of powers of the eigenvalues: the
    first j at which they change by less than `tol` is looked up, not stepped to.
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
