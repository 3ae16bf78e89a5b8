"""The report: whole, self-contained, byte-stable, escaped, and saying no more than its numbers."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from analysis import answer, answer_training, figures, page, report
from blendnet.errors import BlendnetError
from tests import made_tables

SETTINGS = {"name": "demo", "about": "Invented tables.", "caveats": ["All is invented."], "recipe": {"lr": 0.001},
            "held_out": frozenset({"boat+car", "cat+dog"})}  # fmt: skip
PROVENANCE = {"hardware": {"cpu": "two cores", "gpu": None}, "versions": {"numpy": "1.26.4"}}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def made():
    return made_tables.made(quick=True)


NEW = ("effects", "relation", "mixed", "power", "consistency", "psychometric", "psychometric_points", "superposition",
       "decoding", "attention_maps")  # fmt: skip


def older(tables):
    """The tables as they were before there were effects and what goes with them."""
    return {k: v for k, v in tables.items() if k not in NEW}


@pytest.fixture(scope="module")
def planted():
    return made_tables.made(seeds=(0,), planted=True, quick=True)


def build(tables, pictures=None, settings=SETTINGS, title="blendnet, profile demo"):
    return report.build(tables, pictures or {"accuracy_twins": PNG}, settings, PROVENANCE, title)


class Page(HTMLParser):
    """Tags that are opened and closed, addresses, ids and the text of cells."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.stack, self.addresses, self.ids, self.tags, self.links = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [v for k, v in attrs if k in ("src", "srcset", "data", "action", "poster")]
        self.links += [v for k, v in attrs if k == "href"]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_the_page_is_whole_and_loads_nothing(made):
    text = build(made)
    parsed = Page(text)
    assert parsed.stack == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.addresses
    assert all(a.startswith("data:image/") for a in parsed.addresses)
    assert all(a.startswith("#") and a[1:] in parsed.ids for a in parsed.links)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).replace("http-equiv", "")
    assert parsed.tags.count("script") == 2  # the data and the program
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_the_same_input_gives_the_same_page(made):
    assert build(made) == build({k: v.sample(frac=1, random_state=5) for k, v in reversed(made.items())})


def test_names_from_outside_cannot_become_markup(made):
    evil = '</script><script>alert(1)</script><!--<img src=x onerror="alert(2)">'
    accuracy, layers = made["accuracy"].copy(), made["layers"].copy()
    accuracy.loc[accuracy["by"] == "class", "group"] = accuracy["group"] + evil
    layers["network"] = layers["network"] + evil  # it goes into the JSON of the explorer, as data and as a label
    effects = made["effects"].assign(note=evil)
    extra = made["twins"].iloc[:2].assign(**{evil: evil})
    settings = SETTINGS | {"about": evil, "caveats": [evil], evil: evil}
    tables = made | {"accuracy": accuracy, "layers": layers, "effects": effects, evil: extra}
    text = build(tables, {"accuracy_twins": PNG, evil: PNG}, settings, title=evil)
    parsed = Page(text)  # asserts that no tag has an on... attribute, and reads a script to its first end tag
    assert parsed.stack == []
    assert parsed.tags.count("script") == 2
    assert parsed.tags.count("img") == 2
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    held = island(text)
    column = next(c for c in held["tables"]["layers"]["columns"] if c["name"] == "network")
    assert f"resnet18{evil}" in column["levels"]
    assert held["labels"][f"resnet18{evil}"] == f"resnet18{evil}"


def island(text):
    """What lies in the page as JSON."""
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[0])


def test_the_tables_in_the_island_are_those_that_were_given(made):
    import pandas as pd

    text = build(made)
    held = island(text)
    assert set(held["tables"]) == {n for n, df in made.items() if len(df) > 40} | {"layers", "scores"}
    for name, table in held["tables"].items():
        df = made[name]
        assert table["rows"] == min(len(df), page.MOST)
        assert [c["name"] for c in table["columns"]] == list(df.columns)
        for column, given in zip(table["columns"], (df[c].head(page.MOST) for c in df.columns)):
            if "number" in column:
                there = pd.Series(column["values"], dtype=float)
                np.testing.assert_allclose(there, given.astype(float), rtol=1e-9)
            else:
                words = given.astype(object).where(given.notna(), "").map(str)
                assert [column["levels"][k] for k in column["codes"]] == list(words)
    assert text.count('"codes"') == sum("codes" in c for t in held["tables"].values() for c in t["columns"])
    with pytest.raises(ValueError, match="holds inf"):
        page.island(pd.DataFrame({"x": [1.0, np.inf]}))


def test_a_table_too_large_for_the_page_is_cut_and_says_so(made, monkeypatch):
    monkeypatch.setattr(page, "MOST", 50)
    monkeypatch.setattr(report, "MOST", 50)
    text = build(made)
    n = len(made["accuracy"])
    assert f"accuracy.csv, {n} rows, of which the first 50 are in this page" in text
    assert island(text)["tables"]["accuracy"]["rows"] == 50


def test_headings_go_in_order_and_everything_has_a_name(made):
    text = build(made)
    body = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    levels = [int(n) for n in re.findall(r"<h([1-6])[ >]", body)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:]))
    assert '<html lang="en">' in text
    for landmark in ("<header", "<nav aria-label=", "<main", '<a class="skip" href="#answer"'):
        assert landmark in text
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", body))
    assert all('aria-label="' in tag for tag in re.findall(r'<div class="wide"[^>]*>', body))
    assert all('scope="col"' in tag for tag in re.findall(r"<th[ >][^>]*>?", body))


def _luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(a, b):
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_of_the_page_can_be_told_apart(theme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known case just below 4.5
    css = page.asset("report.css")
    pairs = dict(re.findall(r"--(\w+): light-dark\(([^)]+)\)", css))
    colours = {name: value.split(", ")[theme] for name, value in pairs.items()}
    grounds = [colours.pop(name) for name in ("back", "card", "band")]
    text = ("ink", "soft", "mark", "warn", "plain", "attention", "third", "fourth", "untrained")
    assert set(text) | {"rule", "edge"} == set(colours)
    for ground in grounds:
        for name in text:
            assert contrast(colours[name], ground) >= 4.5, (name, ground)
        assert contrast(colours["edge"], ground) >= 3, ground  # borders of controls
    rest = re.sub(r":root \{.*?\}", "", css, count=1, flags=re.S)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", rest)) == {"#fff"}  # behind pictures, which are made for paper


def test_assets_are_the_page(made):
    text = build(made)
    for name in ("report.css", *page.SCRIPTS):
        assert page.asset(name).strip() in text


def test_the_policy_allows_the_own_script_only():
    import hashlib

    text = page.page("t", "<p>x</p>")
    script = re.findall(r"<script>(.*?)</script>", text, re.S)[0]
    assert page.asset("report.js") in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_the_numbers_in_words_are_those_of_the_tables(made):
    text = build(older(made))
    twins = made["twins"]
    row = twins[
        (twins["quantity"] == "accuracy:blended_both") & (twins["level"] == "all") & (twins["training"] == "blended")
    ]
    row = row.iloc[0]
    assert f"plain {100 * row['plain']:.1f} %, attention {100 * row['attention']:.1f} %" in text
    assert f"difference {100 * row['difference']:+.1f} points".replace("-", "−") in text
    assert f"sign-flip p = {row['p']:.2g}" in text
    assert "3.57 %" in text
    for row in made["correlation"].to_dict("records"):
        if row["left_out"] == "" and row["accuracy"] == "blended_both" and row["statistic"] == "spearman":
            assert f"Spearman {row['value']:.3f}".replace("-", "−") in text
    assert "above their untrained twin in 20 of 20 cases" in text
    assert "score above pixels" in text.replace("(means over seeds) ", "")
    assert "All is invented." in text
    assert "cat+dog" in text
    assert "two cores" in text
    assert "abababababab…" in text


def test_a_claim_never_stands_without_its_numbers(made):
    words = " ".join(
        answer.accuracy_words(made["accuracy"], made["twins"]) + answer.area_words(made["scores"], made["twins"])
    )
    assert "significant" not in words
    assert "proves" not in words
    for sentence in re.findall(r"difference [^;]*?;[^.]*\.", words):
        assert "n = 1" in sentence or ("interval" in sentence and "sign-flip p" in sentence)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"level": "all", "n": 1, "lo": np.nan, "hi": np.nan, "p": np.nan}, "n = 1 network, so no interval and no p"),
        (
            {"level": "all", "n": 2, "lo": 0.01, "hi": 0.2, "p": 0.5},
            "leaves out 0; sign-flip p = 0.5, which cannot be below 0.5",
        ),
        ({"level": "network", "n": 2, "lo": 0.01, "hi": 0.2, "p": 0.5}, "over 2 seeds"),
        (
            {"level": "network", "n": 8, "lo": -0.01, "hi": 0.2, "p": 0.2},
            "contains 0; sign-flip p = 0.2, so neither sign",
        ),
        ({"level": "network", "n": 8, "lo": 0.01, "hi": 0.2, "p": 0.008}, "leaves out 0; sign-flip p = 0.008)."),
    ],
)
def test_what_an_interval_allows_to_say(row, says):
    assert says in answer.evidence(row)
    assert ("not settled" in answer.evidence(row)) == (row["lo"] > 0 and row["p"] > 0.05)


def test_planted_recordings_get_a_banner_and_say_which_layer_was_recovered(planted, made):
    found = report.recovered(planted["scores"], {})
    assert list(found["region"]) == ["V1", "V2", "V4", "IT"]
    assert set(found["source run"]) == {made_tables.SOURCE}
    s = planted["scores"]
    for row in found.to_dict("records"):
        own = s[(s["run"] == made_tables.SOURCE) & (s["region"] == row["region"]) & (s["kind"] == "network")].iloc[0]
        assert own["planted_layer"].split(":")[1] == row["planted layer"]
        assert row["recovered"] == ("yes" if own["layer"] == row["planted layer"] else "no")
    text = build(planted)
    yes = (found["recovered"] == "yes").sum()
    assert f"it is the planted one in {yes} of 4 cases" in text
    assert "Which planted layer was recovered" in text
    assert "Planted (invented) recordings: every brain score" in text
    assert "Which planted layer was recovered" not in build(made)


def test_the_source_run_may_stand_in_the_settings_and_a_wrong_layer_is_a_no(planted):
    scores = planted["scores"].copy()
    scores["planted_layer"] = scores["planted_layer"].str.split(":").str[1]
    assert not len(report.recovered(scores, {}))
    settings = {"planted": {"source": made_tables.SOURCE}}
    assert len(report.recovered(scores, settings)) == 4
    scores.loc[scores["region"] == "V4", "layer"] = "avgpool"
    found = report.recovered(scores, settings).set_index("region")
    assert found.loc["V4", "recovered"] == "no"
    assert found.loc["V4", "recovered layer"] == "avgpool"
    assert "not among the scored runs" in build(planted | {"scores": scores})


def test_what_is_missing_is_a_caveat_or_one_clear_line(made):
    scores = made["scores"]
    bare = scores[scores["kind"] == "network"].assign(ceiling=np.nan)
    text = build(made | {"scores": bare})
    assert "There is no untrained baseline" in text
    assert "There is no pixel baseline" in text
    assert "No noise ceiling is known for invented-fmri, invented-v1, invented-v4" in text
    with pytest.raises(BlendnetError, match=r"accuracy.csv is missing; run `blendnet predict --profile demo`"):
        build({k: v for k, v in made.items() if k != "accuracy"})
    few = build({k: made[k] for k in ("accuracy", "scores", "twins")}, {"layer_maps": PNG})
    assert "layers.csv is missing" in few  # the caption says why there is none


def test_without_twins_or_figures_the_page_says_so(made):
    plain = older(made) | {"twins": made["twins"].iloc[:0]}
    text = report.build(plain, {}, SETTINGS, {}, "t")
    assert "no pair of a plain and an attention network" in text
    assert "no brain score of a plain and an attention twin" in text
    assert "run <code>blendnet draw</code>" in text
    assert "None were given." in text


def test_figures_come_with_their_captions_in_order(made):
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    text = build(made, {"layer_maps": svg, "accuracy_twins": PNG})
    assert text.index('id="figure-accuracy_twins"') < text.index('id="figure-layer_maps"')
    assert "data:image/svg+xml;base64," in text
    assert "alert(1)" not in text
    caption = figures.load("accuracy_twins").caption(made)
    assert text.count(page.escape(caption)) == 2  # below the picture, and as its text alternative


def test_cells_keep_the_full_number_for_sorting_and_the_full_hash_for_reading():
    import pandas as pd

    df = pd.DataFrame({"x": [0.123456789, np.nan, -2.0], "n_k": [1, 2, 3], "weights_sha256": ["ab" * 32, "", "c"]})
    text = page.table(df, "t")
    assert 'data-v="0.123456789">0.1235<' in text
    assert '<td class="n"></td>' in text
    assert ">−2<" in text
    assert f'title="{"ab" * 32}">abababababab…<' in text


def test_settings_read_the_same_whatever_their_order():
    assert page.facts({"a": {"c": 1, "b": {3, 1, 2}}}, "s") == page.facts({"a": {"b": {2, 3, 1}, "c": 1}}, "s")
    assert page.plain((0.5, 1.0)) == "0.5, 1"
    assert page.plain([]) == "none"


@pytest.fixture(scope="module")
def several():
    return made_tables.made(trainings=("blended", "regular", "curriculum"), quick=True)


def test_the_report_says_what_networks_that_never_saw_a_blend_name_in_one(several, made):
    a = several["accuracy"]
    a = a[(a["by"] == "all") & (a["outcome"] == "both") & (a["test"] == "blended") & (a["attention"] == "none")]
    # By hand: mean over networks of the means over seeds, of pairs of one network and seed.
    rate = a.pivot_table(index=["network", "seed"], columns="training", values="rate")[["blended", "regular"]]
    means = rate.dropna().groupby("network").mean().mean()
    text = build(older(several))
    assert "Must a network see blends to name both objects?" in text
    assert "the plain network trained on regular images, which has never seen a blend, in " in text
    assert f"in {100 * means['regular']:.1f} %, the same trained on blends in {100 * means['blended']:.1f} %" in text
    assert "the attention (4 heads) network trained by curriculum, in" in text
    assert "over 2 networks" in text
    assert "Trained by curriculum, both objects named in a blend: plain" in text
    assert "Must a network see blends" not in build(made)
    assert Page(text).stack == []


def test_differences_between_trainings_are_paired_by_network_attention_and_seed(several):
    from scipy.stats import ttest_rel

    from analysis.stats import trainings

    found = trainings.compare(several["accuracy"])
    assert set(found["training"]) == {"regular", "curriculum"}
    a = several["accuracy"]
    for row in found.to_dict("records"):
        test, outcome = ("blended", "both") if row["quantity"] == "blended_both" else ("regular", "top1")
        part = a[(a["by"] == "all") & (a["test"] == test) & (a["outcome"] == outcome)
                 & (a["attention"] == row["attention"])]  # fmt: skip
        part = part[(part["network"] == row["network"]) | (row["level"] == "all")]
        unit = "network" if row["level"] == "all" else "seed"
        rate = part.groupby([unit, "training"])["rate"].mean().unstack()
        other, base = rate[row["training"]], rate["blended"]
        assert row["difference"] == pytest.approx((other - base).mean())
        assert (row["value"], row["base"], row["n"]) == (pytest.approx(other.mean()), pytest.approx(base.mean()), 2)
        interval = ttest_rel(other, base).confidence_interval(0.95)
        assert row["lo"] == pytest.approx(max(-1, interval.low), abs=1e-9)
        assert row["hi"] == pytest.approx(min(1, interval.high), abs=1e-9)
    assert not len(trainings.compare(a[a["training"] == "blended"]))


def test_correlations_are_told_apart_by_training(several):
    words = answer.correlation_words(several["correlation"])
    assert "Each way of training by itself" in words[0]
    c = several["correlation"]
    c = c[(c["accuracy"] == "blended_both") & (c["statistic"] == "spearman") & (c["left_out"] == "")]
    for row in c[c["training"] != ""].to_dict("records"):
        trained = "trained by curriculum" if row["training"] == "curriculum" else f"trained on {row['training']} images"
        number = f"Spearman {row['value']:.3f}".replace("-", "−")
        assert any(number in w and trained in w and f"{row['n_points']} networks" in w for w in words)
    pooled = c[c["training"] == ""]
    assert len(words) == 2 + len(c) - len(pooled)  # and the first and last sentence


def test_training_plan_and_rate_test_stand_in_the_report_where_they_are(made):
    plan = {"budget_s": 1800.0, "epochs": 7, "sheet_recipe": {"epochs": 100}, "surroundings": {"hardware": "two cores"},
            "runs": {"a": {"planned_s": 600.0}, "b": {"planned_s": 900.0}}}  # fmt: skip
    text = build(made, settings=SETTINGS | {"plan": plan})
    assert "7 epochs for each of 2 runs, measured to take 25 of 30 minutes on two cores. The sheet has 100" in text
    assert "plan.epochs" in text
    df = made["training"]
    summary = answer_training.training_summary(df)
    row = summary[(summary["network"] == "resnet18") & (summary["attention"] == "none")].iloc[0]
    own = df[(df["network"] == "resnet18") & (df["attention"] == "none")]
    assert (row["seeds"], row["epochs"], row["stopped early"]) == (2, 7.0, 1)
    assert row["seconds"] == pytest.approx(own["seconds"].sum() / 2)
    assert row["validation: both (%)"] == pytest.approx(100 * own[own["kept"]]["val_both"].mean())
    marks = made["lr_finder"]
    for run, part in marks[marks["suggested"] != ""].groupby("run"):
        at = part.set_index("suggested")["lr"]
        assert f"{run}: the learning-rate test falls fastest at {at['steepest']:.2g}" in text
        assert f"lowest loss is {at['tenth']:.2g}; the recipe has 0.001." in text
    bare = {k: v for k, v in made.items() if k not in ("training", "lr_finder")}
    assert "How the networks were trained" not in build(bare)
    flat = marks.assign(suggested="")
    assert all("the loss never fell" in w for w in answer_training.lr_words(flat))
