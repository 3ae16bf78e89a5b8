"""What the regressions do before and after: centre the features, form the Gram matrix, correlate."""

from types import ModuleType

import numpy as np

from analysis.similarity._backend import Array, blocks
from analysis.similarity._splits import Splits

# Numbers of the features converted to the precision of the sums at a time: a wide float32 layer is never held twice.
_NUMBERS = 2**24
# A neuroid whose spread is below this fraction of its size differs from a constant by rounding only.
_CONSTANT = 1e-12


def zeros(xp: ModuleType, shape: tuple[int, ...], like: Array) -> Array:
    """Zeros in the precision, and on the device, of `like`."""
    return np.zeros(shape, like.dtype) if xp is np else xp.zeros(shape, dtype=like.dtype, device=like.device)


def moved(xp: ModuleType, a: Array, like: Array) -> Array:
    """`a` in the precision, and on the device, of `like`; not copied where it is so already."""
    if xp is np:
        return np.asarray(a, dtype=like.dtype)
    return xp.as_tensor(a, dtype=like.dtype, device=like.device)


def centred(xp: ModuleType, x: Array, mean: Array) -> Array:
    """A copy of x (n, n_features) minus mean (n_features,), in the precision of the mean."""
    return moved(xp, x, mean) - mean


def means(xp: ModuleType, x: Array, like: Array) -> Array:
    """Mean of each feature of x (n_stimuli, n_features), summed in float64, in the precision of `like`."""
    parts = [x[:, columns].mean(axis=0, dtype=xp.float64) for columns in blocks(x.shape[1], _NUMBERS // len(x))]
    return moved(xp, xp.concatenate(parts), like)


def gram(xp: ModuleType, x: Array, like: Array) -> Array:
    """Inner products of the stimuli's features, centred on all stimuli; (n_stimuli, n_stimuli), precision of `like`."""
    total = zeros(xp, (len(x), len(x)), like)
    for columns in blocks(x.shape[1], _NUMBERS // len(x)):
        part = centred(xp, x[:, columns], means(xp, x[:, columns], like))
        total += part @ part.T
    return total


def cross(xp: ModuleType, x: Array, mean: Array, y: Array) -> tuple[Array, Array]:
    """X'X (n_features, n_features) and Y'X (n_neuroids, n_features) of x minus its mean, in the mean's precision."""
    own, other = zeros(xp, (x.shape[1], x.shape[1]), mean), zeros(xp, (y.shape[1], x.shape[1]), mean)
    for stimuli in blocks(len(x), _NUMBERS // x.shape[1]):
        part = centred(xp, x[stimuli], mean)
        own += part.T @ part
        other += moved(xp, y[stimuli], mean).T @ part
    return own, other


def dots(rows: Array, v: Array) -> Array:
    """Inner products of rows (n, k, m) with v (n, m); (n, k)."""
    return (rows @ v[:, :, None])[:, :, 0]


def sums(weights: Array, rows: Array) -> Array:
    """Sums of rows (n, k, m) with weights (n, k); (n, m)."""
    return (weights[:, None, :] @ rows)[:, 0]


def constant(values: np.ndarray) -> np.ndarray:
    """Which columns of values (n, n_neuroids) hold one number only (up to rounding); bool (n_neuroids,)."""
    high, low = values.max(axis=0), values.min(axis=0)
    return high - low <= _CONSTANT * np.maximum(np.abs(high), np.abs(low))


def held_out_r(
    predictions: list[np.ndarray], y: np.ndarray, splits: Splits, untrained: np.ndarray | None = None
) -> np.ndarray:
    """Pearson r between predicted and recorded responses to the test stimuli of each split.

    predictions: an array (n_test, n_neuroids) a split; y: all responses (n_stimuli, n_neuroids); untrained: bool
    (n_splits, n_neuroids), which neuroids are constant in training, where that is known already. Returns float64
    (n_splits, n_neuroids), NaN where a neuroid is constant in training or in test, or its prediction is.
    """
    if untrained is None:
        untrained = np.stack([constant(y[train]) for train, _ in splits])
    r = np.stack([pearson(predicted, y[test]) for predicted, (_, test) in zip(predictions, splits)])
    return np.where(untrained, np.nan, r)


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of the columns of a and b, both (n, n_neuroids); NaN where either column is constant."""
    undefined = constant(a) | constant(b)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    r = (a * b).sum(axis=0) / np.where(undefined | (size == 0), 1.0, size)
    return np.where(undefined | (size == 0), np.nan, np.clip(r, -1.0, 1.0))


def weighted_pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson r of the columns of a and b for each row of weights; (n_weights, n_neuroids).

    a, b: (n_stimuli, n_neuroids), NaN where unknown; weights: (n_weights, n_stimuli), how often each stimulus
    counts. NaN where a column does not vary among the weighted stimuli or fewer than 3 are known in both.
    """
    both = np.isfinite(a) & np.isfinite(b)
    n = np.maximum(both.sum(axis=0), 1)
    # Centring on all stimuli first keeps the differences of sums of squares accurate.
    a = np.where(both, a - np.where(both, a, 0.0).sum(axis=0) / n, 0.0)
    b = np.where(both, b - np.where(both, b, 0.0).sum(axis=0) / n, 0.0)
    w = weights @ both
    mean_a, mean_b = (weights @ a) / np.maximum(w, 1), (weights @ b) / np.maximum(w, 1)
    cov = weights @ (a * b) - w * mean_a * mean_b
    var_a, var_b = weights @ (a * a) - w * mean_a**2, weights @ (b * b) - w * mean_b**2
    floor = 1e-12 * np.maximum((a * a).sum(axis=0), 1e-300), 1e-12 * np.maximum((b * b).sum(axis=0), 1e-300)
    fine = (var_a > floor[0]) & (var_b > floor[1]) & (both.sum(axis=0) >= 3)
    return np.where(fine, cov / np.sqrt(np.where(fine, var_a * var_b, 1.0)), np.nan)
