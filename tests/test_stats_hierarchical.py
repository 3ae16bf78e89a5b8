import numpy as np
import pytest
from scipy.stats import nct, ttest_1samp

from analysis.stats import hierarchical, paired, twins
from benchmarks import _calibration_effects as calibration


def blends(seed=0, n=60, n_pairs=4, n_photographs=20):
    rng = np.random.default_rng(seed)
    photographs = np.stack(
        [rng.integers(n_photographs, size=n), n_photographs + rng.integers(n_photographs, size=n)], 1
    )
    return rng.integers(-1, 2, size=(n, n_pairs)).astype(float) + rng.normal(size=(40, 1))[
        photographs[:, 0]
    ], photographs


def slow_covariance(d, photographs):
    e, n = d - d.mean(axis=0), len(d)
    total = np.zeros((d.shape[1],) * 2)
    for i in range(n):
        for j in range(n):
            if i == j or photographs[i, 0] == photographs[j, 0] or photographs[i, 1] == photographs[j, 1]:
                both = (photographs[i] == photographs[j]).all() and i != j
                total += np.outer(e[i], e[j]) * (2 if both else 1)
    return total / (n * (n - 1))


def test_blends_that_share_a_photograph_are_counted_as_a_double_loop_counts_them():
    d, photographs = blends()
    found = hierarchical.blends_covariance(d, photographs)
    np.testing.assert_allclose(found, slow_covariance(d, photographs), rtol=1e-10)
    assert found.sum() > 2 * hierarchical.blends_covariance(d).sum()  # what photographs bring is of all their blends


def test_names_of_photographs_do_as_well_as_numbers():
    d, photographs = blends()
    names = np.char.add("folder/photo", photographs.astype(str))
    np.testing.assert_allclose(hierarchical.blends_covariance(d, names), hierarchical.blends_covariance(d, photographs))


def test_images_of_their_own_have_the_variance_of_a_bootstrap():
    d, _ = blends()
    rng = np.random.default_rng(1)
    means = np.array([d[rng.integers(len(d), size=len(d))].mean(axis=0) for _ in range(4000)])
    n = len(d)
    np.testing.assert_allclose(
        hierarchical.blends_covariance(d) * (n - 1) / n, np.cov(means, rowvar=False), atol=0.06 * d.var() / n * 4
    )
    # Photographs that no two blends share change nothing.
    own = np.arange(2 * n).reshape(n, 2)
    np.testing.assert_allclose(hierarchical.blends_covariance(d, own), hierarchical.blends_covariance(d))


def test_sharing_that_comes_out_negative_is_not_believed():
    photographs = np.array([[0, 2], [0, 3], [1, 4], [1, 5]])
    d = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    np.testing.assert_allclose(hierarchical.blends_covariance(d, photographs), [[4 / 12]])


def test_samples_covariance_leaves_out_resamples_without_a_score():
    samples = np.random.default_rng(0).normal(size=(50, 2))
    holes = np.insert(samples, 3, [np.nan, 1.0], axis=0)
    np.testing.assert_allclose(hierarchical.samples_covariance(holes), np.cov(samples.T))
    assert hierarchical.samples_covariance(holes[:10]) is None


@pytest.mark.parametrize("sizes", [(3,), (2, 4), (2, 2, 3), (1, 1, 1, 1)])
def test_parts_add_up_to_the_variance_that_redrawing_everything_has(sizes):
    """Seeds (and networks, where drawn) have spreads of their own; the stimuli's covariance is any one."""
    rng = np.random.default_rng(3)
    k = sum(sizes)
    root = rng.normal(size=(k, k)) * 0.3 + 1.0
    covariance = root @ root.T / k
    seed_sd, network_sd = 0.8, 0.6 if len(sizes) >= 3 else 0.0
    network = np.repeat(np.arange(len(sizes)), sizes)
    weights = 1 / (len(sizes) * np.array(sizes, dtype=float)[network])
    n = 4000
    drawn = (
        seed_sd * rng.normal(size=(n, k))
        + network_sd * rng.normal(size=(n, len(sizes)))[:, network]
        + rng.multivariate_normal(np.zeros(k), covariance, size=n)
    )
    splits = np.cumsum(sizes)[:-1]
    totals = [sum(v for v, _ in hierarchical.estimate(np.split(row, splits), covariance, 99).parts) for row in drawn]
    true = float(np.var(drawn @ weights))
    assert np.mean(totals) == pytest.approx(true, rel=0.08)


def test_one_network_without_stimuli_is_the_t_interval_of_its_seeds():
    d = np.array([0.1, -0.02, 0.05])
    found = hierarchical.estimate([d])
    assert found.drawn == ("seeds",)
    np.testing.assert_allclose(paired.interval(found.value, found.parts), twins.t_interval(d))


def test_three_networks_without_stimuli_are_the_t_interval_of_their_means():
    values = [np.array([0.1, 0.2]), np.array([0.0]), np.array([0.05, 0.01, 0.02])]
    found = hierarchical.estimate(values)
    assert found.drawn == ("networks", "seeds")
    np.testing.assert_allclose(paired.interval(found.value, found.parts), twins.t_interval([v.mean() for v in values]))


def test_two_networks_are_fixed_and_each_keeps_its_own_spread():
    values = [np.array([0.1, 0.3]), np.array([0.0, 0.01, 0.02])]
    found = hierarchical.estimate(values)
    assert found.drawn == ("seeds",)
    np.testing.assert_allclose(found.parts, [(0.02 / 2 / 4, 1), (0.0001 / 3 / 4, 2)])


def test_one_seed_leaves_the_stimuli_with_their_whole_variance():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    found = hierarchical.estimate([np.array([0.1]), np.array([0.2])], covariance, 50)
    assert found.drawn == ("stimuli",)
    np.testing.assert_allclose(found.parts, [(8 / 4, 49)])
    assert hierarchical.estimate([np.array([0.1])]).parts == ()


def test_differences_all_alike_make_no_interval():
    found = hierarchical.estimate([np.array([0.05, 0.05])], np.eye(2), 20)
    assert (found.parts, found.flat) == ((), True)
    assert np.isnan(paired.interval(found.value, found.parts)).all()


def test_percentile_bootstrap_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    d = rng.normal(size=(30, 5))
    values = [d[:, :2].mean(axis=0), d[:, 2:].mean(axis=0)]
    found = hierarchical.percentile(values, d, 6000, np.random.default_rng(1))
    slow = []
    for _ in range(6000):
        images = d[rng.integers(30, size=30)].mean(axis=0)
        means = []
        for network in rng.integers(2, size=2):
            seeds = ([0, 1], [2, 3, 4])[network]
            means.append(images[rng.choice(seeds, size=len(seeds))].mean())
        slow.append(np.mean(means))
    np.testing.assert_allclose(found, np.quantile(slow, [0.025, 0.975]), atol=0.03)


PARTS = [((0.04, 3),), ((0.04, 1), (0.02, 99)), ((0.01, 2), (0.03, 1), (0.002, 50))]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("p", [0.001, 0.025, 0.2])
def test_one_sided_p_is_where_the_limit_meets_the_null(parts, p):
    assert paired.one_sided_p(paired.half_width(parts, 1 - 2 * p), parts) == pytest.approx(p, rel=1e-6)
    assert paired.one_sided_p(-paired.half_width(parts, 1 - 2 * p), parts) == pytest.approx(1 - p, rel=1e-6)


def test_half_widths_add_in_quadrature():
    one, two = paired.half_width([(0.04, 1)]), paired.half_width([(0.02, 99)])
    assert paired.half_width(PARTS[1]) == pytest.approx(np.hypot(one, two))
    assert np.isnan(paired.half_width([]))


@pytest.mark.parametrize("margin", [0.02, 0.3])
def test_equivalence_of_one_source_is_two_t_tests(margin):
    d = np.array([0.05, -0.1, 0.02, 0.11, 0.03])
    found = hierarchical.estimate([d])
    below = ttest_1samp(d, -margin, alternative="greater").pvalue
    above = ttest_1samp(d, margin, alternative="less").pvalue
    assert paired.tost_p(found.value, found.parts, margin) == pytest.approx(max(below, above), rel=1e-6)


def test_equivalence_is_the_90_percent_interval_within_the_margin():
    rng = np.random.default_rng(0)
    seen = set()
    for value in rng.uniform(-0.5, 0.5, size=60):
        within = abs(value) + paired.half_width(PARTS[1], 0.9) < 1.5
        assert (paired.tost_p(value, PARTS[1], 1.5) < 0.05) == within
        seen.add(within)
    assert seen == {True, False}


def test_p_without_any_variance_is_missing():
    assert np.isnan(paired.tost_p(0.0, (), 0.1))
    assert np.isnan(paired.one_sided_p(0.1, ((0.0, 3),)))


@pytest.mark.parametrize("n", range(2, 9))
def test_smallest_sign_flip_p_is_that_of_differences_of_one_sign(n):
    assert paired.sign_flip_floor(n) == pytest.approx(paired.sign_flip_p(np.arange(1.0, n + 1)))


def test_sign_flip_floor_of_one_and_of_many():
    assert np.isnan(paired.sign_flip_floor(1))
    assert paired.sign_flip_floor(30) == pytest.approx(paired.sign_flip_p(np.ones(30)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("d", [(0.1, 0.3, 0.2), (1.0, -0.4, 0.2, 0.05, 0.3), (0.5, 0.52, 0.51, 0.49)])
def test_interval_of_the_effect_size_puts_the_observed_t_at_its_tails(d, sign):
    d = sign * np.array(d)
    g, lo, hi = paired.hedges_g(d)
    n, t = len(d), ttest_1samp(d, 0).statistic
    assert nct.cdf(t, n - 1, lo * np.sqrt(n)) == pytest.approx(0.975, abs=1e-5)
    assert nct.cdf(t, n - 1, hi * np.sqrt(n)) == pytest.approx(0.025, abs=1e-5)
    # The usual approximation of the exact factor, good to .4 % from here on.
    exact = {2: 0.5642, 3: 0.7236, 4: 0.7979}[n - 1]
    assert g == pytest.approx(exact * d.mean() / d.std(ddof=1), rel=1e-3)


def test_effect_size_is_unbiased():
    rng = np.random.default_rng(0)
    found = [paired.hedges_g(0.7 + rng.normal(size=4))[0] for _ in range(6000)]
    assert np.mean(found) == pytest.approx(0.7, abs=4 * np.std(found) / np.sqrt(6000))


@pytest.mark.parametrize("d", [(0.1,), (0.1, 0.2), (0.2, 0.2, 0.2), (0.0, 0.0, 0.0)])
def test_no_effect_size_without_a_spread(d):
    assert np.isnan(paired.hedges_g(np.array(d))).all()


def _share(hit, n, seed=0):
    rng = np.random.default_rng(seed)
    hits = np.array([hit(rng) for _ in range(n)], dtype=float)
    known = hits[np.isfinite(hits)]
    return known.mean(), 3.5 * np.sqrt(0.95 * 0.05 / len(known))  # 1 in 2000 for a right one


CASES = list(calibration._cases())


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c[0].startswith("interval") and ("spread x 5" not in c[1] or c[1].startswith("1 "))],
    ids=lambda c: f"{c[0]}: {c[1]}",
)
def test_intervals_cover_at_least_95_percent(case):
    found, error = _share(case[3], 2000)
    assert found > 0.95 - error


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if "spread x 5" in c[1] and c[0] == "interval covers"][:2],
                         ids=lambda c: c[1])  # fmt: skip
def test_intervals_cover_95_percent_and_no_more_where_one_source_matters(case):
    found, error = _share(case[3], 2000)
    assert abs(found - 0.95) < error


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c[2] <= 0.05 and "(not" not in c[0]],
    ids=lambda c: f"{c[0]}: {c[1]}",
)
def test_false_positives_are_no_more_than_nominal(case):
    found, error = _share(case[3], 2000)
    assert found < case[2] + error


@pytest.mark.slow
def test_satterthwaite_and_percentiles_would_not_do():
    """If these held, the wider intervals would be for nothing."""
    for case in CASES:
        by_percentiles = "percentile" in case[0] and case[1].startswith("1 network x 2") and "spread x 5" in case[1]
        if case[0].startswith("Satterthwaite") or by_percentiles:
            found, error = _share(case[3], 2000)
            assert found < 0.95 - error / 2, case[:2]


def test_calibration_rows_are_reproducible_and_complete(monkeypatch):
    monkeypatch.setattr(calibration, "_cases", lambda: iter(CASES[:2] + CASES[-1:]))
    rows = calibration.rows(20, 3)
    assert rows == calibration.rows(20, 3)
    assert [list(r) for r in rows] == [["what", "design", "nominal", "found", "lo", "hi", "n_simulations"]] * 3
    assert all(r["lo"] <= r["found"] <= r["hi"] for r in rows)


def test_calibration_judges_equivalence_as_the_table_does():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        made = calibration.simulate(rng, 3, 2, effect=0.02, network_sd=0.01, seed_sd=0.02)
        found = calibration.estimate(made)
        p = paired.tost_p(found.value, found.parts, 0.05)
        assert calibration.called_equivalent(made) == (p < 0.05)
        seen.add(p < 0.05)
    assert seen == {True, False}
