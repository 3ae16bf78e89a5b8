"""What can be read linearly from a layer about both objects of a blend.

A ridge regression (Hoerl, Kennard 1970, doi 10.1080/00401706.1970.10488634) from a layer's responses to the label sets
of blends, one output a class, in closed form; its two highest outputs are counted as a network's own are. The penalty
is chosen on blends of other photographs than those of the fit, and the rates are those of a third set: two blends
may share a photograph, so that leaving out single blends would choose too small a penalty.
"""

from typing import Any, NamedTuple

import numpy as np

from analysis.stats.accuracy import chance, outcome, top1, wilson
from blendnet.errors import BlendnetError

# Multiples of the mean eigenvalue of the features' covariance, so that a layer's scale does not matter.
STRENGTHS = tuple(float(s) for s in 10.0 ** np.arange(-4, 5))


class Readout(NamedTuple):
    """outputs = (x - mean) weights + intercept: mean (n_features,), weights (n_features, n_classes), intercept
    (n_classes,); strength: the penalty as a multiple of the mean eigenvalue."""

    mean: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    strength: float

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """(n, n_classes) for features x (n, n_features)."""
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.weights + self.intercept


def fit(
    x: np.ndarray, targets: np.ndarray, x_choice: np.ndarray, targets_choice: np.ndarray,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Readout:  # fmt: skip
    """The readout of x (n, n_features) for label sets `targets` (n, n_classes), whose penalty has the least squared
    error on x_choice (m, n_features) with targets_choice (m, n_classes); the first of equals. The intercept is free.

    A layer that answers all images alike gives the rates of the classes in `targets`. Raises BlendnetError for shapes
    that do not go together and values that are not finite.
    """
    x, targets, x_choice, targets_choice = (np.asarray(v, dtype=np.float64) for v in
                                            (x, targets, x_choice, targets_choice))  # fmt: skip
    if x.ndim != 2 or x.shape[1] != x_choice.shape[1] or len(x) != len(targets) or len(x_choice) != len(targets_choice):
        raise BlendnetError(
            f"features {x.shape} and {x_choice.shape} do not go with labels {targets.shape} and {targets_choice.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(x_choice).all()):
        raise BlendnetError("a layer gives values that are not finite; train the network again")
    mean, intercept = x.mean(axis=0), targets.mean(axis=0)
    xc, yc = x - mean, targets - intercept
    values, vectors = np.linalg.eigh(xc.T @ xc)
    values = np.maximum(values, 0)  # rounding leaves some a little below
    scale = float(values.mean())
    if scale == 0:
        return Readout(mean, np.zeros((x.shape[1], targets.shape[1])), intercept, strengths[0])
    across = vectors.T @ (xc.T @ yc)
    turned = (x_choice - mean) @ vectors
    errors = [
        float(np.square(turned @ (across / (values + s * scale)[:, None]) + intercept - targets_choice).mean())
        for s in strengths
    ]
    best = strengths[int(np.argmin(errors))]
    return Readout(mean, vectors @ (across / (values + best * scale)[:, None]), intercept, best)


def rates(
    readout: Readout, x: np.ndarray, targets: np.ndarray, x_single: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """Rows 'both', 'one' (blends) and 'top1' (one-object images): the columns `outcome` to `n` of decoding.csv.

    x: features of test blends (n, n_features), targets: their label sets (n, n_classes); x_single: features of single
    test photographs (m, n_features), labels: class indices (m,). Intervals: Wilson's; chance: uniform guessing.
    """
    named = outcome(readout.outputs(x), targets)
    level = chance(np.shape(targets)[1])
    hits = {"both": named == "both", "one": named == "one", "top1": top1(readout.outputs(x_single), labels)}
    rows = []
    for name, hit in hits.items():
        lo, hi = wilson(int(hit.sum()), len(hit))
        rows.append({"outcome": name, "rate": float(hit.mean()), "lo": float(lo), "hi": float(hi),
                     "chance": level[name], "n": len(hit)})  # fmt: skip
    return rows
