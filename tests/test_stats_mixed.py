"""The mixed model against ordinary least squares, exact tests of balanced designs and statsmodels' own numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import tables
from analysis.stats import mixed
from tests import made_tables
from tests.test_stats_relation import rates_table


def design(networks=6, kinds=2, seeds=3):
    group = np.repeat(np.arange(networks), kinds * seeds)
    kind = np.tile(np.repeat(np.arange(kinds), seeds), networks)
    return group, group * kinds + kind, (kind > 0).astype(float)


def simulate(rng, group, cell, sds=(1.0, 0.5, 0.3)):
    noise = sds[0] * rng.normal(size=group.max() + 1)[group] + sds[1] * rng.normal(size=cell.max() + 1)[cell]
    return noise + sds[2] * rng.normal(size=len(group))


def test_attention_alone_is_the_paired_t_test_of_networks():
    """With two kinds, balanced, the effect's exact test is that of the networks' differences."""
    group, cell, attention = design()
    y = simulate(np.random.default_rng(0), group, cell) + 0.2 * attention
    found = mixed.fit(y, attention[:, None], group, cell)
    d = [y[(group == g) & (attention == 1)].mean() - y[(group == g) & (attention == 0)].mean() for g in range(6)]
    assert found.note == ""
    assert found.estimate[0] == pytest.approx(np.mean(d), abs=1e-6)
    assert found.se[0] == pytest.approx(np.std(d, ddof=1) / np.sqrt(6), rel=0.01)
    assert found.df[0] == pytest.approx(5, rel=0.01)
    _, _, p = mixed.inference(found.estimate, found.se, found.df)
    assert p[0] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=0.05)


def test_numbers_are_those_of_statsmodels_in_raw_units():
    from statsmodels.regression.mixed_linear_model import MixedLM

    group, _, attention = design(seeds=4)
    rng = np.random.default_rng(1)
    x = 0.3 + 0.05 * simulate(rng, group, np.arange(len(group)))
    y = 0.5 + 0.4 * x + 0.02 * simulate(rng, group, np.arange(len(group)))
    terms = np.column_stack([x, attention])
    found = mixed.fit(y, terms, group, np.arange(len(y)))
    in_other_units = np.column_stack([np.ones(len(y)), 10 * x, attention])
    reference = MixedLM(100 * y, in_other_units, groups=group).fit(reml=True, method="bfgs")
    assert reference.converged
    assert np.isnan(found.cell_sd)
    assert found.estimate * [10, 100] == pytest.approx(reference.fe_params[1:], rel=1e-3)
    # statsmodels takes fixed effects and variances from one matrix, where ours, as lme4's, are apart.
    assert found.se * [10, 100] == pytest.approx(reference.bse_fe[1:], rel=0.03)
    assert found.network_sd * 100 == pytest.approx(np.sqrt(reference.cov_re[0, 0]), rel=2e-2)
    assert found.residual_sd * 100 == pytest.approx(np.sqrt(reference.scale), rel=1e-2)


def test_no_difference_between_networks_is_least_squares_and_said():
    group, cell, attention = design(networks=5, seeds=4)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, len(group)))
    for values in (x, y):  # exactly none: every cell has the same mean
        values -= pd.Series(values).groupby(cell).transform("mean").to_numpy()
    y += 0.5 * x
    terms = np.column_stack([x, attention])
    found = mixed.fit(y, terms, group, cell)
    import statsmodels.api as sm

    reference = sm.OLS(y, sm.add_constant(terms)).fit()
    assert found.note == "variance of network and cell at its boundary, 0"
    assert found.network_sd == pytest.approx(0, abs=1e-2)
    assert found.estimate == pytest.approx(reference.params[1:], abs=1e-4)
    assert found.se == pytest.approx(reference.bse[1:], rel=1e-3)


def test_satterthwaite_at_known_variances_is_generalised_least_squares():
    group, cell, attention = design()
    rng = np.random.default_rng(4)
    y, x = simulate(rng, group, cell), simulate(rng, group, cell)
    terms = np.column_stack([x, attention])
    v = 0.7 * (group[:, None] == group) + 0.2 * (cell[:, None] == cell) + 0.1 * np.eye(len(y))
    terms = np.column_stack([np.ones(len(y)), terms])
    beta, cov, df, slope = mixed.satterthwaite(y, terms, group, cell, np.array([0.7, 0.2, 0.1]))
    root = np.linalg.inv(np.linalg.cholesky(v))
    reference = np.linalg.lstsq(root @ terms, root @ y, rcond=None)[0]
    assert beta == pytest.approx(reference)
    assert cov == pytest.approx(np.linalg.inv((root @ terms).T @ (root @ terms)))
    assert (df > 1).all()

    def reml(variances):
        w = variances[0] * (group[:, None] == group) + variances[1] * (cell[:, None] == cell)
        w = w + variances[2] * np.eye(len(y))
        inverse = np.linalg.inv(w)
        inner = terms.T @ inverse @ terms
        rest = y - terms @ np.linalg.solve(inner, terms.T @ inverse @ y)
        return -0.5 * (np.linalg.slogdet(w)[1] + np.linalg.slogdet(inner)[1] + rest @ inverse @ rest)

    at, step = np.array([0.7, 0.2, 0.1]), 1e-6
    numeric = [(reml(at + step * e) - reml(at - step * e)) / (2 * step) for e in np.eye(3)]
    assert slope == pytest.approx(numeric, rel=1e-4)


def test_seeds_do_not_make_a_score_of_cells_significant():
    """The same cells with ten times the seeds: hardly more certain, since what differs is between cells."""
    rng = np.random.default_rng(5)
    by_cell = rng.normal(size=(2, 12))
    sizes = []
    for seeds in (2, 20):
        group, cell, attention = design(seeds=seeds)
        x, y = by_cell[:, cell] + 0.05 * rng.normal(size=(2, len(cell)))
        found = mixed.fit(y, np.column_stack([x, attention]), group, cell)
        assert found.df[0] <= 12 - 3
        sizes.append(found.se[0])
    wrong = mixed.fit(y, np.column_stack([x, attention]), group, np.arange(len(y)))
    assert sizes[1] > 0.3 * sizes[0]
    assert wrong.df[0] > 5 * found.df[0]


NETWORKS = ("resnet18", "cornet_z", "resnet50", "alexnet")


def table_of(monkeypatch, networks=NETWORKS, seeds=(0, 1), trainings=("blended",)):
    for name in ("alexnet", "vgg"):
        monkeypatch.setitem(made_tables.LAYERS, name, made_tables.LAYERS["cornet_z"])
    chosen = made_tables.runs(networks, seeds, trainings)
    recordings = made_tables.REAL[:1]
    return made_tables.scores_table(chosen, recordings), rates_table(chosen)


def test_table_has_a_row_a_term_and_its_numbers_are_those_of_fit(monkeypatch):
    scores, accuracy = table_of(monkeypatch)
    table = mixed.compute(scores, accuracy)
    tables.check(table, "mixed")
    both = table[table["accuracy"] == "blended_both"]
    terms = {"score", "attention", "score|regular_top1", "attention|regular_top1", "regular_top1"}
    assert set(both["term"]) == terms
    assert set(table[table["accuracy"] == "regular_top1"]["term"]) == {"score", "attention"}
    assert (table[["n_runs", "n_architectures"]] == [16, 4]).all(axis=None)
    runs = scores[scores["kind"] == "network"].sort_values("run")
    rate = accuracy[(accuracy["by"] == "all") & (accuracy["outcome"] == "both")].set_index("run")["rate"]
    y, attention = rate[runs["run"]].to_numpy(), (runs["attention"] != "none").to_numpy(float)
    cells = runs.groupby(["network", "attention"]).ngroup().to_numpy()
    found = mixed.fit(y, np.column_stack([runs["score"], attention]), runs["network"].to_numpy(), cells)
    row = both[both["term"] == "score"].iloc[0]
    assert row["estimate"] == pytest.approx(found.estimate[0], rel=1e-4)
    assert row["se"] == pytest.approx(found.se[0], rel=1e-4)
    half = stats.t.ppf(0.975, found.df[0]) * found.se[0]
    assert (row["lo"], row["hi"]) == pytest.approx((row["estimate"] - half, row["estimate"] + half), rel=1e-3)
    assert row["network_sd"] == pytest.approx(found.network_sd, rel=1e-3)
    assert "degrees of freedom; cell_sd" in row["note"]


def test_too_few_architectures_or_runs_give_notes_and_no_numbers(monkeypatch):
    table = mixed.compute(*table_of(monkeypatch, NETWORKS[:3], (0, 1, 2)))
    assert table["note"].str.contains("18 runs of 3 architectures, at least 12 of 4").all()
    for name in ("estimate", "se", "lo", "hi", "p", "network_sd", "residual_sd"):
        assert table[name].isna().all()
    few = mixed.compute(*table_of(monkeypatch, NETWORKS, (0,)))
    assert few["note"].str.contains("8 runs of 4 architectures").all()


def test_trainings_are_fixed_effects_together_and_models_apart(monkeypatch):
    table = mixed.compute(*table_of(monkeypatch, trainings=("blended", "regular")))
    assert set(table["training"]) == {"", "blended", "regular"}
    assert "training:regular" in set(table[table["training"] == ""]["term"])
    assert not table[table["training"] != ""]["term"].str.startswith("training:").any()


def test_no_variance_and_no_contrast_are_said(monkeypatch):
    scores, accuracy = table_of(monkeypatch)
    flat = mixed.compute(scores.assign(score=0.4), accuracy)
    assert flat["estimate"].isna().all()
    assert flat["note"].str.contains("the same in all runs").all()
    scores, accuracy = table_of(monkeypatch, seeds=(0, 1, 2))
    plain = mixed.compute(scores[scores["attention"] == "none"], accuracy)
    assert plain["se"].notna().all()  # one cell a network: its effect is the network's
    assert "attention" not in set(plain["term"])
    assert plain["note"].str.contains("attention is the same in all runs and left out").any()
    assert not len(mixed.compute(scores.iloc[:0], accuracy))
