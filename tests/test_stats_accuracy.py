"""Accuracy against a slow loop written from the definition, and against scikit-learn and statsmodels-like
formulas."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest
from sklearn.metrics import top_k_accuracy_score

from analysis.stats import accuracy
from blendnet.data.classes import CLASSES, HYPERCLASS
from blendnet.errors import BlendnetError
from blendnet.run import Run
from tests import made_tables

RUN = Run("resnet18", "none", 0, "blended", 0)


def slow_top_two(row):
    """The two highest by looking at one output at a time; the earlier class wins a tie."""
    order = []
    left = list(range(len(row)))
    for _ in range(2):
        best = left[0]
        for i in left[1:]:
            if row[i] > row[best]:
                best = i
        order.append(best)
        left.remove(best)
    return set(order)


@pytest.mark.parametrize("seed", range(5))
def test_outcome_and_which_found_agree_with_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(300, 8)) / 4  # many ties
    pairs = np.array([rng.choice(8, 2, replace=False) for _ in range(300)])
    labels = np.zeros((300, 8), dtype=int)
    np.put_along_axis(labels, pairs, 1, axis=1)
    result = accuracy.outcome(scores, labels)
    found = accuracy.which_found(scores, pairs[:, 0], pairs[:, 1])
    for i in range(300):
        hits = slow_top_two(scores[i]) & set(pairs[i])
        assert result[i] == {0: "none", 1: "one", 2: "both"}[len(hits)]
        assert found[i] == (hits.pop() if len(hits) == 1 else -1)


def test_ties_go_to_the_first_class_whatever_the_order_of_the_images():
    labels = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
    flat = np.full((3, 4), 0.5)
    assert list(accuracy.outcome(flat, labels)) == ["both", "none", "one"]
    assert list(accuracy.outcome(flat[::-1], labels[::-1])) == ["one", "none", "both"]
    assert list(accuracy.top1(flat, np.array([0, 1, 0]))) == [True, False, True]


def test_top1_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    expected = top_k_accuracy_score(labels, scores, k=1, labels=range(8))
    assert accuracy.top1(scores, labels).mean() == pytest.approx(expected)


@pytest.mark.parametrize("c", [3, 8, 10])
def test_chance_is_what_counting_all_guesses_gives(c):
    pairs = list(combinations(range(c), 2))
    hits = [len(set(pairs[0]) & set(guess)) for guess in pairs]
    level = accuracy.chance(c)
    assert level["both"] == pytest.approx(np.mean([h == 2 for h in hits]))
    assert level["one"] == pytest.approx(np.mean([h == 1 for h in hits]))
    assert level["none"] == pytest.approx(np.mean([h == 0 for h in hits]))
    if c == 8:
        assert (
            round(100 * level["both"], 2),
            round(100 * level["one"], 1),
            round(100 * level["none"], 1),
        ) == (
            3.57,
            42.9,
            53.6,
        )


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (1, 28), (40, 100), (999, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_agrees_with_scipy_and_with_inverting_the_score_test(k, n, level):
    lo, hi = accuracy.wilson(k, n, level)
    reference = binomtest(k, n).proportion_ci(level, method="wilson")
    assert (lo, hi) == pytest.approx((reference.low, reference.high), abs=1e-12)
    if 0 < k < n:  # the definition: the rates p0 at which |p - p0| is z standard errors of p0
        from scipy.stats import norm

        z = norm.ppf(0.5 + level / 2)
        gap = lambda p0: (k / n - p0) ** 2 - z**2 * p0 * (1 - p0) / n  # noqa: E731
        assert float(lo) == pytest.approx(brentq(gap, 1e-12, k / n), abs=1e-6)
        assert float(hi) == pytest.approx(brentq(gap, k / n, 1 - 1e-12), abs=1e-6)


def test_wilson_of_nothing_is_empty():
    assert np.isnan(accuracy.wilson(0, 0)).all()


def _slow_rate(frame, test, by, group, outcome):
    """n and k of one row, image by image."""
    n = k = 0
    classes = accuracy.classes_of(frame)
    for _, r in frame.iterrows():
        p = [r[f"z_{c}"] for c in classes]
        if test == "regular":
            mine = {"all": "", "class": r.get("class_name"), "collection": r["collection"]}[by]
            if mine == group:
                n, k = n + 1, k + (classes[int(np.argmax(p))] == r["class_name"])
            continue
        labels = {r["class_a"], r["class_b"]}
        named = {classes[i] for i in slow_top_two(p)}
        hits = labels & named
        kinds = sorted(HYPERCLASS[c] for c in labels)
        if by == "alpha":
            if f"{r['alpha']:g}" != group:
                continue
        elif r["alpha"] != 0.5:
            continue
        if by in ("first_found", "first_found_class"):
            pair, side = group.split(":")
            name = "-".join(kinds) if by == "first_found" else "+".join(sorted(labels, key=classes.index))
            if pair == name and len(hits) == 1:
                one = next(iter(hits))
                n, k = n + 1, k + (side == (HYPERCLASS[one] if by == "first_found" else one))
            continue
        mine = {"all": "", "alpha": group, "hyperpair": "-".join(kinds),
                "pair": "+".join(sorted(labels, key=classes.index)),
                "collection": "+".join(sorted((r["collection_a"], r["collection_b"])))}[by]  # fmt: skip
        if mine == group:
            n, k = n + 1, k + (["none", "one", "both"][len(hits)] == outcome)
    return n, k


def test_every_row_agrees_with_counting_image_by_image():
    blends = made_tables.predictions(1.0, seed=2, per_pair=4, alphas=(0.3, 0.5))
    single = made_tables.regular(0.6, seed=2)
    table = accuracy.aggregate([blends, single], RUN, parameters=5, flops=6)
    assert set(table["by"]) >= {"all", "pair", "hyperpair", "alpha", "collection", "class", "first_found"}
    assert (table[table["by"] == "pair"].groupby("outcome").size() == 28).all()
    assert set(table[table["by"] == "hyperpair"]["group"]) == {
        "ManMade-ManMade", "ManMade-Nature", "Human-ManMade", "Nature-Nature", "Human-Nature"}  # fmt: skip
    for row in table.to_dict("records"):
        n, k = _slow_rate(
            blends if row["test"] == "blended" else single,
            *(row[c] for c in ("test", "by", "group", "outcome")),
        )
        assert (row["n"], row["k"]) == (n, k), row
        assert row["rate"] == pytest.approx(k / n)
        assert row["lo"] <= row["rate"] <= row["hi"]
    assert set(table["run"]) == {RUN.id}


def test_guessing_lies_within_its_interval_of_chance():
    blends = made_tables.predictions(0.0, seed=11, per_pair=60, alphas=(0.5,))
    table = accuracy.aggregate(blends, RUN)
    for row in table[table["by"] == "all"].to_dict("records"):
        lo, hi = accuracy.wilson(row["k"], row["n"], 0.999)
        assert lo < row["chance"] < hi


def test_the_order_of_images_does_not_matter_and_outcomes_fill_each_group():
    blends = made_tables.predictions(1.0, seed=4, per_pair=2, alphas=(0.5,))
    a = accuracy.aggregate(blends, RUN)
    b = accuracy.aggregate(blends.sample(frac=1, random_state=0), RUN)
    pd.testing.assert_frame_equal(a, b)
    three = a[a["by"].isin(["all", "pair", "hyperpair", "alpha", "collection"])]
    sums = three.groupby(["by", "group"]).agg(k=("k", "sum"), n=("n", "first"))
    assert (sums["k"] == sums["n"]).all()
    found = a[a["by"] == "first_found"]
    pair = found["group"].str.split(":").str[0]
    assert (found.groupby(pair)["k"].sum() == found.groupby(pair)["n"].first()).all()


def test_held_out_pairs_get_rows_and_strange_classes_no_hyperpair():
    blends = made_tables.predictions(1.0, per_pair=2, alphas=(0.5,), classes=("anchor", "bell", "cat+dog"))
    blends["held_out"] = blends["class_a"] == "anchor"
    table = accuracy.aggregate(blends, RUN)
    assert set(table[table["by"] == "held_out"]["group"]) == {"held out", "trained"}
    assert not (table["by"] == "hyperpair").any()
    assert table[(table["by"] == "all") & (table["outcome"] == "both")]["chance"].item() == pytest.approx(1 / 3)
    assert "anchor+cat+dog:cat+dog" in set(table[table["by"] == "first_found_class"]["group"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f.drop(columns="alpha"), "no column 'alpha'"),
        (lambda f: f.assign(alpha=0.3), "no blend has alpha 0.5"),
        (lambda f: f.assign(class_a="ghost"), "class 'ghost' has no output"),
        (lambda f: f.assign(class_a=f["class_b"]), "1 labels, not 2"),
        (lambda f: f.assign(z_boat=np.nan), "not finite"),
        (lambda f: f.iloc[:0], "are empty"),
        (lambda f: f[[c for c in f.columns if not c.startswith("z_")]], "no z_<class> columns"),
    ],
)
def test_wrong_predictions_are_one_clear_line(spoil, says):
    with pytest.raises(BlendnetError, match=says) as error:
        accuracy.aggregate(spoil(made_tables.predictions(1.0, per_pair=1, alphas=(0.5,))), RUN)
    assert "\n" not in str(error.value)


def test_label_sets_of_another_shape_are_refused():
    with pytest.raises(BlendnetError, match="do not go with"):
        accuracy.outcome(np.zeros((3, 8)), np.zeros((2, 8)))
    assert len(CLASSES) == 8
