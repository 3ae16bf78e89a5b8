"""What a recording scores with itself: the same metric between two halves of its repetitions.

A metric's value for a perfect model depends on the noise of the recording, and on the metric: a ceiling of
single neuroids says nothing about CKA. So each metric is run on the recording's own halves. Two halves are
noisier than the whole; how the whole's value follows is another matter for each metric (RULES):

- 'hsic' (cka): HSIC of the halves, in which their noise cancels, over HSIC of the whole with itself. Exact in
  expectation. Spearman-Brown is not: Gram matrices also hold products of noise, which fall faster with
  repetitions; at a true value of .25 it gives .18 (tests).
- 'spearman-brown', 2r / (1 + r): for correlations of two parallel measurements. one_to_one: right where a
  neuroid is matched with itself, which is not so for one that is matched with a better neighbour.
  soft_matching: a mean of such correlations; exact where all neuroids are equally reliable.
- 'halves' (pls, ridge, procrustes): no correction, so that the value bounds that of the whole from below. The
  prediction is pooled over many neuroids and shrunk, so that its noise is less than the target's;
  Spearman-Brown would count the target's noise twice.

As with all reliabilities c, a noise-free model reaches about sqrt(c), not c.
"""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.similarity._ceiling import halves_by_stimulus, mean_shown, spearman_brown
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

RULES = {
    "cka": "hsic",
    "one_to_one": "spearman-brown",
    "soft_matching": "spearman-brown",
    "pls": "halves",
    "ridge": "halves",
    "procrustes": "halves",
}


class SelfCeiling(NamedTuple):
    """value, lo, hi: the ceiling and its 95 % interval over stimuli; halves: what the metric gives for two halves;
    rule: how the value follows from it, one of RULES; n: halvings; n_stimuli: those with a response of every neuroid in
    both halves of every halving, which are used.
    """

    value: float
    lo: float
    hi: float
    halves: float
    rule: str
    n: int
    n_stimuli: int


def ceiling(
    metric: str,
    trials: np.ndarray,
    splits: Splits | None = None,
    *,
    n: int = 10,
    seed: int = 1,
    n_boot: int = 100,
    groups: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
) -> SelfCeiling:
    """Ceiling of one metric for one recording.

    trials: (n_stimuli, n_repetitions, n_neuroids), NaN where a repetition was not shown; splits: those of the
    scores it stands beside (needed by pls, ridge, one_to_one); n: random halvings of each stimulus's
    repetitions (by seed), over which is averaged; the value of one is the median over the metric's values and
    the mean over splits. Interval: half-samples of the stimuli (of whole groups, where n_stimuli labels are
    given) without replacement, whose spread is that of the bootstrap (Shao, Wu 1989, doi
    10.1214/aos/1176347263). Copies of a stimulus, which the bootstrap makes, would be counted as pairs by cka
    and would stand in training and test at once. Regressions learn less from half of the training stimuli:
    the interval is placed around the value by its deviations, and is rather too wide there. options: of the
    metric. Raises BlendnetError for one repetition only, an unknown metric, fewer than 4 usable stimuli.
    """
    if metric not in RULES:
        raise unknown("metric", metric, RULES)
    trials = np.asarray(trials, dtype=np.float64)
    if trials.ndim != 3:
        raise BlendnetError(f"trials of shape {trials.shape} are not (n_stimuli, n_repetitions, n_neuroids)")
    if trials.shape[1] < 2 or n < 1:
        raise BlendnetError(
            f"{trials.shape[1]} repetition(s) and {n} halvings give no ceiling of the recording with itself; "
            "leave the ceiling empty or take a recording with repetitions"
        )
    rng = np.random.default_rng(seed)
    pairs = [(mean_shown(first), mean_shown(second)) for first, second in halves_by_stimulus(trials, n, rng)]
    usable = np.all([np.isfinite(half).all(axis=1) for pair in pairs for half in pair], axis=0)
    if usable.sum() < 4:
        raise BlendnetError(
            f"{int(usable.sum())} stimuli have responses in both halves of their repetitions; at least 4 are needed: "
            "leave out the neuroids that were rarely recorded"
        )
    labels = np.arange(len(trials)) if groups is None else np.unique(groups, return_inverse=True)[1]
    module, rule, mean = importlib.import_module(f"analysis.similarity.{metric}"), RULES[metric], mean_shown(trials)

    def value(pair: tuple[np.ndarray, np.ndarray], stimuli: np.ndarray, rule: str) -> float:
        kept = None if splits is None else [tuple(_among(part, stimuli) for part in split) for split in splits]
        first, second = pair[0][stimuli], pair[1][stimuli]
        if rule == "hsic":
            return float((module.hsic(first, second, kept) / module.hsic(mean[stimuli], mean[stimuli], kept)).mean())
        if kept is not None and len(stimuli) < usable.sum():
            # Of few stimuli a half-sample may hold too few of a split's for a correlation: that split has none.
            kept = [split for split in kept if min(map(len, split)) >= 2]
            if not kept:
                return np.nan
        values = module.score(first, second, kept, **(options or {}))
        medians = [np.median(row[np.isfinite(row)]) for row in values if np.isfinite(row).any()]
        found = np.mean(medians) if medians else np.nan
        return float(spearman_brown(np.array(found)) if rule == "spearman-brown" else found)

    everything = np.flatnonzero(usable)
    halves = float(np.mean([value(pair, everything, "halves") for pair in pairs]))
    whole = float(np.mean([value(pair, everything, rule) for pair in pairs]))
    samples = np.full(n_boot, np.nan)
    for s in range(n_boot):
        groups_in = rng.permutation(labels.max() + 1)[: (labels.max() + 1) // 2]
        samples[s] = value(pairs[s % n], np.flatnonzero(usable & np.isin(labels, groups_in)), rule)
    lo, hi = np.nan, np.nan
    if np.isfinite(samples).any():
        deviations = np.nanquantile(samples, [0.025, 0.975]) - np.nanmedian(samples)
        lo, hi = whole + deviations[0], whole + deviations[1]
    return SelfCeiling(whole, float(lo), float(hi), halves, rule, n, len(everything))


def _among(part: np.ndarray, stimuli: np.ndarray) -> np.ndarray:
    """Places, among the sorted `stimuli`, of those of `part` that are there."""
    kept = np.intersect1d(part, stimuli)
    return np.searchsorted(stimuli, kept)
