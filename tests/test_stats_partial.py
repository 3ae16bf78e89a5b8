"""Partial correlation, its permutations within architectures and its interval, against statsmodels, scipy and slow
loops."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from analysis.stats import correlation, nested, partial

STATISTICS = ("spearman", "pearson")


def material(seed, n=12, k=2, m=3, n_groups=4):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k))
    x = rng.normal(size=(n, m)) + z.sum(axis=1, keepdims=True)
    y = 0.5 * x[:, 0] + rng.normal(size=n) - z[:, :1].sum(axis=1)
    return x, y, z, np.repeat(np.arange(n_groups), n // n_groups)


def slow(x, y, z, statistic, groups=None):
    """Residuals by statsmodels, then scipy's coefficient of them."""
    import statsmodels.api as sm

    design = np.column_stack([np.ones(len(y)), z])
    if groups is not None:
        design = np.column_stack([design, *(groups == g for g in np.unique(groups)[1:])]).astype(float)
    rx, ry = (sm.OLS(v, design).fit().resid for v in (x, y))
    f = stats.spearmanr if statistic == "spearman" else stats.pearsonr
    return f(np.round(rx, 9), np.round(ry, 9))[0]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_coefficients_are_those_of_statsmodels_residuals(statistic, k):
    x, y, z, _ = material(k, k=k)
    found = partial.coefficients(x, y, z, statistic)
    assert found == pytest.approx([slow(x[:, i], y, z, statistic) for i in range(3)])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_without_covariates_it_is_the_coefficient_of_the_correlation_table(statistic):
    x, y, _, _ = material(5)
    found = partial.coefficients(x, y, None, statistic)
    assert found == pytest.approx([correlation.coefficient(x[:, i], y, statistic) for i in range(3)])


def test_one_covariate_gives_the_formula_of_the_books():
    x, y, z, _ = material(1, n=20, k=1, n_groups=4)
    (xy, xz, yz) = (np.corrcoef(a, b)[0, 1] for a, b in ((x[:, 0], y), (x[:, 0], z[:, 0]), (y, z[:, 0])))
    formula = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial.coefficients(x, y, z, "pearson")[0] == pytest.approx(formula)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_other_units_of_the_covariates_change_nothing(statistic):
    x, y, z, groups = material(2)
    mixed = z @ np.array([[1e6, 0.0], [3e6, 1e-4]]) + np.array([1e3, -5.0])
    assert partial.coefficients(x, y, mixed, statistic) == pytest.approx(partial.coefficients(x, y, z, statistic))
    both = [partial.degrees(x, y, groups, c, statistic) for c in (z, mixed)]
    assert both[0] == pytest.approx(both[1])
    ps = [nested.permutation_p(x, y, c, statistic=statistic, n_permutations=99)[0] for c in (z, mixed)]
    assert ps[0] == pytest.approx(ps[1])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_is_that_of_freedman_and_lane_step_by_step(statistic):
    """Permuted residuals are added to what the covariates explain, and the coefficient is taken from raw numbers."""
    import statsmodels.api as sm

    x, y, z, _ = material(3, n=6, k=1, m=1, n_groups=2)
    fit = sm.OLS(y, sm.add_constant(z)).fit()
    found = [
        abs(slow(x[:, 0], fit.fittedvalues + fit.resid[list(o)], z, statistic)) for o in permutations(range(6))
    ]  # fmt: skip
    p, every = nested.permutation_p(x, y, z, statistic=statistic)
    assert every
    assert p[0] == pytest.approx(np.mean(np.array(found) >= found[0] - 1e-9))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("k", [0, 1])
def test_p_within_permutes_and_measures_within_groups(statistic, k):
    import statsmodels.api as sm

    x, y, z, groups = material(4, n=9, k=k, m=1, n_groups=3)
    design = np.column_stack([z, *(groups == g for g in range(3))]).astype(float)
    fit = sm.OLS(y, design).fit()
    found = []
    for parts in product(*(permutations(np.flatnonzero(groups == g)) for g in range(3))):
        star = fit.fittedvalues + fit.resid[np.concatenate(parts)]
        found.append(abs(slow(x[:, 0], star, z, statistic, groups)))
    p, every = nested.permutation_p(x, y, z, groups, statistic=statistic)
    assert every
    assert len(found) == 216
    assert p[0] == pytest.approx(np.mean(np.array(found) >= found[0] - 1e-9))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_of_all_points_is_that_of_the_correlation_table(statistic):
    x, y, _, _ = material(6, n=7, m=2, n_groups=7)
    found, every = nested.permutation_p(x, y, statistic=statistic)
    assert every
    assert found == pytest.approx([correlation.permutation_p(x[:, i], y, statistic=statistic)[0] for i in range(2)])


def test_p_within_is_two_sided_whatever_lies_between_groups():
    """A relation within groups against that between them is found as one along with it is."""
    groups = np.repeat(np.arange(6), 2)
    far, near = 100.0 * groups, np.tile([0.0, 1.0], 6)
    along, _ = nested.permutation_p((far + near)[:, None], far + near, None, groups, statistic="pearson")
    against, _ = nested.permutation_p((far - near)[:, None], far + near, None, groups, statistic="pearson")
    assert along[0] == against[0] == pytest.approx(2 / 64)


def test_orders_are_all_there_are_and_keep_to_their_groups():
    groups = np.array(["b", "a", "b", "a", "b"])
    found, every = nested.orders(5, groups)
    assert every
    assert found.shape == (12, 5)
    assert len({tuple(o) for o in found}) == 12
    assert (found[0] == np.arange(5)).all()
    assert all((groups[o] == groups).all() for o in found)
    drawn, every = nested.orders(30, np.repeat(np.arange(3), 10), n_permutations=50, seed=1)
    assert not every
    assert drawn.shape == (50, 30)
    assert (np.sort(drawn, axis=1) == np.arange(30)).all()
    assert (drawn // 10 == np.arange(30) // 10).all()
    again, _ = nested.orders(30, np.repeat(np.arange(3), 10), n_permutations=50, seed=1)
    assert (again == drawn).all()


def test_drawn_permutations_come_near_all_of_them(monkeypatch):
    x, y, z, _ = material(7, n=7, k=1, n_groups=7)
    exact, every = nested.permutation_p(x, y, z, statistic="pearson")
    assert every
    monkeypatch.setattr(nested, "ALL_UP_TO", 10)
    drawn, every = nested.permutation_p(x, y, z, statistic="pearson", n_permutations=20_000)
    assert not every
    assert drawn == pytest.approx(exact, abs=0.015)


def test_nothing_left_gives_nan_and_not_a_number():
    x, y, z, _ = material(8)
    follows = np.column_stack([x[:, 0], z @ [2.0, -1.0] + 3])
    assert np.isnan(partial.coefficients(follows, y, z)).tolist() == [False, True]
    assert np.isnan(nested.permutation_p(follows, y, z)[0]).tolist() == [False, True]
    assert np.isnan(partial.coefficients(x, z[:, 0] * 4, z)).all()
    # One point an architecture: nothing to permute; two dimensions at least.
    assert np.isnan(nested.permutation_p(x, y, None, np.arange(12))[0]).all()


def test_covariates_that_cannot_be_held_constant_are_named():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8, 2))
    assert partial.problem(z, ["a", "b"], 8) == ""
    assert "b is the same at all 8 points" in partial.problem(z * [1, 0] + [0, 3], ["a", "b"], 8)
    assert "c follows from a and b" in partial.problem(np.column_stack([z, z @ [1, 2] + 5]), ["a", "b", "c"], 8)
    assert "a is not known at 1 of 8" in partial.problem(np.where(np.arange(8)[:, None] == 2, np.nan, z), ["a", "b"], 8)
    assert "5 points, at least 6 are needed given 2 covariates" in partial.problem(z[:5], ["a", "b"], 5)
    assert partial.problem(z[:6], ["a", "b"], 6) == ""


def test_shared_variance_is_that_of_the_one_way_analysis_of_variance():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(8), 5)
    x = rng.normal(size=8)[groups] + rng.normal(size=40)
    f = stats.f_oneway(*(x[groups == g] for g in range(8))).statistic
    found = partial.shared(x[:, None], groups, nested.basis(40))
    assert found[0] == pytest.approx((f - 1) / (f + 4))
    assert partial.shared(x[:, None], np.arange(40), nested.basis(40))[0] == 0
    flat = partial.shared(np.tile([0.0, 1.0, 2.0, 3.0, 4.0], 8)[:, None], groups, nested.basis(40))
    assert flat[0] == 0


def test_degrees_are_those_of_independent_points_or_of_architectures():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(6), 3)
    own = np.tile([-1.0, 0.0, 1.0], 6)[:, None]  # no variance between groups
    assert partial.degrees(own, rng.normal(size=18), groups, statistic="pearson")[0] == pytest.approx(17)
    between = rng.normal(size=6)[groups]
    both = partial.degrees(between[:, None], rng.normal(size=6)[groups], groups, statistic="pearson")
    assert both[0] == pytest.approx(5)  # three equal points are one
    z = rng.normal(size=(18, 2))
    assert partial.degrees(own, own[:, 0] + z[:, 0], np.arange(18), z, "pearson")[0] == pytest.approx(15)


def test_degrees_give_the_variance_of_the_coefficient():
    """Var(r) = 1 / df without relation, whatever the sharing: what the interval rests on."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 3)
    found = []
    for _ in range(4000):
        x, y = np.sqrt(0.8) * rng.normal(size=(2, 30))[:, groups] + np.sqrt(0.2) * rng.normal(size=(2, 90))
        found.append(partial.coefficients(x[:, None], y, None, "pearson")[0])
    # The degrees of freedom at the true share, which the estimate only scatters about.
    maker = np.eye(90) - 1 / 90
    s = 0.8 * (groups[:, None] == groups) + 0.2 * np.eye(90)
    df = np.trace(maker @ s) ** 2 / np.trace(maker @ s @ maker @ s)
    assert np.var(found) == pytest.approx(1 / df, rel=0.08)  # 3.5 standard deviations of 4000 draws
    assert 30 < df < 50


def test_interval_is_fishers_where_points_are_independent():
    x, y, _, _ = material(9, n=20, n_groups=4)
    r = partial.coefficients(x, y, None, "pearson")
    reference = stats.pearsonr(x[:, 0], y).confidence_interval()
    lo, hi = partial.interval(r, np.full(3, 19.0), 20, "pearson")
    assert (lo[0], hi[0]) == pytest.approx((reference.low, reference.high))
    wider = partial.interval(r, np.full(3, 10.0), 20, "pearson")
    assert (wider[1] - wider[0] > hi - lo).all()
    ranks = partial.interval(r, np.full(3, 19.0), 20, "spearman")
    assert (ranks[1] - ranks[0] > hi - lo).all()
    nothing = partial.interval(r, np.full(3, 2.0), 20, "pearson")
    assert set(nothing[0]) == {-1.0}
    assert set(nothing[1]) == {1.0}


def test_agreeing_ranks_of_few_points_leave_doubt():
    lo, hi = partial.interval(np.array([1.0]), np.array([5.0]), 6, "spearman")
    assert hi[0] == 1
    assert lo[0] < 0.8


def test_ranks_on_ranks_invent_what_ours_does_not():
    """Two covariates that drive both quantities: the reason for residuals before ranks."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(2000, 2))
    pull = 3 * z.sum(axis=1)
    x, y = pull + rng.normal(size=2000), pull + rng.normal(size=2000)
    ranks = [stats.rankdata(v, axis=0) for v in (x[:, None], y, z)]
    assert partial.coefficients(x[:, None], y, z, "spearman")[0] == pytest.approx(0, abs=0.08)
    assert partial.coefficients(*ranks, "pearson")[0] > 0.3
