"""A cross-validated score as one number, in bootstrap resamples, and its ceiling in the same resamples."""

from typing import NamedTuple

import numpy as np

from analysis.similarity._arrays import weighted_pearson
from analysis.similarity._ceiling import resampled_split_half, stimulus_weights
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

# Which resampled things make an interval.
OVER = ("neuroids", "stimuli")


class Resamples(NamedTuple):
    """What is drawn: known, integer (n_known,), the neuroids that have a score; weights (n_boot, n_stimuli), how often
    each stimulus counts, and neuroids, integer (n_boot, n_known), places in `known`; None where not resampled."""

    known: np.ndarray
    weights: np.ndarray | None
    neuroids: np.ndarray | None


def draw(
    known: np.ndarray, n_stimuli: int, groups: np.ndarray | None, n_boot: int, seed: int, over: tuple[str, ...]
) -> Resamples:
    """Resamples that depend on the arguments alone, so that a score and its ceiling can be given the same."""
    for name in over:
        if name not in OVER:
            raise unknown("thing to resample", name, OVER)
    rng = np.random.default_rng(seed)
    weights = stimulus_weights(n_stimuli, groups, n_boot, rng) if "stimuli" in over else None
    neuroids = rng.integers(len(known), size=(n_boot, len(known))) if "neuroids" in over else None
    return Resamples(known, weights, neuroids)


def score_samples(
    r: np.ndarray, predictions: list[np.ndarray], y: np.ndarray, splits: Splits, drawn: Resamples, n_boot: int
) -> np.ndarray:
    """The score (median over neuroids, mean over splits) in each resample; (n_boot,).

    r: (n_splits, n_neuroids); predictions: (n_test, n_neuroids) a split; y: responses (n_stimuli, n_neuroids).
    """
    known = drawn.known
    medians = np.full((len(splits), n_boot), np.nan)
    for out, row, predicted, (_, test) in zip(medians, r, predictions, splits):
        values = np.broadcast_to(row[known], (n_boot, len(known)))
        if drawn.weights is not None:
            values = weighted_pearson(predicted[:, known], y[test][:, known], drawn.weights[:, test])
            values[:, ~np.isfinite(row[known])] = np.nan
        out[:] = _medians(values, drawn)
    return nanmean(medians)


def ceiling_in_resamples(
    trials: np.ndarray,
    values: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 1,
    over: tuple[str, ...] = OVER,
) -> np.ndarray:
    """The ceiling of a regression's score in the very resamples that `layers.layer_score` drew; (n_boot,).

    trials: (n_stimuli, n_repetitions, n_neuroids) of the stimuli that were scored, in their order; values: the
    `values` of that score (n_neuroids,), which say which neuroids were drawn from; groups, n_boot, seed, over: as
    given there. The ceiling is the median over neuroids of the split-half reliability (`_ceiling.split_half`). With
    `samples` of the score it makes the interval of the ceiled score: `ceiled(score, ceiling, samples=(samples,
    ceiling_in_resamples(...)))`. Raises BlendnetError for trials of another number of neuroids.
    """
    trials = np.asarray(trials, dtype=np.float64)
    if trials.ndim != 3 or trials.shape[2] != len(values):
        raise BlendnetError(f"trials of shape {trials.shape} do not go with the scores of {len(values)} neuroids")
    drawn = draw(np.flatnonzero(np.isfinite(values)), len(trials), groups, n_boot, seed, over)
    weights = np.ones((1, len(trials))) if drawn.weights is None else drawn.weights
    found = resampled_split_half(trials, weights, seed=seed)[:, drawn.known]
    return _medians(np.broadcast_to(found, (n_boot, len(drawn.known))), drawn)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the resamples (n_boot,)."""
    lo, hi = np.nanquantile(samples, [0.025, 0.975])
    return float(lo), float(hi)


def aggregate(r: np.ndarray) -> float:
    """One number of r (n_splits, n_neuroids): median over neuroids within each split, then the mean over splits.

    Brain-Score's order (Schrimpf et al. 2018, doi 10.1101/407007). The other order, the median of the neuroids' means,
    gives other numbers (.218 for .227 on pixels against cowley2023-210325), so it matters that it is the same one.
    """
    medians = np.array([_median(row) for row in r])
    known = medians[np.isfinite(medians)]
    return float(known.mean()) if len(known) else float("nan")


def nanmean(r: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known, NaN where nothing is."""
    there = np.isfinite(r)
    return np.where(there.any(axis=0), np.where(there, r, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)


def _medians(values: np.ndarray, drawn: Resamples) -> np.ndarray:
    """Median over the drawn neuroids of values (n_boot, n_known), NaN left out; (n_boot,)."""
    if drawn.neuroids is not None:
        values = np.take_along_axis(values, drawn.neuroids, axis=1)
    out = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
