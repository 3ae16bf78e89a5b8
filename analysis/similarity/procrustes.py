"""Orthogonal Procrustes: is one set of responses the other, but for a rotation (reflection) and one scale?

Schonemann 1966 (doi 10.1007/BF02289451) for the rotation; Williams et al. 2021 (arXiv 2110.14739) for the
shape distances. The narrower side counts as filled up with zeros, so widths may differ; the zeros never
exist here, for with X'Y = U S V' (thin) the part of the rotation that meets real units is UV'. Directions
in which the training responses say nothing (S = 0) are not mapped: any completion of the rotation would do
there, and would add arbitrary responses to the test.

Ceiling: the same metric between two halves of the repetitions (self_ceiling), without Spearman-Brown: a
predicted neuroid is a mixture of many, whose noise is less than its own.
"""

from types import ModuleType

import numpy as np

from analysis.similarity._arrays import held_out_r
from analysis.similarity._backend import Array, blocks, checked, double, host, rows
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

# The rotation is symmetric, but r is that of the neuroids of y.
DIRECTION = "model to brain"
DISTANCES = ("angular", "shape")
# A spread below this fraction of the size is rounding.
_CONSTANT = 1e-12


def score(x: Array, y: Array, splits: Splits | None = None, *, max_bytes: int = 2**30) -> np.ndarray:
    """Pearson r of each neuroid with its rotated prediction at the test stimuli; float64 (n_splits, n_neuroids).

    x: (n_stimuli, n_features), y: (n_stimuli, n_neuroids), numpy arrays or torch tensors. In each split both
    are centred on the training stimuli and x is rotated (and scaled, which r does not see) onto y. NaN where
    a neuroid is constant in training or test. splits None: the angular similarity of all stimuli, in sample,
    (1, 1), as `angular`. Memory beside the arguments: max(n_stimuli, n_neuroids) * min(n_stimuli, n_features)
    float64 numbers, and at most max_bytes for converting wide features. Raises BlendnetError for NaN,
    infinity, unequal numbers of stimuli and impossible splits.
    """
    if splits is None:
        return angular(x, y, None, max_bytes=max_bytes)
    xp, x, y = checked(x, y, splits)
    known = host(y)
    x, y = _compact(xp, x, max_bytes), _centred(xp, y)
    predictions = []
    for train, test in splits:
        left, right, _ = _rotation(xp, rows(x, train), rows(y, train))
        predictions.append(host((rows(x, test) @ left) @ right))
    return held_out_r(predictions, known, splits)


def angular(x: Array, y: Array, splits: Splits | None = None, *, max_bytes: int = 2**30) -> np.ndarray:
    """Cosine of the angle between the centred configurations after rotation; float64 (n_splits, 1) or (1, 1).

    splits None: |X'Y|_* / (|X| |Y|), the best rotation of all stimuli, between 0 and 1 and far above 0 also
    for independent responses of many units. With splits: the rotation of the training stimuli, the cosine
    at the test stimuli (each side centred on them), 0 in expectation for independent responses. Symmetric in
    x and y, unlike `score`. NaN where x or y does not vary. Shapes, memory and errors as in `score`.
    """
    xp, x, y = checked(x, y, splits)
    x, y = _compact(xp, x, max_bytes), _compact(xp, y, max_bytes)
    everything = np.arange(len(x))
    values = []
    for train, test in splits if splits is not None else [(everything, everything)]:
        left, right, _ = _rotation(xp, rows(x, train), rows(y, train))
        tested = [rows(a, test) - rows(a, test).mean(axis=0) for a in (x, y)]
        sizes = [float(xp.linalg.norm(a)) for a in tested]
        # Spread that is rounding of the mean, not a difference between stimuli, is none.
        varies = all(size > _CONSTANT * float(xp.linalg.norm(rows(a, test))) for size, a in zip(sizes, (x, y)))
        product = float(((tested[0] @ left) * (tested[1] @ right.T)).sum())
        values.append(product / (sizes[0] * sizes[1]) if varies else float("nan"))
    return np.array(values)[:, None]


def distance(x: Array, y: Array, *, kind: str = "angular", max_bytes: int = 2**30) -> float:
    """Distance of two sets of responses to the same stimuli, a metric in the mathematical sense.

    kind: 'angular', the angle itself in radians, 0 to pi/2 (both configurations have length 1: scale does not
    matter), or 'shape', min over rotations of |XQ - Y| (scale matters; in the units of the responses). NaN
    where 'angular' does not exist.
    """
    if kind not in DISTANCES:
        raise unknown("kind of distance", kind, DISTANCES)
    if kind == "angular":
        return float(np.arccos(np.clip(angular(x, y, max_bytes=max_bytes), -1.0, 1.0))[0, 0])
    xp, x, y = checked(x, y, None)
    x, y = _compact(xp, x, max_bytes), _compact(xp, y, max_bytes)
    nuclear = _rotation(xp, x, y)[2]
    return float(np.sqrt(max(float((x * x).sum()) + float((y * y).sum()) - 2.0 * nuclear, 0.0)))


def _rotation(xp: ModuleType, x: Array, y: Array) -> tuple[Array, Array, float]:
    """(U, V', sum of S) of x'y, both centred here; the rotation of x onto y is UV'."""
    # The size before centring, so that the remains of a constant count as rounding.
    size = float(xp.linalg.norm(x)) * float(xp.linalg.norm(y))
    rounding = np.finfo(np.float64).eps * max(x.shape[1], y.shape[1]) * size
    u, s, vt = xp.linalg.svd((x - x.mean(axis=0)).T @ (y - y.mean(axis=0)), full_matrices=False)
    kept = s > rounding
    return u[:, kept], vt[kept], float(s[kept].sum())


def _compact(xp: ModuleType, x: Array, max_bytes: int) -> Array:
    """x (n_stimuli, m) in float64, rotated into at most n_stimuli columns: R' of X' = QR, m columns at a time.

    All inner products stay as they are to rounding, which they would not by way of the Gram matrix, where
    singular values below 1e-8 of the largest drown. Centred, so that large means cost no digits.
    """
    n, m = x.shape
    if m <= n:
        return _centred(xp, x)
    # A block, its conversion and the copy that the decomposition makes, with R on top.
    width = max_bytes // (24 * n) - n
    if width < 1:
        raise BlendnetError(f"max_bytes {max_bytes} is too little for {n} stimuli; give at least {24 * n * (n + 256)}")
    triangle: Array = None
    for columns in blocks(m, min(width, 4 * n)):
        part = _centred(xp, x[:, columns]).T
        stacked = part if triangle is None else xp.concatenate([triangle, part])
        triangle = np.linalg.qr(stacked, mode="r") if xp is np else xp.linalg.qr(stacked, mode="r")[1]
    return triangle.T


def _centred(xp: ModuleType, x: Array) -> Array:
    """x (n, m) in float64 minus its columns' means; what is constant up to rounding becomes 0."""
    x = double(x)
    size = xp.amax(abs(x), 0)
    x -= x.mean(axis=0)
    x *= xp.amax(abs(x), 0) > _CONSTANT * size
    return x
