"""Dissimilarities of all pairs of stimuli, tile by tile, in numpy or torch."""

from types import ModuleType

import numpy as np

from analysis.similarity._arrays import zeros
from analysis.similarity._backend import Array, blocks, double, host, rows
from blendnet.errors import BlendnetError, unknown

DISTANCES = ("correlation", "euclidean")


def dissimilarities(xp: ModuleType, x: Array, stimuli: np.ndarray | None, *, distance: str, max_bytes: int) -> Array:
    """The RDM of some rows of x, or of all; float64 (n_pairs,), in the order of numpy's triu_indices.

    x: finite patterns (n_stimuli, n_features); max_bytes: of a tile of the pairs and the features that it is made of
    (at least a row of the one and a column of the other). Raises BlendnetError with 'correlation' for a pattern that
    does not vary over the features.
    """
    if distance not in DISTANCES:
        raise unknown("distance", distance, DISTANCES)
    n, p = len(x) if stimuli is None else len(stimuli), x.shape[1]
    # A quarter for the tile and a quarter for the product that is added to it; features before and after centring.
    tile = min(n, max(1, max_bytes // (32 * n)))
    width = min(p, max(1, max_bytes // (32 * n)))
    means, norms = (None, None) if distance == "euclidean" else _patterns(xp, x, stimuli, width)

    def features(columns: slice) -> Array:
        part = double(rows(x[:, columns], stimuli))
        if means is None or norms is None:
            part -= part.mean(axis=0)
        else:
            part -= means[:, None]
            part /= norms[:, None]
        return part

    squares = None
    if distance == "euclidean":
        squares = sum((part * part).sum(axis=1) for part in map(features, blocks(p, width)))
    out, start = zeros(xp, (n * (n - 1) // 2,), double(x[:1, :1])), 0
    for some in blocks(n, tile):
        products: Array = None
        for columns in blocks(p, width):
            part = features(columns)
            product = (part if tile == n else part[some]) @ part[some.start :].T
            if products is None:
                products = product
            else:
                products += product
        if squares is None:
            products *= -1.0
            products += 1.0
        else:
            products *= -2.0
            products += squares[some, None] + squares[None, some.start :]
        for row in range(some.stop - some.start):
            pairs = n - 1 - some.start - row
            out[start : start + pairs] = products[row, row + 1 :]
            start += pairs
    if squares is not None:
        out[out < 0] = 0.0
        out /= p
    return out


def _patterns(xp: ModuleType, x: Array, stimuli: np.ndarray | None, width: int) -> tuple[Array, Array]:
    """Mean of each pattern, and its length about it; float64 (n_stimuli,) each."""
    p = x.shape[1]
    parts = list(blocks(p, width))
    means = sum(double(rows(x[:, columns], stimuli)).sum(axis=1) for columns in parts) / p
    squares, size = means * 0.0, means * 0.0
    for columns in parts:
        part = double(rows(x[:, columns], stimuli))
        size = xp.maximum(size, xp.amax(abs(part), 1))
        part -= means[:, None]
        squares += (part * part).sum(axis=1)
    norms = xp.sqrt(squares)
    flat = np.flatnonzero(host(norms <= 1e-12 * size * p**0.5))
    if len(flat):
        first = flat[0] if stimuli is None else stimuli[flat[0]]
        raise BlendnetError(
            f"the pattern of stimulus {first} is the same number in every feature ({len(flat)} such stimuli); "
            "correlation distance does not exist there: leave the layer out or use distance 'euclidean'"
        )
    return means, norms
