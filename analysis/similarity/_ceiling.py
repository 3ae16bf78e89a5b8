"""How well could any model do: the reliability of a recording, and scores relative to it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import ShuffleSplit

from analysis.similarity._arrays import weighted_pearson
from blendnet.errors import BlendnetError, unknown

# r/c: fraction of the reliability; r^2/c: explained over explainable variance, Brain-Score since January
# 2026; (r/c)^2: Brain-Score before. Since c is a reliability, the largest r that any model can reach is
# sqrt(c), not c: r/c may pass 1, r^2/c may not but for noise.
NORMALISATIONS = ("r", "r/c", "r^2/c", "(r/c)^2", "r/sqrt(c)")
# The columns of scores.csv: the score itself is r, the others are named after their rule.
COLUMNS = {"r/c": "score_ceiled", "r^2/c": "score(r^2/c)", "(r/c)^2": "score((r/c)^2)"}


class Ceiling(NamedTuple):
    """value, lo, hi: float64 (n_neuroids,), the Spearman-Brown corrected split-half r and its 95 % interval."""

    value: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


class Ceiled(NamedTuple):
    """value: float64, the score by its ceiling, NaN where `below`; below: bool, ceiling under the threshold or none;
    lo, hi: 95 % interval of value that carries the uncertainty of both, NaN where no resamples were given."""

    value: np.ndarray
    below: np.ndarray
    normalisation: str
    lo: np.ndarray
    hi: np.ndarray


class Interval(NamedTuple):
    """A number and its 95 % interval, with how many values it rests on."""

    value: float
    lo: float
    hi: float
    n: int


def spearman_brown(r: np.ndarray) -> np.ndarray:
    """Reliability of a whole test from the correlation of its halves: 2r / (1 + r) (Spearman 1910, Brown 1910)."""
    return 2.0 * r / (1.0 + r)


def split_half(
    trials: np.ndarray,
    *,
    n: int = 10,
    seed: int = 1,
    n_boot: int = 1000,
    groups: np.ndarray | None = None,
    by: str = "stimulus",
) -> Ceiling:
    """Reliability of the mean response of each neuroid over the repetitions.

    trials: (n_stimuli, n_repetitions, n_neuroids), NaN where a repetition was not shown. The repetitions are
    divided into random halves n times, each half averaged over what was shown, the halves correlated over
    stimuli (those shown in both), corrected by Spearman-Brown and averaged over the divisions: Brain-Score's
    internal consistency. by: 'stimulus' divides the shown repetitions of each stimulus anew, so the halves
    are equal although some are missing; 'repetition' divides the repetitions alike for all stimuli
    (ShuffleSplit by `seed`, as Brain-Score). Interval: bootstrap over stimuli (over groups of them, where
    n_stimuli labels are given), n_boot resamples. A neuroid without variation or with fewer than 3 stimuli in
    both halves is NaN. Raises BlendnetError for one repetition only (published averages have no ceiling of
    their own).
    """
    if by not in ("stimulus", "repetition"):
        raise unknown("way to divide repetitions", by, ("stimulus", "repetition"))
    trials = np.asarray(trials, dtype=np.float64)
    if trials.ndim != 3:
        raise BlendnetError(f"trials of shape {trials.shape} are not (n_stimuli, n_repetitions, n_neuroids)")
    n_stimuli, n_repetitions, n_neuroids = trials.shape
    if n_repetitions < 2:
        raise BlendnetError(
            "this recording has one repetition, so no split-half ceiling; leave the ceiling empty or take another one"
        )
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.ones((1, n_stimuli)), stimulus_weights(n_stimuli, groups, n_boot, rng)])
    # The halves are drawn after the resamples, from the same generator.
    found = resampled_split_half(trials, weights, n=n, seed=seed if by == "repetition" else rng, by=by)
    value, resampled = found[0], found[1:]
    lo, hi = np.full(n_neuroids, np.nan), np.full(n_neuroids, np.nan)
    known = np.isfinite(value)
    if n_boot and known.any():
        lo[known], hi[known] = np.nanquantile(resampled[:, known], [0.025, 0.975], axis=0)
    return Ceiling(value, lo, hi)


def stimulus_weights(n_stimuli: int, groups: np.ndarray | None, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """How often each stimulus counts in each bootstrap resample, (n_boot, n_stimuli); groups are drawn whole."""
    labels = np.arange(n_stimuli) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(labels.max()) + 1
    return rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=n_boot)[:, labels]


def resampled_split_half(
    trials: np.ndarray, weights: np.ndarray, *, n: int = 10, seed: int | np.random.Generator = 1, by: str = "stimulus"
) -> np.ndarray:
    """`split_half` of each neuroid in given resamples of the stimuli, so that scores can be resampled with it.

    trials: (n_stimuli, n_repetitions, n_neuroids); weights: (n_resamples, n_stimuli), how often each stimulus
    counts; n, seed, by: as there. Returns float64 (n_resamples, n_neuroids).
    """
    total = np.zeros((len(weights), trials.shape[2]))
    for first, second in _halves(trials, n, seed, by):
        total += spearman_brown(weighted_pearson(first, second, weights))
    return total / n


def internal_consistency(trials: np.ndarray, *, n: int = 10, seed: int = 1, by: str = "repetition") -> np.ndarray:
    """What `split_half` is the mean of: the corrected r of each halving, float64 (n, n_neuroids).

    Brain-Score's ceiling is the median over neuroids of each row, then the mean over rows (stats.intervals.aggregate):
    another number than the median of the neuroids' means. Arguments as in `split_half`.
    """
    every = np.ones((1, len(trials)))
    return np.concatenate(
        [spearman_brown(weighted_pearson(*pair, every)) for pair in _halves(np.asarray(trials, float), n, seed, by)]
    )


def ceiled(
    score: np.ndarray | float,
    ceiling: np.ndarray | float,
    *,
    normalisation: str = "r/c",
    threshold: float = 0.1,
    samples: tuple[np.ndarray, np.ndarray] | None = None,
) -> Ceiled:
    """A score by its ceiling, by a named rule; arrays of equal shape (a neuroid each) or two numbers.

    normalisation: 'r', 'r/c', 'r^2/c', '(r/c)^2' or 'r/sqrt(c)'. A squared score keeps the sign of r, so that
    a prediction that is wrong never looks right; for positive r the rules are Brain-Score's. Where the
    ceiling is below `threshold`, NaN or missing the value is NaN and `below` true: a division by noise is no
    score.

    samples: the score and the ceiling in the same resamples of stimuli and neuroids, each (n_resamples, ...) of
    the score's shape (analysis.stats.layers makes them); then lo and hi say how the ratio varies, ceiling
    included. They stay NaN where the ceiling is below the threshold in more than 2.5 % of the resamples: such an
    interval has no end.
    """
    value, below = _divided(score, ceiling, normalisation, threshold)
    lo, hi = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    if samples is not None:
        if np.shape(samples[0]) != np.shape(samples[1]) or np.shape(samples[0])[1:] != value.shape:
            raise BlendnetError(
                f"resampled scores {np.shape(samples[0])} and ceilings {np.shape(samples[1])} do not go with "
                f"a score {value.shape}; resample both together, one row a resample"
            )
        ratios, undefined = _divided(*samples, normalisation, threshold)
        sure = ~below & (np.mean(undefined, axis=0) <= 0.025)
        if sure.any():
            lo[sure], hi[sure] = np.nanquantile(ratios[:, sure] if value.ndim else ratios, [0.025, 0.975], axis=0)
    return Ceiled(value, below, normalisation, lo, hi)


def _divided(
    score: np.ndarray | float, ceiling: np.ndarray | float, normalisation: str, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The score by its ceiling, NaN where the ceiling is below the threshold; and where it is."""
    r, c = np.asarray(score, dtype=np.float64), np.asarray(ceiling, dtype=np.float64)
    below = ~(c >= threshold)
    safe = np.where(below, 1.0, c)
    if normalisation == "r":
        value = r + 0.0 * safe
    elif normalisation == "r/c":
        value = r / safe
    elif normalisation == "r^2/c":
        value = r * np.abs(r) / safe
    elif normalisation == "(r/c)^2":
        value = (r / safe) * np.abs(r / safe)
    elif normalisation == "r/sqrt(c)":
        value = r / np.sqrt(safe)
    else:
        raise unknown("normalisation", normalisation, NORMALISATIONS)
    return np.where(below, np.nan, value), below


def with_interval(
    values: np.ndarray, *, n: int = 1000, seed: int | np.random.Generator = 0, statistic: str = "median"
) -> Interval:
    """Median (or 'mean') of values (n_neuroids,), NaN left out, with a 95 % bootstrap interval over neuroids.

    It says how the number would vary with other neuroids of the same population and the same stimuli. All
    NaN: (nan, nan, nan, 0).
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if statistic not in ("median", "mean"):
        raise unknown("statistic", statistic, ("median", "mean"))
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    take = np.median if statistic == "median" else np.mean
    drawn = values[np.random.default_rng(seed).integers(len(values), size=(n, len(values)))]
    lo, hi = np.quantile(take(drawn, axis=1), [0.025, 0.975])
    return Interval(float(take(values)), float(lo), float(hi), len(values))


def _halves(
    trials: np.ndarray, n: int, seed: int | np.random.Generator, by: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Mean responses of both halves (n_stimuli, n_neuroids), n times."""
    if by == "stimulus":
        divide = halves_by_stimulus(trials, n, np.random.default_rng(seed))
    else:
        divide = _by_repetition(trials, n, int(seed))  # type: ignore[arg-type]
    for first, second in divide:
        yield mean_shown(first), mean_shown(second)


def halves_by_stimulus(trials: np.ndarray, n: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    shown = np.isfinite(trials)
    half = shown.sum(axis=1, keepdims=True) // 2
    for _ in range(n):
        # One draw a presentation, so that neurons recorded together are divided together.
        draw = np.where(shown, rng.random(trials.shape[:2])[:, :, None], 2.0)
        place = draw.argsort(axis=1).argsort(axis=1)
        yield np.where(place < half, trials, np.nan), np.where(place < half, np.nan, trials)


def _by_repetition(trials: np.ndarray, n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first, second in ShuffleSplit(n, train_size=0.5, random_state=seed).split(trials[0]):
        yield trials[:, first], trials[:, second]


def mean_shown(trials: np.ndarray) -> np.ndarray:
    """Mean over the repetitions that were shown, (n_stimuli, n_repetitions, n_neuroids) -> (n_stimuli, n_neuroids)."""
    shown = np.isfinite(trials)
    count = shown.sum(axis=1)
    return np.where(count > 0, np.where(shown, trials, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
