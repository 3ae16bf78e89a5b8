"""Ridge with one penalty for all: one Cholesky decomposition for all splits and neuroids.

With P the inverse of K + alpha on the stimuli without the constant direction, leaving the stimuli S out of the fit,
intercept included, leaves the errors e = (P_SS)^-1 (PY)_S at them (see ridge). Where there are clearly fewer
features than stimuli alpha P = I - H with the leverages H = 1/n + X(X'X + alpha)^-1 X', so that e is had from the
errors of the fit to all stimuli and the leverages of S alone. With X'X + alpha = LL' both are products of
Z = (L^-1)X'.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from analysis.similarity._arrays import centred, cross, gram, means, moved, zeros
from analysis.similarity._backend import Array, blocks, double, host, rows
from analysis.similarity._regression import Target, over_splits

# Errors at the stimuli left out, from their numbers and the columns of the responses.
Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Rows of a triangle that are solved at a time; the rest are products.
_ROWS = 128


def predict(
    xp: ModuleType, x: Array, targets: list[Target], like: Array, alpha: float, max_bytes: int
) -> list[list[np.ndarray]]:
    """Predictions for the test stimuli of each split of each target; float64 (n_test, n_neuroids)."""
    y = np.concatenate([t.centred for t in targets], axis=1)
    if x.shape[1] < 0.8 * len(x):
        errors = _primal(xp, x, y, like, alpha, max_bytes)
    else:
        errors = _dual(xp, x, y, like, alpha)

    def fit(train: np.ndarray, test: np.ndarray, columns: np.ndarray) -> np.ndarray:
        # Tested stimuli, and any that are in neither part of the split, are all left out together.
        left = np.setdiff1d(np.arange(len(x)), train)
        return (y[np.ix_(left, columns)] - errors(left, columns))[np.searchsorted(left, test)]

    return over_splits(targets, fit)


def _primal(xp: ModuleType, x: Array, y: np.ndarray, like: Array, alpha: float, max_bytes: int) -> Errors:
    mean = means(xp, x, like)
    whole = moved(xp, y, like)
    own, other = cross(xp, x, mean, whole)
    diagonal = np.arange(len(own))
    own[diagonal, diagonal] += alpha
    lower = xp.linalg.cholesky(own)
    fitted = _forward(xp, lower, other.T)
    whole_z = None
    if x.shape[0] * x.shape[1] * like.dtype.itemsize <= max_bytes:  # else anew for each split
        whole_z = _forward(xp, lower, centred(xp, x, mean).T)

    def errors(left: np.ndarray, columns: np.ndarray) -> np.ndarray:
        if whole_z is None:
            own_z = _forward(xp, lower, centred(xp, rows(x, left), mean).T).T
        else:
            own_z = rows(whole_z.T, left)
        kept = own_z @ own_z.T
        kept += 1.0 / len(x)
        kept *= -1.0
        kept[np.arange(len(left)), np.arange(len(left))] += 1.0
        return host(double(xp.linalg.solve(kept, (rows(whole, left) - own_z @ fitted)[:, columns])))

    return errors


def _dual(xp: ModuleType, x: Array, y: np.ndarray, like: Array, alpha: float) -> Errors:
    n = len(x)
    k = gram(xp, x, like)
    mean = max(float(xp.einsum("nn->", k)) / n, alpha)
    # K1 = 0. Raised to the mean eigenvalue, the constant direction is taken out of P without a difference of two
    # numbers of size 1/alpha.
    k += mean / n
    k[np.arange(n), np.arange(n)] += alpha
    inverse = _triangle_inverse(xp, xp.linalg.cholesky(k))
    constant = 1.0 / (n * (mean + alpha))
    py = inverse.T @ (inverse @ moved(xp, y, like))  # the responses are centred: nothing in the constant direction

    def errors(left: np.ndarray, columns: np.ndarray) -> np.ndarray:
        across = rows(inverse.T, left)
        return host(double(xp.linalg.solve(across @ across.T - constant, rows(py, left)[:, columns])))

    return errors


def _forward(xp: ModuleType, lower: Array, b: Array) -> Array:
    """Solution z of lower z = b, for a lower triangle (m, m) and b (m, k)."""
    if xp is not np:
        return xp.linalg.solve_triangular(lower, b, upper=False)
    z = np.empty(b.shape, b.dtype)
    for part in blocks(len(lower), _ROWS):
        z[part] = np.linalg.inv(lower[part, part]) @ (b[part] - lower[part, : part.start] @ z[: part.start])
    return z


def _triangle_inverse(xp: ModuleType, lower: Array) -> Array:
    """Inverse of a lower triangle (m, m)."""
    if xp is not np:
        return xp.linalg.solve_triangular(
            lower, xp.eye(len(lower), dtype=lower.dtype, device=lower.device), upper=False
        )
    z = zeros(xp, lower.shape, lower)
    for part in blocks(len(lower), _ROWS):
        block = np.linalg.inv(lower[part, part])
        z[part, part] = block
        z[part, : part.start] = -block @ (lower[part, : part.start] @ z[: part.start, : part.start])
    return z
