"""What every regression metric does before and after: check the arrays, form the Gram matrix, correlate."""

import numpy as np

from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError

# Features converted to float64 at a time, so that a wide float32 layer is never held twice.
_COLUMNS = 4096
# A neuroid whose spread is below this fraction of its size differs from a constant by rounding only.
_CONSTANT = 1e-12


def checked(x: np.ndarray, y: np.ndarray, splits: Splits) -> tuple[np.ndarray, np.ndarray]:
    """x (n_stimuli, n_features) in its own precision and y (n_stimuli, n_neuroids) in float64.

    Raises BlendnetError for shapes that do not match, NaN or infinity (naming the first feature or neuroid),
    and splits that are empty, overlap or point outside the stimuli.
    """
    x, y = np.asarray(x), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2:
        raise BlendnetError(f"features {x.shape} and responses {y.shape} must both be (n_stimuli, ...), 2 dimensions")
    if len(x) != len(y):
        raise BlendnetError(f"{len(x)} stimuli in the features, {len(y)} in the responses; align them by stimulus_id")
    if x.shape[1] == 0 or y.shape[1] == 0:
        raise BlendnetError(f"features {x.shape} or responses {y.shape} are empty; check the layer and the recording")
    for what, array in (("feature", x), ("neuroid", y)):
        finite = np.isfinite(array)
        if not finite.all():
            stimulus, column = np.argwhere(~finite)[0]
            raise BlendnetError(
                f"{what} {column} is {array[stimulus, column]} at stimulus {stimulus} "
                f"({int((~finite).any(axis=0).sum())} such {what}s); leave the {what} or the stimulus out"
            )
    if not splits:
        raise BlendnetError("no splits were given; make them with shuffle_splits")
    for number, (train, test) in enumerate(splits):
        both = np.concatenate([train, test])
        if len(train) < 2 or len(test) < 2:
            raise BlendnetError(
                f"split {number} has {len(train)} training and {len(test)} test stimuli; "
                "a correlation needs at least 2 of each: use more stimuli or a larger test_size"
            )
        if both.min() < 0 or both.max() >= len(x) or len(np.unique(both)) != len(both):
            raise BlendnetError(
                f"split {number} repeats a stimulus or points outside the {len(x)} stimuli; "
                "make splits for these stimuli with shuffle_splits"
            )
    return x, y


def centred(x: np.ndarray) -> np.ndarray:
    """x (n_stimuli, n_features) in float64, minus each feature's mean over all stimuli."""
    x = x.astype(np.float64)
    x -= x.mean(axis=0)
    return x


def gram(x: np.ndarray) -> np.ndarray:
    """Inner products of the centred features, float64 of shape (n_stimuli, n_stimuli)."""
    total = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], _COLUMNS):
        part = centred(x[:, start : start + _COLUMNS])
        total += part @ part.T
    return total


def constant(values: np.ndarray) -> np.ndarray:
    """Which columns of values (n, n_neuroids) hold one number only (up to rounding); bool (n_neuroids,)."""
    return np.ptp(values, axis=0) <= _CONSTANT * np.abs(values).max(axis=0)


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
