"""How reliable is the RDM of a recording with repetitions.

The convention is that of the neuroid ceiling (Schrimpf et al. 2018, doi 10.1101/407007): the correlation that two
recordings of this size would have. Two halves of the repetitions are noisier than the whole. Spearman-Brown takes the
error to fall as 1/k with the repetitions k, but distances are products of responses: their error has a part of signal
times noise, A/k, and one of noise times noise, B/k^2. With r the correlation of two RDMs of k repetitions each,

    1/r(k) - 1 = A/k + B/k^2

so that halves and quarters of the repetitions give A and B, neither below 0, and with them r of the whole. In
simulations (tests) this finds the reliability where Spearman-Brown says .13 for .18, or .50 for .59.
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
    each stimulus's repetitions (those of all neuroids together), over which correlations are averaged; n_boot:
    resamples of stimuli, the same for all halvings; groups: n_stimuli labels that are resampled whole. Interval.n is
    the number of halvings. Where a stimulus has fewer than 4 trials there are no quarters, and Spearman-Brown has to
    do, which is too low for unreliable RDMs. NaN with one repetition, where a stimulus has no trial in one of the
    halves, or where halves do not correlate.
    """
    return interval(*resampled(trials, method=method, n=n, seed=seed, n_boot=n_boot, groups=groups))


def interval(values: np.ndarray, n: int = 0) -> Interval:
    """The value (first of `values`) with the 95 % percentile interval of its resamples (the others); NaN ends where
    half of them or more say nothing."""
    known = values[1:][np.isfinite(values[1:])]
    lo, hi = np.quantile(known, [0.025, 0.975]) if 2 * len(known) > len(values) - 1 else (float("nan"), float("nan"))
    return Interval(float(values[0]), float(lo), float(hi), n)


def resampled(
    trials: np.ndarray, *, method: str, n: int, seed: int, n_boot: int, groups: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """The reliability, then the same in each resample, (1 + n_boot,), and the number of halvings; arguments as in
    `split_half_rdm`. The resamples are those of rsa_bootstrap.bootstrap with the same seed, so that a score and its
    ceiling can be resampled together."""
    trials = np.asarray(trials, dtype=np.float64)
    rng = np.random.default_rng(seed)
    halves: list[np.ndarray] = []
    quarters: list[np.ndarray] = []
    whole = True  # does every halving have quarters?
    for pair in halves_by_stimulus(trials, n if trials.shape[1] > 1 else 0, rng):
        found = _compare(pair, method, n_boot, seed, groups)
        if found is None:
            continue
        halves.append(found)
        for half in pair:
            again = _compare(next(halves_by_stimulus(half, 1, rng)), method, n_boot, seed, groups) if whole else None
            whole = again is not None
            if again is not None:
                quarters.append(again)
    if not halves:
        return np.full(1 + n_boot, np.nan), 0
    r = np.mean(halves, axis=0)
    return (from_quarters(r, np.mean(quarters, axis=0)) if whole else spearman_brown(r)), len(halves)


def from_quarters(half: np.ndarray, quarter: np.ndarray) -> np.ndarray:
    """r of the whole from r of halves and of quarters (k/2 and k/4 repetitions); NaN where halves do not correlate.

    With u = 1/r(k/2) - 1 and v = 1/r(k/4) - 1 the equation above gives A/k + B/k^2 = 3u/4 - v/8, which A >= 0 and
    B >= 0 keep within u/4 and u/2 (Spearman-Brown).
    """
    half, quarter = np.asarray(half, dtype=float), np.asarray(quarter, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = 1 / half - 1
        v = np.where(quarter > 0, 1 / quarter - 1, np.inf)
        return np.where(half > 0, 1 / (1 + np.clip(0.75 * u - v / 8, u / 4, u / 2)), np.nan)


def _compare(
    pair: tuple[np.ndarray, np.ndarray], method: str, n_boot: int, seed: int, groups: np.ndarray | None
) -> np.ndarray | None:
    """Correlation of the two RDMs, then the same in each resample (1 + n_boot,); None where a response is missing."""
    first, second = (mean_shown(part) for part in pair)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    one, two = rsa.rdm(first), rsa.rdm(second)
    value = np.atleast_1d(rsa.compare(one, two, method))
    if not n_boot:
        return value
    boot = rsa_bootstrap.bootstrap(one[None], two[None], method=method, n=n_boot, seed=seed, groups=groups)
    return np.concatenate([value, boot.samples[:, 0, 0]])
