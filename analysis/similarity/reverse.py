"""Brain to model: how well do the neuroids predict the model's units? A metric with its roles swapped.

A model may predict every neuroid and yet be mostly something else; then the recorded neuroids do not predict
its units (Muzellec, Linsley, Yamins, Serre 2025 compare both ways). Only metrics with a direction have a
reverse; cka and soft_matching are the same both ways.

Ceiling: 1. A model's units answer the same image alike every time, so the targets have no noise to correct
for; the neuroids' noise lowers the score and stays in it (the noise of predictors cannot be divided out).
A score therefore grows with repetitions and with the number of recorded neuroids: compare networks on the
same recording only. Units that do not vary (dead ReLUs) have no r: NaN, left out of the median, counted.
"""

import importlib
from types import ModuleType
from typing import NamedTuple

import numpy as np

from analysis.similarity._backend import Array, rows
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

DIRECTION = "brain to model"
METRICS = ("pls", "ridge", "one_to_one", "procrustes")
CEILING = 1.0


class Summary(NamedTuple):
    """value: mean over splits of the median over the units; n: units with an r in all splits; n_undefined: others."""

    value: float
    n: int
    n_undefined: int


def score(
    metric: str,
    x: Array,
    y: Array,
    splits: Splits,
    *,
    n_units: int | None = 1000,
    seed: int | np.random.Generator = 0,
    **options,
) -> np.ndarray:
    """Pearson r of each model unit with its prediction from the neuroids; float64 (n_splits, n_units).

    metric: one of METRICS; x: model (n_stimuli, n_features), y: brain (n_stimuli, n_neuroids), as in the
    metric itself: the roles are swapped here. n_units: where the model has more, a random sample of them
    without replacement (by `seed`; `sample` names them), None for all; hungarian and pls cost more than
    linearly with them. options: those of the metric. NaN where a unit is constant in training or test. Raises
    BlendnetError for a metric without a direction, and as the metric.
    """
    if metric not in METRICS:
        raise unknown("metric with a direction", metric, METRICS)
    width = np.shape(x)[-1]
    if n_units is not None and width > n_units and np.ndim(x) == 2:
        x = rows(x.T, sample(width, n_units, seed)).T
    return _module(metric).score(y, x, splits, **options)


def sample(width: int, n_units: int, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Which of `width` units are predicted: sorted integers (n_units,)."""
    if n_units < 1:
        raise BlendnetError(f"n_units {n_units} leaves no unit to predict; give at least 1, or None for all")
    return np.sort(np.random.default_rng(seed).choice(width, size=min(width, n_units), replace=False))


def summary(r: np.ndarray) -> Summary:
    """One number of r (n_splits, n_units), the units without an r left out and counted; NaN where none has one."""
    r = np.asarray(r, dtype=np.float64)
    medians = [np.median(row[np.isfinite(row)]) for row in r if np.isfinite(row).any()]
    defined = int(np.isfinite(r).all(axis=0).sum())
    return Summary(float(np.mean(medians)) if medians else float("nan"), defined, r.shape[1] - defined)


def _module(metric: str) -> ModuleType:
    return importlib.import_module(f"analysis.similarity.{metric}")
