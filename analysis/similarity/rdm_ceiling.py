"""How reliable is the RDM of a recording with repetitions: split halves of the repetitions, as for neuroids.

The convention is that of the neuroid ceiling (Schrimpf et al. 2018, doi 10.1101/407007): the correlation of the two
halves, corrected by Spearman-Brown, is the ceiling of a correlation with the whole.
"""

import numpy as np

from analysis.similarity import rsa, rsa_bootstrap
from analysis.similarity._ceiling import Interval, halves_by_stimulus, mean_shown, spearman_brown


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
    rng = np.random.default_rng(seed)
    values, samples = [], []
    for first_trials, second_trials in halves_by_stimulus(trials, n if trials.shape[1] > 1 else 0, rng):
        first, second = mean_shown(first_trials), mean_shown(second_trials)
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
