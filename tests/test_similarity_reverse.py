"""Brain to model is the metric with its roles swapped; and what all metrics offer alike."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.similarity import one_to_one, pls, procrustes, reverse, ridge, self_ceiling
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError

FOLDER = Path(pls.__file__).parent
MODULES = {"pls": pls, "ridge": ridge, "one_to_one": one_to_one, "procrustes": procrustes}
NEW = ("cka", "procrustes", "one_to_one", "soft_matching")


def material(n=80, p=40, q=12, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    return x, x[:, :8] @ rng.normal(size=(8, q)) + rng.normal(size=(n, q))


@pytest.mark.parametrize("metric", reverse.METRICS)
def test_is_the_metric_with_swapped_roles(metric):
    x, y = material()
    splits = shuffle_splits(80, n_splits=2)
    found = reverse.score(metric, x, y, splits)
    assert found.shape == (2, 40)
    assert np.array_equal(found, MODULES[metric].score(y, x, splits), equal_nan=True)


@pytest.mark.parametrize("metric", ["pls", "ridge"])
def test_units_that_the_brain_reads_are_predicted_and_others_not(metric):
    """The first 8 units drive the neuroids, the other 32 are a network's own business."""
    x, y = material(n=400)
    r = reverse.score(metric, x, y, shuffle_splits(400, n_splits=5))
    assert r[:, :8].mean(axis=0).min() > 0.4
    assert abs(r[:, 8:].mean()) < 0.05
    assert MODULES[metric].score(x, y, shuffle_splits(400, n_splits=2)).mean() > 0.8
    assert reverse.summary(r).value < 0.2


def test_sample_of_units():
    x, y = material(p=300)
    splits = shuffle_splits(80, n_splits=2)
    units = reverse.sample(300, 25, seed=4)
    assert len(set(units)) == 25
    assert units.max() < 300
    found = reverse.score("ridge", x, y, splits, n_units=25, seed=4)
    assert np.array_equal(found, ridge.score(y, x[:, units], splits))
    assert not np.array_equal(units, reverse.sample(300, 25, seed=5))
    assert reverse.score("ridge", x, y, splits, n_units=None).shape == (2, 300)
    tensor = reverse.score("one_to_one", torch.tensor(x), y, splits, n_units=25, seed=4, assign="greedy max")
    assert np.abs(tensor - one_to_one.score(y, x[:, units], splits, assign="greedy max")).max() < 1e-12


@pytest.mark.parametrize("metric", reverse.METRICS)
def test_dead_units_are_nan_and_counted(metric):
    x, y = material(p=10)
    splits = shuffle_splits(80, n_splits=3)
    dead = np.maximum(np.hstack([x, np.full((80, 4), -1.0)]), 0.0)  # as after a ReLU
    dead[:, 9] = 0.0
    dead[splits[1][0][0], 9] = 2.0  # one training stimulus of split 1 only, constant at its test stimuli
    r = reverse.score(metric, dead, y, splits)
    assert np.isnan(r[:, 10:]).all()
    assert np.isnan(r[1, 9])
    assert np.isfinite(r[:, :9]).all()
    summary = reverse.summary(r)
    assert (summary.n, summary.n_undefined) == (9, 5)
    assert summary.value == np.mean([np.median(row[np.isfinite(row)]) for row in r])
    nothing = reverse.summary(reverse.score(metric, dead[:, 10:], y, splits))
    assert np.isnan(nothing.value)
    assert (nothing.n, nothing.n_undefined) == (0, 4)


def test_a_model_without_noise_that_the_neuroids_hold_reaches_the_ceiling():
    x, _ = material(p=10)
    y = x @ np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
    r = reverse.score("ridge", x, y, shuffle_splits(80, n_splits=2))
    assert reverse.CEILING - r.min() < 1e-6


def test_impossible_input_is_refused_in_one_line():
    x, y = material()
    splits = shuffle_splits(80, n_splits=2)
    for call, says in [
        (lambda: reverse.score("cka", x, y, splits), "unknown metric with a direction 'cka'"),
        (lambda: reverse.score("rigde", x, y, splits), "did you mean 'ridge'"),
        (lambda: reverse.score("ridge", x, y, splits, n_units=0), "n_units 0"),
        (lambda: reverse.score("one_to_one", x, y[:50], splits), "50 stimuli in the features, 80 in the responses"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NEW)
def test_all_metrics_are_called_alike(name):
    module = importlib.import_module(f"analysis.similarity.{name}")
    x, y = material()
    r = module.score(x, y, shuffle_splits(80, n_splits=3, test_size=0.2))
    assert r.dtype == np.float64
    assert r.shape == (3, 12 if name in reverse.METRICS else 1)
    assert ("model to brain" if name in reverse.METRICS else "none") == module.DIRECTION
    assert name in self_ceiling.RULES


@pytest.mark.parametrize("name", sorted(self_ceiling.RULES))
def test_every_metric_has_a_ceiling_of_the_recording_itself(name):
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(90, 6))
    trials = signal[:, None] + 0.3 * rng.normal(size=(90, 6, 6))
    splits = shuffle_splits(90, n_splits=2, test_size=0.3)
    result = self_ceiling.ceiling(name, trials, splits, n=2, n_boot=4, groups=np.arange(90) // 3)
    assert 0.9 < result.lo <= result.value <= result.hi < 1.01
    noise = self_ceiling.ceiling(name, rng.normal(size=trials.shape), splits, n=4, n_boot=0)
    assert abs(noise.value) < 0.35


@pytest.mark.parametrize("name", ["ridge", "pls"])
def test_halves_bound_the_whole_from_below_in_regressions(name):
    """A second recording is predicted better from the whole of the first than half from half, on average."""
    halves, whole = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        signal = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 10)) / np.sqrt(8)
        trials = signal[:, None] + 2.0 * rng.normal(size=(200, 8, 10))
        other = signal + 2.0 / np.sqrt(8) * rng.normal(size=(200, 10))
        splits = shuffle_splits(200, n_splits=3, test_size=0.3)
        halves.append(self_ceiling.ceiling(name, trials, splits, n=2, n_boot=0).value)
        whole.append(np.median(MODULES[name].score(trials.mean(axis=1), other, splits), axis=1).mean())
    assert np.mean(whole) - np.mean(halves) > 0.05


def test_bootstrap_of_the_ceiling_never_puts_a_stimulus_into_training_and_test(monkeypatch):
    """Half-samples of whole groups, without copies, that keep to the splits."""
    seen = []

    def spy(x, y, splits, **options):
        seen.append((x[:, 0].astype(int), splits))
        return np.array([[0.5]])

    monkeypatch.setattr(ridge, "score", spy)
    trials = np.repeat(np.arange(60.0)[:, None, None], 4, axis=1)
    splits = shuffle_splits(60, n_splits=2, test_size=0.3)
    self_ceiling.ceiling("ridge", trials, splits, n=1, n_boot=5, groups=np.arange(60) // 4)
    samples = [call for call in seen if len(call[0]) < 60]
    assert len(samples) == 5
    for stimuli, parts in samples:
        assert len(stimuli) == len(set(stimuli)) == 28
        assert all((stimuli // 4 == group).sum() == 4 for group in set(stimuli // 4))
        for (train, test), (all_train, all_test) in zip(parts, splits):
            assert set(stimuli[train]) == set(stimuli) & set(all_train)
            assert set(stimuli[test]) == set(stimuli) & set(all_test)


@pytest.mark.data
def test_reverse_on_real_v4(data_root):
    """Pixels predicted from 50 V4 neurons, better than from the neurons of other images."""
    from blendnet.data.brain import cowley2023

    recording = cowley2023.load(data_root, sessions=("210325",))[0]
    splits = shuffle_splits(len(recording.stimuli), n_splits=2)
    pixels = np.stack([recording.stimuli.read(i)[::14, ::14].ravel() for i in range(len(recording.stimuli))]) / 255.0
    responses = recording.mean()
    shuffled = np.random.default_rng(0).permutation(responses)
    right = reverse.summary(reverse.score("ridge", pixels, responses, splits, n_units=60))
    wrong = reverse.summary(reverse.score("ridge", pixels, shuffled, splits, n_units=60))
    assert right.n == 60
    assert right.value > 0.1 > 0.08 > abs(wrong.value)
