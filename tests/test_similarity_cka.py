"""CKA against the definition of the unbiased HSIC, by simulation, and against itself in its other forms."""

import itertools

import numpy as np
import pytest
import torch

from analysis.similarity import cka, self_ceiling
from analysis.similarity._ceiling import spearman_brown
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def material(n=40, p=30, q=12, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5 + 3 * rng.normal(size=p)
    return x, x @ rng.normal(size=(p, q)) + rng.normal(size=(n, q))


def hsic_by_quadruples(x, y):
    """Song et al. 2012, theorem 2: the mean over all ordered quadruples of different stimuli."""
    k, m = x @ x.T, y @ y.T
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i, j, q, r in itertools.permutations(range(len(x)), 4)
    ]
    return np.mean(terms)


def cka_by_matrices(x, y, *, biased=False):
    """Gram matrices centred (biased) or U-centred (Szekely, Rizzo 2014), and their cosine."""
    n = len(x)
    grams = []
    for a in (x, y):
        k = a @ a.T
        if biased:
            h = np.eye(n) - 1 / n
            k = h @ k @ h
        else:
            np.fill_diagonal(k, 0)
            s = k.sum(axis=0)
            k = k - s[:, None] / (n - 2) - s[None] / (n - 2) + s.sum() / ((n - 1) * (n - 2))
            np.fill_diagonal(k, 0)
        grams.append(k)
    return (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())


@pytest.mark.parametrize(("p", "q"), [(3, 2), (9, 2), (2, 9), (12, 15)])
def test_equals_the_mean_over_quadruples(p, q):
    x, y = material(8, p, q)
    xy, xx, yy = (hsic_by_quadruples(a, b) for a, b in ((x, y), (x, x), (y, y)))
    for max_bytes in (2**30, 1):  # 1: column by column, stimulus by stimulus
        assert abs(cka.hsic(x, y, max_bytes=max_bytes)[0, 0] - xy) < 1e-10 * xx
        assert abs(cka.score(x, y, max_bytes=max_bytes)[0, 0] - xy / np.sqrt(xx * yy)) < 1e-10


@pytest.mark.parametrize(("n", "p", "q"), [(60, 5, 4), (60, 59, 4), (60, 200, 4), (60, 5, 100), (60, 200, 100)])
@pytest.mark.parametrize("max_bytes", [2**30, 60000])
def test_features_gram_and_any_blocks_give_the_same(n, p, q, max_bytes):
    x, y = material(n, p, q)
    splits = shuffle_splits(n, n_splits=2, test_size=0.4)
    assert abs(cka.score(x, y, max_bytes=max_bytes)[0, 0] - cka_by_matrices(x, y)) < 1e-10
    biased = cka.score(x, y, estimator="biased", max_bytes=max_bytes)[0, 0]
    assert abs(biased - cka_by_matrices(x, y, biased=True)) < 1e-10
    expected = [[cka_by_matrices(x[test], y[test])] for _, test in splits]
    assert np.abs(cka.score(x, y, splits, max_bytes=max_bytes) - expected).max() < 1e-10


def test_independent_noise_is_zero_only_without_bias():
    """135 stimuli, wide layer, 102 neuroids: the case of the public V1 benchmark (biased 0.65, facts.md)."""
    values = {estimator: [] for estimator in cka.ESTIMATORS}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(135, 2000)), rng.normal(size=(135, 102))
        for estimator in cka.ESTIMATORS:
            values[estimator].append(cka.score(x, y, estimator=estimator)[0, 0])
    mean, sem = np.mean(values["unbiased"]), np.std(values["unbiased"]) / np.sqrt(30)
    assert abs(mean) < 4 * sem
    assert sem < 0.005
    assert 0.6 < np.mean(values["biased"]) < 0.7


def test_hsic_is_unbiased_for_dependent_responses():
    """Linear HSIC of a population is |Cov(x, y)|^2; the estimate's mean over samples must be that."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 3))
    found = []
    for _ in range(1500):
        x = rng.normal(size=(9, 6))
        y = x @ mix + rng.normal(size=(9, 3))
        found.append(cka.hsic(x, y)[0, 0])
    assert abs(np.mean(found) - (mix**2).sum()) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.std(found) / np.sqrt(len(found)) < 0.05 * (mix**2).sum()


def test_identities():
    x, y = material(40, 30, 12)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0]
    value = cka.score(x, y)[0, 0]
    assert cka.score(x, x)[0, 0] == pytest.approx(1.0, abs=1e-12)
    assert abs(cka.score(7.0 + 1e-3 * x @ rotation, y)[0, 0] - value) < 1e-9
    assert abs(cka.score(y, x)[0, 0] - value) < 1e-12
    assert abs(cka.score(np.hstack([x, np.full((40, 50), 4.0)]), y)[0, 0] - value) < 1e-10
    assert abs(cka.score(x[::-1], y[::-1])[0, 0] - value) < 1e-12
    assert abs(cka.score(x[::-1], y)[0, 0] - value) > 0.05


def test_many_layers_in_one_call_torch_and_float32():
    x, y = material(50, 80, 12)
    xs = {"early": x[:, :6], "late": x, "single": x.astype(np.float32)}
    splits = shuffle_splits(50, n_splits=3, test_size=0.3)
    together = cka.score_many(xs, y, splits)
    assert list(together) == list(xs)
    for name, layer in xs.items():
        alone = cka.score(layer, y, splits)
        assert alone.shape == (3, 1)
        assert np.abs(together[name] - alone).max() < 1e-12
    assert np.abs(together["single"] - together["late"]).max() < 1e-5
    tensor = cka.score(torch.tensor(x), y, splits)
    assert isinstance(tensor, np.ndarray)
    assert np.abs(tensor - together["late"]).max() < 1e-12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    x, y = material(50, 80, 12)
    for part in (x, x[:, :6]):
        on_gpu = cka.score(torch.tensor(part, device="cuda"), y)
        assert np.abs(on_gpu - cka.score(part, y)).max() < 1e-10


def test_no_value_where_there_is_none():
    x, y = material(20, 10, 5)
    assert np.isnan(cka.score(np.full((20, 10), 0.1), y)).all()
    assert np.isnan(cka.score(x, np.full((20, 5), 3.7))).all()
    assert np.isnan(cka.score(np.eye(20), y)).all()  # every pair of stimuli is equally far apart
    both = cka.score_many({"dead": np.zeros((20, 4)), "alive": x}, y)
    assert np.isnan(both["dead"]).all()
    assert abs(both["alive"][0, 0] - cka_by_matrices(x, y)) < 1e-10


def test_impossible_input_is_refused_in_one_line():
    x, y = material(20, 10, 5)
    hole = x.copy()
    hole[3, 2] = np.nan
    whole = np.arange(20)
    for args, options, says in [
        ((x[:10], y), {}, "10 stimuli in the features, 20 in the responses"),
        ((x[:3], y[:3]), {}, "3 stimuli are too few"),
        ((hole, y), {}, "feature 2 is nan at stimulus 3"),
        ((torch.tensor(hole), y), {}, "feature 2 is nan at stimulus 3"),
        ((x, y, [(whole[:17], whole[17:])]), {}, "3 test stimuli"),
        ((x, y, [(whole[:10], whole[8:])]), {}, "repeats a stimulus"),
        ((x, y, []), {}, "no splits"),
        ((x[:, 0], y), {}, "2 dimensions"),
        ((x, y), {"estimator": "unbias"}, "did you mean 'unbiased'"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            cka.score(*args, **options)
        assert "\n" not in str(error.value)


def recorded(n=200, n_repetitions=8, q=15, noise=4.0, seed=0):
    """(trials of one recording, mean of an independent one of the same neuroids, the noise-free responses)."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, 10)) @ rng.normal(size=(10, q)) / np.sqrt(10)
    trials = signal[:, None] + noise * rng.normal(size=(n, n_repetitions, q))
    other = signal + noise / np.sqrt(n_repetitions) * rng.normal(size=(n, q))
    return trials, other, signal


def test_ceiling_is_the_cka_of_two_recordings():
    """What the halves say is what a second recording with as many repetitions gives; Spearman-Brown says less."""
    found, true, halves, best = [], [], [], []
    for seed in range(20):
        trials, other, signal = recorded(seed=seed)
        result = self_ceiling.ceiling("cka", trials, n=4, n_boot=0, seed=seed)
        found.append(result.value)
        halves.append(result.halves)
        true.append(cka.score(trials.mean(axis=1), other)[0, 0])
        best.append(cka.score(trials.mean(axis=1), signal)[0, 0])
    assert 0.2 < np.mean(true) < 0.3
    assert abs(np.mean(found) - np.mean(true)) < 0.015
    assert np.mean(true) - np.mean([spearman_brown(h) for h in halves]) > 0.05
    assert abs(np.mean(best) - np.sqrt(np.mean(true))) < 0.02  # a noise-free model reaches sqrt(c)


def test_ceiling_interval_has_the_spread_of_new_stimuli():
    values, widths = [], []
    for seed in range(25):
        result = self_ceiling.ceiling("cka", recorded(n=100, seed=seed)[0], n=4, n_boot=40, seed=seed)
        assert result.lo < result.value < result.hi
        values.append(result.value)
        widths.append(result.hi - result.lo)
    assert 0.5 < np.mean(widths) / (2 * 1.96 * np.std(values)) < 2.0


def test_ceiling_of_a_recording_without_repetitions_or_with_gaps():
    trials, _, _ = recorded(n=40)
    with pytest.raises(BlendnetError, match="1 repetition"):
        self_ceiling.ceiling("cka", trials[:, :1])
    with pytest.raises(BlendnetError, match="did you mean 'cka'"):
        self_ceiling.ceiling("ckb", trials)
    trials[:5, 1:] = np.nan  # shown once: in one half only
    result = self_ceiling.ceiling("cka", trials, n=2, n_boot=0)
    assert result.n_stimuli == 35
    assert result.value == pytest.approx(self_ceiling.ceiling("cka", trials[5:], n=2, n_boot=0).value, abs=0.1)
    trials[4:, 1:] = np.nan
    with pytest.raises(BlendnetError, match="0 stimuli have responses in both halves"):
        self_ceiling.ceiling("cka", trials)


@pytest.mark.data
def test_on_real_v4(data_root):
    """Pixels of 640 images and 50 neurons of macaque V4: the ceiling is far above them, and they above chance."""
    from blendnet.data.brain import cowley2023

    recording = cowley2023.load(data_root, sessions=("210325",))[0]
    pixels = np.stack([recording.stimuli.read(i)[::14, ::14].ravel() for i in range(len(recording.stimuli))]) / 255.0
    responses = recording.mean()
    value = cka.score(pixels, responses)[0, 0]
    shuffled = cka.score(pixels, np.random.default_rng(0).permutation(responses))[0, 0]
    assert abs(value - cka_by_matrices(pixels, responses)) < 1e-10
    top = self_ceiling.ceiling("cka", recording.trials, n=3, n_boot=20)
    assert abs(shuffled) < 0.03 < value < top.lo
    assert top.halves < top.value < 1.0
