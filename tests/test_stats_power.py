import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import nct, t

from analysis import tables
from analysis.stats import power, twins
from blendnet.errors import BlendnetError
from pipelines import power as step
from pipelines.sheet import profile


def made_twins(
    networks=3, seeds=2, network_sd=0.03, seed_sd=0.02, seed=0, training="blended", quantity="score:V4:x:pls"
):
    rng = np.random.default_rng(seed)
    rows = []
    for a in range(networks):
        own = 0.05 + network_sd * rng.normal()
        for s in range(seeds):
            d = own + seed_sd * rng.normal()
            rows.append({"level": "pair", "network": f"net{a}", "training": training, "seed": s,
                         "attention_kind": "aacn", "heads": 4, "quantity": quantity, "plain": 0.3,
                         "attention": 0.3 + d, "difference": d, "n": 1})  # fmt: skip
    return tables.from_rows(rows, "twins")


def test_spread_of_a_balanced_design_is_that_of_restricted_maximum_likelihood():
    table = made_twins(networks=8, seeds=4, seed=1)
    found = power.spread([p["difference"].to_numpy() for _, p in table.groupby("network")])
    model = smf.mixedlm("difference ~ 1", table.astype({"difference": float}), groups=table["network"]).fit(reml=True)
    assert found.seed_sd == pytest.approx(np.sqrt(model.scale), rel=1e-4)
    assert found.network_sd == pytest.approx(np.sqrt(model.cov_re.iloc[0, 0]), rel=1e-2)
    assert (found.network_df, found.seed_df, found.seeds_per_network) == (7, 24, pytest.approx(4))


def test_spread_is_unbiased_where_seeds_are_unequal_in_number():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3000):
        values = [0.5 * rng.normal() * 4 + rng.normal(size=n) for n in (1, 2, 5, 3)]
        s = power.spread(values)
        found.append((s.seed_sd**2, s.network_sd**2))
    np.testing.assert_allclose(np.mean(found, axis=0), [1.0, 4.0], rtol=0.08)


def test_network_variance_is_never_negative():
    found = power.spread([np.array([-1.0, 1.0]), np.array([1.0, -1.0])])
    assert found.network_sd == 0.0
    assert found.seed_sd == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("values", [[np.array([0.1, 0.2])], [np.array([0.1]), np.array([0.2])], []])
def test_no_spread_to_be_had_says_what_to_train(values):
    with pytest.raises(BlendnetError, match="train twins of 2 networks or more"):
        power.spread(values)


def test_upper_limit_of_the_spread_is_above_the_true_one_in_80_percent():
    rng = np.random.default_rng(1)
    above = []
    for _ in range(2000):
        limit = power.cautious(power.spread([rng.normal() + 0.5 * rng.normal(size=3) for _ in range(4)]))
        above.append((limit.seed_sd > 0.5, limit.network_sd**2 + limit.seed_sd**2 / 3 > 1 + 0.25 / 3))
    share = np.mean(above, axis=0)
    assert share[0] == pytest.approx(0.8, abs=0.03)
    assert share[1] > 0.77


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("effect", [0.0, 0.7, 1.5])
def test_power_of_the_t_test_is_that_of_the_noncentral_t(n, effect):
    hits = power.Designs(6000, seed=2, networks=(n,)).hits(n, effect, 1.0, "t")
    critical = t.ppf(0.975, n - 1)
    true = nct.sf(critical, n - 1, effect * np.sqrt(n)) + nct.cdf(-critical, n - 1, effect * np.sqrt(n))
    assert hits / 6000 == pytest.approx(true, abs=4 * np.sqrt(true * (1 - true) / 6000))


@pytest.mark.parametrize("n", [4, 6, 8])
def test_power_of_the_sign_flip_is_counted_with_the_sign_flip_of_the_tables(n):
    designs = power.Designs(150, seed=3, networks=(n,))
    d = 0.9 + 0.8 * np.random.default_rng([3, n]).normal(size=(150, n))
    slow = sum(twins.sign_flip_p(row) <= 0.05 for row in d)
    assert designs.hits(n, 0.9, 0.8, "sign flip") == slow
    assert (slow == 0) == (n < 6)


def test_unknown_test_is_named():
    with pytest.raises(BlendnetError, match="did you mean 'sign flip'"):
        power.Designs(10, networks=(3,)).hits(3, 0.1, 1.0, "signflip")


def test_table_has_every_design_and_its_power_grows_with_networks_and_seeds():
    table = power.compute(made_twins(), n_simulations=400)
    assert len(table) == 9 * 5 * 2 * 3  # networks, seeds, tests; margin at two spreads, observed at one
    own = table[(table["test"] == "t") & (table["note"] == "margin, estimated spread")]
    grid = own.pivot(index="n_networks", columns="n_seeds", values="power").to_numpy(dtype=float)
    assert (np.diff(grid, axis=0) > -0.06).all()
    assert (np.diff(grid, axis=1) >= 0).all()  # the same draws, with less spread
    assert grid[-1, -1] > grid[0, 0] + 0.1
    assert ((own["lo"] <= own["power"]) & (own["power"] <= own["hi"])).all()
    careful = table[table["note"] == "margin, upper 80 % spread"]
    assert careful["seed_sd"].min() > own["seed_sd"].max()
    assert careful["network_sd"].min() > own["network_sd"].max()


def test_observed_difference_and_spread_are_those_of_the_pairs():
    made = made_twins()
    found = power.compute(made, n_simulations=50)
    own = found[found["note"] == "observed, estimated spread"].iloc[0]
    means = made.groupby("network")["difference"].mean()
    within = made.groupby("network")["difference"].var().mean()
    assert own["difference"] == pytest.approx(means.mean())
    assert own["seed_sd"] == pytest.approx(np.sqrt(within))
    assert own["network_sd"] == pytest.approx(np.sqrt(means.var() - within / 2))
    assert own["source"] == "blended aacn4: 3 networks, 6 pairs"


def test_same_arguments_same_bytes_and_another_seed_other_power():
    first, again = (tables.to_csv(power.compute(made_twins(), n_simulations=100), "power") for _ in range(2))
    assert first == again
    assert first != tables.to_csv(power.compute(made_twins(), n_simulations=100, seed=1), "power")


def test_given_effect_and_quantity_are_the_only_ones():
    made = pd.concat([made_twins(), made_twins(quantity="accuracy:blended_both", seed=4)])
    found = power.compute(made, quantity="accuracy:blended_both", effect=0.01, n_simulations=50)
    assert set(found["quantity"]) == {"accuracy:blended_both"}
    assert set(found["difference"]) == {0.01}


def test_what_cannot_be_planned_says_why():
    with pytest.raises(BlendnetError, match="unknown quantity 'score:V4:x:plz'; did you mean"):
        power.compute(made_twins(), quantity="score:V4:x:plz")
    with pytest.raises(BlendnetError, match="an effect of 0 cannot be found"):
        power.compute(made_twins(), effect=0.0)
    with pytest.raises(BlendnetError, match="1 networks with 2 seeds show no spread"):
        power.compute(made_twins(networks=1))
    with pytest.raises(BlendnetError, match="no pair of trained networks"):
        power.compute(made_twins(training="untrained"))
    with pytest.raises(BlendnetError, match="0 simulations"):
        power.compute(made_twins(), n_simulations=0)


def test_sentence_names_the_design_of_fewest_trained_networks():
    designs = (("t", 6, 3, 0.9), ("t", 9, 1, 0.82), ("t", 3, 2, 0.7), ("sign flip", 6, 3, 0.5))
    rows = [{"quantity": "q", "difference": 0.02, "network_sd": 1.0, "seed_sd": 1.0, "n_networks": k, "n_seeds": s,
             "test": test, "power": value, "lo": value, "hi": value, "n_simulations": 9, "source": "blended aacn4",
             "note": "margin, estimated spread"} for test, k, s, value in designs]  # fmt: skip
    assert power.sentences(tables.from_rows(rows, "power")) == [
        "an effect of +0.02 (margin) in q needs, for 80% power, 9 networks x 1 seeds (t) or more than 9 x 3 "
        "(sign flip) at the estimated spread [blended aacn4]"
    ]


def test_step_reads_twins_and_writes_power(tmp_path, capsys):
    with pytest.raises(BlendnetError, match=r"twins.csv is missing; run `blendnet correlate --profile demo`"):
        step.power(profile("demo"), tmp_path)
    tables.write(made_twins(), tmp_path / "tables" / "twins.csv")
    step.power(profile("demo"), tmp_path, n_simulations=50, effect=0.03)
    assert len(tables.read(tmp_path / "tables" / "power.csv")) == 9 * 5 * 2 * 2
    assert "an effect of +0.03 (given) in score:V4:x:pls needs" in capsys.readouterr().out
