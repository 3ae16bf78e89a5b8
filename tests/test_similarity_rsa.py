"""RSA against rsatoolbox and against loops; the ceiling on the real RDMs."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from analysis.similarity import rsa
from analysis.similarity._splits import shuffle_splits
from blendnet.errors import BlendnetError

RSATOOLBOX = {
    "spearman": "spearman",
    "pearson": "corr",
    "cosine": "cosine",
    "whitened": "corr_cov",
    "whitened_cosine": "cosine_cov",
}


def toolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed (extra 'brain')")


def some_rdms(n, n_stimuli=14, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_stimuli, 6))
    rdms = np.stack([rsa.rdm(common + rng.normal(size=common.shape)) for _ in range(n)])
    return np.round(rdms, 1) if ties else rdms


def test_rdm_equals_scipy_and_rsatoolbox():
    x = np.random.default_rng(0).normal(size=(20, 50)) * 3 + 1
    assert np.abs(rsa.rdm(x) - pdist(x, "correlation")).max() < 1e-10
    assert np.abs(rsa.rdm(x, distance="euclidean") - pdist(x, "sqeuclidean") / 50).max() < 1e-10
    toolbox()
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    for distance in rsa.DISTANCES:
        theirs = calc_rdm(Dataset(x), method=distance).get_vectors()[0]
        assert np.abs(rsa.rdm(x, distance=distance) - theirs).max() < 1e-10


@pytest.mark.parametrize("method", rsa.METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_compare_equals_rsatoolbox(method, ties):
    toolbox()
    from rsatoolbox.rdm import compare

    a, b = some_rdms(3, seed=1, ties=ties), some_rdms(4, seed=2, ties=ties)
    ours = rsa.compare(a, b, method)
    assert ours.shape == (3, 4)
    assert np.abs(ours - compare(a, b, RSATOOLBOX[method])).max() < 1e-8
    assert np.abs(rsa.compare(a[0], b, method) - ours[0]).max() < 1e-12
    assert abs(float(rsa.compare(a[0], b[1], method)) - ours[0, 1]) < 1e-12


@pytest.mark.parametrize("method", rsa.METHODS)
def test_compare_with_missing_pairs_equals_rsatoolbox(method):
    """Resampled stimuli: pairs of a stimulus with its own copy are missing."""
    toolbox()
    from rsatoolbox.rdm import RDMs, compare

    a, b = some_rdms(2, seed=1), some_rdms(3, seed=2)
    index = np.array([0, 0, 1, 3, 3, 3, 5, 7, 8, 9, 11, 12, 13, 13])
    theirs = [RDMs(r).subsample_pattern("index", index) for r in (a, b)]
    ours = [rsa.subset(r, index) for r in (a, b)]
    for x, y in zip(ours, theirs):
        assert np.array_equal(x, y.get_vectors(), equal_nan=True)
    assert np.isnan(ours[0]).sum() == 2 * (1 + 3 + 1)
    assert np.abs(rsa.compare(*ours, method) - compare(*theirs, RSATOOLBOX[method])).max() < 1e-8


@pytest.mark.parametrize("method", rsa.METHODS)
def test_ceiling_equals_rsatoolbox(method):
    toolbox()
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    brain = some_rdms(5, seed=3)
    assert (
        np.abs(np.subtract(rsa.ceiling(brain, method), boot_noise_ceiling(RDMs(brain), RSATOOLBOX[method]))).max()
        < 1e-8
    )


def test_ceiling_of_one_subject_is_none():
    assert np.isnan(rsa.ceiling(some_rdms(1))).all()


@pytest.mark.data
@pytest.mark.parametrize(("region", "lower", "upper"), [("EVC", 0.247, 0.399), ("IT", 0.459, 0.549)])
def test_ceiling_of_real_subjects(data_root, region, lower, upper):
    h5py = pytest.importorskip("h5py")
    path = data_root / "algonauts2019" / "target_fmri_92.mat"
    if not path.exists():
        pytest.skip("no algonauts2019 in the data folder")
    with h5py.File(path) as file:
        squares = np.moveaxis(np.asarray(file[f"{region}_RDMs"]), -1, 0)
    brain = squares[(slice(None), *np.triu_indices(92, 1))]
    # The reference numbers are given as Spearman but are those of Pearson (IT to the last digit).
    assert np.abs(np.subtract(rsa.ceiling(brain, "pearson"), (lower, upper))).max() < 0.002
    assert np.abs(np.subtract(rsa.ceiling(brain, "spearman"), (lower, upper))).max() < 0.01


def test_subset_and_square_are_what_their_names_say():
    x = np.random.default_rng(0).normal(size=(12, 9))
    index = np.array([7, 2, 10, 4])
    assert np.abs(rsa.subset(rsa.rdm(x), index) - rsa.rdm(x[index])).max() < 1e-12
    full = rsa.square(rsa.rdm(x))
    assert np.array_equal(full, full.T)
    assert np.array_equal(full[np.triu_indices(12, 1)], rsa.rdm(x))
    assert rsa.n_stimuli(rsa.rdm(x)) == 12


def test_spearman_with_ties_equals_scipy():
    a, b = some_rdms(2, seed=5, ties=True)
    assert abs(float(rsa.compare(a, b)) - spearmanr(a, b)[0]) < 1e-12


def test_score_is_per_subject():
    x = np.random.default_rng(0).normal(size=(14, 30))
    brain = some_rdms(3)
    assert np.allclose(rsa.score(x, brain), [spearmanr(pdist(x, "correlation"), b)[0] for b in brain])


def test_a_flat_rdm_has_no_correlation():
    assert np.isnan(rsa.compare(np.ones(10), np.arange(10.0)))


def test_impossible_input_is_one_line():
    x = np.random.default_rng(0).normal(size=(6, 4))
    broken, flat = x.copy(), x.copy()
    broken[2, 1], flat[3] = np.nan, 1.0
    for make, says in [
        (lambda: rsa.rdm(broken), "feature 1 is nan at stimulus 2"),
        (lambda: rsa.rdm(flat), "stimulus 3 is the same number"),
        (lambda: rsa.rdm(x[:2]), "make no RDM"),
        (lambda: rsa.rdm(x, distance="corelation"), "did you mean 'correlation'"),
        (lambda: rsa.compare(rsa.rdm(x), rsa.rdm(x[:5])), "6 and 5 stimuli"),
        (lambda: rsa.compare(rsa.rdm(x), rsa.rdm(x), "spearmann"), "did you mean 'spearman'"),
        (lambda: rsa.n_stimuli(np.zeros(7)), "7 pairs"),
        (lambda: rsa.compare(np.full(10, np.nan), np.arange(10.0)), "0 pairs"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            make()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
@pytest.mark.parametrize("as_tensors", [False, True])
def test_responses_in_the_form_of_the_other_metrics(distance, as_tensors):
    """scipy's distances and rank correlation over the test stimuli of each split, and over all."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=(30, 5))
    y[:, :3] += x[:, :3]
    splits = shuffle_splits(30, n_splits=4, test_size=0.4)
    given = [x, y]
    if as_tensors:
        torch = pytest.importorskip("torch")
        given = [torch.from_numpy(x), torch.from_numpy(y)]
    name = {"correlation": "correlation", "euclidean": "sqeuclidean"}[distance]

    def expected(stimuli):
        return spearmanr(pdist(x[stimuli], name), pdist(y[stimuli], name))[0]

    found = rsa.score_responses(*given, splits, distance=distance)
    assert found.shape == (4, 1)
    assert np.abs(found[:, 0] - [expected(test) for _, test in splits]).max() < 1e-12
    assert rsa.score_responses(*given, distance=distance) == pytest.approx(np.array([[expected(np.arange(30))]]))
    with pytest.raises(BlendnetError, match="29 in the responses"):
        rsa.score_responses(x, y[:29])


@pytest.mark.parametrize("method", rsa.METHODS)
@pytest.mark.parametrize("distance", rsa.DISTANCES)
def test_responses_by_every_method_equal_compare_in_numpy_and_torch(method, distance):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 9)), np.round(rng.normal(size=(40, 6)), 1)
    y[:, :4] += x[:, :4]
    splits = shuffle_splits(40, n_splits=3, test_size=0.3)
    options = dict(method=method, distance=distance)
    slow = [
        [float(rsa.compare(*(rsa.rdm(side[test], distance=distance) for side in (x, y)), method))] for _, test in splits
    ]
    assert np.abs(rsa.score_responses(x, y, splits, **options) - slow).max() < 1e-12
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    assert np.abs(rsa.score_responses(*tensors, splits, **options) - slow).max() < 1e-12
    same = np.eye(40)  # all pairs are equally far apart
    assert np.isnan(rsa.score_responses(same, y, method=method, distance="euclidean")).all() == (
        method in ("spearman", "pearson", "whitened")
    )
    found = rsa.rdm(tensors[0], distance=distance)
    assert isinstance(found, torch.Tensor)
    assert np.abs(found.numpy() - rsa.rdm(x, distance=distance)).max() < 1e-14


@pytest.mark.parametrize("distance", rsa.DISTANCES)
@pytest.mark.parametrize("max_bytes", [1, 32 * 50 * 7, 32 * 50 * 23])
def test_rdm_in_tiles_is_the_same(distance, max_bytes):
    """Tiles of 1, 7 and 23 stimuli and features, of which 50 and 61 are no multiple."""
    x = np.random.default_rng(4).normal(size=(50, 61)) + 3.0
    whole, tiled = rsa.rdm(x, distance=distance), rsa.rdm(x, distance=distance, max_bytes=max_bytes)
    expected = pdist(x, "correlation") if distance == "correlation" else pdist(x, "sqeuclidean") / 61
    assert np.abs(whole - expected).max() < 1e-12
    assert np.abs(whole - tiled).max() < 1e-13


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", rsa.METHODS)
def test_responses_hold_no_more_than_max_bytes(method, ties):
    n = 1200
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(n, 3000)).astype(np.float32), rng.normal(size=(n, 20))
    if ties:
        y[1] = y[0]
    bound = {"spearman": 36, "whitened": 60, "whitened_cosine": 60}.get(method, 32) * n * n
    tracemalloc.start()
    try:
        rsa.score_responses(x, y, method=method, max_bytes=bound)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < bound
    with pytest.raises(BlendnetError, match=f"max_bytes {bound - 1} is too little for all pairs of 1200 stimuli"):
        rsa.score_responses(x, y, method=method, max_bytes=bound - 1)
