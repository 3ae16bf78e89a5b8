"""One layer against one recording, beyond its one score: each neuroid's score beside its ceiling, and for each stimulus
how well the layer tells what the recorded population does.

Everything is recomputed from the stored activations and the recording. Nothing here is for reporting: a layer that is
looked at on all stimuli was not chosen on others (see analysis/stats/layers.py).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from analysis.figures import _style as s
from analysis.similarity import pls, ridge, rsa
from analysis.similarity._ceiling import mean_shown, split_half
from analysis.similarity._splits import Splits
from analysis.stats.layers import REGRESSIONS, layer_score
from blendnet.errors import BlendnetError

RSA = ("rsa", "rsa_whitened")
FOLDS = 10


class Agreement(NamedTuple):
    """value: float64 (n_stimuli,), Pearson or Spearman r of a row of predicted with a row of recorded, NaN where one of
    them does not vary; predicted, recorded: float64 (n_stimuli, n_compared); what: the two axes in words."""

    value: np.ndarray
    predicted: np.ndarray
    recorded: np.ndarray
    what: tuple[str, str]


def neuroid_table(
    x: np.ndarray,
    trials: np.ndarray,
    neuroid_ids: Sequence[str],
    subjects: Sequence[str],
    *,
    metric: str,
    ceiling_by: str = "stimulus",
    n_boot: int = 200,
    **how: Any,
) -> tuple[pd.DataFrame, float]:
    """The score of each neuroid beside its ceiling; and the layer's score, which is that of layers.csv.

    x: features (n_stimuli, n_features); trials: (n_stimuli, n_repetitions, n_neuroids), NaN where not shown; metric:
    'pls' or 'ridge'; ceiling_by, n_boot: of split_half; how: of layer_score (n_splits, test_size, seed, groups,
    stratify). Columns: neuroid, subject, score (Pearson r, mean over splits), ceiling, ceiling_lo, ceiling_hi (95 %
    over stimuli), NaN where the recording has one repetition. Best neuroid first. Raises BlendnetError for another
    metric.
    """
    if metric not in REGRESSIONS:
        raise BlendnetError(f"metric {metric!r} gives no score of single neuroids; choose {' or '.join(REGRESSIONS)}")
    y = mean_shown(trials)
    found = layer_score(x, y=y, metric=metric, n_boot=0, **how)
    table = pd.DataFrame({"neuroid": list(neuroid_ids), "subject": list(subjects), "score": found.values})
    nothing = np.full(y.shape[1], np.nan)
    ceiling = (nothing, nothing, nothing)
    if trials.shape[1] > 1:
        seed, groups = how.get("seed", 1), how.get("groups")
        ceiling = split_half(trials, seed=seed, n_boot=n_boot, groups=groups, by=ceiling_by)
    table["ceiling"], table["ceiling_lo"], table["ceiling_hi"] = ceiling
    return table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True), found.score


def neuroid_figure(table: pd.DataFrame, title: str) -> Figure:
    """Score of each neuroid over its ceiling, with what a perfect model would reach, the root of the ceiling; where
    the recording has no ceilings, the scores in order."""
    with s.style():
        fig = s.figure(s.COLUMN, 62)
        ax = fig.subplots()
        known = table["ceiling"].notna()
        if known.any():
            own = table[known]
            ends = np.abs(own[["ceiling_lo", "ceiling_hi"]].to_numpy().T - own["ceiling"].to_numpy())
            ax.errorbar(own["ceiling"], own["score"], xerr=ends, fmt="o", ms=3, color=s.DARK, lw=0.4, alpha=0.7)
            x = np.linspace(0, 1, 100)
            ax.plot(x, np.sqrt(x), color=s.GREY, ls="--", label="perfect model (√ceiling)")
            ax.set_xlim(min(0.0, float(own["ceiling_lo"].min()) - 0.02), 1)
            ax.set_xlabel(f"split-half ceiling of the neuroid (95 %, n = {len(own)} neuroids)")
            ax.legend(loc="upper left")
        else:
            ax.plot(np.arange(1, len(table) + 1), table["score"], "o", ms=3, color=s.DARK)
            ax.set_xlabel(f"neuroids in order (n = {len(table)}); one repetition, so no ceiling")
        ax.axhline(table["score"].median(), color=s.GREY, lw=0.8)
        ax.text(1, table["score"].median(), "median ", ha="right", va="bottom", color=s.GREY,
                transform=ax.get_yaxis_transform())  # fmt: skip
        ax.axhline(0, color=s.GREY, lw=0.4)
        ax.set_ylabel("score (raw r, held-out stimuli)")
        ax.set_title(title)
    return fig


def folds(n: int, groups: np.ndarray | None = None, seed: int = 1) -> Splits:
    """Up to FOLDS divisions that test every stimulus once; groups: n labels, never divided."""
    labels = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(labels.max()) + 1
    if n_groups < 2:
        raise BlendnetError(f"{n} stimuli of {n_groups} group cannot be divided into training and test")
    fold_of = np.random.default_rng(seed).permutation(n_groups) % min(FOLDS, n_groups)
    place = fold_of[labels]
    return [(np.flatnonzero(place != f), np.flatnonzero(place == f)) for f in range(int(fold_of.max()) + 1)]


def agreement(
    x: np.ndarray,
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    metric: str,
    groups: np.ndarray | None = None,
    seed: int = 1,
) -> Agreement:
    """How well a layer tells the recorded response to each stimulus.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids), or rdms (n_subjects, n_pairs).
    Regressions: every stimulus is predicted once, by a regression that was not given it (`folds`); predicted and
    recorded are its responses over neuroids, each neuroid in standard deviations of its recorded responses, and value
    their Pearson r. RSA: predicted and recorded are the dissimilarities of the stimulus to all others (NaN to itself),
    recorded the mean over subjects, and value their Spearman r. Raises BlendnetError for other metrics.
    """
    if metric in REGRESSIONS and y is not None:
        y = np.asarray(y, dtype=np.float64)
        y = y[:, y.std(axis=0) > 0]
        splits = folds(len(y), groups, seed)
        parts = pls.predict(x, y, splits) if metric == "pls" else ridge.predict(x, y, splits, groups=groups)
        predicted = np.empty_like(y)
        for (_, test), part in zip(splits, parts):
            predicted[test] = part
        mean, sd = y.mean(axis=0), y.std(axis=0)
        predicted, recorded = (predicted - mean) / sd, (y - mean) / sd
        return Agreement(_row_r(predicted, recorded), predicted, recorded, ("predicted (sd)", "recorded (sd)"))
    if metric in RSA:
        brain = np.atleast_2d(rsa.rdm(np.asarray(y)) if rdms is None else rdms).mean(axis=0)
        model, mean_rdm = (rsa.square(v, diagonal=np.nan) for v in (rsa.rdm(x), brain))
        off = ~np.eye(len(model), dtype=bool)
        rows = [rankdata(m[off].reshape(len(m), -1), axis=1) for m in (model, mean_rdm)]
        return Agreement(_row_r(*rows), model, mean_rdm, ("1 − r to others, layer", "1 − r, brain"))
    raise BlendnetError(f"metric {metric!r} says nothing of single stimuli; choose {', '.join((*REGRESSIONS, *RSA))}")


def best_and_worst(value: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the k best predicted stimuli, best first, and of the k worst, worst first; fewer where there are
    not 2 k; stimuli without a value are neither."""
    order = np.argsort(-value, kind="stable")
    order = order[np.isfinite(value[order])]
    k = min(k, len(order) // 2)
    return order[:k], order[::-1][:k]


def _row_r(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of each row of a with that of b, (n, m) -> (n,)."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1), np.nan)
