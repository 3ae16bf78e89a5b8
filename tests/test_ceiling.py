"""Ceilings against a loop, against Brain-Score, on planted and on real repetitions."""

import os

import numpy as np
import pytest

from analysis.similarity import _ceiling as ceilings
from analysis.similarity import ridge
from analysis.similarity._animals import leave_one_animal_out
from analysis.similarity._arrays import weighted_pearson
from analysis.similarity._splits import shuffle_splits
from analysis.stats.intervals import aggregate
from blendnet.errors import BlendnetError


def planted(n_stimuli=200, n_repetitions=10, n_neuroids=6, reliability=0.7, missing=0.0, seed=0):
    """Trials whose mean over all repetitions has the given reliability."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(n_repetitions * (1 - reliability) / reliability)
    signal = rng.normal(size=(n_stimuli, 1, n_neuroids))
    trials = signal + noise * rng.normal(size=(n_stimuli, n_repetitions, n_neuroids))
    trials[rng.random((n_stimuli, n_repetitions)) < missing] = np.nan
    return trials


def slow(trials, n, seed):
    """Stimulus by stimulus, neuroid by neuroid."""
    rng = np.random.default_rng(seed)
    n_stimuli, n_repetitions, n_neuroids = trials.shape
    corrected = np.zeros((n, n_neuroids))
    for i in range(n):
        draw = rng.random((n_stimuli, n_repetitions))
        for j in range(n_neuroids):
            halves = []
            for s in range(n_stimuli):
                shown = [k for k in np.argsort(draw[s]) if np.isfinite(trials[s, k, j])]
                cut = len(shown) // 2
                if cut:
                    halves.append((trials[s, shown[:cut], j].mean(), trials[s, shown[cut:], j].mean()))
            r = np.corrcoef(np.array(halves).T)[0, 1]
            corrected[i, j] = 2 * r / (1 + r)
    return corrected.mean(axis=0)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_equals_a_slow_loop(missing):
    trials = planted(40, 5, 3, missing=missing)
    trials[3, :, 1] = np.nan  # never shown to one neuroid
    # Without resamples the generator's first draws are the halves.
    ours = ceilings.split_half(trials, n=4, seed=9, n_boot=0)
    assert np.abs(ours.value - slow(trials, 4, 9)).max() < 1e-12
    assert np.isnan(ours.lo).all()


def by_brain_score(trials):
    """Brain-Score's own ceiling: of each halving and neuroid (n, n_neuroids), and the aggregate."""
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.internal_consistency.ceiling import InternalConsistency

    n_stimuli, n_repetitions, n_neuroids = trials.shape
    stimuli, repetitions = np.divmod(np.arange(n_stimuli * n_repetitions), n_repetitions)
    assembly = NeuroidAssembly(
        trials.reshape(-1, n_neuroids),
        coords={
            "stimulus_id": ("presentation", [f"image{s:03d}" for s in stimuli]),
            "object_name": ("presentation", ["thing"] * len(stimuli)),
            "repetition": ("presentation", repetitions),
            "neuroid_id": ("neuroid", np.arange(n_neuroids)),
            "region": ("neuroid", ["V4"] * n_neuroids),
        },
        dims=["presentation", "neuroid"],
    )
    found = InternalConsistency()(assembly)
    return found.attrs["raw"].transpose("split", "neuroid").values, float(found)


def equals_brain_score(trials):
    raw, value = by_brain_score(trials)
    ours = ceilings.internal_consistency(trials, n=10, seed=1, by="repetition")
    assert np.abs(ours - raw).max() < 1e-8
    assert abs(aggregate(ours) - value) < 1e-8
    split_half = ceilings.split_half(trials, n=10, seed=1, n_boot=0, by="repetition").value
    assert np.abs(split_half - raw.mean(axis=0)).max() < 1e-8


@pytest.mark.parametrize("power", [0, 1])
def test_equals_brain_score_on_flat_and_power_law_spectra(power):
    rng = np.random.default_rng(power)
    latent = rng.normal(size=(25, 1, 12)) * np.arange(1, 13) ** (-power / 2)
    equals_brain_score(latent @ rng.normal(size=(12, 7)) + 2.0 * rng.normal(size=(25, 6, 7)))


@pytest.mark.data
def test_equals_brain_score_on_real_v4(data_root):
    path = data_root / "cowley2023" / "responses_raw_210325.npy"
    if not path.exists():
        pytest.skip("no cowley2023 session 210325 in the data folder")
    trials = np.load(path).transpose(1, 2, 0)[:60, :6]  # later repetitions are missing for some stimuli
    assert np.isfinite(trials).all()
    equals_brain_score(trials)


def test_recovers_a_planted_reliability_and_its_interval_holds_it():
    trials = planted(400, 10, 60, reliability=0.7)
    found = ceilings.split_half(trials, n=20, n_boot=300)
    assert abs(np.median(found.value) - 0.7) < 0.02
    held = (found.lo <= 0.7) & (found.hi >= 0.7)
    assert held.mean() > 0.85
    assert (found.hi - found.lo).mean() < 0.15


def test_clips_widen_the_interval():
    """Frames of a clip respond alike: resampling frames alone would claim too much."""
    clips = np.repeat(np.arange(12), 10)
    trials = planted(120, 8, 5)
    trials += 3.0 * np.random.default_rng(1).normal(size=(12, 1, 5))[clips]
    alone = ceilings.split_half(trials, n=5, n_boot=300)
    whole = ceilings.split_half(trials, n=5, n_boot=300, groups=clips)
    assert np.allclose(alone.value, whole.value, atol=0.05)
    assert (whole.hi - whole.lo).mean() > 1.2 * (alone.hi - alone.lo).mean()


def test_weighted_pearson_equals_repeating_stimuli():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30, 4)) + 100.0
    a[5, 2] = np.nan
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=5)
    ours = weighted_pearson(a, b, weights)
    for w, row in zip(weights, ours):
        for j in range(4):
            index = np.repeat(np.arange(30), w)
            index = index[np.isfinite(a[index, j])]
            assert abs(np.corrcoef(a[index, j], b[index, j])[0, 1] - row[j]) < 1e-10


def test_silent_and_unrepeated_neuroids():
    trials = planted(30, 4, 3)
    trials[:, :, 1] = 0.0
    trials[2:, :, 2] = np.nan
    found = ceilings.split_half(trials, n_boot=50)
    assert np.isnan(found.value[1:]).all()
    assert np.isnan(found.lo[1:]).all()
    assert found.lo[0] < found.value[0] < found.hi[0]
    with pytest.raises(BlendnetError, match="one repetition"):
        ceilings.split_half(trials[:, :1])
    with pytest.raises(BlendnetError, match="not \\(n_stimuli"):
        ceilings.split_half(trials[0])


@pytest.mark.data
def test_real_v4(data_root):
    path = data_root / "cowley2023" / "responses_raw_210325.npy"
    if not path.exists():
        pytest.skip("no cowley2023 session 210325 in the data folder")
    found = ceilings.split_half(np.load(path).transpose(1, 2, 0), n=20, n_boot=0).value
    assert found.shape == (50,)
    assert abs(np.median(found) - 0.764) < 0.006
    assert abs(found.min() - 0.532) < 0.02
    assert abs(found.max() - 0.932) < 0.005


def test_ceiled_names_its_rule():
    r, c = np.array([0.4, -0.4, 0.4, 0.4]), np.array([0.8, 0.8, 0.05, np.nan])
    for rule, expected in {
        "r": 0.4,
        "r/c": 0.5,
        "r^2/c": 0.2,
        "(r/c)^2": 0.25,
        "r/sqrt(c)": 0.4 / np.sqrt(0.8),
    }.items():
        found = ceilings.ceiled(r, c, normalisation=rule)
        assert found.normalisation == rule
        assert np.allclose(found.value[:2], [expected, -expected])
        assert np.isnan(found.value[2:]).all()
        assert found.below.tolist() == [False, False, True, True]
    assert float(ceilings.ceiled(0.3, 0.6).value) == 0.5
    assert not np.isnan(ceilings.ceiled(r, c, threshold=0.01).value[2])
    with pytest.raises(BlendnetError, match="did you mean 'r/c'"):
        ceilings.ceiled(r, c, normalisation="r/C")


@pytest.mark.parametrize("rule", ceilings.NORMALISATIONS)
def test_interval_of_a_ratio_is_that_of_the_resampled_ratios(rule):
    rng = np.random.default_rng(0)
    ceiling = 0.6 + 0.05 * rng.normal(size=(500, 3))
    score = 0.8 * ceiling + 0.02 * rng.normal(size=(500, 3))
    found = ceilings.ceiled(score[0], ceiling[0], normalisation=rule, samples=(score, ceiling))
    each = [
        [float(ceilings.ceiled(r, c, normalisation=rule).value) for r, c in zip(*rows)] for rows in zip(score, ceiling)
    ]
    lo, hi = np.quantile(each, [0.025, 0.975], axis=0)
    assert np.allclose(found.lo, lo)
    assert np.allclose(found.hi, hi)
    one = ceilings.ceiled(score[0, 1], ceiling[0, 1], normalisation=rule, samples=(score[:, 1], ceiling[:, 1]))
    assert (float(one.lo), float(one.hi)) == (pytest.approx(lo[1]), pytest.approx(hi[1]))
    assert np.isnan(ceilings.ceiled(score[0], ceiling[0], normalisation=rule).lo).all()


def test_no_interval_where_the_ceiling_may_be_nothing():
    rng = np.random.default_rng(0)
    sure, unsure = 0.6 + 0.05 * rng.normal(size=(2, 400))
    unsure[:20] = 0.02  # 5 % under the threshold
    sure[:8] = 0.02  # 2 %
    score = np.full((400, 2), 0.3)
    found = ceilings.ceiled(np.array([0.3, 0.3]), np.array([0.6, 0.6]), samples=(score, np.stack([sure, unsure], 1)))
    assert np.isfinite([found.lo[0], found.hi[0]]).all()
    assert np.isnan([found.lo[1], found.hi[1]]).all()
    assert (found.value == 0.5).all()
    with pytest.raises(BlendnetError, match="one row a resample"):
        ceilings.ceiled(0.3, 0.6, samples=(score[:, 0], sure[:50]))


def test_leave_one_animal_out_predicts_each_animal_from_the_others():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(120, 5))
    y = shared @ rng.normal(size=(5, 14)) + 0.5 * rng.normal(size=(120, 14))
    y[:, :4] = rng.normal(size=(120, 4))  # an animal that sees something else
    animals = np.array(["Bo"] * 4 + ["Chabo", "Tito"] * 5)
    splits = shuffle_splits(120, n_splits=3)
    found = leave_one_animal_out(y, animals, splits, ridge.score)
    assert found.shape == (3, 14)
    for f, (train, test) in enumerate(splits):
        for j in (0, 5, 13):
            others = y[:, animals != animals[j]]
            r = ridge.score(others, y[:, [j]], [(train, test)])
            assert found[f, j] == pytest.approx(r[0, 0], abs=1e-9)
    assert abs(np.median(found[:, :4])) < 0.3
    assert np.median(found[:, 4:]) > 0.7
    with pytest.raises(BlendnetError, match="all neuroids are of animal 'Bo'"):
        leave_one_animal_out(y[:, :4], animals[:4], splits, ridge.score)
    with pytest.raises(BlendnetError, match="3 animals for 14 neuroids"):
        leave_one_animal_out(y, animals[:3], splits, ridge.score)


def test_median_with_interval():
    values = np.append(np.random.default_rng(0).normal(0.5, 0.1, size=200), np.nan)
    found = ceilings.with_interval(values)
    assert found.n == 200
    assert found.value == np.nanmedian(values)
    assert 0.47 < found.lo < found.value < found.hi < 0.53
    # Twice 1.96 standard errors of a normal median, sqrt(pi / 2) times those of a mean.
    assert 0.6 < (found.hi - found.lo) / (2 * 1.96 * 0.1 * np.sqrt(np.pi / 2 / 200)) < 1.5
    assert ceilings.with_interval(values, statistic="mean").value == pytest.approx(np.nanmean(values))
    assert ceilings.with_interval(np.full(3, np.nan)).n == 0
    with pytest.raises(BlendnetError, match="statistic"):
        ceilings.with_interval(values, statistic="mode")
