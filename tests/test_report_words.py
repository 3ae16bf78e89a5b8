"""The answer in words: every number is that of its row, and no sentence says more than the verdict of the table."""

import re

import numpy as np
import pandas as pd
import pytest

from analysis import answer_effects, answer_inside, answer_relation
from tests import made_tables
from tests.test_report import build, older


@pytest.fixture(scope="module")
def made():
    return made_tables.made(quick=True)


def seen(effects):
    """The row of the question: both objects, over all networks."""
    rows = effects[(effects["quantity"] == "accuracy:blended_both") & (effects["level"] == "all")]
    return rows[rows["left_out"] == ""].iloc[0]


def with_row(effects, **values):
    """The table with the row of the question changed."""
    effects = effects.copy()
    for name, value in values.items():
        effects.loc[seen(effects).name, name] = value
    return effects


def test_the_first_lines_answer_the_question_with_the_numbers_of_the_table(made):
    row, text = seen(made["effects"]), build(made)
    first = text[text.index('id="answer"') :]
    assert first.index("see superimposed objects better?") < first.index("more like the brain?") < first.index("<h3>")
    plain, attention = (f"in {100 * row[k]:.1f} %" for k in ("plain", "attention"))
    rates = f"{plain}, those with attention (4 heads) {attention}"
    minus = [f"{100 * row[k]:+.1f} points".replace("-", "−") for k in ("difference", "lo", "hi")]
    n = f"n = {row['n_networks']} networks, {row['n_seeds']} seeds each, {row['n_stimuli']} stimuli"
    p = f"sign-flip p = {row['p']:.2g}"
    corrected = f"Holm {row['p_holm']:.2g}, Benjamini-Hochberg {row['p_bh']:.2g}"
    interval = f"difference {minus[0]} (95 % interval {minus[1]} to {minus[2]}, from drawing {row['resampled']}"
    for words in (rates, n, p, corrected, interval):
        assert words in first
    assert "There are at most 2 architectures" in first


@pytest.mark.parametrize(
    ("change", "verdict", "says"),
    [
        ({"verdict": "different", "difference": 0.06, "p_holm": 0.01}, "Yes, better.", "The verdict is different."),
        ({"verdict": "different", "difference": -0.06, "p_holm": 0.01}, "No, worse.", "The verdict is different."),
        ({"verdict": "different", "difference": 0.06, "p_holm": 0.3, "p_floor": 0.01},
         "Yes, better by the interval, but not by p corrected", "not by p corrected for the number of comparisons"),
        ({"verdict": "different", "difference": 0.06, "p_holm": 0.5, "p_floor": 0.5},
         "Yes, better by the interval; no p can be below 0.5 with so few.", "which cannot be below 0.5 here"),
        ({"verdict": "equivalent", "margin": 0.05, "p_equivalent": 0.01}, "No, the same within 5 points.",
         "a difference of 5 points or more is excluded (p = 0.01)"),
        ({"verdict": "undecided", "margin": 0.05, "p_equivalent": 0.2}, "Undecided.",
         "neither is a difference shown nor that it is smaller than 5 points (p = 0.2)"),
        ({"verdict": "too few", "lo": np.nan, "hi": np.nan, "p": np.nan, "p_holm": np.nan, "p_bh": np.nan,
          "note": "one seed: no interval"}, "Too few networks and seeds to say.", "Note: one seed: no interval."),
    ],
)  # fmt: skip
def test_every_verdict_is_said_as_such(made, change, verdict, says):
    head, text, _ = answer_effects.leads(with_row(made["effects"], **change))[0]
    assert verdict in head
    assert says in text
    if change["verdict"] == "too few":
        assert "no interval; no p" in text
    if change["verdict"] in ("undecided", "too few", "equivalent"):
        assert not re.search(r"\b(yes|better|worse|helps)\b", head.split("?")[1], re.I)


def test_areas_count_their_verdicts(made):
    rows = answer_effects.overall(made["effects"], "score")
    v4 = rows[rows["quantity"].str.startswith("score:V4:")].assign(p_holm=[0.01, 0.4], p_bh=[0.01, 0.2])
    _, verdict, text = answer_effects.area(v4.assign(verdict=["different", "undecided"], difference=[0.05, 0.01]), "V4")
    assert verdict == "more like it in 1 of 2, undecided in 1 of 2"
    assert "from 0.010 to 0.050 over 2 comparisons" in text
    assert "smallest Holm p 0.01" in text
    assert "Holm p at most 0.05 in 1 of 2" in text
    both_ways = v4.assign(verdict="different", difference=[0.05, -0.01])
    assert answer_effects.area(both_ways, "V4")[1] == "more like it in 1 and less like it in 1"
    lost = v4.assign(verdict="too few", lo=np.nan, hi=np.nan, p=np.nan, p_holm=np.nan, p_bh=np.nan)
    assert answer_effects.area(lost, "V4")[1:][0] == "too few to say"
    assert "no interval, no p" in answer_effects.area(lost, "V4")[2]


def test_class_pairs_and_weights_are_counted_and_the_extremes_are_said_to_be_picked(made):
    pairs = answer_effects.overall(made["effects"], "pair")
    words = next(w for w in answer_effects.detail(made["effects"]) if "class pairs" in w)
    best = pairs.loc[pairs["difference"].idxmax()]
    assert f"Over {len(pairs)} class pairs" in words
    assert f"different {(pairs['verdict'] == 'different').sum()}," in words
    assert f"in {(pairs['p_holm'] <= 0.05).sum()} by Holm" in words
    assert f"{100 * best['difference']:+.1f} points (pair {best['quantity'].split('=')[1]})" in words
    assert "picked from all 28" in words


def test_each_architecture_left_out_is_told(made):
    row = seen(made["effects"])
    left = made["effects"][(made["effects"]["quantity"] == row["quantity"]) & (made["effects"]["left_out"] != "")]
    words = answer_effects.leave_one_out(row, made["effects"])
    if not len(left):  # the table leaves none out where there are two
        assert words == ""
    left = pd.concat([made["effects"], pd.DataFrame([row]).assign(left_out="resnet50", verdict="undecided")])
    assert "without ResNet50 undecided" in answer_effects.leave_one_out(row, left)


def test_old_words_stand_only_where_there_are_no_effects(made):
    new, old = build(made), build(older(made))
    for words in ("By network: ", "Attention minus plain was positive in", "Do networks that see blends better"):
        assert words in old
        assert words not in new
    for words in ("Guessing names both", "above their untrained twin", "would have added"):
        assert words in old
        assert words in new
    bare = made | {"effects": made["effects"].iloc[:0], "relation": made["relation"].iloc[:0]}
    assert "Attention minus plain was positive in" in build(bare)
    assert "Do networks that see blends better" in build(bare)


def test_several_trainings_are_told_apart():
    several = made_tables.made(trainings=("blended", "regular"), quick=True)
    head, text, _ = answer_effects.leads(several["effects"])[0]
    assert "(trained on blended images)" in head
    assert "(trained on regular images)" in head
    assert text.count("the plain networks name both objects of a blend in") == 2


def test_similarity_and_accuracy_are_told_by_area_with_what_is_held_constant(made):
    r = made["relation"]
    rows = r[(r["accuracy"] == "blended_both") & (r["statistic"] == "spearman") & r["depth"].isna()]
    (head, text, areas), = answer_relation.lead(r)  # fmt: skip
    plain = rows[rows["adjusted"] == ""]
    within = plain["p_within"].dropna()
    assert f"In {(within <= 0.05).sum()} of {len(within)} comparisons" in head
    assert head.split("? ")[1].startswith("Not shown.")
    assert "no p here is corrected" in text
    assert "describe the networks here and no others" in text
    v1 = plain[plain["region"] == "V1"].iloc[0]
    given = rows[(rows["region"] == "V1") & (rows["adjusted"] == "regular_top1")].iloc[0]
    assert areas[0].startswith(f"V1: Spearman {v1['value']:.3f}, 95 % interval {v1['lo']:.3f} to {v1['hi']:.3f}")
    assert f"given accuracy on single objects: Spearman {given['value']:.3f}" in areas[0]
    assert "not computed" in areas[0]
    sure = r.assign(p_within=0.01)
    assert "Not shown" not in answer_relation.lead(sure)[0][0]
    assert f"at most 0.05 ({len(plain)} of them positive)" in answer_relation.lead(sure)[0][0]
    none = r.assign(value=np.nan, p_within=np.nan, note="not computed: 2 points are too few")
    assert "Too few networks to say." in answer_relation.lead(none)[0][0]
    # One area without a coefficient: its line says so, without numbers of points.
    v1 = r["region"] == "V1"
    areas = answer_relation.lead(r.assign(value=r["value"].mask(v1), p_within=r["p_within"].mask(v1)))[0][2]
    assert areas[0].startswith("V1: not computed")
    assert "points" not in areas[0]
    assert "points" in areas[1]
    assert answer_relation.in_words("regular_top1+log_flops") == "accuracy on single objects and log flops"


def test_mixed_models_count_intervals_and_refusals(made):
    mixed = made["mixed"]
    words = " ".join(answer_relation.mixed_words(mixed))
    own = mixed[mixed["term"] == "attention"]
    inside = int(((own["lo"] <= 0) & (own["hi"] >= 0)).sum())
    assert f"term attention: estimates from {own['estimate'].min():.3f} to {own['estimate'].max():.3f}" in words
    assert f"in {len(own)} models; the 95 % interval contains 0 in {inside} " in words
    assert "term intercept" not in words
    gone = mixed.assign(estimate=mixed["estimate"].where(mixed["term"] != "attention"), note="did not converge")
    assert f"{len(own)} of {len(mixed)} estimates were not computed: did not converge." in answer_relation.mixed_words(
        gone
    )


def test_what_happens_inside_is_told_with_its_numbers(made):
    sup = made["superposition"]
    last = sup[(sup["run"].str.startswith("resnet18-aacn4-blended")) & (sup["lesion"] == "attention")
               & (sup["layer"] == "avgpool") & (sup["alpha"] == 0.5) & (sup["outcome"] == "all")]  # fmt: skip
    words = " ".join(answer_inside.superposition_words(sup))
    means = last[["weight_first", "weight_second", "r2", "bias"]].mean()
    weights = f"{means['weight_first']:.3f} and {means['weight_second']:.3f}, R² of the sum {means['r2']:.3f}"
    assert f"ResNet18, attention (4 heads), attention lesioned, last layer (avgpool): weights {weights}" in words
    assert "No test over networks was made" in words
    dec = made["decoding"]
    own = dec[(dec["outcome"] == "both") & (dec["network"] == "resnet18") & (dec["attention"] == "none")
              & (dec["training"] == "blended")].groupby("layer")["rate"].mean()  # fmt: skip
    text = " ".join(answer_inside.decoding_words(dec))
    assert f"ResNet18, plain: best in {own.idxmax()} with {100 * own.max():.1f} %" in text
    con = made["consistency"]
    twin = con[(con["relation"] == "twin") & (con["test"] == "blended")]["kappa"]
    kappas = answer_inside.consistency_words(con)
    assert (
        f"its attention twin {twin.mean():.3f} (from {twin.min():.3f} to {twin.max():.3f}, {len(twin)} pairs)"
        in kappas[0]
    )
    lost = int((con[con["test"] == "regular"]["kappa"].isna()).sum())
    assert any(w.startswith(f"{lost} of ") and "no kappa" in w for w in kappas)


def test_thresholds_are_paired_by_network_and_seed(made):
    p = made["psychometric"]
    p = p[(p["group"] == "") & (p["training"] == "blended")]
    wide = p.pivot_table(index=["network", "seed"], columns="attention", values="threshold")
    by = (wide["aacn"] - wide["none"]).groupby("network").mean()
    words = answer_inside.psychometric_words(made["psychometric"])
    assert f"difference {by.mean():+.3f}".replace("-", "−") in words[0]
    assert f"ResNet18 {by['resnet18']:+.3f}".replace("-", "−") in words[0]
    assert f"in {(p['p_fit'] < 0.05).sum()} of {len(p)} fits" in words[-1]


def test_power_names_the_smallest_designs(made):
    power = made["power"]
    large = power[(power["difference"] == 0.05) & (power["n_seeds"] == 2) & (power["power"] >= 0.8)]
    first = large.sort_values("n_networks").iloc[0]
    small, found = answer_inside.power_words(power)
    assert f"{first['n_networks']} networks with 2 seeds each ({100 * first['power']:.1f} %)" in found
    assert ("takes more than any design up to 12 networks of 8 seeds" in small) == (
        not (power[power["difference"] == 0.02]["power"] >= 0.8).any()
    )
