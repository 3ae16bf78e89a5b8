"""The reliability of an RDM: against a second recording of the same size, and against its own formula."""

import numpy as np
import pytest

from analysis.similarity import rsa, rsa_bootstrap
from analysis.similarity._ceiling import halves_by_stimulus, mean_shown, spearman_brown
from analysis.similarity.rdm_ceiling import from_quarters, resampled, split_half_rdm


def recordings(rng, n=60, neuroids=50, repetitions=10, snr=0.05, spectrum=1.0):
    """Two recordings of the same responses with noise of their own, (n, repetitions, neuroids) each."""
    d = min(n, neuroids)
    signal = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -spectrum @ rng.normal(size=(d, neuroids))
    signal *= np.sqrt(snr) / signal.std()
    return [signal[:, None] + rng.normal(size=(n, repetitions, neuroids)) for _ in range(2)]


@pytest.mark.parametrize(
    ("neuroids", "repetitions", "snr", "spectrum"), [(50, 12, 0.05, 1.0), (50, 12, 0.05, 0.0), (200, 20, 0.04, 0.0)]
)
def test_finds_what_a_second_recording_shows_where_spearman_brown_does_not(neuroids, repetitions, snr, spectrum):
    rng = np.random.default_rng(0)
    found, shown, brown = [], [], []
    for seed in range(24):
        first, second = recordings(rng, neuroids=neuroids, repetitions=repetitions, snr=snr, spectrum=spectrum)
        found.append(split_half_rdm(first, seed=seed, n=3, n_boot=0).value)
        shown.append(float(rsa.compare(rsa.rdm(first.mean(1)), rsa.rdm(second.mean(1)))))
        half = repetitions // 2
        r = rsa.compare(rsa.rdm(first[:, :half].mean(1)), rsa.rdm(first[:, half:].mean(1)))
        brown.append(float(spearman_brown(r)))
    error = abs(np.mean(found) - np.mean(shown))
    assert error < 0.03
    assert np.mean(shown) - np.mean(brown) > 0.035
    assert error < 0.5 * (np.mean(shown) - np.mean(brown))


def test_halves_and_quarters_that_follow_the_formula_give_it_back():
    k = 12
    a, b = np.array([0.0, 1.0, 3.0, 10.0]), np.array([2.0, 0.0, 5.0, 40.0])
    r = lambda repetitions: 1 / (1 + a / repetitions + b / repetitions**2)  # noqa: E731
    assert from_quarters(r(k / 2), r(k / 4)) == pytest.approx(r(k), abs=1e-12)


def test_noisy_quarters_stay_between_the_two_pure_cases():
    half = np.array([0.3, 0.3, 0.3, -0.1, np.nan])
    found = from_quarters(half, np.array([0.9, -0.2, 0.15, 0.2, 0.2]))
    u = 1 / 0.3 - 1
    assert found[0] == pytest.approx(spearman_brown(np.array(0.3)))  # better than halves: the error falls as 1/k
    assert found[1] == pytest.approx(1 / (1 + u / 4))  # hopeless quarters: as 1/k^2
    assert spearman_brown(np.array(0.3)) < found[2] < 1 / (1 + u / 4)
    assert np.isnan(found[3:]).all()


def test_fewer_than_four_trials_leave_spearman_brown():
    first, _ = recordings(np.random.default_rng(1), repetitions=2, snr=1.0)
    found = split_half_rdm(first, n=1, n_boot=0, seed=6)
    one, two = (mean_shown(half) for half in next(halves_by_stimulus(first, 1, np.random.default_rng(6))))
    r = rsa.compare(rsa.rdm(one), rsa.rdm(two))
    assert found.value == pytest.approx(float(spearman_brown(r)), abs=1e-12)
    assert found.n == 1


def test_missing_trials_and_one_repetition_are_nan():
    first, _ = recordings(np.random.default_rng(2), n=12, repetitions=6, snr=1.0)
    first[3, 1:] = np.nan
    for trials in (first, first[:, :1]):
        found = split_half_rdm(trials, n_boot=4)
        assert np.isnan(found.value)
        assert found.n == 0


def test_interval_holds_the_value_and_is_that_of_the_seed():
    first, second = recordings(np.random.default_rng(3), n=40, snr=0.2)
    found = split_half_rdm(first, n=3, n_boot=60, seed=4)
    assert found.lo < found.value < found.hi
    assert found.hi - found.lo > 0.02
    assert found == split_half_rdm(first, n=3, n_boot=60, seed=4)
    assert found != split_half_rdm(second, n=3, n_boot=60, seed=4)


def test_groups_are_resampled_whole():
    """Clips of near-identical stimuli: fewer things are drawn, so the interval is wider."""
    rng = np.random.default_rng(5)
    clips = np.repeat(np.arange(10), 6)
    signal = rng.normal(size=(10, 40))[clips] + 0.05 * rng.normal(size=(60, 40))
    trials = signal[:, None] + 1.5 * rng.normal(size=(60, 8, 40))
    alone = split_half_rdm(trials, n=2, n_boot=80)
    whole = split_half_rdm(trials, n=2, n_boot=80, groups=clips)
    assert whole.value == alone.value
    assert whole.hi - whole.lo > 1.2 * (alone.hi - alone.lo)


def test_resamples_are_those_of_a_score():
    """In the k-th resample the ceiling is that of the very stimuli that the score's k-th resample drew."""
    first, _ = recordings(np.random.default_rng(6), n=20, repetitions=2, snr=0.5)
    values, _ = resampled(first, method="pearson", n=1, seed=3, n_boot=5, groups=None)
    one, two = (mean_shown(half) for half in next(halves_by_stimulus(first, 1, np.random.default_rng(3))))
    times = rsa_bootstrap.draws(20, 1, 5, 3, None)[0]
    for k, drawn in enumerate(times):
        copies = np.repeat(np.arange(20), drawn)
        different = copies[:, None] != copies[None, :]
        pairs = [rsa.square(rsa.rdm(x))[np.ix_(copies, copies)][np.triu(different, 1)] for x in (one, two)]
        r = np.corrcoef(*pairs)[0, 1]
        assert values[1 + k] == pytest.approx(2 * r / (1 + r), abs=1e-9)
