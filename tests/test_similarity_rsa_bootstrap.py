"""The RSA bootstrap against resampled RDMs that are built and compared, and against rsatoolbox on the same draws."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from analysis.similarity import rsa
from analysis.similarity import rsa_bootstrap as rb
from blendnet.errors import BlendnetError
from tests.test_similarity_rsa import RSATOOLBOX, some_rdms, toolbox


def resamples(n, n_stimuli, n_subjects, seed):
    """The stimuli and subjects of each resample, drawn as `bootstrap` draws them."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.sort(rng.integers(n_stimuli, size=n_stimuli)), rng.integers(n_subjects, size=n_subjects)


@pytest.mark.parametrize("method", rsa.METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_equals_resampled_rdms_that_are_built_in_full(method, ties):
    models, brain = some_rdms(2, 10, seed=1, ties=ties), some_rdms(3, 10, seed=2, ties=ties)
    found = rb.bootstrap(models, brain, method=method, n=30, seed=4)
    for sample, (stimuli, subjects) in zip(found.samples, resamples(30, 10, 3, 4), strict=True):
        ways = ((stimuli, subjects), (np.arange(10), subjects), (stimuli, np.arange(3)))
        for own, (i, s) in zip(sample, ways):
            a, b = rsa.subset(models, i), rsa.subset(brain[s], i)
            assert np.abs(rsa.compare(a, b, method).mean(axis=1) - own).max() < 1e-9
    assert np.allclose(found.score, rsa.compare(models, brain, method).mean(axis=1))


@pytest.mark.parametrize("method", ["spearman", "pearson", "cosine"])
@pytest.mark.parametrize("ties", [False, True])
def test_noise_ceilings_equal_rsatoolbox_on_the_same_draws(method, ties):
    toolbox()
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    models, brain = some_rdms(2, 12, seed=1), some_rdms(4, 12, seed=2, ties=ties)
    found = rb.bootstrap(models, brain, method=method, n=20, seed=4)
    data = RDMs(brain, rdm_descriptors={"index": np.arange(4)}, pattern_descriptors={"index": np.arange(12)})
    compared = 0
    for own, (stimuli, subjects) in zip(found.ceiling_samples, resamples(20, 12, 4, 4), strict=True):
        fewer, less = data.subsample("index", subjects), data.subsample_pattern("index", stimuli)
        ways = (fewer.subsample_pattern("index", stimuli), fewer, less)
        for way, theirs in enumerate(ways):
            if way != 2 and len(np.unique(subjects)) < 2:
                assert np.isnan(own[way, 0])
                continue
            assert np.abs(own[way] - boot_noise_ceiling(theirs, RSATOOLBOX[method])).max() < 1e-9
            compared += 1
    assert compared > 40
    assert np.allclose(found.ceiling, rsa.ceiling(brain, method))


def test_two_factor_variance_equals_rsatoolbox_from_the_same_samples():
    toolbox()
    from rsatoolbox.util.inference_util import extract_variances

    found = rb.bootstrap(some_rdms(3, 12, seed=1), some_rdms(5, 12, seed=2), n=40, seed=4)
    kept = found.samples[np.isfinite(found.samples).all(axis=(1, 2))]
    covariance = np.stack([np.cov(kept[:, way].T) for way in range(3)])
    own, difference, _ = extract_variances(covariance, False, n_rdm=5, n_pattern=12)
    assert np.allclose(found.variance, own, rtol=1e-10)
    assert np.allclose(found.difference_variance[np.triu_indices(3, 1)], difference, rtol=1e-10)
    assert found.dof == 4


@pytest.mark.slow
def test_estimates_equal_eval_dual_bootstrap_within_monte_carlo_error():
    toolbox()
    from rsatoolbox.inference import eval_dual_bootstrap
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    models, brain = some_rdms(2, 20, seed=1), some_rdms(5, 20, seed=2)
    n = 400
    ours = rb.bootstrap(models, brain, method="pearson", n=4000, seed=0)
    np.random.seed(0)  # noqa: NPY002 - rsatoolbox draws from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = eval_dual_bootstrap(
            [ModelFixed(f"m{k}", m) for k, m in enumerate(models)], RDMs(brain), method="corr", N=n
        )
    evaluations = theirs.evaluations[:, :, 0, 0, :]  # (n, model, way)
    for way in range(3):
        mine, other = ours.samples[:, way], evaluations[:, :, way]
        error = other.std(axis=0, ddof=1) / np.sqrt(n)
        assert (np.abs(mine.mean(axis=0) - other.mean(axis=0)) < 4.5 * error).all()
        # the relative standard error of a variance from n samples is about sqrt(2 / n)
        assert (np.abs(mine.var(axis=0) / other.var(axis=0) - 1) < 4.5 * np.sqrt(2 / n)).all()
    assert np.allclose(ours.variance, theirs.model_var, rtol=0.5)
    middle = theirs.noise_ceiling[:, :, 0, 0].mean(axis=1)
    assert np.allclose(np.nanmean(ours.ceiling_samples[:, 0], axis=0), middle, atol=0.03)


def test_torch_and_any_number_of_threads_give_the_same_numbers():
    for ties in (False, True):
        models, brain = some_rdms(3, 12, seed=1, ties=ties), some_rdms(4, 12, seed=2, ties=ties)
        base = rb.bootstrap(models, brain, n=70, seed=3, threads=1)
        for other in (rb.bootstrap(models, brain, n=70, seed=3, threads=3),
                      rb.bootstrap(models, brain, n=70, seed=3, device="cpu")):  # fmt: skip
            np.testing.assert_allclose(other.samples, base.samples, atol=1e-12)
            np.testing.assert_allclose(other.ceiling_samples, base.ceiling_samples, atol=1e-12)
            np.testing.assert_allclose(other.variance, base.variance, rtol=1e-9)


def test_interval_covers_the_true_similarity():
    """New subjects and new stimuli from one population: a 95 % interval holds the population's value in 95 %."""
    rng = np.random.default_rng(0)
    big = rng.normal(size=(900, 8))
    model_of = big @ rng.normal(size=(8, 8)) * 0.5 + big

    def draw(n_stimuli, n_subjects):
        index = rng.choice(len(big), n_stimuli, replace=False)
        subjects = [rsa.rdm(big[index] + rng.normal(size=(n_stimuli, 8))) for _ in range(n_subjects)]
        return rsa.rdm(model_of[index])[None], np.stack(subjects)

    truth = float(np.mean([rsa.compare(*draw(200, 4)).mean() for _ in range(12)]))
    inside, naive = 0, 0
    for trial in range(120):
        models, brain = draw(30, 8)
        found = rb.bootstrap(models, brain, n=120, seed=trial, ceilings=False)
        inside += found.lo[0] <= truth <= found.hi[0]
        naive += abs(found.score[0] - truth) < 1.96 * np.sqrt(found.samples[:, 1, 0].var())
    # binomial 99.9 % band of 95 % in 120 trials is 106..120
    assert 106 <= inside <= 120
    assert naive < inside  # subjects alone say too little


def test_groups_are_drawn_whole():
    models, brain = some_rdms(1, 12, seed=1), some_rdms(1, 12, seed=2)
    groups = np.repeat([5, 1, 3, 9], 3)
    found = rb.bootstrap(models, brain, n=20, seed=4, groups=groups)
    rng = np.random.default_rng(4)
    order = np.array([1, 3, 5, 9])
    for sample in found.samples:
        drawn = order[rng.integers(4, size=4)]
        rng.integers(1, size=1)
        stimuli = np.sort(np.concatenate([np.flatnonzero(groups == g) for g in drawn]))
        expected = rsa.compare(rsa.subset(models, stimuli), rsa.subset(brain, stimuli))
        assert abs(float(expected[0, 0]) - sample[2, 0]) < 1e-9
    assert found.dof == 3
    assert np.isnan(found.ceiling).all()


def test_impossible_input_is_one_line():
    a = some_rdms(1, 12)
    for make, says in [
        (lambda: rb.bootstrap(np.full(10, np.nan), np.arange(10.0)), "holds NaN"),
        (lambda: rb.bootstrap(a, a, n=1), "1 resamples"),
        (lambda: rb.bootstrap(a, a, groups=np.arange(5)), "5 labels"),
        (lambda: rb.bootstrap(a, some_rdms(1, 11)), "12 and 11 stimuli"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            make()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("2,1", 2), ("3", 3), (" 4 ", 4), ("0", 0), ("abc", 0), ("-2", 0), ("", 0), (None, 0), ("2,x", 2), ("9" * 30, 0)],
)
def test_omp_num_threads_is_read_as_openmp_reads_it(monkeypatch, said, wanted):
    """A list is legal there; what is no number is as good as nothing: 0 here stands for all cores of this process."""
    asked = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads):
            asked.append(threads)
            super().__init__(1)

    monkeypatch.setattr(rb, "ThreadPoolExecutor", Pool)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    done = []
    rb._in_threads(40, None, done.extend)
    assert asked == [wanted or len(os.sched_getaffinity(0))]
    assert sorted(done) == list(range(40))
