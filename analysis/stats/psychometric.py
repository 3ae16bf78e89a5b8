"""How heavy must an object be to be named? The rate at which it is among the two highest outputs, against its weight.

Both objects of every blend count, each at its own weight (alpha and 1 - alpha). A logistic curve is fitted by maximum
likelihood, as in Wichmann and Hill 2001 (doi 10.3758/BF03194544), with a lapse rate at the top:

    p(w) = floor + (top - floor) / (1 + exp(-slope (w - threshold)))

The floor is what the weight 0 gives: how often a class that is not in the blend is named, in the blends whose one
object has nearly all the weight. It is 2 / n_classes for a network that guesses; one that names the heavy object has
only one name left to guess with, and names a missing class less often than that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from analysis import tables
from analysis.stats import accuracy
from analysis.stats.curve_fit import STEEPEST, fit, log_likelihood, predict
from blendnet.run import Run

FEWEST = 4
_RISES = float(norm.ppf(0.99))


def compute(
    blended: pd.DataFrame, run: Run | Mapping[str, Any], *, n_boot: int = 200, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one run in the tables psychometric and psychometric_points.

    blended: its predictions for the blends of all alphas (columns as in accuracy.aggregate, and image_a, image_b).
    group '' takes all objects, the others those of one class; n counts objects, so two a blend. threshold: the weight
    at which p is half way between floor and top; slope: 1/weight. Intervals: 95 %, from n_boot resamples of pairs of
    photographs, each with its blends of all alphas and both their objects, since these are not independent. deviance:
    of the fit; p_fit: its chi-square p with n_weights - 3 degrees of freedom (small: the logistic is not the shape).
    Where the rate does not rise with the weight (trend over pairs of photographs, one-sided 1 %) or the threshold lies
    outside 0..1, there is none, and note says so; an end of an interval beyond 0..1 is empty. lo, hi of points: Wilson.
    """
    classes = accuracy.classes_of(blended)
    weights, named, shown, floors = _counts(blended, classes)
    draws = _draws(len(named), n_boot, seed)
    # Row 0 of every first axis is the data themselves, the others are resamples.
    k, n = (np.tensordot(draws, what, axes=1) for what in (named, shown))
    floor = np.tensordot(draws, floors[0], axes=1) / np.maximum(np.tensordot(draws, floors[1], axes=1), 1)
    about = accuracy.about(run) if isinstance(run, Run) else dict(run)
    rows, points = [], []
    for g, group in enumerate(("", *classes)):
        there = n[0, g] > 0
        w, k_g, n_g = weights[there], k[:, g, there], n[:, g, there]
        if not there.any():
            continue
        rises = _trend(w, named[:, g, there], shown[:, g, there]) > _RISES
        row, fitted = _row(w, k_g, n_g, floor[:, g], rises)
        rows.append(about | {"group": group, "n": int(n_g[0].sum()), "floor": floor[0, g]} | row)
        lo, hi = accuracy.wilson(k_g[0], n_g[0])
        for j, weight in enumerate(w):
            points.append(about | {
                "group": group, "weight": weight, "n": int(n_g[0, j]), "k": int(k_g[0, j]),
                "rate": k_g[0, j] / n_g[0, j], "lo": lo[j], "hi": hi[j], "fitted": fitted[j],
            })  # fmt: skip
    return tables.from_rows(rows, "psychometric"), tables.from_rows(points, "psychometric_points")


def _row(
    w: np.ndarray, k: np.ndarray, n: np.ndarray, floor: np.ndarray, rises: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """Threshold, slope, top, their intervals, and the fitted rates (n_weights,) of one group; k, n: (1 + n_boot,
    n_weights), floor: (1 + n_boot,), the data first."""
    nothing = np.full(len(w), np.nan)
    if len(w) < FEWEST:
        return {"note": f"no curve: {len(w)} weights are too few, at least {FEWEST} are needed"}, nothing
    if not rises:
        return {"note": "no threshold: the rate does not rise with the weight"}, nothing
    curves = fit(w, k, n, floor)
    thresholds = curves.threshold
    if not 0 <= thresholds[0] <= 1:
        return {"note": f"no threshold: half way lies at {thresholds[0]:.3g}, outside 0 to 1"}, nothing
    notes = []
    if not w[0] <= thresholds[0] <= w[-1]:
        notes.append("threshold beyond the tested weights")
    lo, hi = _ends(thresholds[1:])
    if not (np.isfinite(lo) and np.isfinite(hi)):
        notes.append("interval of the threshold open")
    slope, slope_lo, slope_hi = curves.slope[0], *_ends(curves.slope[1:], STEEPEST * 0.999)
    if slope >= STEEPEST * 0.999:
        notes.append("steeper than the weights can tell")
        slope = np.nan
    rates = predict(w, curves)[0]
    deviance = max(0.0, 2 * float(_saturated(k[0], n[0]) - curves.log_likelihood[0]))
    p_fit = float(chi2.sf(deviance, len(w) - 3)) if len(w) > 3 else np.nan
    row = {"threshold": thresholds[0], "threshold_lo": lo, "threshold_hi": hi, "slope": slope, "slope_lo": slope_lo,
           "slope_hi": slope_hi, "top": curves.top[0], "deviance": deviance, "p_fit": p_fit}  # fmt: skip
    return row | {"note": "; ".join(notes)}, rates


def _trend(w: np.ndarray, k: np.ndarray, n: np.ndarray) -> float:
    """z of a rise with the weight; k, n: (n_units, n_weights). A unit's objects are no independent draws, so that the
    variance is taken over units (Liang and Zeger 1986, doi 10.1093/biomet/73.1.13); 0 where no unit changes."""
    there = np.maximum(n.sum(axis=1), 1)[:, None]
    rise = ((k - n * k.sum(axis=1, keepdims=True) / there) * w).sum(axis=1)
    spread = float(np.sqrt((rise**2).sum()))
    return float(rise.sum() / spread) if spread > 0 else 0.0


def _saturated(k: np.ndarray, n: np.ndarray) -> float:
    return float(log_likelihood(k, n, k / n))


def _ends(samples: np.ndarray, top: float = 1.0) -> tuple[float, float]:
    """The 95 % percentile interval; an end that is not within 0..top is NaN: the data leave it open."""
    if not len(samples):
        return np.nan, np.nan
    # Ranks, not interpolation: resamples may be infinite.
    lo, hi = np.quantile(samples, [0.025, 0.975], method="inverted_cdf")
    return (float(lo) if 0 <= lo <= top else np.nan), (float(hi) if 0 <= hi <= top else np.nan)


def _draws(n_units: int, n_boot: int, seed: int) -> np.ndarray:
    """How often each unit counts, (1 + n_boot, n_units); the first row takes each once."""
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(n_units, size=n_units), minlength=n_units) for _ in range(n_boot)]
    return np.array([np.ones(n_units, dtype=int), *drawn], dtype=float)


def _counts(
    frame: pd.DataFrame, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Weights (n_weights,); objects named and shown (n_units, 1 + n_classes, n_weights), group '' first; and of
    classes that are not in a blend whose one object has the greatest weight, named and shown (n_units, 1 + n_classes).
    A unit is a pair of photographs."""
    named = np.zeros((len(frame), len(classes)), dtype=bool)
    outputs = accuracy.outputs(frame, classes)
    np.put_along_axis(named, accuracy.top(outputs, 2), True, axis=1)
    alpha = frame["alpha"].to_numpy(dtype=float)
    unit, units = pd.factorize(frame["image_a"].astype(str) + "\n" + frame["image_b"].astype(str), sort=True)
    at = np.round(np.stack([alpha, 1 - alpha], axis=1), 6)
    weights, place = np.unique(at, return_inverse=True)
    place = place.reshape(at.shape)
    shape = (len(units), 1 + len(classes), len(weights))
    k, n = np.zeros((2, *shape))
    present = np.zeros_like(named)
    rows = np.arange(len(frame))
    for side, column in enumerate(("class_a", "class_b")):
        index = accuracy.index(frame[column], classes)
        present[rows, index] = True
        for group in (np.zeros_like(index), 1 + index):
            np.add.at(n, (unit, group, place[:, side]), 1)
            np.add.at(k, (unit, group, place[:, side]), named[rows, index])
    end = np.isclose(at.max(axis=1), weights[-1])
    absent, wrong = np.zeros((2, *shape[:2]))
    np.add.at(absent[:, 1:], unit[end], ~present[end])
    np.add.at(wrong[:, 1:], unit[end], named[end] & ~present[end])
    absent[:, 0], wrong[:, 0] = absent.sum(axis=1), wrong.sum(axis=1)
    return weights, k, n, (wrong, absent)
