"""How reliable is the RDM of a recording with repetitions: split halves of the repetitions, as for neuroids.

The convention is that of the neuroid ceiling (Schrimpf et al. 2018, doi 10.1101/407007): the correlation of the two
halves, corrected by Spearman-Brown, is the ceiling of a correlation with the whole.
"""

import numpy as np

from analysis.similarity import rsa, rsa_bootstrap
from analysis.similarity._ceiling import Interval, spearman_brown


def split_half_rdm(
    trials: np.ndarray,
    *,
    method: str = "spearman",
    n: int = 10,
    seed: int = 1,
    n_boot: int = 100,
    groups: np.ndarray | None = None,
) -> Interval:
    """Reliability of the correlation-distance RDM of mean responses, with a 95 % interval over stimuli.

    trials: (n_stimuli, n_repetitions, n_neuroids), NaN where a repetition was not shown; n: random halvings of
    each stimulus's repetitions (those of all neuroids together); n_boot: resamples of stimuli a halving; groups:
    n_stimuli labels that are resampled whole. Interval.n is the number of halvings. NaN with one repetition, or
    where a stimulus has no trial in one of the halves.
    """
    trials = np.asarray(trials, dtype=np.float64)
    n_stimuli, n_repetitions, _ = trials.shape
    rng = np.random.default_rng(seed)
    values, samples = [], []
    shown = np.isfinite(trials)
    for _ in range(n if n_repetitions > 1 else 0):
        draw = np.where(shown, rng.random((n_stimuli, n_repetitions))[:, :, None], 2.0)
        rank = draw.argsort(axis=1).argsort(axis=1)
        half = shown.sum(axis=1, keepdims=True) // 2
        first, second = (_mean(trials, shown & side) for side in (rank < half, rank >= half))
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            continue
        one, two = rsa.rdm(first), rsa.rdm(second)
        values.append(spearman_brown(rsa.compare(one, two, method)))
        if n_boot:
            boot = rsa_bootstrap.bootstrap(one[None], two[None], method=method, n=n_boot, seed=rng, groups=groups)
            samples.append(spearman_brown(boot.samples[:, 0, 0]))
    if not values:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    lo, hi = np.nanquantile(np.concatenate(samples), [0.025, 0.975]) if n_boot else (float("nan"), float("nan"))
    return Interval(float(np.mean(values)), float(lo), float(hi), len(values))


def _mean(trials: np.ndarray, kept: np.ndarray) -> np.ndarray:
    count = kept.sum(axis=1)
    return np.where(count > 0, np.where(kept, trials, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
