"""Ceilings against a loop, against Brain-Score, on planted and on real repetitions."""

import os

import numpy as np
import pytest

from analysis.similarity import _ceiling as ceilings
from analysis.similarity._arrays import weighted_pearson
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


def test_equals_brain_score():
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.internal_consistency.ceiling import InternalConsistency

    trials = planted(20, 6, 4)
    stimuli, repetitions = np.divmod(np.arange(120), 6)
    assembly = NeuroidAssembly(
        trials.reshape(120, 4),
        coords={
            "stimulus_id": ("presentation", [f"image{s:03d}" for s in stimuli]),
            "object_name": ("presentation", ["thing"] * 120),
            "repetition": ("presentation", repetitions),
            "neuroid_id": ("neuroid", np.arange(4)),
            "region": ("neuroid", ["V4"] * 4),
        },
        dims=["presentation", "neuroid"],
    )
    theirs = InternalConsistency()(assembly).attrs["raw"].mean("split").values
    ours = ceilings.split_half(trials, n=10, seed=1, n_boot=0, by="repetition").value
    assert np.abs(ours - theirs).max() < 1e-8


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
