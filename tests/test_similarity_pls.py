"""PLS against scikit-learn and Brain-Score themselves, on every shape and spectrum."""

import os
import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.cross_decomposition import PLSRegression

from analysis.similarity import _pls_power, pls
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError


def material(n, p, q, *, power, noise, seed=0):
    """Features with variances k^-power and an offset, responses from random weights, noise relative to them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** (-power / 2) + rng.normal(size=p)
    y = x @ rng.normal(size=(p, q))
    return x, y + noise * y.std(axis=0) * rng.normal(size=y.shape) + rng.normal(size=q)


def by_sklearn(x, y, splits, n_components=25):
    r = np.empty((len(splits), y.shape[1]))
    for f, (train, test) in enumerate(splits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "maximum number of iterations": part of the definition
            predicted = PLSRegression(n_components, scale=False).fit(x[train], y[train]).predict(x[test])
        r[f] = [pearsonr(y[test, j], predicted.reshape(len(test), -1)[:, j])[0] for j in range(y.shape[1])]
    return r


@pytest.mark.parametrize(
    ("n", "p", "q", "power", "noise"),
    [
        (160, 80, 12, 1, 1.0),  # more stimuli than features, power law
        (160, 80, 12, 0, 1.0),  # flat: power iterations stop long before they converge
        (120, 300, 12, 1, 1.0),  # more features than stimuli
        (120, 300, 12, 0, 0.5),
        (120, 300, 12, 2, 0.1),  # steep, nearly noise-free
        (120, 300, 40, 1, 0.0),  # noise-free
        (100, 99, 60, 1, 1.0),  # nearly square, more neuroids than components
        (90, 60, 1, 1, 1.0),  # one neuroid: no iteration at all
        (120, 30, 130, 1, 1.0),  # many more neuroids than features, and than stimuli
        (120, 30, 130, 0, 0.5),
        (80, 200, 170, 1, 1.0),  # many more neuroids than stimuli
        (80, 200, 170, 0, 0.5),
    ],
)
def test_equals_scikit_learn(n, p, q, power, noise):
    x, y = material(n, p, q, power=power, noise=noise)
    splits = shuffle_splits(n, n_splits=3)
    assert np.abs(pls.score(x, y, splits) - by_sklearn(x, y, splits)).max() < 1e-8


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize("p", [40, 300])
def test_many_neuroids_beside_few_and_some_that_are_constant(p):
    """Regions in one call, one held in a basis of its responses; neuroids that do not vary, the first among them."""
    x, y = material(100, p, 230, power=1, noise=1.0)
    y[:, [0, 100, 229]] = 7.0
    splits = shuffle_splits(100, n_splits=3)
    y[splits[0][0], 1] = 2.5  # varies in the other splits
    found = pls.score_many({"layer": x}, {"IT": y, "V4": y[:, 50:90]}, splits)["layer"]
    with np.errstate(invalid="ignore"):
        reference = by_sklearn(x, y, splits)
        reference[0, 1] = np.nan
    for region, expected in (("IT", reference), ("V4", by_sklearn(x, y[:, 50:90], splits))):
        assert np.array_equal(np.isnan(found[region]), np.isnan(expected))
        assert np.nanmax(np.abs(found[region] - expected)) < 1e-8


def test_slow_convergence_is_stopped_where_scikit_learn_stops():
    """Equal singular values: neither the singular vectors nor other stopping rules give these scores."""
    x, y = material(300, 600, 30, power=0, noise=0.5)
    splits = shuffle_splits(300, n_splits=2)
    ours, theirs = pls.score(x, y, splits), by_sklearn(x, y, splits)
    converged = pls.score(x, y, splits, tol=0.0, max_iter=20000)
    assert np.abs(ours - theirs).max() < 1e-8
    assert np.abs(converged - theirs).max() > 1e-4


def test_looked_up_steps_are_the_steps():
    """The shortcut by eigenvectors and the plain loop stop at the same place with the same weights."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    m = basis @ np.diag(np.linspace(1.0, 0.97, 20)) @ basis.T
    c = rng.normal(size=20)
    c /= np.sqrt(c @ m @ c)
    looked_up = _pls_power.stopped(m, c, 400, 1e-6)
    for _ in range(400):
        d = m @ c
        cosine = (c @ m @ d) / np.sqrt(d @ m @ d)
        c = d / np.sqrt(d @ m @ d)
        if 2 - 2 * cosine < 1e-6:
            break
    assert np.abs(looked_up - c).max() < 1e-9


def test_predictions_are_those_of_scikit_learn():
    x, y = material(100, 50, 6, power=1, noise=1.0)
    splits = shuffle_splits(100, n_splits=2)
    for (train, test), predicted in zip(splits, pls.predict(x, y, splits)):
        reference = PLSRegression(25, scale=False).fit(x[train], y[train]).predict(x[test])
        assert np.abs(predicted - reference).max() < 1e-8 * np.abs(y).max()


def test_equals_brain_score():
    """Brain-Score's own metric object, its own stratified splits: each neuroid and the aggregate."""
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.regression_correlation.metric import (
        CrossRegressedCorrelation,
        pearsonr_correlation,
        pls_regression,
    )

    n = 120
    x, y = material(n, 200, 10, power=1, noise=1.0)
    # zero-padded, so that sorting by stimulus_id keeps the order
    ids = [f"image{i:04d}" for i in range(n)]
    objects = np.array([f"object{i % 6}" for i in range(n)])

    def assembly(values):
        return NeuroidAssembly(
            values,
            coords={
                "stimulus_id": ("presentation", ids),
                "object_name": ("presentation", objects),
                "neuroid_id": ("neuroid", np.arange(values.shape[1])),
                "region": ("neuroid", ["V4"] * values.shape[1]),
            },
            dims=["presentation", "neuroid"],
        )

    metric = CrossRegressedCorrelation(
        regression=pls_regression(),
        correlation=pearsonr_correlation(),
        crossvalidation_kwargs=dict(splits=3, stratification_coord="object_name"),
    )
    theirs = metric(assembly(x), assembly(y))
    ours = pls.score(x, y, shuffle_splits(n, n_splits=3, stratify=objects))
    raw = theirs.attrs["raw"].transpose("split", "neuroid").values
    assert np.abs(ours - raw).max() < 1e-8
    assert abs(np.median(ours, axis=1).mean() - float(theirs)) < 1e-8


def test_float32_features_and_one_split_at_a_time():
    x, y = material(80, 150, 20, power=1, noise=1.0)
    splits = shuffle_splits(80, n_splits=4)
    whole = pls.score(x, y, splits)
    assert np.abs(pls.score(x.astype(np.float32), y, splits) - whole).max() < 1e-4
    one_at_a_time = pls.score(x, y, splits, max_bytes=1)
    assert np.abs(one_at_a_time - whole).max() < 1e-12


def test_shift_scale_and_rotation_of_features_do_not_matter():
    x, y = material(90, 40, 8, power=1, noise=1.0)
    splits = shuffle_splits(90, n_splits=2)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 40)))[0]
    assert np.abs(pls.score(x, y, splits) - pls.score(1e3 * x @ rotation + 5.0, y, splits)).max() < 1e-7


@pytest.mark.parametrize(("rank", "p"), [(6, 40), (6, 300), (20, 300)])
def test_exhausted_features_end_in_least_squares(rank, p):
    """With fewer dimensions than components PLS is least squares on them."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(90, rank))
    x = latent @ rng.normal(size=(rank, p))
    y = latent @ rng.normal(size=(rank, 7)) + rng.normal(size=(90, 7))
    splits = shuffle_splits(90, n_splits=3)
    for (train, test), predicted in zip(splits, pls.predict(x, y, splits)):
        design = np.column_stack([np.ones(90), latent])
        solution = np.linalg.lstsq(design[train], y[train], rcond=None)[0]
        assert np.abs(predicted - design[test] @ solution).max() < 1e-6


def test_few_training_stimuli_and_few_features():
    x, y = material(12, 100, 5, power=1, noise=1.0)
    r = pls.score(x, y, shuffle_splits(12, n_splits=2, test_size=0.3))
    assert np.isfinite(r).all()
    x, y = material(40, 3, 5, power=1, noise=1.0)
    splits = shuffle_splits(40, n_splits=2)
    assert np.abs(pls.score(x, y, splits) - by_sklearn(x, y, splits, n_components=3)).max() < 1e-9


def test_constant_neuroids_are_nan_and_do_not_disturb_the_others():
    x, y = material(80, 60, 8, power=1, noise=1.0)
    splits = shuffle_splits(80, n_splits=3)
    y[:, 0] = 7.3  # scikit-learn's iteration would start from this one
    y[:, 5] = 0.0
    y[:, 3] = 0.1
    y[splits[0][1], 3] += np.arange(len(splits[0][1]))  # varies at the test stimuli of split 0 only
    r = pls.score(x, y, splits)
    assert np.isnan(r[:, [0, 5]]).all()
    assert np.isnan(r[0, 3])
    rest = [1, 2, 4, 6, 7]
    # In split 0 neuroid 3 is constant in training, so that it cannot enter.
    assert np.abs(r[:1, rest] - by_sklearn(x, y[:, rest], splits[:1])).max() < 1e-8


def test_constant_features_give_nan_not_a_crash():
    _, y = material(40, 5, 3, power=1, noise=1.0)
    assert np.isnan(pls.score(np.ones((40, 10)), y, shuffle_splits(40, n_splits=2))).all()


def test_stimuli_in_neither_part_of_a_split_are_not_used():
    x, y = material(90, 40, 5, power=1, noise=1.0)
    splits = [(np.arange(10, 70), np.arange(70, 85))]
    before = pls.score(x, y, splits)
    assert np.abs(before - by_sklearn(x, y, splits)).max() < 1e-8
    x[85:] += 100.0
    y[:10] -= 50.0
    assert np.abs(pls.score(x, y, splits) - before).max() < 1e-8


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda x, y: y.__setitem__((4, 2), np.nan), "neuroid 2 is nan at stimulus 4"),
        (lambda x, y: x.__setitem__((1, 7), np.inf), "feature 7 is inf at stimulus 1"),
    ],
)
def test_missing_numbers_are_named(spoil, says):
    x, y = material(40, 20, 5, power=1, noise=1.0)
    spoil(x, y)
    with pytest.raises(BlendnetError, match=says) as error:
        pls.score(x, y, shuffle_splits(40))
    assert "\n" not in str(error.value)


def test_impossible_input_is_refused_in_one_line():
    x, y = material(40, 20, 5, power=1, noise=1.0)
    whole = np.arange(40)
    for args, says in [
        ((x[:30], y, shuffle_splits(30)), "30 stimuli in the features, 40 in the responses"),
        ((x[:, 0], y, shuffle_splits(40)), "2 dimensions"),
        ((x[:, :0], y, shuffle_splits(40)), "empty"),
        ((x, y, []), "no splits"),
        ((x, y, [(whole[:30], whole[25:])]), "repeats a stimulus"),
        ((x, y, [(whole[:30], whole[30:] + 10)]), "outside the 40 stimuli"),
        ((x, y, [(whole[:39], whole[39:])]), "1 test stimuli"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            pls.score(*args)
        assert "\n" not in str(error.value)


def test_score_many_scores_each_layer():
    x, y = material(60, 30, 4, power=1, noise=1.0)
    splits = shuffle_splits(60, n_splits=2)
    both = pls.score_many({"early": x, "late": x[:, :5]}, y, splits)
    assert list(both) == ["early", "late"]
    assert np.array_equal(both["late"], pls.score(x[:, :5], y, splits))


@pytest.mark.data
def test_pixels_on_real_v4(data_root):
    """16x16 pixels of 640 images against 50 neurons: r = .228 was measured with scikit-learn (facts.md)."""
    import io
    import re
    import zipfile

    from PIL import Image

    folder = data_root / "cowley2023"
    if not (folder / "images_210325.zip").exists():
        pytest.skip("no cowley2023 session 210325 in the data folder")
    with zipfile.ZipFile(folder / "images_210325.zip") as archive:
        names = sorted(
            (n for n in archive.namelist() if n.endswith(".jpg")), key=lambda n: int(re.findall(r"(\d+)\.jpg", n)[0])
        )
        images = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    # From the 224 px at which networks see them, averaged to 16x16.
    x = np.stack([np.asarray(im.resize((224, 224)).resize((16, 16), Image.Resampling.BOX)) for im in images])
    y = np.nanmean(np.load(folder / "responses_raw_210325.npy"), axis=2).T
    r = pls.score(x.reshape(len(x), -1) / 255.0, y, shuffle_splits(len(y)))
    # Brain-Score's order: median over neuroids, then mean over splits. The other order gives .218.
    assert abs(np.median(r, axis=1).mean() - 0.228) < 0.005
