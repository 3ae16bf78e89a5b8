"""Linear centred kernel alignment, unbiased: do two sets of responses place the stimuli alike, up to rotation?

CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = XX', L = YY' (Kornblith et al. 2019, arXiv
1905.00414). The plain estimator of HSIC is biased: independent noise of many features gives values near 1
where stimuli are few (Murphy et al. 2024, arXiv 2405.01012). The unbiased one (Song et al. 2012, JMLR 13)
averages over quadruples of different stimuli. For centred features, with k and l the squared lengths of the
patterns (the diagonals of K and L), it is

    n(n - 3) HSIC = |X'Y|^2 - n/(n - 2) k.l + sum(k) sum(l) / ((n - 1)(n - 2))

so that the features do as well as the Gram matrices: |X'Y|^2 = sum(K * L), whichever is cheaper.

Ceiling: HSIC of two halves of the repetitions over that of the whole with itself (self_ceiling). CKA does not
say how well single neuroids are predicted, and has no direction.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.similarity._backend import Array, blocks, checked, double, host, rows, together
from analysis.similarity._splits import Splits
from blendnet.errors import unknown

DIRECTION = "none"
ESTIMATORS = ("unbiased", "biased")
# Below this fraction of its parts an HSIC is their rounding error.
_NULL = 1e-12
# Columns converted to float64 at a time: wider blocks only cost more fresh memory.
_COLUMNS = 2048


class _Side(NamedTuple):
    """Responses (n_stimuli, m), which stimuli count (None: all n), their means (m,) and squared lengths (n,)."""

    array: Array
    stimuli: np.ndarray
    means: Array
    lengths: np.ndarray
    constant: bool


def score(
    x: Array,
    y: Array,
    splits: Splits | None = None,
    *,
    estimator: str = "unbiased",
    max_bytes: int = 2**30,
) -> np.ndarray:
    """CKA between x (n_stimuli, n_features) and y (n_stimuli, n_neuroids), numpy arrays or torch tensors.

    splits None: over all stimuli, float64 (1, 1). With splits: over the test stimuli of each, (n_splits, 1);
    nothing is fitted, the training stimuli are not used. estimator: 'unbiased' (0 in expectation for
    independent responses, so that values may be negative) or 'biased'. NaN where all stimuli are equally far
    from one another in x or y. max_bytes: bound on working memory beside the arguments (about; at least a
    column or a stimulus is held). Raises BlendnetError for fewer than 4 (test) stimuli, NaN, infinity and
    unequal numbers of stimuli.
    """
    return score_many({"": x}, y, splits, estimator=estimator, max_bytes=max_bytes)[""]


def score_many(
    xs: Mapping[str, Array],
    y: Array,
    splits: Splits | None = None,
    *,
    estimator: str = "unbiased",
    max_bytes: int = 2**30,
) -> dict[str, np.ndarray]:
    """`score` of several layers, {layer: (n_stimuli, n_features)} -> {layer: (n_splits, 1)}.

    Everything that is about y alone is done once a split for all layers. Layers may lie in numpy and on a
    device; all are brought together where the first tensor on a device is.
    """
    if estimator not in ESTIMATORS:
        raise unknown("estimator", estimator, ESTIMATORS)
    _, (y, *layers) = together(y, *xs.values())
    tests = _tests(layers, y, splits)
    values = [_values(layers, y, test, estimator, max_bytes) for test in tests]
    return {name: np.array([[v[i]] for v in values]) for i, name in enumerate(xs)}


def hsic(x: Array, y: Array, splits: Splits | None = None, *, max_bytes: int = 2**30) -> np.ndarray:
    """The unbiased HSIC itself, whose expectation is |Cov(x, y)|^2; float64 (1, 1), of the test stimuli (n_splits, 1).

    Noise that differs between x and y does not enter the expectation: of two halves of the repetitions it is
    that of the noise-free responses. Arguments and errors as in `score`.
    """
    _, (y, layer) = together(y, x)
    values = []
    for test in _tests([layer], y, splits):
        (one,), side, _, ((_, xy),) = _sums([layer], y, test, max_bytes)
        values.append([_unbiased(xy, one, side) / (len(test) * (len(test) - 3))])
    return np.array(values)


def _tests(layers: list[Array], y: Array, splits: Splits | None) -> list[np.ndarray]:
    for number, layer in enumerate(layers):
        checked(layer, y if number == 0 else y[:, :1], splits, n_train=0, n_test=4)
    return [np.arange(len(y))] if splits is None else [np.asarray(test) for _, test in splits]


def _values(layers: list[Array], y: Array, stimuli: np.ndarray, estimator: str, max_bytes: int) -> list[float]:
    sides, side, yy, sums = _sums(layers, y, stimuli, max_bytes)
    measure = _unbiased if estimator == "unbiased" else lambda total, a, b: total
    values = []
    for one, (xx, xy) in zip(sides, sums):
        own = measure(xx, one, one), measure(yy, side, side)
        defined = not (one.constant or side.constant) and own[0] > _NULL * xx and own[1] > _NULL * yy
        values.append(measure(xy, one, side) / float(np.sqrt(own[0]) * np.sqrt(own[1])) if defined else float("nan"))
    return values


def _unbiased(total: float, a: _Side, b: _Side) -> float:
    """n(n - 3) HSIC from |A'B|^2."""
    n = len(a.stimuli)
    outer = float(a.lengths.sum()) * float(b.lengths.sum()) / ((n - 1) * (n - 2))
    return total - float(a.lengths @ b.lengths) * n / (n - 2) + outer


def _sums(
    layers: list[Array], y: Array, stimuli: np.ndarray, max_bytes: int
) -> tuple[list[_Side], _Side, float, list[tuple[float, float]]]:
    """The sides X of all layers and Y, |Y'Y|^2, and (|X'X|^2, |X'Y|^2) of each layer."""
    n, q = len(stimuli), y.shape[1]
    width = min(_COLUMNS, max_bytes // (16 * n))
    side = _side(y, stimuli, width)
    sides = [_side(layer, stimuli, width) for layer in layers]
    # |X'X|^2 and |X'Y|^2 cost n p (p/2 + q) from the features, n p n/2 as a Gram matrix.
    by_gram = [i for i, one in enumerate(sides) if one.array.shape[1] + 2 * q >= n]
    sums = [(0.0, 0.0)] * len(sides)
    if by_gram or q > n:
        yy, found = _gram_sums([sides[i] for i in by_gram], side, max_bytes)
        for i, pair in zip(by_gram, found):
            sums[i] = pair
    else:
        yy = _feature_sum(side, side, max_bytes)
    for i in set(range(len(sides))) - set(by_gram):
        sums[i] = _feature_sum(sides[i], sides[i], max_bytes), _feature_sum(sides[i], side, max_bytes)
    return sides, side, yy, sums


def _side(a: Array, stimuli: np.ndarray, width: int) -> _Side:
    means, lengths = double(a[0]), double(rows(a[:, 0], stimuli)) * 0.0
    for columns in blocks(a.shape[1], width):
        part = double(rows(a[:, columns], stimuli))
        means[columns] = part.mean(axis=0)
        part -= means[columns]
        lengths += (part * part).sum(axis=1)
    # Differences between stimuli below 1e-12 of the responses' size are rounding.
    constant = bool(lengths.sum() <= 1e-24 * len(stimuli) * (means * means).sum())
    return _Side(a, stimuli, means, host(lengths), constant)


def _part(side: _Side, stimuli: slice, columns: slice) -> Array:
    """Centred responses of some stimuli and columns, float64."""
    part = double(rows(side.array[:, columns], side.stimuli[stimuli]))
    part -= side.means[columns]
    return part


def _gram_sums(sides: list[_Side], side: _Side, max_bytes: int) -> tuple[float, list[tuple[float, float]]]:
    """sum(L * L) of `side` and, for each of `sides`, (sum(K * K), sum(K * L)); tile by tile of the Gram matrices."""
    n = len(side.stimuli)
    # Half of the memory for the tiles of K, of L and of one product, half for two blocks of features.
    tile = min(n, int((max_bytes / 48) ** 0.5))
    width = min(_COLUMNS, max_bytes // (48 * max(1, tile)))
    yy, sums = 0.0, np.zeros((len(sides), 2))
    for first in blocks(n, tile):
        for second in blocks(n, tile):
            if second.start < first.start:
                continue
            times = 1.0 if first == second else 2.0
            own = _tile(side, first, second, width)
            yy += times * _inner(own, own)
            for total, other in zip(sums, sides):
                theirs = _tile(other, first, second, width)
                total += times * np.array([_inner(theirs, theirs), _inner(theirs, own)])
    return yy, [(float(xx), float(xy)) for xx, xy in sums]


def _tile(side: _Side, first: slice, second: slice, width: int) -> Array:
    total = None
    for columns in blocks(side.array.shape[1], width):
        a = _part(side, first, columns)
        b = a if first == second else _part(side, second, columns)
        product = a @ b.T
        if total is None:
            total = product
        else:
            total += product
    return total


def _feature_sum(a: _Side, b: _Side, max_bytes: int) -> float:
    """|A'B|^2, block by block of the columns; of equal sides only one half is computed."""
    n = len(a.stimuli)
    # Two blocks (n, width), with the conversion of one, and their product (width, width).
    width = min(_COLUMNS, int((9 * n * n / 4 + max_bytes / 8) ** 0.5 - 1.5 * n))
    whole = slice(0, n)
    total = 0.0
    for first in blocks(a.array.shape[1], width):
        left = _part(a, whole, first)
        for second in blocks(b.array.shape[1], width):
            if a is b and second.start < first.start:
                continue
            same = a is b and first == second
            product = left.T @ (left if same else _part(b, whole, second))
            total += (1.0 if same or a is not b else 2.0) * _inner(product, product)
    return total


def _inner(a: Array, b: Array) -> float:
    return float(a.reshape(-1) @ b.reshape(-1))
