"""The relation table: its points, depths and covariates against a slow loop, and what it says where there is
no number."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import tables
from analysis.stats import correlation, relation
from tests import made_tables

NETWORKS = ("resnet18", "cornet_z", "resnet50")
SIZES = {"resnet18": (11_000_000, 2e9), "cornet_z": (1_500_000, 1.3e8), "resnet50": (24_000_000, 4e9)}


def rates_table(chosen, seed=0):
    """The overall rates of some runs, of their training and network with noise, and equal sizes."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in chosen:
        skill = 0.4 + 0.05 * (run.attention != "none") + 0.01 * len(run.network) + 0.1 * (run.training == "blended")
        about = {"run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
                 "training": run.training, "seed": run.seed, "by": "all", "group": "", "n": 1000,
                 "parameters": 1_000_000, "flops": 1_000_000}  # fmt: skip
        for test, outcome, more in (("blended", "both", 0.0), ("regular", "top1", 0.2)):
            k = int(1000 * (skill + more + rng.normal(0, 0.03)))
            rows.append(about | {"test": test, "outcome": outcome, "k": k, "rate": k / 1000})
    return tables.from_rows(rows, "accuracy")


def made(networks=NETWORKS, seeds=(0, 1), trainings=("blended",), n_recordings=1):
    """Tables in which sizes differ between networks and a little between twins."""
    chosen = made_tables.runs(networks, seeds, trainings)
    recordings = made_tables.REAL[:n_recordings]
    accuracy = rates_table(chosen)
    for network, (parameters, flops) in SIZES.items():
        for attention, times in (("none", 1.0), ("aacn", 0.97)):
            mine = (accuracy["network"] == network) & (accuracy["attention"] == attention)
            accuracy.loc[mine, "parameters"] = int(parameters * times)
            accuracy.loc[mine, "flops"] = int(flops * times**2)
    return {"scores": made_tables.scores_table(chosen, recordings),
            "layers": made_tables.layers_table(chosen, recordings),
            "accuracy": tables.check(accuracy, "accuracy")}  # fmt: skip


@pytest.fixture(scope="module")
def small():
    given = made()
    return given, relation.compute(**given, n_permutations=200)


def row(table, **wanted):
    depth = wanted.pop("depth", None)
    mine = table["depth"].isna() if depth is None else np.isclose(table["depth"], depth)
    for name, value in wanted.items():
        mine = mine & (table[name] == value)
    assert mine.sum() == 1
    return table[mine].iloc[0]


def slow_points(given, quantity, depth=None):
    """Cell means one by one; (score, rate, log parameters, log flops, readouts, network) a cell."""
    scores = given["scores"][given["scores"]["kind"] == "network"]
    test, outcome = {"blended_both": ("blended", "both"), "regular_top1": ("regular", "top1")}[quantity]
    acc = given["accuracy"][(given["accuracy"]["by"] == "all")]
    out = []
    for network in sorted(scores["network"].unique()):
        for attention in sorted(scores["attention"].unique()):
            own = scores[(scores["network"] == network) & (scores["attention"] == attention)]
            x, y, sizes = [], [], []
            for run in own["run"]:
                if depth is None:
                    x.append(own[own["run"] == run]["score"].item())
                else:
                    profile = given["layers"][given["layers"]["run"] == run].sort_values("depth")
                    x.append(float(np.interp(depth, profile["depth"], profile["score"])))
                mine = acc[(acc["run"] == run) & (acc["test"] == test) & (acc["outcome"] == outcome)]
                y.append(mine["rate"].item())
                sizes.append((np.log10(mine["parameters"].item()), np.log10(mine["flops"].item()),
                              len(made_tables.LAYERS[network])))  # fmt: skip
            out.append((np.mean(x), np.mean(y), *np.mean(sizes, axis=0), network))
    return out


def residuals(values, covariates):
    design = np.column_stack([np.ones(len(values)), *covariates])
    return np.asarray(values) - design @ np.linalg.lstsq(design, np.asarray(values), rcond=None)[0]


@pytest.mark.parametrize("quantity", ["blended_both", "regular_top1"])
@pytest.mark.parametrize("depth", [None, 0.25, 0.5, 1.0])
def test_values_are_those_of_a_slow_loop(small, quantity, depth):
    given, table = small
    points = slow_points(given, quantity, depth)
    x, y = np.array([p[:2] for p in points]).T
    for statistic, f in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        found = row(table, accuracy=quantity, training="", adjusted="", statistic=statistic, depth=depth)
        assert found["value"] == pytest.approx(f(x, y)[0])
        assert (found["n_points"], found["n_architectures"], found["n_runs"]) == (6, 3, 12)
        assert found["lo"] <= found["value"] <= found["hi"]
        assert 0 < found["p"] <= 1


@pytest.mark.parametrize("name", ["log_parameters", "log_flops", "readouts", "regular_top1"])
def test_adjusted_values_are_those_of_residuals(small, name):
    given, table = small
    points = slow_points(given, "blended_both")
    x, y = np.array([p[:2] for p in points]).T
    if name == "regular_top1":
        z = [np.array([p[1] for p in slow_points(given, "regular_top1")])]
    else:
        z = [np.array([p[2 + ["log_parameters", "log_flops", "readouts"].index(name)] for p in points])]
    found = row(table, accuracy="blended_both", training="", adjusted=name, statistic="pearson")
    assert found["value"] == pytest.approx(stats.pearsonr(residuals(x, z), residuals(y, z))[0])
    assert "worth" in found["note"]


def test_without_adjustment_it_is_the_correlation_table(small):
    given, table = small
    reference = correlation.compute(given["scores"], given["accuracy"], n_permutations=200)
    reference = reference[reference["left_out"] == ""]
    key = ["recording", "region", "metric", "accuracy", "training", "statistic"]
    both = table[table["depth"].isna() & (table["adjusted"] == "")].merge(reference, on=key, suffixes=("", "_there"))
    assert len(both) == len(reference) == 4
    for name in ("value", "p", "n_points", "n_runs", "n_architectures"):
        np.testing.assert_allclose(both[name].to_numpy(float), both[f"{name}_there"].to_numpy(float))


def test_every_row_has_a_number_or_says_why_not(small):
    _, table = small
    assert (table["value"].isna() == table["note"].str.startswith("not computed: ")).all()
    for name in ("lo", "hi", "p"):
        assert (table[name].isna() == table["value"].isna()).all()
    full = table[table["adjusted"].str.count(r"\+") == 3]
    assert full["note"].str.contains("6 points, at least 8 are needed given 4 covariates").all()
    assert len(full)


def test_a_covariate_that_follows_from_others_is_not_taken_twice():
    given = made()
    given["accuracy"]["flops"] = given["accuracy"]["parameters"] * 10
    table = relation.compute(**given, n_permutations=50)
    mine = table[(table["adjusted"] == relation.ALL_SIZES) & table["depth"].isna()]
    assert mine["value"].isna().all()
    given["accuracy"]["parameters"] = 5
    flat = relation.compute(**given, n_permutations=50)
    note = row(flat, accuracy="blended_both", adjusted="log_parameters", statistic="pearson")["note"]
    assert note == "not computed: log_parameters is the same at all 6 points"


def test_unknown_sizes_and_missing_layers_are_said():
    given = made()
    given["accuracy"]["flops"] = pd.array([pd.NA] * len(given["accuracy"]), dtype="Int64")
    table = relation.compute(given["scores"], None, given["accuracy"], n_permutations=50)
    assert table["depth"].isna().all()
    note = {n: row(table, accuracy="blended_both", adjusted=n, statistic="pearson")["note"] for n in relation.SIZES}
    assert "log_flops is not known at 6 of 6 points" in note["log_flops"]
    assert "readouts is not known at 6 of 6 points" in note["readouts"]
    assert "worth" in note["log_parameters"]


def test_few_points_give_notes_and_no_numbers():
    given = made(networks=("resnet18",))
    table = relation.compute(**given)
    assert len(table)
    assert table["value"].isna().all()
    assert table["note"].str.contains("2 points, at least").all()
    assert set(table.loc[table["depth"].notna(), "adjusted"]) == {""}
    nothing = relation.compute(given["scores"].iloc[:0], given["layers"].iloc[:0], given["accuracy"])
    assert not len(nothing)
    assert list(nothing.columns) == tables.columns("relation")


def test_a_score_without_variance_is_said_of_its_row_alone():
    given = made(n_recordings=2)
    flat = given["scores"]["recording"] == "invented-v1"
    given["scores"].loc[flat, "score"] = 0.4
    table = relation.compute(**given, n_permutations=50)
    by = {r: row(table, recording=r, accuracy="blended_both", adjusted="", statistic="pearson") for r in
          ("invented-v1", "invented-v4")}  # fmt: skip
    assert by["invented-v1"]["note"] == "not computed: the score is the same at all 6 points"
    assert np.isfinite(by["invented-v4"]["value"])


def test_each_training_has_rows_of_its_own_and_a_missing_score_leaves_its_run_out():
    given = made(trainings=("blended", "regular"))
    lost = (given["scores"]["run"] == "resnet18-none-blended-s1") & (given["scores"]["kind"] == "network")
    given["scores"].loc[lost, "score"] = np.nan
    table = relation.compute(**given, n_permutations=50)
    assert set(table["training"]) == {"", "blended", "regular"}
    counts = {t: row(table, training=t, accuracy="blended_both", adjusted="", statistic="pearson") for t in
              ("", "blended", "regular")}  # fmt: skip
    assert [(c["n_points"], c["n_runs"]) for c in counts.values()] == [(12, 23), (6, 11), (6, 12)]
    layer = row(table, training="", accuracy="blended_both", adjusted="", statistic="pearson", depth=0.5)
    assert layer["n_runs"] == 24


def test_untrained_runs_and_chance_rows_are_no_points(small):
    given, table = small
    only = {name: part[part["kind"] == "network"] if "kind" in part else part for name, part in given.items()}
    pd.testing.assert_frame_equal(relation.compute(**only, n_permutations=200), table)


def test_profiles_are_not_continued_beyond_known_layers():
    found = relation.at_depths(np.array([0.8, 0.2]), np.array([3.0, 1.0]))
    assert np.isnan(found[[0, 4]]).all()
    assert found[[1, 2, 3]] == pytest.approx([1 + 2 * 0.05 / 0.6, 2.0, 1 + 2 * 0.55 / 0.6])


def test_the_same_seed_gives_the_same_bytes():
    given = made(seeds=(0,))
    shuffled = {name: part.sample(frac=1, random_state=1) for name, part in given.items()}
    first, second = (relation.compute(**g, n_permutations=100, seed=3) for g in (given, shuffled))
    assert tables.to_csv(first, "relation") == tables.to_csv(second, "relation")
