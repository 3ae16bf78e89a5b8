"""Error consistency: against scikit-learn's kappa, by identities, and the coverage of its interval."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from analysis import tables
from analysis.stats import accuracy, consistency, effects
from blendnet.run import Run
from tests import made_tables

PLAIN, TWIN = Run("resnet18", "none", 0, "blended", 0), Run("resnet18", "aacn", 4, "blended", 0)
OTHER_SEED, OTHER_BOTH = Run("resnet18", "none", 0, "blended", 1), Run("resnet18", "aacn", 4, "blended", 1)
OTHER_HEADS, GATE = Run("resnet18", "aacn", 8, "blended", 0), Run("resnet18", "se", 0, "blended", 0)
OTHER_NET = Run("cornet_z", "none", 0, "blended", 0)


def _frames(right, alpha=0.5):
    ids = [f"b{i}" for i in range(len(right))]
    blended = pd.DataFrame({"id": ids, "correct": right, "alpha": f"{alpha:g}"})
    return {"blended": blended, "regular": blended.drop(columns="alpha")}


def _found(rights):
    runs = (PLAIN, TWIN, OTHER_SEED, OTHER_BOTH, OTHER_HEADS, GATE, OTHER_NET)
    return {run: _frames(np.asarray(right, dtype=bool)) for run, right in zip(runs, rights)}


def _pair(rights, **counts):
    return consistency.compute(_found(rights), **counts).set_index("test").loc["blended"]


def test_kappa_is_that_of_scikit_learn_whichever_images_each_run_was_shown():
    rng = np.random.default_rng(0)
    rights = rng.random((7, 90)) < rng.random(90)[None]
    found = _found(rights)
    for i, run in enumerate(found):  # each lacks some images, and has them in another order
        found[run] = {k: f.drop(index=[i, 3 * i + 8]).sample(frac=1, random_state=i) for k, f in found[run].items()}
    table = consistency.compute(found, n_boot=20)
    assert len(table) == 2 * 21
    for row in table.to_dict("records"):
        a, b = (next(f for r, f in found.items() if r.id == row[f"run_{s}"])[row["test"]] for s in "ab")
        both = a.merge(b, on="id")
        assert row["n"] == len(both) == (86 if row["run_a"] != row["run_b"] else 88)
        assert row["agreement"] == pytest.approx((both["correct_x"] == both["correct_y"]).mean())
        assert row["kappa"] == pytest.approx(cohen_kappa_score(both["correct_x"], both["correct_y"]))
        p, q = both["correct_x"].mean(), both["correct_y"].mean()
        assert row["expected"] == pytest.approx(p * q + (1 - p) * (1 - q))
        assert row["lo"] < row["kappa"] < row["hi"]


def test_kappa_is_1_of_a_network_with_itself_minus_1_of_its_opposite_and_0_at_chance():
    right = np.arange(200) % 2 == 0
    assert _pair([right, right])["kappa"] == 1
    opposite = _pair([right, ~right])
    assert (opposite["kappa"], opposite["agreement"], opposite["hi"] < -0.95) == (-1, 0, True)
    crossed = _pair([right, np.arange(200) % 4 < 2])  # independent by design
    assert crossed["kappa"] == pytest.approx(0, abs=1e-6)
    assert crossed["lo"] < -0.05 < 0.05 < crossed["hi"]


def test_a_network_that_is_always_right_or_never_has_no_kappa_and_the_note_says_which():
    right = np.arange(50) % 3 == 0
    always = _pair([right, np.ones(50)])
    assert np.isnan(always[["kappa", "lo", "hi"]].astype(float)).all()
    assert always["note"] == "no kappa: resnet18-aacn4-blended-s0 is right on every image"
    assert always["agreement"] == pytest.approx(always["expected"])
    assert "on no image" in _pair([right, np.zeros(50)])["note"]
    found = _found([right, right])
    found[TWIN] = {k: f.assign(id="x" + f["id"]) for k, f in found[TWIN].items()}
    apart = consistency.compute(found).set_index("test").loc["blended"]
    assert (apart["note"], apart["n"], np.isnan(apart["kappa"])) == ("no image in common", 0, True)


def test_an_interval_of_a_network_that_hardly_ever_errs_is_left_open():
    right = np.ones(60, dtype=bool)
    right[0] = False
    row = _pair([np.arange(60) % 2 == 0, right])
    assert np.isfinite(row["kappa"])
    assert np.isnan(row["lo"])


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [(PLAIN, TWIN, "twin"), (PLAIN, GATE, "twin"), (PLAIN, OTHER_SEED, "seed"), (TWIN, OTHER_BOTH, "seed"),
     (PLAIN, OTHER_BOTH, "attention"), (TWIN, OTHER_HEADS, "attention"), (TWIN, GATE, "attention"),
     (PLAIN, OTHER_NET, "network")],
)  # fmt: skip
def test_what_two_runs_share(a, b, found):
    assert consistency.relation(a, b) == consistency.relation(b, a) == found


def test_runs_of_one_training_only_are_paired_and_untrained_ones_are_not():
    right = np.arange(40) % 2 == 0
    mixed = {run: _frames(right) for run in made_tables.runs(trainings=("blended", "regular"))}
    table = consistency.compute(mixed, n_boot=5)
    assert not table["run_a"].str.contains("untrained").any()
    assert all(a.split("-")[2] == b.split("-")[2] == t
               for a, b, t in zip(table["run_a"], table["run_b"], table["training"]))  # fmt: skip
    assert len(table) == 2 * 2 * 28
    assert not len(consistency.compute({PLAIN: _frames(right)}))


def test_from_predictions_the_middle_blends_and_the_rates_of_the_accuracy_table():
    runs, found, rates = (PLAIN, TWIN), {}, {}
    for i, run in enumerate(runs):
        blends, single = made_tables.predictions(1.0, seed=i, alphas=(0.3, 0.5)), made_tables.regular(0.7, seed=i)
        found[run] = {"blended": effects.correct(blends), "regular": effects.correct(single)}
        a = accuracy.aggregate([blends, single], run)
        rates[run] = a[(a["by"] == "all") & a["outcome"].isin(("both", "top1"))].set_index("test")["rate"]
    table = consistency.compute(found)
    tables.check(table, "consistency")
    for row in table.to_dict("records"):
        p, q = (rates[run][row["test"]] for run in runs)
        assert row["n"] == (84 if row["test"] == "blended" else 96)
        assert row["expected"] == pytest.approx(p * q + (1 - p) * (1 - q))
        pd.testing.assert_frame_equal(table, consistency.compute(found))


def test_the_interval_covers_the_true_kappa_in_about_95_percent():
    rng = np.random.default_rng(5)
    easy = np.array([0.9, 0.35])  # two kinds of image: where both networks do well, and where both do badly
    p, together = easy.mean(), (easy**2 + (1 - easy) ** 2).mean()
    chance = p**2 + (1 - p) ** 2
    true = (together - chance) / (1 - chance)
    hits = 0
    for i in range(300):
        rate = easy[rng.integers(2, size=150)]
        right = (rng.random((2, 150)) < rate).astype(np.float32)
        row = consistency._kappas(right, np.ones_like(right), np.array([[0, 1]]), 199, i).iloc[0]
        hits += row["lo"] <= true <= row["hi"]
    assert 0.90 <= hits / 300 <= 0.985  # 95 % less or more than three Monte Carlo errors
