import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from analysis import tables
from analysis.stats import effects, hierarchical, paired, twins
from blendnet.errors import BlendnetError
from blendnet.files import write_json, write_text
from pipelines import correlate
from tests import made_tables as made

RUNS = made.runs(networks=("resnet18", "cornet_z", "resnet50"), seeds=(0, 1))
TRAINED = [r for r in RUNS if r.training != "untrained"]


def frames_of(i, run, **how):
    return {"blended": made.predictions(made._skill(run), seed=i, **how), "regular": made.regular(made._skill(run), i)}


@pytest.fixture(scope="module")
def accuracy():
    return made.accuracy_table(RUNS)


@pytest.fixture(scope="module")
def scores():
    return made.scores_table(RUNS)


@pytest.fixture(scope="module")
def outcomes():
    return {r.id: {k: effects.correct(f) for k, f in frames_of(i, r).items()} for i, r in enumerate(RUNS)}


@pytest.fixture(scope="module")
def samples(scores):
    """Resamples that all runs have alike: a common error and one of each run's own."""
    rng = np.random.default_rng(0)
    found = {}
    for (recording, region, metric), part in scores[scores["kind"] == "network"].groupby(
        ["recording", "region", "metric"]
    ):
        common = 0.03 * rng.normal(size=200)
        for run, score in zip(part["run"], part["score"]):
            found[run, recording, region, metric] = score + common + 0.01 * rng.normal(size=200)
    return found


@pytest.fixture(scope="module")
def table(scores, accuracy, outcomes, samples):
    return effects.compute(scores, accuracy, outcomes, samples)


def row(table, quantity, level="all", network="", left_out="", training="blended"):
    own = table[(table["quantity"] == quantity) & (table["level"] == level) & (table["network"] == network)
                & (table["left_out"] == left_out) & (table["training"] == training)]  # fmt: skip
    assert len(own) == 1
    return own.iloc[0]


def test_differences_and_p_are_those_of_the_twins_table(table, scores, accuracy):
    theirs = twins.compute(scores, accuracy)
    theirs = theirs[theirs["level"] != "pair"]
    ours = table[(table["left_out"] == "") & table["family"].isin(("accuracy", "score"))]
    both = theirs.merge(ours, on=["quantity", "training", "level", "network"], suffixes=("_twins", ""))
    assert len(both) == len(theirs) == len(ours)
    for name in ("plain", "attention", "difference", "p"):
        np.testing.assert_allclose(both[name], both[f"{name}_twins"], atol=1e-12)


def test_rows_by_alpha_and_pair_are_the_rates_of_the_accuracy_table(table, accuracy):
    for by, group in (("alpha", "0.3"), ("pair", "boat+car")):
        part = accuracy[(accuracy["by"] == by) & (accuracy["group"] == group) & (accuracy["outcome"] == "both")]
        part = part[(part["training"] == "blended") & (part["network"] == "resnet18")]
        rates = part.pivot(index="seed", columns="attention", values="rate")
        found = row(table, f"accuracy:blended_both@{by}={group}", "network", "resnet18")
        assert found["difference"] == pytest.approx((rates["aacn"] - rates["none"]).mean())
        assert found["family"] == by
    assert table[table["family"] == "alpha"]["quantity"].nunique() == 9
    assert table[table["family"] == "pair"]["quantity"].nunique() == 28


def test_interval_of_an_architecture_by_hand(table):
    """Its two seeds, each attention minus plain on the same 84 even blends."""
    where = {r.id: i for i, r in enumerate(RUNS)}
    own = [r for r in TRAINED if r.network == "cornet_z"]
    correct = {}
    for r in own:
        frame = frames_of(where[r.id], r)["blended"]
        frame = frame[frame["alpha"] == 0.5].sort_values("blend_id")
        outputs = frame.filter(like="z_")
        named = [set(np.argsort(-v)[:2]) for v in outputs.to_numpy()]
        names = [c[2:] for c in outputs.columns]
        truth = [{names.index(a), names.index(b)} for a, b in zip(frame["class_a"], frame["class_b"])]
        correct[r.attention, r.seed] = np.array([n == t for n, t in zip(named, truth)], dtype=float)
    photographs = frame[["image_a", "image_b"]].to_numpy()
    d = np.stack([correct["aacn", s] - correct["none", s] for s in (0, 1)], axis=1)
    e = d - d.mean(axis=0)
    shares = (photographs[:, None, :, None] == photographs[None, :, None, :]).any(axis=(2, 3))
    together = max(e.sum(axis=1) @ shares @ e.sum(axis=1), (e.sum(axis=1) ** 2).sum())
    kernel = shares if together > (e.sum(axis=1) ** 2).sum() else np.eye(len(d))
    shared = max(0.0, e[:, 0] @ kernel @ e[:, 1] / (len(d) * (len(d) - 1)))
    means = d.mean(axis=0)
    found = row(table, "accuracy:blended_both", "network", "cornet_z")
    lo, hi = paired.interval(means.mean(), [(means.var(ddof=1) / 2, 1), (shared, len(d) - 1)])
    assert (found["lo"], found["hi"]) == pytest.approx((max(lo, -1), min(hi, 1)))
    assert (found["resampled"], found["n_seeds"], found["n_stimuli"]) == ("seeds, stimuli", 2, 84)


def test_score_intervals_carry_the_samples(table, scores, accuracy, samples):
    quantity = "score:V4:invented-v4:pls"
    own = {r: samples[r.id, "invented-v4", "V4", "pls"] for r in TRAINED}
    find = {(r.network, r.attention, r.seed): s for r, s in own.items()}
    d = np.stack([find[n, "aacn", s] - find[n, "none", s] for n in ("cornet_z", "resnet18", "resnet50")
                  for s in (0, 1)], axis=1)  # fmt: skip
    c = np.cov(d.T)
    between = [c[i : i + 2, j : j + 2].mean() for i in (0, 2, 4) for j in (0, 2, 4) if i != j]
    means = np.array([row(table, quantity, "network", n)["difference"] for n in ("cornet_z", "resnet18", "resnet50")])
    parts = [(means.var(ddof=1) / 3, 2), (max(0.0, np.mean(between)), 199)]
    found = row(table, quantity)
    assert (found["lo"], found["hi"]) == pytest.approx(paired.interval(means.mean(), parts))
    assert found["resampled"] == "networks, seeds, stimuli, neuroids"
    assert row(table, "score:EVC:invented-fmri:rsa")["resampled"] == "networks, seeds, stimuli, subjects"
    alone = row(effects.compute(scores, accuracy), quantity)
    assert (alone["lo"], alone["hi"]) == pytest.approx(twins.t_interval(means))
    assert alone["resampled"] == "networks, seeds"


def test_each_architecture_is_left_out_once_three_are_there(table, accuracy):
    kept = row(table, "accuracy:blended_both", left_out="resnet18")
    own = [row(table, "accuracy:blended_both", "network", n)["difference"] for n in ("cornet_z", "resnet50")]
    assert kept["difference"] == pytest.approx(np.mean(own))
    assert kept["n_networks"] == 2
    assert "the 2 networks are fixed, not drawn" in kept["note"]
    assert np.isnan([kept["p_holm"], kept["p_bh"]]).all()
    two = effects.compute(None, accuracy[accuracy["network"] != "resnet50"])
    assert set(two["left_out"]) == {""}
    assert set(table["left_out"]) == {"", "cornet_z", "resnet18", "resnet50"}


def test_p_are_adjusted_within_family_training_and_level(table):
    kept = table[table["left_out"] == ""]
    seen = 0
    for (_, _, level), part in kept.groupby(["family", "training", "level"]):
        p = part["p"].to_numpy(float)
        known = np.isfinite(p)
        assert np.isnan(part["p_holm"].to_numpy(float)[~known]).all()
        if not known.any():
            continue
        np.testing.assert_allclose(part["p_holm"][known], multipletests(p[known], method="holm")[1])
        np.testing.assert_allclose(part["p_bh"][known], multipletests(p[known], method="fdr_bh")[1])
        seen += level == "all"
    assert seen == 8  # four families, trained and untrained


def test_smallest_p_is_told(table):
    assert row(table, "accuracy:blended_both")["p_floor"] == 0.25
    assert row(table, "accuracy:blended_both", "network", "resnet18")["p_floor"] == 0.5
    assert (table["p"].dropna() >= table["p_floor"][table["p"].notna()] - 1e-12).all()
    assert table["note"].str.contains("p cannot fall below 0.25").any()


def test_one_seed_speaks_of_these_networks_and_decides_nothing(table, scores, accuracy):
    found = row(table, "accuracy:blended_both", "network", "resnet18", training="untrained")
    assert (found["resampled"], found["verdict"], found["n_seeds"]) == ("stimuli", "too few", 1)
    assert found["hi"] > found["lo"]
    assert np.isnan([found["p"], found["p_equivalent"], found["effect"]]).all()
    assert "one seed: the interval speaks of these very networks" in found["note"]
    bare = row(
        effects.compute(scores, accuracy), "score:V1:invented-v1:pls", "network", "resnet18", training="untrained"
    )
    assert np.isnan([bare["lo"], bare["hi"]]).all()
    assert (bare["resampled"], bare["verdict"]) == ("nothing", "too few")
    # Three networks of one seed each are drawn all the same, each with its seed.
    all_three = row(table, "accuracy:blended_both", training="untrained")
    assert (all_three["resampled"], all_three["n_networks"]) == ("networks, stimuli", 3)
    assert all_three["verdict"] != "too few"


def test_order_of_images_does_not_matter_but_a_missing_one_does(table, accuracy, outcomes):
    mixed = {run: {k: f.sample(frac=1, random_state=3) for k, f in own.items()} for run, own in outcomes.items()}
    quantity = "accuracy:blended_both"
    one, other = (row(effects.compute(None, accuracy, o), quantity) for o in (outcomes, mixed))
    pd.testing.assert_series_equal(one, other, check_names=False)
    lacking = {run: dict(own) for run, own in outcomes.items()}
    frame = lacking["resnet18-aacn4-blended-s1"]["blended"]
    lacking["resnet18-aacn4-blended-s1"]["blended"] = frame[frame["id"] != "boat-car-0.5-0"]
    found = effects.compute(None, accuracy, lacking)
    assert row(found, quantity, "network", "resnet18")["resampled"] == "seeds"
    assert row(found, quantity)["resampled"] == "networks, seeds"
    assert row(found, quantity, "network", "cornet_z")["resampled"] == "seeds, stimuli"
    assert row(found, "accuracy:blended_both@alpha=0.3")["resampled"] == "networks, seeds, stimuli"


def test_samples_of_other_resamples_are_not_paired(scores, accuracy, samples):
    cut = {k: v[:150] if k[0] == "resnet18-none-blended-s0" else v for k, v in samples.items()}
    found = effects.compute(scores, None, None, cut)
    assert row(found, "score:V4:invented-v4:pls", "network", "resnet18")["resampled"] == "seeds"
    assert row(found, "score:V4:invented-v4:pls", "network", "cornet_z")["resampled"] == "seeds, stimuli, neuroids"


def test_differences_all_alike_are_no_certainty(accuracy):
    rounded = accuracy.copy()
    rounded["rate"] = np.where(rounded["attention"] == "none", 0.5, 0.6)
    found = row(effects.compute(None, rounded), "accuracy:blended_both")
    assert found["difference"] == pytest.approx(0.1)
    assert (found["verdict"], found["note"].split(";")[0]) == ("too few", "no interval: the differences are all alike")


@pytest.mark.parametrize(
    ("lo", "hi", "p", "told", "said"),
    [
        (0.01, 0.03, 0.5, True, "different"),
        (-0.03, -0.01, 0.001, True, "different"),
        (-0.01, 0.01, 0.01, True, "equivalent"),
        (-0.01, 0.01, 0.06, True, "undecided"),
        (0.01, 0.03, 0.5, False, "too few"),
        (np.nan, np.nan, np.nan, True, "too few"),
    ],
)
def test_verdict(lo, hi, p, told, said):
    assert effects.verdict(lo, hi, p, told) == said


def test_a_certain_difference_within_the_margin_is_different_and_the_note_says_so(scores):
    known = scores.copy()
    step = {"resnet18": 0.004, "cornet_z": 0.005, "resnet50": 0.006}
    known["score"] = 0.3 + np.where(known["attention"] == "aacn", known["network"].map(step).astype(float), 0.0)
    found = row(effects.compute(known, None), "score:V4:invented-v4:pls")
    assert found["verdict"] == "different"
    assert found["p_equivalent"] < 0.05
    assert "different, by less than the margin" in found["note"]
    assert found["effect"] == pytest.approx(5 * 0.5642, rel=1e-3)
    tight = row(effects.compute(known, None, margins={"score": 0.001}), "score:V4:invented-v4:pls")
    assert (tight["margin"], tight["p_equivalent"] > 0.9) == (0.001, True)


def test_margins_of_another_name_or_of_nothing_are_refused(accuracy):
    with pytest.raises(BlendnetError, match="unknown margin 'scores'; did you mean 'score'"):
        effects.compute(None, accuracy, margins={"scores": 0.1})
    with pytest.raises(BlendnetError, match="margin 0 of score is not positive"):
        effects.compute(None, accuracy, margins={"score": 0.0})


def test_nothing_in_nothing_out(accuracy):
    assert len(effects.compute(None, None)) == 0
    assert len(effects.compute(None, accuracy[accuracy["attention"] == "none"])) == 0


def test_table_is_checked_and_the_same_to_the_byte(table, scores, accuracy, outcomes, samples):
    text = tables.to_csv(table, "effects")
    again = effects.compute(
        scores.sample(frac=1, random_state=1), accuracy.sample(frac=1, random_state=2), outcomes, samples
    )
    assert tables.to_csv(again, "effects") == text
    assert table["n_neuroids"].notna().sum() == (table["quantity"].str.contains(":pls|:ridge")).sum()


def test_correct_counts_what_the_accuracy_table_counts(accuracy, outcomes):
    run = "cornet_z-aacn4-blended-s1"
    own = accuracy[(accuracy["run"] == run) & accuracy["outcome"].isin(("both", "top1"))]
    blended, regular = outcomes[run]["blended"], outcomes[run]["regular"]
    for group, part in blended.groupby("alpha"):
        assert part["correct"].sum() == own[(own["by"] == "alpha") & (own["group"] == group)]["k"].item()
    for group, part in blended[blended["alpha"] == "0.5"].groupby("pair"):
        assert part["correct"].sum() == own[(own["by"] == "pair") & (own["group"] == group)]["k"].item()
    assert regular["correct"].sum() == own[(own["test"] == "regular") & (own["by"] == "all")]["k"].item()


def write_predictions(results, run, frames):
    for test, frame in frames.items():
        write_text(results / "predictions" / run / f"{test}.csv", frame.to_csv(index=False, float_format="%.9g"))


def test_predictions_are_used_only_where_accuracy_rests_on_them(tmp_path, accuracy, outcomes, capsys):
    where = {r.id: i for i, r in enumerate(RUNS)}
    write_predictions(tmp_path, TRAINED[0].id, frames_of(where[TRAINED[0].id], TRAINED[0]))
    write_predictions(tmp_path, TRAINED[1].id, frames_of(99, TRAINED[1]))  # of another training
    found = correlate.read_outcomes(tmp_path, accuracy)
    assert list(found) == [TRAINED[0].id]
    pd.testing.assert_frame_equal(found[TRAINED[0].id]["blended"], outcomes[TRAINED[0].id]["blended"])
    said = capsys.readouterr().out
    assert f"not used, predictions that are not those of accuracy.csv: {TRAINED[1].id}; run blendnet predict" in said


def piece_of(row, samples, **key):
    own = {"metric": row["metric"], "seed": 1, "n_bootstrap": len(samples), "activations": row["activations_key"],
           "recording_name": row["recording"]}  # fmt: skip
    names = ("run", "kind", "recording", "region", "metric", "score", "activations_key", "recording_sha256",
             "code_version")  # fmt: skip
    chance = {name: row[name] for name in names} | {"kind": "shuffled", "score": 0.0}
    return {"key": own | key, "scores": [chance, {name: row[name] for name in names}], "layers": [],
            "samples": samples}  # fmt: skip


def test_samples_are_used_only_where_scores_rest_on_them(tmp_path, scores, capsys):
    # As read from the file: of six digits.
    written = tables.read(_written(tmp_path / "scores.csv", scores), "scores")
    chosen = scores[
        (scores["kind"] == "network") & (scores["recording"] == "invented-v4") & (scores["metric"] == "pls")
    ]
    rows = chosen.head(6).to_dict("records")
    pieces = [piece_of(r, [0.1, None, 0.3]) for r in rows]
    pieces[1]["scores"][1]["score"] += 0.001  # another score
    pieces[2]["scores"][1]["activations_key"] = "12" * 32  # other activations
    pieces[3]["key"]["seed"] = 2  # other resamples
    pieces[4]["scores"][1]["code_version"] = "old"
    del pieces[5]["samples"]  # from before they were kept
    for r, piece in zip(rows, pieces):
        write_json(tmp_path / "scores" / r["run"] / "invented-v4-V4-pls.json", piece)
    found = correlate.read_samples(tmp_path, written)
    assert list(found) == [(rows[0]["run"], "invented-v4", "V4", "pls")]
    np.testing.assert_array_equal(found[rows[0]["run"], "invented-v4", "V4", "pls"], [0.1, np.nan, 0.3])
    said = capsys.readouterr().out
    assert "not used, score samples that are not those of scores.csv:" in said
    assert "and 1 more; run blendnet score" in said


def _written(path, table):
    tables.write(table, path, "scores")
    return path


def test_shared_noise_of_stimuli_widens_the_interval_and_own_noise_does_not():
    """Own noise of a run is in the spread of its seeds already."""
    values = [np.array([0.02, 0.05, 0.03])]
    width = [paired.half_width(hierarchical.estimate(values, c, 100).parts) for c in (None, np.eye(3), np.ones((3, 3)))]
    assert width[0] == pytest.approx(width[1])
    assert width[2] > 2 * width[0]


def test_the_real_photos_tables_have_an_effect_of_every_quantity(request):
    folder = request.config.rootpath / "results" / "photos" / "tables"
    scores, accuracy = (tables.read(folder / f"{name}.csv", name) for name in ("scores", "accuracy"))
    found = effects.compute(scores, accuracy)
    assert set(found["family"]) == {"accuracy", "alpha", "pair", "score"}
    for quantity in twins.compute(scores, accuracy)["quantity"].unique():
        own = row(found, quantity)
        assert own["lo"] <= own["difference"] <= own["hi"]
