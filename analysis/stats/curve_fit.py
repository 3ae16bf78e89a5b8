"""Maximum-likelihood logistic curves with a lapse rate, thousands at a time (for psychometric.py).

p = floor + (top - floor) / (1 + exp(-slope (w - threshold))), 0 <= slope <= STEEPEST, floor <= top <= 1, floor given.
Wichmann and Hill 2001 (doi 10.3758/BF03194544). Fisher scoring with Levenberg's damping, all curves side by side: one
call of scipy's minimiser a curve and a resample would take minutes a run.
"""

from dataclasses import dataclass

import numpy as np

STEEPEST = 200.0  # 1/weight: 0 to 1 within a hundredth of the weight, which no set of weights in use can tell apart
_MIDDLE = 0.5
_TINY = 1e-9
_STARTS = (np.linspace(-0.1, 1.1, 9), (2.0, 6.0, 15.0, 50.0), (0.4, 0.75, 0.97))


@dataclass(frozen=True)
class Curves:
    """n curves: slope, top, floor, log_likelihood (n,), and intercept (n,), the logit at weight 0.5."""

    intercept: np.ndarray
    slope: np.ndarray
    top: np.ndarray
    floor: np.ndarray
    log_likelihood: np.ndarray

    @property
    def threshold(self) -> np.ndarray:
        """The weight half way between floor and top (n,); infinite where the curve is flat."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = _MIDDLE - self.intercept / self.slope
        return np.where(self.slope > _TINY, found, np.inf)


def fit(w: np.ndarray, k: np.ndarray, n: np.ndarray, floor: np.ndarray, *, n_starts: int = 3) -> Curves:
    """The best curve for each row of counts.

    w: weights (n_weights,); k of n were named, each (n_curves, n_weights); floor: (n_curves,), within 0..1. Row 0 is
    taken for the data, of which the others are resamples: it is tried from n_starts starts of a grid, they from
    their best point of the grid and from the curve of row 0.
    """
    x = np.asarray(w, dtype=float) - _MIDDLE
    k, n, floor = (np.asarray(v, dtype=float) for v in (k, n, floor))
    grid = _grid(x, k, n, floor)
    first = _best([_climb(x, k[:1], n[:1], floor[:1], grid[:1, i]) for i in range(n_starts)])
    parameters = first
    if len(k) > 1:
        rest = (x, k[1:], n[1:], floor[1:])
        near = np.repeat(first[:, :3], len(k) - 1, axis=0)
        near[:, 2] = np.maximum(near[:, 2], floor[1:])
        parameters = np.concatenate([first, _best([_climb(*rest, grid[1:, 0]), _climb(*rest, near)])])
    intercept, slope, top, likelihood = parameters.T
    return Curves(intercept, slope, top, floor, likelihood)


def predict(w: np.ndarray, curves: Curves) -> np.ndarray:
    """The rate of each curve at each weight (n_curves, n_weights)."""
    parameters = np.stack([curves.intercept, curves.slope, curves.top], axis=1)
    return _rates(np.asarray(w, dtype=float) - _MIDDLE, parameters, curves.floor)[0]


def log_likelihood(k: np.ndarray, n: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Binomial log-likelihood, summed over the last axis, without the coefficient that holds no parameter."""
    p = np.clip(p, _TINY, 1 - _TINY)
    return (k * np.log(p) + (n - k) * np.log1p(-p)).sum(axis=-1)


def _rates(x: np.ndarray, parameters: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, logistic part), each (..., n_weights); parameters (..., 3): intercept, slope, top."""
    eta = parameters[..., 0, None] + parameters[..., 1, None] * x
    part = 0.5 * (1 + np.tanh(0.5 * eta))
    return floor[..., None] + (parameters[..., 2, None] - floor[..., None]) * part, part


def _grid(x: np.ndarray, k: np.ndarray, n: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The points of the grid of starts for each curve, best first: (n_curves, n_starts, 3)."""
    thresholds, slopes, shares = (v.ravel() for v in np.meshgrid(*_STARTS, indexing="ij"))
    found = np.empty((len(k), len(slopes)))
    starts = np.empty((len(k), len(slopes), 3))
    starts[..., 0], starts[..., 1] = (_MIDDLE - thresholds) * slopes, slopes
    starts[..., 2] = floor[:, None] + shares * (1 - floor[:, None])
    for out, start, k_i, n_i, floor_i in zip(found, starts, k, n, floor):
        out[:] = log_likelihood(k_i, n_i, _rates(x, start, np.full(len(start), floor_i))[0])
    return np.take_along_axis(starts, np.argsort(-found, axis=1, kind="stable")[..., None], axis=1)


def _climb(x: np.ndarray, k: np.ndarray, n: np.ndarray, floor: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Parameters and log-likelihood (n_curves, 4) at the top of the hill on which start (n_curves, 3) stands."""
    at = start.copy()
    low = np.stack([np.full_like(floor, -4 * STEEPEST), np.zeros_like(floor), floor], axis=1)
    high = np.stack([np.full_like(floor, 4 * STEEPEST), np.full_like(floor, STEEPEST), np.ones_like(floor)], axis=1)
    best = log_likelihood(k, n, _rates(x, at, floor)[0])
    damping, still = np.full(len(k), 1e-2), np.arange(len(k))
    for _ in range(200):
        here, k_s, n_s, floor_s = at[still], k[still], n[still], floor[still]
        p, part = _rates(x, here, floor_s)
        p = np.clip(p, _TINY, 1 - _TINY)
        bell = (here[:, 2] - floor_s)[:, None] * part * (1 - part)
        slopes = np.stack([bell, bell * x, part], axis=-1)  # of p, by each parameter
        gradient = np.einsum("cw,cwp->cp", (k_s - n_s * p) / (p * (1 - p)), slopes)
        information = np.einsum("cw,cwp,cwq->cpq", n_s / (p * (1 - p)), slopes, slopes)
        # A parameter that stands at its bound and is pushed outwards stays there.
        held = ((here <= low[still]) & (gradient < 0)) | ((here >= high[still]) & (gradient > 0))
        gradient[held] = 0
        information[held[:, :, None] | held[:, None, :]] = 0
        diagonal = np.einsum("cpp->cp", information)
        information[:, range(3), range(3)] += damping[still, None] * diagonal + 1e-10 + held
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        there = np.clip(here + step, low[still], high[still])
        value = log_likelihood(k_s, n_s, _rates(x, there, floor_s)[0])
        gain = value - best[still]
        better = gain > 0
        at[still[better]], best[still[better]] = there[better], value[better]
        damping[still] *= np.where(better, 0.2, 6.0)
        still = still[~((better & (gain < 1e-9)) | (damping[still] > 1e9))]
        if not len(still):
            break
    return np.concatenate([at, best[:, None]], axis=1)


def _best(found: list[np.ndarray]) -> np.ndarray:
    """Of several climbs (n_curves, 4) the highest, curve by curve."""
    stacked = np.stack(found)
    return stacked[stacked[..., 3].argmax(axis=0), np.arange(stacked.shape[1])]
