"""One-to-one and soft matching against scipy: assignment, linear programme, and brute force."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import pearsonr

from analysis.similarity import one_to_one, self_ceiling, soft_matching
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def material(n=60, p=20, q=12, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 8))
    x = latent @ rng.normal(size=(8, p)) + noise * rng.normal(size=(n, p)) + 3 * rng.normal(size=p)
    return x, latent @ rng.normal(size=(8, q)) + noise * rng.normal(size=(n, q))


def correlations(x, y):
    return np.array([[pearsonr(a, b)[0] for b in y.T] for a in x.T])


# ---------------------------------------------------------------- one to one


@pytest.mark.parametrize(("p", "q"), [(30, 12), (12, 12), (7, 12)])
@pytest.mark.parametrize("assign", one_to_one.ASSIGNMENTS)
def test_pairs_are_those_of_scipy(p, q, assign):
    x, y = material(60, p, q)
    splits = shuffle_splits(60, n_splits=3, test_size=0.3)
    expected = np.full((3, q), np.nan)
    for f, (train, test) in enumerate(splits):
        r = correlations(x[train], y[train])
        pairs = zip(*linear_sum_assignment(-r)) if assign == "hungarian" else zip(r.argmax(axis=0), range(q))
        for i, j in pairs:
            expected[f, j] = pearsonr(x[test, i], y[test, j])[0]
    found = one_to_one.score(x, y, splits, assign=assign)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.isnan(found).any() == (assign == "hungarian" and p < q)
    assert np.nanmax(np.abs(found - expected)) < 1e-12


def test_assignment_is_the_best_of_all():
    x, y = material(40, 6, 4)
    r = correlations(x, y)
    best = max(itertools.permutations(range(6), 4), key=lambda units: sum(r[i, j] for j, i in enumerate(units)))
    assert one_to_one.match(x, y).tolist() == list(best)


@pytest.mark.parametrize("assign", one_to_one.ASSIGNMENTS)
def test_little_memory_gives_the_same_pairs(assign, monkeypatch):
    """Units read a few at a time and candidates thrown away in between."""
    x, y = material(60, 900, 5)
    whole = one_to_one.match(x, y, assign=assign)
    thrown = []
    partition = np.argpartition
    monkeypatch.setattr(np, "argpartition", lambda *a, **k: thrown.append(1) or partition(*a, **k))
    assert np.array_equal(one_to_one.match(x, y, assign=assign, max_bytes=40000), whole)
    assert bool(thrown) == (assign == "hungarian")
    assert len(set(whole)) == 5 or assign == "greedy max"


def test_too_little_memory_is_said():
    x, y = material(60, 900, 12)
    with pytest.raises(BlendnetError, match="give at least") as error:
        one_to_one.match(x, y, max_bytes=9000)
    assert "\n" not in str(error.value)


def test_a_copy_is_matched_with_itself():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, 10))
    order = rng.permutation(30)
    x = np.hstack([y, rng.normal(size=(60, 20))])[:, order] * 3 + 1
    splits = shuffle_splits(60, n_splits=2)
    for assign in one_to_one.ASSIGNMENTS:
        assert np.array_equal(order[one_to_one.match(x, y, assign=assign)], np.arange(10))
        assert np.abs(one_to_one.score(x, y, splits, assign=assign) - 1).max() < 1e-12
        assert np.abs(one_to_one.score(-x, y, splits, assign=assign)).min() < 0.9  # the sign counts


def test_greedy_may_take_a_unit_twice_hungarian_never():
    rng = np.random.default_rng(1)
    unit = rng.normal(size=80)
    y = np.column_stack([unit + 0.1 * rng.normal(size=80), unit + 0.1 * rng.normal(size=80)])
    x = np.column_stack([rng.normal(size=80), unit, rng.normal(size=80)])
    assert one_to_one.match(x, y, assign="greedy max").tolist() == [1, 1]
    assert len(set(one_to_one.match(x, y))) == 2


def test_chance_is_zero_out_of_sample():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 500)), rng.normal(size=(200, 30))
    splits = shuffle_splits(200, n_splits=5, test_size=0.3)
    for assign in one_to_one.ASSIGNMENTS:
        assert abs(one_to_one.score(x, y, splits, assign=assign).mean()) < 0.04


def test_dead_units_and_silent_neuroids():
    x, y = material(60, 20, 6)
    splits = shuffle_splits(60, n_splits=2)
    alive = one_to_one.score(x, y, splits)
    dead = np.full((60, 5), 0.1)
    assert np.abs(one_to_one.score(np.hstack([dead, x]), y, splits) - alive).max() < 1e-12
    silent = one_to_one.score(x, np.hstack([y, dead]), splits)
    assert np.isnan(silent[:, 6:]).all()
    assert np.abs(silent[:, :6] - alive).max() < 1e-12
    assert np.isnan(one_to_one.score(dead, y, splits)).all()
    assert one_to_one.match(dead, y).tolist() == [-1] * 6
    assert one_to_one.match(x, dead).tolist() == [-1] * 5


# ---------------------------------------------------------------- soft matching


def by_linear_programme(gain):
    p, q = gain.shape
    rows = np.kron(np.eye(p), np.ones(q))
    columns = np.kron(np.ones(p), np.eye(q))
    sums = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    found = linprog(-gain.ravel(), A_eq=np.vstack([rows, columns]), b_eq=sums, method="highs")
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize(("p", "q"), [(5, 3), (3, 5), (12, 4), (30, 17), (17, 16), (40, 1), (1, 4), (24, 18)])
@pytest.mark.parametrize("kind", ["normal", "ties", "hubs"])
def test_plan_is_optimal_and_has_the_marginals(p, q, kind):
    rng = np.random.default_rng(p * 100 + q)
    gain = rng.normal(size=(p, q))
    if kind == "ties":
        gain = np.round(gain)
    if kind == "hubs":  # all want the same
        gain = gain * 0.1 + 10 * rng.normal(size=q)
    i, j, weight = soft_matching.transport(gain)
    plan = np.zeros((p, q))
    np.add.at(plan, (i, j), weight)
    assert (weight > 0).all()
    assert np.abs(plan.sum(axis=1) - 1 / p).max() < 1e-12
    assert np.abs(plan.sum(axis=0) - 1 / q).max() < 1e-12
    assert abs((plan * gain).sum() - by_linear_programme(gain)) < 1e-9


def test_equal_numbers_are_an_assignment():
    x, y = material(50, 25, 25)
    r = correlations(x, y)
    i, j = linear_sum_assignment(-r)
    assert abs(soft_matching.score(x, y)[0, 0] - r[i, j].mean()) < 1e-12


def test_multiples_are_an_assignment_to_copies():
    x, y = material(50, 60, 20)
    r = np.repeat(correlations(x, y), 3, axis=1)
    i, j = linear_sum_assignment(-r)
    assert abs(soft_matching.score(x, y)[0, 0] - r[i, j].mean()) < 1e-12


def test_score_is_the_linear_programme_and_its_plan_is_tested():
    x, y = material(60, 21, 12)
    r = correlations(x, y)
    assert abs(soft_matching.score(x, y)[0, 0] - by_linear_programme(r)) < 1e-9
    assert abs(soft_matching.score(y, x)[0, 0] - by_linear_programme(r)) < 1e-9
    train, test = shuffle_splits(60, n_splits=1, test_size=0.3)[0]
    i, j, weight = soft_matching.transport(correlations(x[train], y[train]))
    expected = weight @ correlations(x[test], y[test])[i, j]
    found = soft_matching.score(x, y, [(train, test)])
    assert found.shape == (1, 1)
    assert abs(found[0, 0] - expected) < 1e-12


def test_identities_of_soft_matching():
    x, y = material(60, 21, 12)
    rng = np.random.default_rng(0)
    value = soft_matching.score(x, y)[0, 0]
    moved = x[:, rng.permutation(21)] * rng.uniform(0.1, 9, size=21) + 4
    assert abs(soft_matching.score(moved, y)[0, 0] - value) < 1e-12
    assert soft_matching.distance(x, x) < 1e-6
    assert soft_matching.distance(np.repeat(y, 3, axis=1), y) < 1e-6  # copies of the units change nothing
    rotated = x @ np.linalg.qr(rng.normal(size=(21, 21)))[0]
    assert abs(soft_matching.score(rotated, x)[0, 0] - 1) > 0.1
    z, _ = material(60, 15, 2, seed=3)
    assert soft_matching.distance(x, z) <= soft_matching.distance(x, y) + soft_matching.distance(y, z)


def test_independent_noise_out_of_sample_and_in():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 90)), rng.normal(size=(200, 40))
    assert soft_matching.score(x, y)[0, 0] > 0.1
    assert abs(soft_matching.score(x, y, shuffle_splits(200, n_splits=5, test_size=0.3)).mean()) < 0.02


def test_dead_units_take_no_part():
    x, y = material(60, 21, 12)
    splits = shuffle_splits(60, n_splits=2, test_size=0.3)
    dead = np.hstack([np.full((60, 4), 0.1), x])
    assert np.abs(soft_matching.score(dead, y, splits) - soft_matching.score(x, y, splits)).max() < 1e-12
    assert np.isnan(soft_matching.score(dead[:, :4], y, splits)).all()
    # constant at the test stimuli only: its pairs are left out, the rest is averaged
    train, test = splits[0]
    half = x.copy()
    half[test, 0] = 0.0
    i, j, weight = soft_matching.transport(correlations(x[train], y[train]))
    kept = i != 0
    expected = weight[kept] @ correlations(x[test], y[test])[i[kept], j[kept]] / weight[kept].sum()
    assert abs(soft_matching.score(half, y, splits[:1])[0, 0] - expected) < 1e-12


def test_too_many_pairs_are_refused():
    x, y = material(30, 400, 300)
    with pytest.raises(BlendnetError, match="400 x 300 units needs about") as error:
        soft_matching.score(x, y, max_bytes=100000)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("metric", [one_to_one, soft_matching])
def test_torch_gives_the_same(metric):
    x, y = material(60, 40, 12)
    splits = shuffle_splits(60, n_splits=2)
    expected = metric.score(x, y, splits)
    found = metric.score(torch.tensor(x), torch.tensor(y), splits)
    assert isinstance(found, np.ndarray)
    assert np.abs(found - expected).max() < 1e-12
    if torch.cuda.is_available():
        assert np.abs(metric.score(torch.tensor(x, device="cuda"), y, splits) - expected).max() < 1e-10


def recorded(seed, n=150, n_repetitions=8, q=10, noise=2.0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, q))
    whole = signal + noise / np.sqrt(n_repetitions) * rng.normal(size=(n, q))
    return signal[:, None] + noise * rng.normal(size=(n, n_repetitions, q)), whole


@pytest.mark.parametrize("metric", ["one_to_one", "soft_matching"])
def test_ceiling_is_the_score_of_a_second_recording(metric):
    """Equally reliable neuroids: Spearman-Brown gives what a second recording with as many repetitions gives."""
    module = {"one_to_one": one_to_one, "soft_matching": soft_matching}[metric]
    splits = shuffle_splits(150, n_splits=3, test_size=0.4)
    found, halves, true = [], [], []
    for seed in range(8):
        trials, other = recorded(seed)
        result = self_ceiling.ceiling(metric, trials, splits, n=3, n_boot=0)
        found.append(result.value)
        halves.append(result.halves)
        true.append(np.median(module.score(trials.mean(axis=1), other, splits), axis=1).mean())
    assert abs(np.mean(true) - 1 / (1 + 4 / 8)) < 0.04  # signal over signal and noise
    assert abs(np.mean(found) - np.mean(true)) < 0.03
    assert np.mean(true) - np.mean(halves) > 0.1


@pytest.mark.data
def test_matching_on_real_v4(data_root):
    """The neurons match one another from half to half of the repetitions; pixels match them far less."""
    from blendnet.data.brain import cowley2023

    recording = cowley2023.load(data_root, sessions=("210325",))[0]
    splits = shuffle_splits(len(recording.stimuli), n_splits=2)
    pixels = np.stack([recording.stimuli.read(i)[::14, ::14].ravel() for i in range(len(recording.stimuli))]) / 255.0
    for module in (one_to_one, soft_matching):
        name = module.__name__.rsplit(".", 1)[1]
        top = self_ceiling.ceiling(name, recording.trials, splits, n=2, n_boot=10)
        value = np.nanmedian(module.score(pixels, recording.mean(), splits), axis=1).mean()
        assert 0.0 < value < 0.4 < top.halves < top.value < 0.95
        assert top.lo < top.value < top.hi
