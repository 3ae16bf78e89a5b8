"""Correlation and paired differences against scipy and against slow enumeration."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats import correlation, nested, twins
from tests import made_tables


@pytest.fixture(scope="module")
def made():
    networks = ("resnet18", "cornet_z", "resnet50")
    return made_tables.made(networks=networks, quick=True)


@pytest.mark.parametrize("seed", range(4))
def test_coefficients_are_scipys(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=12), rng.integers(0, 4, 12).astype(float)
    assert correlation.coefficient(x, y, "pearson") == pytest.approx(stats.pearsonr(x, y)[0])
    assert correlation.coefficient(x, y, "spearman") == pytest.approx(stats.spearmanr(x, y)[0])


@pytest.mark.parametrize("statistic", ["spearman", "pearson"])
@pytest.mark.parametrize("seed", range(3))
def test_exact_p_is_that_of_a_slow_enumeration(statistic, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=6), rng.integers(0, 5, 6).astype(float)  # ties
    f = stats.spearmanr if statistic == "spearman" else stats.pearsonr
    observed = abs(f(x, y)[0])
    slow = np.mean([abs(f(x, y[list(o)])[0]) >= observed - 1e-9 for o in permutations(range(6))])
    p, exact = correlation.permutation_p(x, y, statistic=statistic)
    assert exact
    assert p == pytest.approx(slow)


def test_p_within_permutes_within_architectures_only():
    x = np.array([1.0, 2.0, 3.0, 10.0, 11.0, 12.5])
    y = np.array([2.0, 1.0, 3.0, 9.0, 12.0, 11.0])
    groups = np.array(list("aaabbb"))
    # The part within: what lies between the architectures would make the test one-sided, towards its own sign.
    u, v = (a - np.repeat([a[:3].mean(), a[3:].mean()], 3) for a in (x, y))
    observed = abs(stats.pearsonr(u, v)[0])
    slow = []
    for first, second in product(permutations(range(3)), permutations(range(3, 6))):
        slow.append(abs(stats.pearsonr(u, v[list(first + second)])[0]) >= observed - 1e-9)
    p, exact = correlation.permutation_p(x, y, statistic="pearson", groups=groups)
    assert exact
    assert len(slow) == 36
    assert p == pytest.approx(np.mean(slow))
    free, _ = correlation.permutation_p(x, y, statistic="pearson")
    assert free < p  # what lies between the architectures is evidence for the one null, not for the other


def test_one_point_an_architecture_leaves_nothing_to_permute_within():
    p, exact = correlation.permutation_p(np.arange(5.0), np.arange(5.0), groups=np.arange(5))
    assert exact
    assert np.isnan(p)


def test_random_permutations_are_seeded_near_the_exact_p_and_never_zero():
    rng = np.random.default_rng(0)
    x = rng.normal(size=8)
    y = 0.5 * x + rng.normal(size=8)
    exact, is_exact = correlation.permutation_p(x, y, statistic="pearson")
    assert is_exact
    long_x, long_y = np.arange(20.0), np.arange(20.0)
    p, is_exact = correlation.permutation_p(long_x, long_y, n_permutations=999)
    assert not is_exact
    assert p == pytest.approx(1 / 1000)
    again = correlation.permutation_p(long_x, rng.normal(size=20), n_permutations=999, seed=5)
    assert 0 < again[0] <= 1
    monkey = pytest.MonkeyPatch()
    monkey.setattr(nested, "ALL_UP_TO", 10)
    sampled, is_exact = correlation.permutation_p(x, y, statistic="pearson", n_permutations=20000)
    monkey.undo()
    assert not is_exact
    assert sampled == pytest.approx(exact, abs=0.02)


def test_p_is_uniform_where_nothing_is_there():
    rng = np.random.default_rng(1)
    ps = [correlation.permutation_p(rng.normal(size=6), rng.normal(size=6), statistic="pearson")[0] for _ in range(300)]
    assert np.mean(np.array(ps) <= 0.05) < 0.09
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("statistic", ["spearman", "pearson"])
def test_weighted_coefficients_are_those_of_the_repeated_points(statistic):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=7), rng.integers(0, 4, 7).astype(float)
    weights = rng.multinomial(7, np.full(7, 1 / 7), size=40)
    fast = correlation.weighted(x, y, weights.astype(float), statistic)
    for w, value in zip(weights, fast):
        xs, ys = np.repeat(x, w), np.repeat(y, w)
        if np.ptp(xs) == 0 or np.ptp(ys) == 0:
            assert np.isnan(value)
        else:
            f = stats.spearmanr if statistic == "spearman" else stats.pearsonr
            assert value == pytest.approx(f(xs, ys)[0], abs=1e-9)


def test_bootstrap_draws_architectures_where_there_are_three():
    rng = np.random.default_rng(0)
    x = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], 4) + rng.normal(0, 0.01, 20)
    y = np.repeat([1.0, 0.0, 3.0, 2.0, 2.5], 4) + rng.normal(0, 0.01, 20)
    groups = np.repeat(np.arange(5), 4)
    lo, hi, how = correlation.bootstrap(x, y, groups, statistic="pearson")
    lo_flat, hi_flat, how_flat = correlation.bootstrap(x, y, np.zeros(20), statistic="pearson")
    assert "architectures, then points" in how
    assert "too few" in how_flat
    assert hi - lo > hi_flat - lo_flat  # five architectures are fewer than twenty points
    assert lo < correlation.coefficient(x, y, "pearson") < hi


def test_the_points_are_means_over_seeds_and_the_counts_say_so(made):
    table = made["correlation"]
    wanted = {
        "recording": "invented-v4",
        "metric": "pls",
        "left_out": "",
        "accuracy": "blended_both",
        "statistic": "spearman",
    }
    row = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)].iloc[0]
    assert (row["n_runs"], row["n_points"], row["n_architectures"]) == (12, 6, 3)
    scores, acc = made["scores"], made["accuracy"]
    xs, ys = [], []
    for network in ("resnet18", "cornet_z", "resnet50"):
        for attention in ("none", "aacn4"):
            ids = [f"{network}-{attention}-blended-s{s}" for s in (0, 1)]
            mine = scores[
                (scores["recording"] == "invented-v4") & (scores["metric"] == "pls") & (scores["kind"] == "network")
            ]
            xs.append(mine[mine["run"].isin(ids)]["score"].mean())
            rates = acc[(acc["by"] == "all") & (acc["outcome"] == "both") & acc["run"].isin(ids)]
            ys.append(rates["rate"].mean())
    assert row["value"] == pytest.approx(stats.spearmanr(xs, ys)[0])
    assert row["lo"] <= row["value"] <= row["hi"]
    assert 0 < row["p"] <= 1


def test_each_architecture_is_left_out_once(made):
    table = made["correlation"]
    assert set(table["left_out"]) == {"", "resnet18", "cornet_z", "resnet50"}
    without = table[(table["left_out"] == "resnet18")]
    assert (without["n_points"] == 4).all()
    assert without["value"].notna().all()


def test_untrained_and_chance_rows_are_no_points(made):
    scores, acc = made["scores"], made["accuracy"]
    only = scores[scores["kind"] == "network"]
    a = correlation.compute(scores, acc)
    b = correlation.compute(only, acc)
    pd.testing.assert_frame_equal(a, b)
    assert set(scores["kind"]) > {"network"}


def test_too_few_points_and_no_variance_give_a_note_instead_of_a_number():
    chosen = made_tables.runs(networks=("resnet18",), seeds=(0, 1, 2))
    scores, acc = made_tables.scores_table(chosen), made_tables.accuracy_table(chosen)
    table = correlation.compute(scores, acc)
    assert len(table)
    assert table["value"].isna().all()
    assert table["p"].isna().all()
    assert table["note"].str.contains("2 points, at least 4").sum() == len(table[table["left_out"] == ""])
    assert (table["n_runs"] == np.where(table["left_out"] == "", 6, 0)).all()
    chosen = made_tables.runs()
    scores, acc = made_tables.scores_table(chosen).assign(score=0.5), made_tables.accuracy_table(chosen)
    flat = correlation.compute(scores, acc)
    assert flat[flat["left_out"] == ""]["note"].str.contains("the score is the same at all 4 points").all()
    assert flat["value"].isna().all()


def test_no_scores_give_no_rows(made):
    assert not len(correlation.compute(made["scores"].iloc[:0], made["accuracy"]))


def test_pairs_are_attention_minus_plain_of_one_seed(made):
    table, scores = made["twins"], made["scores"]
    pairs = table[table["level"] == "pair"]
    assert len(pairs)
    quantity = "score:V4:invented-v4:pls"
    for row in pairs[pairs["quantity"] == quantity].to_dict("records"):
        s = scores[
            (scores["recording"] == "invented-v4") & (scores["metric"] == "pls") & (scores["kind"] != "shuffled")
        ]
        value = {kind: s[s["run"] == row[f"{kind}_run"]]["score"].item() for kind in ("plain", "attention")}
        assert row["difference"] == pytest.approx(value["attention"] - value["plain"])
        assert row["attention_run"].replace("aacn4", "none") == row["plain_run"]
        assert f"-s{row['seed']}" in row["plain_run"]
    assert {"accuracy:blended_both", "accuracy:regular_top1"} <= set(pairs["quantity"])


def test_averages_take_seeds_within_a_network_and_networks_over_all(made):
    table = made["twins"]
    one = table[(table["quantity"] == "accuracy:blended_both") & (table["training"] == "blended")]
    pairs = one[one["level"] == "pair"]
    for row in one[one["level"] == "network"].to_dict("records"):
        d = pairs[pairs["network"] == row["network"]]["difference"]
        assert row["n"] == len(d) == 2
        reference = stats.ttest_1samp(d, 0).confidence_interval()
        # a difference of two rates lies within -1 and 1
        assert (row["lo"], row["hi"]) == pytest.approx((max(reference.low, -1), min(reference.high, 1)))
    whole = one[one["level"] == "all"].iloc[0]
    means = pairs.groupby("network")["difference"].mean()
    assert whole["n"] == 3
    assert whole["difference"] == pytest.approx(means.mean())
    reference = stats.ttest_1samp(means, 0).confidence_interval()
    assert (whole["lo"], whole["hi"]) == pytest.approx((reference.low, reference.high))


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_sign_flips_are_those_of_scipy(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    reference = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert twins.sign_flip_p(d) == pytest.approx(reference.pvalue)


def test_two_seeds_cannot_give_a_small_p_and_one_gives_none():
    assert twins.sign_flip_p(np.array([0.2, 0.21])) == 0.5
    assert np.isnan(twins.sign_flip_p(np.array([0.2])))
    assert np.isnan(twins.t_interval(np.array([0.2]))).all()
    many = np.full(30, 1.0)
    assert twins.sign_flip_p(many, n_flips=999) == pytest.approx(1 / 1000)


def test_a_network_without_a_twin_gives_no_pair(made):
    plain = made["scores"][made["scores"]["attention"] == "none"]
    assert not len(twins.compute(plain, None))
    assert not len(twins.compute(None, None))
    only = twins.compute(None, made["accuracy"])
    assert only["quantity"].str.startswith("accuracy:").all()
