"""Scores of the metrics that are neither a regression nor RSA, and their intervals from halves of the stimuli.

The bootstrap's copies of a stimulus would stand in training and test at once, or count as pairs of their own. A random
half without replacement has none, and for a mean-like score its spread is that of the whole (Shao, Wu 1989, doi
10.1214/aos/1176347263): the interval is score -/+ t times it. A metric that learns less from half of the stimuli
varies more there, so that the interval is rather too wide.
"""

from importlib import import_module
from typing import Any

import numpy as np
from scipy.stats import t as student

from analysis.similarity import reverse
from analysis.similarity._splits import Splits, shuffle_splits
from analysis.stats.intervals import aggregate, nanmean

COMPARED = ("cka", "procrustes", "one_to_one", "soft_matching")
REVERSED = tuple(f"{metric}_reverse" for metric in reverse.METRICS)
METRICS = (*COMPARED, *REVERSED)
N = 20
_SPLITS = 3  # of a half-sample; more would cost more than they steady


def values_of(metric: str, x: np.ndarray, y: np.ndarray, splits: Splits) -> np.ndarray:
    """What a metric of METRICS gives: (n_splits, n_values); cka fits nothing and takes all stimuli at once.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids); 'X_reverse' is X from brain to model.
    """
    if metric in REVERSED:
        return reverse.score(metric.removesuffix("_reverse"), x, y, splits)
    module = import_module(f"analysis.similarity.{metric}")
    return np.asarray(module.score(x, y) if metric == "cka" else module.score(x, y, splits))


def score(
    metric: str,
    x: np.ndarray,
    y: np.ndarray,
    folds: dict[str, Any],
    *,
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    n_boot: int = N,
) -> tuple[float, float, float, np.ndarray, np.ndarray]:
    """Score (median over values, mean over splits), its 95 % interval, the values (n_values,), meaned over splits, and
    samples of the score (n_samples,), of as much spread as it has and drawn alike for all networks; empty for none.

    folds: n_splits, test_size and seed of shuffle_splits; groups, stratify: n_stimuli labels; n_boot: 0 leaves the
    interval out (NaN), else min(N, n_boot) half-samples, of whole groups; it is NaN, too, where half of the stimuli
    are too few to be divided into training and test.
    """

    def on(index: np.ndarray, n_splits: int) -> np.ndarray:
        own = {name: labels[index] for name, labels in (("groups", groups), ("stratify", stratify))
               if labels is not None}  # fmt: skip
        # cka divides nothing, and so may have fewer stimuli than a division needs.
        splits = [] if metric == "cka" else shuffle_splits(len(index), **(folds | own | {"n_splits": n_splits}))
        return values_of(metric, x[index], y[index], splits)

    found = on(np.arange(len(x)), folds["n_splits"])
    value, values = aggregate(found), nanmean(found)
    if not n_boot or not np.isfinite(value):
        return value, float("nan"), float("nan"), values, np.empty(0)
    labels = np.arange(len(x)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(labels.max()) + 1
    rng = np.random.default_rng(folds["seed"])
    drawn = [np.isin(labels, rng.permutation(n_groups)[: n_groups // 2]) for _ in range(min(N, n_boot))]
    if metric != "cka" and min(d.sum() for d in drawn) * min(folds["test_size"], 1 - folds["test_size"]) < 2:
        return value, float("nan"), float("nan"), values, np.empty(0)
    samples = np.array([aggregate(on(np.flatnonzero(d), min(_SPLITS, folds["n_splits"]))) for d in drawn])
    known = samples[np.isfinite(samples)]
    if len(known) < 2:
        return value, float("nan"), float("nan"), values, np.empty(0)
    half = float(student.ppf(0.975, len(known) - 1) * known.std(ddof=1))
    lo, hi = max(-1.0, value - half), min(1.0, value + half)  # past which no score lies
    return value, lo, hi, values, value + samples - known.mean()
