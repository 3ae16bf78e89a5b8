"""Procrustes against scipy's rotation on zero-padded arrays, and against what is true of any rotation."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.stats import pearsonr

from analysis.similarity import procrustes, self_ceiling
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def material(n=60, p=20, q=12, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 8)) * np.arange(1, 9) ** -0.5
    x = latent @ rng.normal(size=(8, p)) + noise * rng.normal(size=(n, p)) + 3 * rng.normal(size=p)
    return x, latent @ rng.normal(size=(8, q)) + noise * rng.normal(size=(n, q)) + rng.normal(size=q)


def padded(x, y):
    width = max(x.shape[1], y.shape[1])
    return (np.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in (x, y))


def by_scipy(x, y, train, test):
    """r of each neuroid: both filled up with zeros, scipy's rotation and scale from the training stimuli."""
    a, b = padded(x[train] - x[train].mean(axis=0), y[train] - y[train].mean(axis=0))
    rotation, scale = orthogonal_procrustes(a, b)
    tested, _ = padded(x[test] - x[train].mean(axis=0), y[test])
    predicted = tested @ rotation * scale / (a * a).sum()
    return [pearsonr(predicted[:, j], y[test, j])[0] for j in range(y.shape[1])]


@pytest.mark.parametrize(("p", "q"), [(20, 12), (12, 20), (15, 15), (300, 12), (59, 12)])
def test_equals_scipy(p, q):
    x, y = material(60, p, q)
    splits = shuffle_splits(60, n_splits=3, test_size=0.2)
    r = procrustes.score(x, y, splits)
    assert np.abs(r - [by_scipy(x, y, *split) for split in splits]).max() < 1e-10


@pytest.mark.parametrize(("p", "q"), [(20, 12), (12, 20), (200, 12), (200, 300)])
def test_angle_and_distances_are_those_of_scipys_rotation(p, q):
    x, y = material(40, p, q)
    a, b = padded(x - x.mean(axis=0), y - y.mean(axis=0))
    rotation, _ = orthogonal_procrustes(a, b)
    cosine = ((a @ rotation) * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    assert abs(procrustes.score(x, y)[0, 0] - cosine) < 1e-10
    assert abs(procrustes.distance(x, y) - np.arccos(cosine)) < 1e-9
    assert abs(procrustes.distance(x, y, kind="shape") - np.linalg.norm(a @ rotation - b)) < 1e-8
    train, test = shuffle_splits(40, n_splits=1, test_size=0.5)[0]
    if p <= 20:  # else scipy fills the rotation up at will
        a, b = padded(x[train] - x[train].mean(axis=0), y[train] - y[train].mean(axis=0))
        rotation, _ = orthogonal_procrustes(a, b)
        a, b = padded(x[test] - x[test].mean(axis=0), y[test] - y[test].mean(axis=0))
        cosine = ((a @ rotation) * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        assert abs(procrustes.angular(x, y, [(train, test)])[0, 0] - cosine) < 1e-10


def test_directions_that_training_does_not_tell_are_not_mapped():
    """More units and neuroids than training stimuli: the least of all rotations, by the pseudo-inverse."""
    x, y = material(40, 100, 90)
    train, test = shuffle_splits(40, n_splits=1, test_size=0.25)[0]
    a, b = x[train] - x[train].mean(axis=0), y[train] - y[train].mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b, full_matrices=False)
    rank = len(train) - 1
    predicted = (x[test] - x[train].mean(axis=0)) @ u[:, :rank] @ vt[:rank]
    expected = [pearsonr(predicted[:, j], y[test, j])[0] for j in range(90)]
    assert np.abs(procrustes.score(x, y, [(train, test)])[0] - expected).max() < 1e-10


def test_a_rotated_copy_is_found_again_and_independent_noise_is_not():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(80, 12)) * np.arange(1, 13)
    x = 5.0 + 0.1 * y @ np.linalg.qr(rng.normal(size=(30, 12)))[0].T
    splits = shuffle_splits(80, n_splits=3, test_size=0.3)
    assert np.abs(procrustes.score(x, y, splits) - 1).max() < 1e-9
    assert np.abs(procrustes.angular(x, y, splits) - 1).max() < 1e-9
    assert procrustes.distance(x, y) < 1e-6
    assert procrustes.distance(10 * x, y, kind="shape") < 1e-5 < procrustes.distance(x, y, kind="shape")
    x, y = rng.normal(size=(300, 40)), rng.normal(size=(300, 40))
    splits = shuffle_splits(300, n_splits=5, test_size=0.3)
    assert abs(procrustes.score(x, y, splits).mean()) < 0.02
    assert np.abs(procrustes.angular(x, y, splits)).max() < 0.05
    assert procrustes.angular(x, y)[0, 0] > 0.2  # in sample


def test_distances_are_metrics():
    a, b = material(30, 20, 12)
    c, d = material(30, 8, 15, seed=1)
    for kind in procrustes.DISTANCES:
        for x, y, z in ((a, b, c), (b, c, d), (a, d, c)):
            direct = procrustes.distance(x, z, kind=kind)
            assert direct <= procrustes.distance(x, y, kind=kind) + procrustes.distance(y, z, kind=kind) + 1e-12
            assert direct == pytest.approx(procrustes.distance(z, x, kind=kind), abs=1e-9)


def test_torch_float32_and_little_memory():
    x, y = material(50, 700, 12)
    splits = shuffle_splits(50, n_splits=2)
    r = procrustes.score(x, y, splits)
    assert np.abs(procrustes.score(torch.tensor(x), y, splits) - r).max() < 1e-10
    assert np.abs(procrustes.score(x.astype(np.float32), torch.tensor(y), splits) - r).max() < 1e-4
    assert np.abs(procrustes.score(x, y, splits, max_bytes=24 * 50 * 57) - r).max() < 1e-10
    assert abs(procrustes.angular(torch.tensor(x), y, splits) - procrustes.angular(x, y, splits)).max() < 1e-10
    with pytest.raises(BlendnetError, match="max_bytes 50000 is too little for 50 stimuli"):
        procrustes.score(x, y, splits, max_bytes=50000)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    x, y = material(50, 200, 12)
    splits = shuffle_splits(50, n_splits=2)
    on_gpu = procrustes.score(torch.tensor(x, device="cuda"), y, splits)
    assert np.abs(on_gpu - procrustes.score(x, y, splits)).max() < 1e-9


def test_constant_columns():
    x, y = material(50, 80, 12)
    splits = shuffle_splits(50, n_splits=2)
    r = procrustes.score(x, y, splits)
    dead = np.hstack([x, np.full((50, 20), 0.1)])
    assert np.abs(procrustes.score(dead, y, splits) - r).max() < 1e-10
    silent = np.hstack([y, np.full((50, 1), 3.3)])
    found = procrustes.score(x, silent, splits)
    assert np.isnan(found[:, -1]).all()
    assert np.abs(found[:, :-1] - r).max() < 1e-10
    assert np.isnan(procrustes.score(np.full((50, 80), 0.1), y, splits)).all()
    assert np.isnan(procrustes.angular(np.full((50, 8), 0.1), y)).all()
    assert np.isnan(procrustes.distance(x, np.full((50, 8), 0.1)))


def test_impossible_input_is_refused_in_one_line():
    x, y = material(20, 10, 5)
    for call, says in [
        (lambda: procrustes.score(x[:10], y, shuffle_splits(10)), "10 stimuli in the features"),
        (lambda: procrustes.score(x, y, []), "no splits"),
        (lambda: procrustes.distance(x, y, kind="angle"), "did you mean 'angular'"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.data
def test_real_v4_with_itself(data_root):
    """One half of the repetitions rotated onto the other: far from 1, far from pixels."""
    from blendnet.data.brain import cowley2023

    recording = cowley2023.load(data_root, sessions=("210325",))[0]
    splits = shuffle_splits(len(recording.stimuli), n_splits=2)
    top = self_ceiling.ceiling("procrustes", recording.trials, splits, n=2, n_boot=10)
    pixels = np.stack([recording.stimuli.read(i)[::14, ::14].ravel() for i in range(len(recording.stimuli))]) / 255.0
    value = np.median(procrustes.score(pixels, recording.mean(), splits), axis=1).mean()
    assert top.rule == "halves"
    assert top.value == top.halves
    assert 0.0 < value < top.lo < top.value < 0.95


@pytest.mark.parametrize("metric", ["procrustes", "one_to_one", "soft_matching"])
def test_ceiling_of_few_stimuli_has_an_interval_though_halves_leave_a_split_without_a_test(metric):
    """67 stimuli, half of FreemanZiemba2013's: some half-samples hold fewer than 2 of a split's 7 test stimuli."""
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(67, 1, 8)) + 0.5 * rng.normal(size=(67, 4, 8))
    found = self_ceiling.ceiling(metric, trials, shuffle_splits(67, n_splits=3), n=2, n_boot=30)
    assert found.lo < found.value < found.hi
