"""Weights of sums and linear readouts, on planted answers and against slow references."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from analysis import decoding_layers, superposition, tables
from blendnet.errors import BlendnetError
from tests.conftest import one_line


def gram_of(a, b, x):
    """(n, 3, 3) from responses (n, n_units)."""
    versions = np.stack([a, b, x], axis=1)
    return versions @ versions.transpose(0, 2, 1)


@pytest.fixture
def responses():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 50))
    return a, b, 0.6 * a - 0.2 * b + rng.standard_normal((30, 50))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.7])
def test_a_layer_that_only_mixes_gives_the_weights_of_the_pixels(responses, alpha):
    a, b, _ = responses
    found = superposition.weighted_sum(gram_of(a, b, alpha * a + (1 - alpha) * b), alpha)
    np.testing.assert_allclose(found.first, alpha, atol=1e-12)
    np.testing.assert_allclose(found.second, 1 - alpha, atol=1e-12)
    np.testing.assert_allclose(found.r2, 1, atol=1e-12)
    np.testing.assert_allclose(found.r2_mixture, 1, atol=1e-12)
    assert (found.r2 <= 1).all()
    assert (found.r2_mixture <= 1).all()
    np.testing.assert_allclose(superposition.bias(found, alpha, np.arange(30), np.full(30, 14.5)), 0, atol=1e-12)


def test_a_layer_that_answers_to_one_object_alone_gives_it_all_the_weight(responses):
    a, b, _ = responses
    found = superposition.weighted_sum(gram_of(a, b, a), 0.3)
    np.testing.assert_allclose(np.stack([found.first, found.second, found.r2]).T, [[1, 0, 1]] * 30, atol=1e-12)
    assert (found.r2_mixture < 0.7).all()
    found = superposition.weighted_sum(gram_of(a, b, b), 0.3)
    np.testing.assert_allclose(np.stack([found.first, found.second, found.r2]).T, [[0, 1, 1]] * 30, atol=1e-12)


def test_weights_and_fits_are_those_of_least_squares_blend_by_blend(responses):
    a, b, x = responses
    alpha = np.linspace(0.1, 0.9, 30)
    found = superposition.weighted_sum(gram_of(a, b, x), alpha)
    for i in range(30):
        basis = np.stack([a[i], b[i]], axis=1)
        weights, *_ = np.linalg.lstsq(basis, x[i], rcond=None)
        rest = ((x[i] - basis @ weights) ** 2).sum()
        mixture = ((x[i] - alpha[i] * a[i] - (1 - alpha[i]) * b[i]) ** 2).sum()
        expected = [*weights, 1 - rest / (x[i] ** 2).sum(), 1 - mixture / (x[i] ** 2).sum()]
        np.testing.assert_allclose([v[i] for v in found], expected, rtol=1e-9)
    assert (found.r2 >= found.r2_mixture).all()


def test_bias_points_to_the_better_recognised_object_beyond_its_weight_in_the_pixels(responses):
    a, b, _ = responses
    for alpha, first, expected in ((0.5, 0.8, 0.6), (0.7, 0.9, 0.4), (0.3, 0.3, 0.0), (0.7, 0.5, -0.4)):
        found = superposition.weighted_sum(gram_of(a, b, first * a + (1 - first) * b), alpha)
        better = np.where(np.arange(30) % 3 == 0, 2.0, -1.0)
        better[5] = 0
        biases = superposition.bias(found, alpha, better, np.zeros(30))
        assert np.isnan(biases[5])
        known = np.arange(30) != 5
        np.testing.assert_allclose(biases[known], np.where(better > 0, expected, -expected)[known], atol=1e-12)


def test_what_has_no_weights_is_nan_and_left_out():
    a, b = np.eye(2, 4)[None].repeat(4, 0).transpose(1, 0, 2)
    b = b.copy()
    b[1] = 3 * a[1]  # one direction
    b[2] = 0
    x = a + b
    x[3] = 0
    found = superposition.weighted_sum(gram_of(a, b, x), 0.5)
    assert np.isfinite(found.first).tolist() == [True, False, False, False]
    assert np.isfinite(found.r2_mixture).tolist() == [True, False, False, False]
    rows = superposition.summary(found, found.first, np.array(["both"] * 4), np.eye(4, dtype=bool), fewest=1)
    assert [(r["outcome"], r["n_blends"]) for r in rows] == [("all", 1), ("both", 1)]
    assert np.isnan(rows[0]["r2_lo"])


def test_wrong_inner_products_are_one_line():
    with pytest.raises(BlendnetError) as error:
        superposition.weighted_sum(np.zeros((4, 2, 2)), 0.5)
    one_line(error, "(4, 2, 2)", "(n, 3, 3)")
    gram = np.ones((4, 3, 3))
    gram[2, 0, 1] = np.inf
    with pytest.raises(BlendnetError) as error:
        superposition.weighted_sum(gram, 0.5)
    one_line(error, "blend 3", "not finite")


def test_interval_is_students_where_no_photograph_recurs():
    values = np.random.default_rng(1).standard_normal(12)
    mean, lo, hi = superposition.mean_interval(np.append(values, np.nan), np.eye(13, dtype=bool))
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    np.testing.assert_allclose([mean, lo, hi], [values.mean(), *expected])


def test_interval_counts_every_two_blends_that_share_a_photograph():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 8, 20), rng.integers(8, 16, 20)
    second[4] = first[3]  # one photograph may stand on either side
    values = rng.standard_normal(20) + np.where(first < 4, 3.0, 0.0)
    e, total = values - values.mean(), 0.0
    for i in range(20):
        for j in range(20):
            if {first[i], second[i]} & {first[j], second[j]}:
                total += e[i] * e[j]
    assert total > e @ e
    _, lo, hi = superposition.mean_interval(values, superposition.sharing(first, second))
    np.testing.assert_allclose(hi - lo, 2 * stats.t.ppf(0.975, 19) * np.sqrt(total / (20 * 19)))


def test_interval_covers_the_mean_as_often_as_it_says_where_photographs_recur():
    rng = np.random.default_rng(3)
    n, n_photographs, draws = 196, 140, 600
    covered = {"photographs": 0, "blends": 0}
    for _ in range(draws):
        first, second = rng.integers(0, n_photographs, n), rng.integers(n_photographs, 2 * n_photographs, n)
        own = rng.standard_normal(2 * n_photographs)
        values = own[first] + own[second] + 0.5 * rng.standard_normal(n)
        for name, shared in (("photographs", superposition.sharing(first, second)), ("blends", np.eye(n, dtype=bool))):
            _, lo, hi = superposition.mean_interval(values, shared)
            covered[name] += lo < 0 < hi
    error = np.sqrt(0.05 * 0.95 / draws)
    assert abs(covered["photographs"] / draws - 0.95) < 3 * error
    assert covered["blends"] / draws < 0.95 - 4 * error  # why it is not simply Student's


def test_summary_has_a_row_a_group_of_enough_blends_and_fits_the_table(responses):
    a, b, x = responses
    found = superposition.weighted_sum(gram_of(a, b, x), 0.5)
    outcomes = np.array(["both"] * 20 + ["one"] * 6 + ["none"] * 4)
    biases = superposition.bias(found, 0.5, np.arange(30) % 4, np.ones(30))
    rows = superposition.summary(found, biases, outcomes, np.eye(30, dtype=bool))
    assert [(r["outcome"], r["n_blends"]) for r in rows] == [("all", 30), ("both", 20), ("one", 6)]
    for row, chosen in zip(rows, (slice(0, 30), slice(0, 20), slice(20, 26))):
        for name, values in (("weight_first", found.first), ("weight_second", found.second), ("r2", found.r2)):
            np.testing.assert_allclose(row[name], values[chosen].mean())
            assert row[f"{name}_lo"] < row[name] < row[f"{name}_hi"]
        np.testing.assert_allclose(row["r2_mixture"], found.r2_mixture[chosen].mean())
        np.testing.assert_allclose(row["bias"], np.nanmean(biases[chosen]))
    about = {"run": "n-none-blended-s0", "network": "n", "attention": "none", "heads": 0, "training": "blended",
             "seed": 0, "lesion": "", "layer": "l", "depth": 0.5, "alpha": 0.5}  # fmt: skip
    table = tables.from_rows([about | row for row in rows], "superposition")
    assert set(table.columns) == set(tables.columns("superposition"))
    assert len(table) == 3


def blends(n, seed, classes=6, width=20):
    """Features that are a mixture of both objects' prototypes, and their label sets."""
    rng = np.random.default_rng(seed)
    prototypes = np.random.default_rng(9).standard_normal((classes, width))
    pairs = np.array([rng.permutation(classes)[:2] for _ in range(n)])
    targets = np.zeros((n, classes))
    np.put_along_axis(targets, pairs, 1, axis=1)
    return targets @ prototypes / 2 + 0.3 * rng.standard_normal((n, width)) + 5, targets, pairs


def test_readout_is_ridge_with_the_penalty_that_predicts_other_blends_best():
    x, y, _ = blends(80, 1)
    choice, y_choice, _ = blends(40, 2)
    found = decoding_layers.fit(x, y, choice, y_choice)
    scale = np.linalg.eigvalsh(np.cov(x.T, bias=True) * len(x)).mean()
    errors = {}
    for strength in decoding_layers.STRENGTHS:
        reference = Ridge(alpha=strength * scale).fit(x, y)
        errors[strength] = ((reference.predict(choice) - y_choice) ** 2).mean()
        if strength == found.strength:
            np.testing.assert_allclose(found.outputs(choice), reference.predict(choice), atol=1e-9)
    assert found.strength == min(errors, key=errors.__getitem__)
    assert found.strength not in (decoding_layers.STRENGTHS[0], decoding_layers.STRENGTHS[-1])


def test_readout_of_fewer_blends_than_features_is_ridge_too():
    x, y, _ = blends(12, 1)
    found = decoding_layers.fit(x, y, x, y, strengths=(0.1,))
    scale = np.square(x - x.mean(0)).sum() / x.shape[1]
    np.testing.assert_allclose(found.outputs(x), Ridge(alpha=0.1 * scale).fit(x, y).predict(x), atol=1e-9)


def test_rates_count_both_one_and_top1_as_a_loop_does():
    x, y, _ = blends(60, 1)
    readout = decoding_layers.fit(x, y, *blends(40, 2)[:2])
    test, y_test, pairs = blends(50, 3)
    rng = np.random.default_rng(4)
    test += rng.standard_normal(test.shape)  # so that all outcomes occur
    labels = rng.integers(0, 6, 30)
    single = np.random.default_rng(9).standard_normal((6, 20))[labels] + 3 * rng.standard_normal((30, 20)) + 5
    rows = {r["outcome"]: r for r in decoding_layers.rates(readout, test, y_test, single, labels)}
    hits = [len(set(np.argsort(z)[-2:]) & set(p)) for z, p in zip(readout.outputs(test), pairs)]
    right = [int(np.argmax(z) == label) for z, label in zip(readout.outputs(single), labels)]
    assert {0, 1, 2} == set(hits)
    assert 0 < sum(right) < 30
    np.testing.assert_allclose(rows["both"]["rate"], np.mean(np.array(hits) == 2))
    np.testing.assert_allclose(rows["one"]["rate"], np.mean(np.array(hits) == 1))
    np.testing.assert_allclose(rows["top1"]["rate"], np.mean(right))
    assert [rows[o]["n"] for o in ("both", "one", "top1")] == [50, 50, 30]
    np.testing.assert_allclose([rows[o]["chance"] for o in ("both", "one", "top1")], [1 / 15, 8 / 15, 1 / 6])
    interval = stats.binomtest(sum(right), 30).proportion_ci(method="wilson")
    np.testing.assert_allclose([rows["top1"]["lo"], rows["top1"]["hi"]], interval)


def test_a_layer_that_holds_the_first_object_alone_names_one():
    _, y, pairs = blends(300, 1)
    code = np.eye(6)
    held = lambda p: code[p[:, 0]]  # noqa: E731
    choice = blends(100, 2)
    test = blends(200, 3)
    readout = decoding_layers.fit(held(pairs), y, held(choice[2]), choice[1])
    rows = {r["outcome"]: r["rate"] for r in decoding_layers.rates(
        readout, held(test[2]), test[1], code[:2], np.array([0, 1]))}  # fmt: skip
    assert rows["top1"] == 1
    assert rows["both"] + rows["one"] == 1  # the first is always named, the second by luck: once in five
    assert 0.1 < rows["both"] < 0.32


def test_a_dead_layer_reads_nothing():
    _, y, _ = blends(40, 1)
    found = decoding_layers.fit(np.ones((40, 5)), y, np.ones((40, 5)), y)
    np.testing.assert_allclose(found.outputs(np.zeros((3, 5))), np.tile(y.mean(axis=0), (3, 1)))


def test_wrong_features_are_one_line():
    x, y, _ = blends(10, 1)
    with pytest.raises(BlendnetError) as error:
        decoding_layers.fit(x, y[:9], x, y)
    one_line(error, "(10, 20)", "(9, 6)")
    x[3, 4] = np.nan
    with pytest.raises(BlendnetError) as error:
        decoding_layers.fit(x, y, x, y)
    one_line(error, "not finite")
