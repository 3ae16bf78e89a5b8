"""Layers and regions in one call, torch, precision, memory; and Brain-Score's own classes on every kind of data."""

import io
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from functools import partial

import numpy as np
import pytest

from analysis.similarity import pls, ridge
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def fixed(x, y, splits, **options):
    return ridge.score(x, y, splits, fixed_alpha=1.0, **options)


def fixed_many(xs, ys, splits, **options):
    return ridge.score_many(xs, ys, splits, fixed_alpha=1.0, **options)


METRICS = {"pls": (pls.score, pls.score_many), "ridge": (ridge.score, ridge.score_many), "fixed": (fixed, fixed_many)}
each_metric = pytest.mark.parametrize("metric", METRICS)


def material(n, p, q, *, power=1.0, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** (-power / 2) + rng.normal(size=p)
    y = x @ rng.normal(size=(p, q))
    return x, y + noise * y.std(axis=0) * rng.normal(size=y.shape) + rng.normal(size=q)


def several(n=70):
    """Layers narrower and wider than the stimuli, regions of very different sizes, a dead neuroid among them."""
    xs = {"early": material(n, 30, 1)[0], "late": material(n, 150, 1, seed=1)[0]}
    ys = {region: material(n, 30, q, seed=q)[1] for region, q in (("V1", 12), ("V2", 1), ("V4", 9), ("IT", 20))}
    ys["V4"][:, 3] = 0.7
    return xs, ys


@each_metric
def test_one_call_equals_single_calls(metric):
    score, score_many = METRICS[metric]
    xs, ys = several()
    splits = {region: shuffle_splits(70, n_splits=3, seed=seed) for region, seed in zip(ys, (1, 1, 2, 1))}
    found = score_many(xs, ys, splits)
    assert list(found) == list(xs)
    for layer, x in xs.items():
        assert list(found[layer]) == list(ys)
        for region, y in ys.items():
            alone = score(x, y, splits[region])
            assert alone.shape == (3, y.shape[1])
            assert np.isnan(alone).any() == (region == "V4")
            np.testing.assert_allclose(found[layer][region], alone, atol=1e-9)
    simple = score_many(xs, ys["IT"], splits["IT"])
    np.testing.assert_allclose(simple["late"], found["late"]["IT"], atol=1e-9)


@each_metric
def test_splits_of_unequal_sizes_go_together(metric):
    score, score_many = METRICS[metric]
    xs, ys = several()
    groups = np.repeat(np.arange(20), np.arange(20))[:70]
    splits = shuffle_splits(70, n_splits=4, groups=groups, test_size=0.3)
    assert len({len(test) for _, test in splits}) > 1
    twice = [*splits, splits[0]]
    for layer, x in xs.items():
        alone = np.concatenate([score(x, ys["IT"], [split]) for split in twice])
        np.testing.assert_allclose(score_many(xs, ys, twice)[layer]["IT"], alone, atol=1e-9)


@each_metric
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_equals_numpy(metric, device):
    torch = pytest.importorskip("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here: torch finds no CUDA device")
    score, score_many = METRICS[metric]
    xs, ys = several()
    splits = shuffle_splits(70, n_splits=3)
    tensors = {layer: torch.from_numpy(x).to(device) for layer, x in xs.items()}
    for layer, x in xs.items():
        found = score(tensors[layer], torch.from_numpy(ys["V4"]).to(device), splits)
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, score(x, ys["V4"], splits), atol=1e-10)
        # one of the two is enough
        np.testing.assert_allclose(score(x, torch.from_numpy(ys["V4"]).to(device), splits), found, atol=1e-10)
    many, plain = score_many(tensors, ys, splits), score_many(xs, ys, splits)
    for layer in xs:
        for region in ys:
            np.testing.assert_allclose(many[layer][region], plain[layer][region], atol=1e-10)


@each_metric
@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("power", [0, 1])
def test_float32_error_is_as_stated(metric, torch_too, power):
    score, _ = METRICS[metric]
    for p in (60, 250):
        x, y = material(120, p, 15, power=power)
        splits = shuffle_splits(120, n_splits=3)
        exact = score(x, y, splits)
        if torch_too:
            torch = pytest.importorskip("torch")
            x = torch.from_numpy(x)
        rough = score(x, y, splits, dtype="float32")
        assert rough.dtype == np.float64
        assert 0 < np.abs(rough - exact).max() < {"pls": 1e-3, "fixed": 1e-4, "ridge": 1e-2}[metric]
        assert abs(np.median(rough, axis=1).mean() - np.median(exact, axis=1).mean()) < 2e-4
    with pytest.raises(BlendnetError, match="did you mean 'float32'"):
        score(x, y, splits, dtype="float23")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("p", [40, 200])
def test_exhausted_features_end_the_fit_in_either_precision(p, dtype):
    """Six dimensions, noise-free responses: what comes after the sixth component is rounding, and is left out."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(90, 6))
    x, y = latent @ rng.normal(size=(6, p)), latent @ rng.normal(size=(6, 7))
    splits = shuffle_splits(90, n_splits=3)
    for (_, test), predicted in zip(splits, pls.predict(x, y, splits, dtype=dtype)):
        assert np.abs(predicted - y[test]).max() < {"float64": 1e-9, "float32": 1e-3}[dtype] * np.abs(y).max()


def test_the_engine_needs_no_torch():
    code = (
        "import sys; import numpy as np; from analysis.similarity import pls, ridge; "
        "from analysis.similarity._splits import shuffle_splits; "
        "rng = np.random.default_rng(0); x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2)); "
        "s = shuffle_splits(30); pls.score(x, y, s); ridge.score(x, y, s); ridge.score(x, y, s, fixed_alpha=1.0); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def peak(call):
    """Bytes that numpy held at most during the call, arguments not counted."""
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("p", [150, 900])
def test_memory_is_bounded_by_the_argument(p):
    """Many regressions at once take what they may, and no more beside the responses and the matrix they share."""
    n, q = 200, 60
    x, _ = material(n, p, 1)
    ys = {f"region{i}": material(n, 20, q, seed=i)[1] for i in range(4)}
    splits = shuffle_splits(n, n_splits=20)
    run = partial(pls.score_many, {"layer": x}, ys, splits, n_components=6)
    # Once each: the shared matrix, float64 of at most 2**24 features at a time, responses and what predicts them.
    held = 8 * (3 * min(n, p) ** 2 + 3 * n * p + 6 * n * q * 4 + 4 * 20 * 20 * q * 2 + 4 * min(n, p) * q)
    wide = peak(run)
    for max_bytes in (2**22, 2**24):
        bound = peak(partial(run, max_bytes=max_bytes))
        assert bound < held + max_bytes
        assert bound < wide
    assert peak(partial(run, max_bytes=2**22)) < 0.65 * wide


@pytest.mark.parametrize("p", [150, 900])
@pytest.mark.parametrize("metric", ["ridge", "fixed"])
def test_ridge_holds_little_beside_its_matrices(p, metric):
    n, q = 300, 400
    x, y = material(n, p, q)
    splits = shuffle_splits(n, n_splits=3)
    score, _ = METRICS[metric]
    responses = 8 * q * (8 * n + 4 * 3 * n // 10)  # y, centred, P y, training errors of one split; test responses
    shared = 8 * 5 * (min(n, p) if metric == "fixed" else n) ** 2 + 8 * 3 * n * p
    for max_bytes in (1, 2**18, 2**30):
        found = score(x, y, splits, max_bytes=max_bytes)
        np.testing.assert_allclose(found, score(x, y, splits), atol=1e-12)
        assert peak(partial(score, x, y, splits, max_bytes=max_bytes)) < responses + shared
    if p < n:
        most = [peak(partial(score, x, y, splits, max_bytes=max_bytes)) for max_bytes in (2**18, 2**30)]
        assert most[0] < most[1]


@each_metric
def test_errors_name_layer_and_region(metric):
    _, score_many = METRICS[metric]
    xs, ys = several()
    splits = shuffle_splits(70, n_splits=2)
    bad = {**xs, "late": xs["late"][:50]}
    spoiled = {**ys, "V2": ys["V2"] * np.nan}
    for args, says in [
        ((bad, ys, splits), "layer 'late'.*50 stimuli in the features, 70"),
        ((xs, spoiled, splits), "region 'V2'.*neuroid 0 is nan"),
        ((xs, ys, {"V1": splits}), "region 'V2' has no splits"),
        (({}, ys, splits), "no layers"),
        ((xs, {}, splits), "no regions"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            score_many(*args)
        assert "\n" not in str(error.value)


def brain_score(name, x, y, n_splits):
    """Brain-Score's own metric: r (n_splits, n_neuroids) and its aggregate."""
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.regression_correlation import metric as theirs

    def assembly(values):
        coords = {
            "stimulus_id": ("presentation", [f"image{i:06d}" for i in range(len(values))]),
            "object_name": ("presentation", ["object"] * len(values)),
            "neuroid_id": ("neuroid", np.arange(values.shape[1])),
            "region": ("neuroid", ["IT"] * values.shape[1]),
        }
        return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid"])

    metric = theirs.CrossRegressedCorrelation(
        regression={"pls": theirs.pls_regression, "ridge": theirs.ridge_regression}[name](),
        correlation=theirs.pearsonr_correlation(),
        crossvalidation_kwargs=dict(splits=n_splits, stratification_coord=None),
    )
    found = metric(assembly(x), assembly(y))
    return found.attrs["raw"].transpose("split", "neuroid").values, float(found)


def agree(x, y, *, n_splits=2):
    splits = shuffle_splits(len(x), n_splits=n_splits)
    found = pls.score_many({"layer": x}, {"region": y}, splits)["layer"]["region"]
    raw, aggregate = brain_score("pls", x, y, n_splits)
    assert np.abs(found - raw).max() < 1e-3
    assert abs(np.median(found, axis=1).mean() - aggregate) < 1e-4
    found = ridge.score_many({"layer": x}, {"region": y}, splits, fixed_alpha=1.0)["layer"]["region"]
    raw, aggregate = brain_score("ridge", x, y, n_splits)
    assert np.abs(found - raw).max() < 1e-6
    assert abs(np.median(found, axis=1).mean() - aggregate) < 1e-6


@pytest.mark.parametrize("power", [0, 1, 2])
@pytest.mark.parametrize("p", [90, 400])
def test_equals_brain_score_on_flat_and_power_law_spectra(power, p):
    agree(*material(200, p, 25, power=power))


@pytest.mark.data
def test_equals_brain_score_on_real_v4(data_root):
    """16x16 pixels in three colours, more than the 640 images, and a quarter of them."""
    from PIL import Image

    folder = data_root / "cowley2023"
    if not (folder / "images_210325.zip").exists():
        pytest.skip("no cowley2023 session 210325 in the data folder")
    with zipfile.ZipFile(folder / "images_210325.zip") as archive:
        names = sorted(
            (n for n in archive.namelist() if n.endswith(".jpg")), key=lambda n: int(re.findall(r"(\d+)\.jpg", n)[0])
        )
        images = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    x = np.stack([np.asarray(im.resize((16, 16), Image.Resampling.BOX)) for im in images]).reshape(len(images), -1)
    x = x / 255.0
    y = np.nanmean(np.load(folder / "responses_raw_210325.npy"), axis=2).T
    assert x.shape == (640, 768)
    agree(x, y)
    agree(x[:, ::4], y)
