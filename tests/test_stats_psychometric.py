"""Psychometric curves: planted parameters come back, scipy finds no better fit, intervals cover, and no threshold is
given where there is none."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from analysis import tables
from analysis.stats import accuracy, curve_fit, psychometric
from blendnet.data.classes import CLASSES
from blendnet.run import Run
from tests import made_tables

W = np.round(np.linspace(0.1, 0.9, 9), 6)
RUN = Run("resnet18", "aacn", 4, "blended", 0)
FLOOR, TOP, SLOPE, THRESHOLD = 0.1, 0.9, 10.0, 0.4


def _curve(w, threshold=THRESHOLD, slope=SLOPE, top=TOP, floor=FLOOR):
    return floor + (top - floor) * 0.5 * (1 + np.tanh(0.5 * slope * (np.asarray(w) - threshold)))


def _blends(rng, n_pairs, rate=_curve, alphas=W, classes=CLASSES):
    """Blends whose objects are each named at rate(weight), in one draw of each photograph pair for all its blends.

    Absent classes come after the two; where an object is not to be named, it comes last.
    """
    rows = []
    for i in range(n_pairs):
        a, b = rng.choice(len(classes), 2, replace=False)
        for alpha in alphas:
            z = rng.random(len(classes)) * 0.5
            for c, weight in ((a, alpha), (b, 1 - alpha)):
                z[c] = 1 + rng.random() if rng.random() < rate(weight) else -1
            row = {"blend_id": f"{i}/{alpha:g}", "image_a": f"a{i}", "image_b": f"b{i}", "alpha": alpha}
            row |= {"class_a": classes[a], "class_b": classes[b]}
            rows.append(row | {f"z_{c}": v for c, v in zip(classes, z)})
    return pd.DataFrame(rows)


def test_scipy_finds_no_better_fit():
    rng = np.random.default_rng(1)
    n = np.full((30, 9), 60.0)
    thresholds, slopes, tops = rng.uniform(0.2, 0.7, 30), rng.uniform(4, 30, 30), rng.uniform(0.6, 1.0, 30)
    floor = rng.uniform(0.0, 0.3, 30)
    p = np.stack([_curve(W, *args) for args in zip(thresholds, slopes, tops, floor)])
    k = rng.binomial(60, p).astype(float)
    # Each is its own data: none helps another to a start.
    for i in range(30):
        mine = curve_fit.fit(W, k[i : i + 1], n[:1], floor[i : i + 1])

        def minus(v, i=i):
            q = np.clip(_curve(W, v[0], v[1], v[2], floor[i]), 1e-9, 1 - 1e-9)
            return -(k[i] * np.log(q) + (60 - k[i]) * np.log1p(-q)).sum()

        bounds = [(-3, 4), (0.0, curve_fit.STEEPEST), (floor[i], 1.0)]
        starts = [(t, s, u) for t in (0.2, 0.5, 0.8) for s in (5, 20, 60) for u in (0.7, 0.95)]
        best = min((minimize(minus, s, bounds=bounds, method="L-BFGS-B") for s in starts), key=lambda r: r.fun)
        assert mine.log_likelihood[0] >= -best.fun - 1e-3
        assert mine.log_likelihood[0] == pytest.approx(
            -minus((mine.threshold[0], mine.slope[0], mine.top[0])), abs=1e-6
        )
        if 0.01 < best.x[0] < 0.99 and mine.log_likelihood[0] < -best.fun + 1e-4 and best.x[1] < 60:
            assert mine.threshold[0] == pytest.approx(best.x[0], abs=2e-3)


def test_resamples_fitted_together_are_those_fitted_alone():
    rng = np.random.default_rng(2)
    k = rng.binomial(40, _curve(W), size=(25, 9)).astype(float)
    n, floor = np.full(k.shape, 40.0), np.full(25, FLOOR)
    together = curve_fit.fit(W, k, n, floor)
    for i in range(25):
        alone = curve_fit.fit(W, k[i : i + 1], n[:1], floor[:1])
        assert together.log_likelihood[i] == pytest.approx(alone.log_likelihood[0], abs=1e-4)


def test_without_noise_the_planted_parameters_come_back():
    n = np.full((1, 9), 1e6)
    found = curve_fit.fit(W, n * _curve(W), n, np.array([FLOOR]))
    assert found.threshold[0] == pytest.approx(THRESHOLD, abs=1e-4)
    assert found.slope[0] == pytest.approx(SLOPE, abs=1e-2)
    assert found.top[0] == pytest.approx(TOP, abs=1e-4)
    np.testing.assert_allclose(curve_fit.predict(W, found)[0], _curve(W), atol=1e-5)


def test_counts_are_those_of_a_slow_loop():
    frame = made_tables.predictions(1.0, seed=3, per_pair=2, alphas=(0.2, 0.5, 0.8))
    weights, named, shown, (wrong, absent) = psychometric._counts(frame, CLASSES)
    assert list(weights) == [0.2, 0.5, 0.8]
    k, n = np.zeros((2, 9, 3))
    false, chances = np.zeros((2, 9))
    for row in frame.to_dict("records"):
        top = sorted(CLASSES, key=lambda c: -row[f"z_{c}"])[:2]
        for name, weight in ((row["class_a"], row["alpha"]), (row["class_b"], 1 - row["alpha"])):
            for g in (0, 1 + CLASSES.index(name)):
                j = int(np.argmin(np.abs(weights - weight)))
                n[g, j] += 1
                k[g, j] += name in top
        if row["alpha"] != 0.5:
            for i, name in enumerate(CLASSES):
                if name not in (row["class_a"], row["class_b"]):
                    for g in (0, 1 + i):
                        chances[g] += 1
                        false[g] += name in top
    np.testing.assert_array_equal(named.sum(axis=0), k)
    np.testing.assert_array_equal(shown.sum(axis=0), n)
    np.testing.assert_array_equal(wrong.sum(axis=0), false)
    np.testing.assert_array_equal(absent.sum(axis=0), chances)
    assert len(named) == 28 * 2  # pairs of photographs, not blends


def test_table_of_a_run_rates_and_intervals():
    frame = made_tables.predictions(1.2, seed=4)
    fits, points = psychometric.compute(frame, RUN, n_boot=50)
    again = psychometric.compute(frame.sample(frac=1, random_state=1), RUN, n_boot=50)
    pd.testing.assert_frame_equal(fits, again[0])
    pd.testing.assert_frame_equal(points, again[1])
    assert set(fits["group"]) == {"", *CLASSES}
    whole = fits[fits["group"] == ""].iloc[0]
    assert whole["n"] == 2 * len(frame)
    assert 0 < whole["threshold_lo"] < whole["threshold"] < whole["threshold_hi"] < 1
    assert whole["slope_lo"] < whole["slope"] < whole["slope_hi"]
    assert whole["floor"] < 2 / 8  # a network that sees has fewer names left for what is not there
    own = points[points["group"] == ""]
    lo, hi = accuracy.wilson(own["k"].to_numpy(), own["n"].to_numpy())
    np.testing.assert_allclose(own[["rate", "lo", "hi"]], np.stack([own["k"] / own["n"], lo, hi], axis=1))
    curve = _curve(own["weight"], whole["threshold"], whole["slope"], whole["top"], whole["floor"])
    np.testing.assert_allclose(own["fitted"], curve, atol=1e-9)
    assert own[own["weight"] == 0.5]["n"].item() == own[own["weight"] == 0.4]["n"].item() == 2 * 84
    tables.check(fits, "psychometric")


def test_a_network_that_guesses_has_no_threshold_and_the_chance_floor():
    fits, points = psychometric.compute(made_tables.predictions(0.0, seed=5, per_pair=20), RUN, n_boot=20)
    whole = fits[fits["group"] == ""].iloc[0]
    assert whole["note"] == "no threshold: the rate does not rise with the weight"
    assert np.isnan(whole[["threshold", "threshold_lo", "slope", "top", "deviance"]].astype(float)).all()
    assert whole["floor"] == pytest.approx(2 / 8, abs=0.02)
    assert points[points["group"] == ""]["fitted"].isna().all()
    assert fits["threshold"].isna().sum() >= 7  # of 9, at 1 % each


def test_no_number_where_the_data_leave_it_open():
    few = psychometric.compute(made_tables.predictions(1.2, alphas=(0.3, 0.5, 0.7)), RUN, n_boot=5)
    assert (few[0]["note"] == "no curve: 3 weights are too few, at least 4 are needed").all()
    assert few[0]["threshold"].isna().all()
    assert len(few[1]) == 9 * 3
    rng = np.random.default_rng(6)
    steep = psychometric.compute(_blends(rng, 150, lambda w: 0.0 if w < 0.45 else 1.0), RUN, n_boot=20)[0].iloc[0]
    assert np.isnan(steep["slope"])
    assert "steeper than the weights can tell" in steep["note"]
    assert 0.4 <= steep["threshold"] <= 0.5
    late = psychometric.compute(_blends(rng, 400, lambda w: _curve(w, 1.25, 6, 1.0)), RUN, n_boot=20)[0].iloc[0]
    assert np.isnan(late["threshold"]) or "open" in late["note"] or "beyond" in late["note"]


@pytest.mark.parametrize(("samples", "found"), [
    ([0.1] * 50 + [0.2] * 50, (0.1, 0.2)),
    ([0.3] * 96 + [np.inf] * 4, (0.3, np.nan)),
    ([-2.0] * 5 + [0.3] * 95, (np.nan, 0.3)),
    ([], (np.nan, np.nan)),
])  # fmt: skip
def test_an_end_beyond_0_to_1_is_open(samples, found):
    np.testing.assert_array_equal(psychometric._ends(np.array(samples)), found)


def test_the_interval_of_the_threshold_covers_and_the_fit_is_not_refused_too_often():
    """120 planted networks: 95 % of intervals hold the truth and 5 % of p_fit lie below .05, within three Monte Carlo
    errors. Objects of a pair of photographs are made dependent: the pair's easiness moves all its thresholds."""
    rng = np.random.default_rng(7)
    shift = np.array([-0.1, 0.1])
    mean = np.mean([_curve(W, THRESHOLD + s, SLOPE, TOP, 0.0) for s in shift], axis=0)
    truth = curve_fit.fit(W, 1e6 * mean[None], np.full((1, 9), 1e6), np.zeros(1)).threshold[0]
    assert truth == pytest.approx(THRESHOLD, abs=0.01)
    hits, refused = 0, 0
    for i in range(120):
        easy = shift[rng.integers(2, size=150)]
        p = np.stack([_curve(W, THRESHOLD + s, SLOPE, TOP, 0.0) for s in easy])
        named = (rng.random((2, *p.shape)) < p).sum(axis=0).astype(float)
        draws = psychometric._draws(150, 100, i)
        k, n = draws @ named, draws @ np.full(p.shape, 2.0)
        row, _ = psychometric._row(W, k, n, np.zeros(len(k)), True)
        hits += row["threshold_lo"] <= truth <= row["threshold_hi"]
        refused += row["p_fit"] < 0.05
    assert hits / 120 >= 0.89
    assert refused / 120 <= 0.11
