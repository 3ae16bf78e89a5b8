"""The figure of the mixed model: the table's own numbers, words for what could not be computed, a page that holds;
and what `blendnet correlate` makes of four architectures, each left out once."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import figures, tables
from analysis.figures import _style
from blendnet.errors import BlendnetError
from pipelines import cli
from tests import made_tables

MIXED = figures.load("mixed_model")


def mixed_table(places=made_tables.REAL, seed=0) -> pd.DataFrame:
    """Invented effects of both terms at each (recording, region, metric), but in the last none could be computed."""
    rng = np.random.default_rng(seed)
    rows = []
    for recording, region, metric in places:
        for accuracy, terms in (
            ("blended_both", ("score", "attention", "score|regular_top1", "attention|regular_top1", "regular_top1")),
            ("regular_top1", ("score", "attention")),
        ):
            for term in terms:
                gone = np.nan if (recording, region, metric) == places[-1] and len(places) > 1 else 0.0
                estimate = {"s": 0.8, "a": 0.04, "r": 0.6}[term[0]] + rng.normal(0, 0.02) + gone
                half = {"s": 0.5, "a": 0.05, "r": 0.3}[term[0]]
                rows.append({
                    "region": region, "recording": recording, "metric": metric, "accuracy": accuracy, "training": "",
                    "term": term, "estimate": estimate, "se": half / 2 + gone, "lo": estimate - half,
                    "hi": estimate + half, "p": 0.03 + gone, "network_sd": 0.05 + gone, "residual_sd": 0.02 + gone,
                    "n_runs": 24, "n_architectures": 4,
                    "note": "not computed: the fit did not converge" if gone != 0 else "t with 5.2 degrees of freedom",
                })  # fmt: skip
    return tables.from_rows(rows, "mixed")


def points(ax, marker, face):
    return sorted((round(float(line.get_ydata()[0])), round(float(line.get_xdata()[0]), 4)) for line in ax.lines
                  if line.get_marker() == marker and line.get_markerfacecolor() == face)  # fmt: skip


@pytest.mark.parametrize(("column", "term", "factor"), [(0, "score", 10), (1, "attention", 100)])
def test_estimates_and_intervals_are_those_of_the_table_area_by_area(column, term, factor):
    df = mixed_table()
    fig = MIXED.draw({"mixed": df})
    axes = fig.axes
    order = _style.places(df)
    labels = [t.get_text() for t in axes[0].get_yticklabels()]
    assert labels == [_style.title(p) for p in order]
    assert [words.split(" ·")[0] for words in labels] == ["V1", "V4", "V4", "EVC", "IT"]
    looks = {("blended_both", ""): ("o", "#333333"), ("blended_both", "|regular_top1"): ("o", "white"),
             ("regular_top1", ""): ("D", "#c8c8c8")}  # fmt: skip
    spans = []
    for (accuracy, given), (marker, face) in looks.items():
        own = df[(df["accuracy"] == accuracy) & (df["term"] == term + given) & df["estimate"].notna()]
        assert len(own) == 4
        expected = sorted(
            (order.index((r.region, r.recording, r.metric)), round(factor * r.estimate, 4)) for r in own.itertuples()
        )
        assert points(axes[column], marker, face) == [(y, pytest.approx(x, abs=1e-3)) for y, x in expected]
        spans += [(factor * r.lo, factor * r.hi) for r in own.itertuples()]
    bars = [tuple(line.get_xdata()) for line in axes[column].lines if len(set(line.get_ydata())) == 1
            and len(line.get_xdata()) == 2 and line.get_xdata()[0] != line.get_xdata()[1]]  # fmt: skip
    assert sorted(bars) == [pytest.approx(span) for span in sorted(spans)]
    words = [(t.get_text(), t.get_position()[1]) for t in axes[column].texts]
    assert words == [("not computed", 4)]


def test_the_caption_has_n_interval_p_and_what_was_refused():
    caption = MIXED.caption({"mixed": mixed_table()})
    for words in (
        "24 trained runs of 4 architectures",
        "95 % intervals",
        "standard deviation 5 points",
        "smallest of the 4 p of brain score for blends is 0.03",
        "Not computed: the fit did not converge",
    ):
        assert words in caption


def test_with_several_trainings_the_models_of_all_runs_are_drawn():
    df = mixed_table()
    part = df.assign(training="regular", estimate=df["estimate"] + 5)
    both = tables.check(pd.concat([df, part, df[df["term"] == "attention"].assign(term="training:regular")]), "mixed")
    fig, alone = MIXED.draw({"mixed": both}), MIXED.draw({"mixed": df})
    assert _style.render(fig, "png") == _style.render(alone, "png")
    assert "with one effect for each training" in MIXED.caption({"mixed": both})


def test_where_no_model_could_be_fitted_there_is_no_figure_and_the_reason_is_known():
    df = mixed_table()
    why = "8 runs of 2 architectures, at least 12 of 4 are needed"
    refused = df.assign(**dict.fromkeys(("estimate", "se", "lo", "hi", "p"), np.nan), note=f"not computed: {why}")
    assert "mixed_model" in figures.drawable({"mixed": df})
    assert figures.not_drawable({"mixed": df}) == {}
    assert "mixed_model" not in figures.drawable({"mixed": refused})
    assert figures.not_drawable({"mixed": refused}) == {"mixed_model": why}
    assert figures.not_drawable({}) == {}
    with pytest.raises(BlendnetError, match="figure mixed_model: there are no estimates of a mixed model"):
        MIXED.draw({"mixed": refused})


def test_many_places_fit_a_page():
    metrics = ("pls", "ridge", "rsa", "cka", "one_to_one", "pls_reverse")
    places = tuple((f"invented-{a.lower()}", a, m) for a in ("IT", "V4", "V2", "V1") for m in metrics)
    fig = MIXED.draw({"mixed": mixed_table(places)})
    assert fig.get_figheight() * 25.4 <= 247
    assert [t.get_text()[:2] for t in fig.axes[0].get_yticklabels()][::6] == ["V1", "V2", "V4", "IT"]


# ---------------------------------------------------------------- from scores and accuracy, by the user's command

ARCHITECTURES = ("resnet18", "cornet_z", "resnet50", "alexnet")


@pytest.fixture(scope="module")
def correlated(tmp_path_factory):
    """(tables that went in, tables that `blendnet correlate` made) of four invented architectures of two seeds."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(made_tables.LAYERS, "alexnet", made_tables.LAYERS["cornet_z"])
        chosen = made_tables.runs(ARCHITECTURES, (0, 1))
        accuracy = made_tables.accuracy_table(chosen)
        given = {"scores": made_tables.scores_table(chosen, made_tables.REAL[:2]),
                 "layers": made_tables.layers_table(chosen, made_tables.REAL[:1]).query("depth in (0, 1)"),
                 "accuracy": accuracy[accuracy["by"] == "all"]}  # fmt: skip
    for name, table in given.items():
        tables.write(table, results / "demo" / "tables" / f"{name}.csv")
    assert cli.main(["correlate", "--profile", "demo", "--results", str(results)]) == 0
    names = ("correlation", "effects", "mixed")
    return given, {name: tables.read(results / "demo" / "tables" / f"{name}.csv", name) for name in names}


def cells(given, region: str) -> pd.DataFrame:
    """A row a trained network and attention kind, means over seeds: score in one region, and both rates."""
    a = given["accuracy"]
    a = a[(a["by"] == "all") & (a["training"] == "blended")]
    rates = {"blended_both": a[(a["test"] == "blended") & (a["outcome"] == "both")],
             "regular_top1": a[(a["test"] == "regular") & (a["outcome"] == "top1")]}  # fmt: skip
    s = given["scores"]
    found = s[(s["region"] == region) & (s["kind"] == "network")].set_index("run")[["network", "attention", "score"]]
    for name, rows in rates.items():
        found[name] = rows.set_index("run")["rate"]
    return found.groupby(["network", "attention"], as_index=False).mean()


def test_coefficients_without_each_architecture_are_those_of_the_other_three(correlated):
    given, made = correlated
    c = made["correlation"]
    checked = 0
    for region in ("V1", "V4"):
        points = cells(given, region)
        for (accuracy, statistic), own in c[c["region"] == region].groupby(["accuracy", "statistic"]):
            assert sorted(own["left_out"]) == ["", *sorted(ARCHITECTURES)]
            for row in own.to_dict("records"):
                rest = points[points["network"] != row["left_out"]]
                by = stats.spearmanr if statistic == "spearman" else stats.pearsonr
                assert row["value"] == pytest.approx(by(rest["score"], rest[accuracy])[0], abs=1e-5)
                assert (row["n_points"], row["n_architectures"]) == ((6, 3) if row["left_out"] else (8, 4))
                checked += 1
    assert checked == 2 * 2 * 2 * 5


def test_effects_without_each_architecture_are_the_means_of_the_other_three(correlated):
    given, made = correlated
    e = made["effects"]
    for quantity, region, column in (
        ("accuracy:blended_both", "V1", "blended_both"),
        ("accuracy:regular_top1", "V1", "regular_top1"),
        ("score:V4:invented-v4:pls", "V4", "score"),
    ):
        points = cells(given, region).pivot(index="network", columns="attention", values=column)
        own = e[(e["quantity"] == quantity) & (e["level"] == "all") & (e["training"] == "blended")]
        assert sorted(own["left_out"]) == ["", *sorted(ARCHITECTURES)]
        for row in own.to_dict("records"):
            rest = points.drop(index=row["left_out"]) if row["left_out"] else points
            assert row["difference"] == pytest.approx(float((rest["aacn"] - rest["none"]).mean()), abs=1e-5)
            assert row["n_networks"] == len(rest)
            assert row["lo"] <= row["difference"] <= row["hi"]


def test_the_figure_is_drawn_from_the_table_that_the_command_made(correlated):
    df = correlated[1]["mixed"]
    assert figures.not_drawable({"mixed": df}) == {}
    drawn = MIXED.draw({"mixed": df}).axes[0]
    own = df[(df["term"] == "score") & (df["accuracy"] == "blended_both") & df["estimate"].notna()]
    assert len(own)
    assert sorted(x for _, x in points(drawn, "o", "#333333")) == pytest.approx(sorted(10 * own["estimate"]), abs=1e-3)
    assert "16 trained runs of 4 architectures" in MIXED.caption({"mixed": df})
