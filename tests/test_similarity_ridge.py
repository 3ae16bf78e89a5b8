"""Ridge against scikit-learn: fixed penalty, and the choice of a penalty by honestly refitting."""

import os

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge

from analysis.similarity import ridge
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def material(n, p, q, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5 + 3.0
    y = x @ rng.normal(size=(p, q))
    return x, y + noise * y.std(axis=0) * rng.normal(size=y.shape) + 7.0


# n_train is 90: fewer, about as many, and more features than stimuli.
@pytest.mark.parametrize("p", [20, 79, 89, 99, 100, 101, 300])
@pytest.mark.parametrize("alpha", [1e-4, 1.0, 1e4])
def test_fixed_penalty_equals_scikit_learn(p, alpha):
    x, y = material(100, p, 4)
    splits = shuffle_splits(100, n_splits=3)
    for (train, test), predicted in zip(splits, ridge.predict(x, y, splits, fixed_alpha=alpha)):
        reference = Ridge(alpha=alpha).fit(x[train], y[train]).predict(x[test])
        assert np.abs(predicted - reference).max() < 1e-6 * np.abs(reference).max()


def chosen_by_refitting(x, y, train, test, grid, labels):
    """For each neuroid the penalty with the least squared error when training stimuli are left out, then the fit."""
    loss = np.zeros((len(grid), y.shape[1]))
    for i, alpha in enumerate(grid):
        for label in np.unique(labels[train]):
            kept, left = train[labels[train] != label], train[labels[train] == label]
            error = Ridge(alpha=alpha).fit(x[kept], y[kept]).predict(x[left]) - y[left]
            loss[i] += (error**2).sum(axis=0)
    best = loss.argmin(axis=0)
    return best, [
        pearsonr(Ridge(alpha=grid[best[j]]).fit(x[train], y[train, j]).predict(x[test]), y[test, j])[0]
        for j in range(y.shape[1])
    ]


# 60 stimuli in groups of 5: as many features as a group has stimuli or fewer, clearly fewer features than stimuli,
# about as many, more.
@pytest.mark.parametrize("p", [3, 5, 15, 29, 31, 45, 120])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("max_bytes", [2**30, 1000])
def test_choice_of_penalty_equals_refitting(p, grouped, max_bytes):
    x, y = material(60, p, 5, noise=2.0)
    y[:, 1] = np.random.default_rng(5).normal(size=60)  # nothing to predict: another penalty than the rest
    groups = np.random.default_rng(6).permutation(np.repeat(np.arange(12), 5))
    splits = shuffle_splits(60, n_splits=2, groups=groups)
    factors = tuple(np.logspace(-2, 3, 6))
    r = ridge.score(x, y, splits, alphas=factors, groups=groups if grouped else None, max_bytes=max_bytes)
    grid = [f * ((x - x.mean(axis=0)) ** 2).sum() / 60 for f in factors]
    chosen = []
    for f, (train, test) in enumerate(splits):
        best, reference = chosen_by_refitting(x, y, train, test, grid, groups if grouped else np.arange(60))
        chosen += list(best)
        assert np.abs(r[f] - reference).max() < 1e-7
    assert len(set(chosen)) > 1  # the neuroids do differ in what they need


@pytest.mark.parametrize("p", [8, 25])
def test_stimuli_in_neither_part_and_regions_with_other_splits(p):
    """Most stimuli are in no part of the split; another region shares one of the splits."""
    x, y = material(60, p, 5, noise=2.0)
    order = np.random.default_rng(3).permutation(60)
    splits = [(np.sort(order[:20]), np.sort(order[20:30])), (np.sort(order[30:58]), np.sort(order[:9]))]
    factors = (1e-2, 1.0, 1e2)
    grid = [f * ((x - x.mean(axis=0)) ** 2).sum() / 60 for f in factors]
    found = ridge.score_many({"layer": x}, {"V1": y, "V4": y[:, :2]}, {"V1": splits, "V4": splits[1:]}, alphas=factors)[
        "layer"
    ]
    reference = [chosen_by_refitting(x, y, *split, grid, np.arange(60))[1] for split in splits]
    assert np.abs(found["V1"] - reference).max() < 1e-7
    assert np.abs(found["V4"] - np.array(reference)[1:, :2]).max() < 1e-7


def test_test_responses_do_not_enter_the_choice():
    x, y = material(60, 100, 5)
    splits = shuffle_splits(60, n_splits=1)
    before = ridge.predict(x, y, splits)[0]
    y[splits[0][1]] = np.random.default_rng(1).normal(size=(6, 5)) * 100
    assert np.abs(ridge.predict(x, y, splits)[0] - before).max() < 1e-8


def test_scale_of_features_does_not_matter_when_the_penalty_is_chosen():
    x, y = material(60, 100, 5)
    splits = shuffle_splits(60, n_splits=2)
    assert np.abs(ridge.score(x, y, splits) - ridge.score(1e4 * x - 9.0, y, splits)).max() < 1e-6


def test_equals_brain_score_ridge():
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.regression_correlation.metric import (
        CrossRegressedCorrelation,
        pearsonr_correlation,
        ridge_regression,
    )

    n = 80
    x, y = material(n, 120, 6)

    def assembly(values):
        coords = {
            "stimulus_id": ("presentation", [f"image{i:04d}" for i in range(n)]),
            "object_name": ("presentation", ["thing"] * n),
            "neuroid_id": ("neuroid", np.arange(values.shape[1])),
            "region": ("neuroid", ["IT"] * values.shape[1]),
        }
        return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid"])

    metric = CrossRegressedCorrelation(
        regression=ridge_regression(),
        correlation=pearsonr_correlation(),
        crossvalidation_kwargs=dict(splits=3, stratification_coord=None),
    )
    raw = metric(assembly(x), assembly(y)).attrs["raw"].transpose("split", "neuroid").values
    ours = ridge.score(x, y, shuffle_splits(n, n_splits=3), fixed_alpha=1.0)
    assert np.abs(ours - raw).max() < 1e-6


def test_constants_are_nan():
    x, y = material(60, 20, 4)
    y[:, 2] = 3.3
    splits = shuffle_splits(60, n_splits=2)
    r = ridge.score(x, y, splits)
    assert np.isnan(r[:, 2]).all()
    assert np.isfinite(np.delete(r, 2, axis=1)).all()
    assert np.isnan(ridge.score(np.ones((60, 5)), y, splits)).all()
    assert np.isnan(ridge.score(np.ones((60, 90)), y, splits)).all()


def test_bad_penalties_and_groups_are_one_line():
    x, y = material(30, 10, 3)
    splits = shuffle_splits(30)
    for options, says in [
        (dict(alphas=()), "positive"),
        (dict(fixed_alpha=0.0), "positive"),
        (dict(groups=np.zeros(3)), "one label each"),
    ]:
        with pytest.raises(BlendnetError, match=says):
            ridge.score(x, y, splits, **options)
    y[3, 1] = np.nan
    with pytest.raises(BlendnetError, match="neuroid 1 is nan at stimulus 3"):
        ridge.score(x, y, splits)
