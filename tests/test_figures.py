"""Figures: the same bytes twice, the house style, what a missing table or an empty one says, and what is in them."""

import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from analysis import figures, tables
from analysis.figures import _style, layer_maps
from blendnet.errors import BlendnetError
from tests import made_many, made_tables
from tests.test_figures_mixed import mixed_table

ROOT = Path(__file__).resolve().parent.parent
NAMES = figures.names()


@pytest.fixture(scope="module")
def made():
    return made_tables.made(quick=True) | {"mixed": mixed_table()}


@pytest.fixture(scope="module")
def planted():
    return made_tables.made(seeds=(0,), planted=True, quick=True)


@pytest.fixture(scope="module")
def several():
    return made_tables.made(trainings=("blended", "regular", "curriculum"), quick=True) | {"mixed": mixed_table()}


@pytest.fixture(scope="module")
def crowd(made):
    return made_many.many(made)


@pytest.fixture(scope="module")
def once(made):
    """Each figure drawn and rendered once, for the tests that look at it: name -> (Figure, bytes by kind)."""
    found = {}

    def get(name):
        if name not in found:
            picture = figures.load(name).draw(made)
            found[name] = picture, {kind: _style.render(picture, kind) for kind in figures.FORMATS}
        return found[name]

    return get


def test_the_folder_is_the_list():
    assert NAMES == [
        "accuracy_alpha", "accuracy_by_training", "accuracy_twins", "attention_maps", "decoding", "effects",
        "effects_by_alpha", "effects_by_pair", "error_consistency", "layer_maps", "lr_finder", "mixed_model", "power",
        "psychometric", "psychometric_classes", "relation", "relation_by_depth", "similarity_accuracy",
        "similarity_by_area", "superposition", "superposition_bias", "superposition_fit", "training_curves",
    ]  # fmt: skip
    for name in NAMES:
        module = figures.load(name)
        assert set(module.NEEDS) <= set(tables.TABLES)
        assert module.__doc__
    with pytest.raises(BlendnetError, match="unknown figure 'layer_map'; did you mean 'layer_maps'"):
        figures.load("layer_map")


@pytest.mark.parametrize("name", NAMES)
def test_drawn_twice_the_bytes_are_the_same(made, once, name):
    shuffled = {k: v.sample(frac=1, random_state=3) for k, v in made.items()}
    first = once(name)[1]
    assert set(first) == {"pdf", "png", "svg"}
    # PDF, the slowest by far, is compared across processes below.
    for kind, content in figures.draw(name, shuffled, kinds=("png", "svg")).items():
        assert content == first[kind], kind
    assert first["pdf"].startswith(b"%PDF")
    assert not re.search(rb"CreationDate|ModDate", first["pdf"])
    assert b"<svg" in first["svg"][:1000]
    # Letters are paths, so that no reader's fonts change them; nothing is fetched, no clock.
    assert not re.search(rb"<text|<dc:date|href=\"http", first["svg"])
    picture = Image.open(BytesIO(first["png"]))
    assert picture.width in (
        round(180 / 25.4 * 200),
        round(85 / 25.4 * 200),
        int(180 / 25.4 * 200),
        int(85 / 25.4 * 200),
    )
    assert np.asarray(picture.convert("L")).std() > 10  # there is ink


def test_one_kind_alone_has_the_same_bytes(made, once):
    assert figures.draw("accuracy_twins", made, kinds=("png",)) == {"png": once("accuracy_twins")[1]["png"]}


def test_another_process_with_another_style_draws_the_same_bytes(made, tmp_path):
    names = ["accuracy_twins", "effects_by_pair", "error_consistency", "superposition"]
    needs = {need for name in names for need in figures.load(name).NEEDS}
    for name in needs:
        tables.write(made[name], tmp_path / f"{name}.csv")
    read = {name: tables.read(tmp_path / f"{name}.csv") for name in needs}
    (tmp_path / "matplotlibrc").write_text("font.size: 15\naxes.facecolor: red\npdf.fonttype: 3\nsvg.fonttype: none\n")
    code = (
        "import sys; from analysis import figures, tables; from pathlib import Path\n"
        "read = {p.stem: tables.read(p) for p in Path('.').glob('*.csv')}\n"
        f"figures.draw_all(read, '.', only={names})\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=120)
    for name in names:
        for kind, content in figures.draw(name, read).items():
            assert (tmp_path / f"{name}.{kind}").read_bytes() == content, (name, kind)


def _shown(fig):
    """Text and box of all that is written in a figure, without the ticks that lie outside their axis."""
    with _style.style():
        fig.canvas.draw()  # rendering for a file leaves places of another resolution behind
    renderer = fig.canvas.get_renderer()
    beyond = set()
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            lo, hi = sorted(axis.get_view_interval())
            slack = 1e-6 * (hi - lo)
            beyond |= {id(t.label1) for t in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
                       if not lo - slack <= t.get_loc() <= hi + slack or not ax.axison}  # fmt: skip
    texts = [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible() and id(t) not in beyond]
    # A slanted text's box is larger than itself.
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_rotation() % 90 == 0]


def _inside_and_apart(fig):
    box, shown = fig.bbox, _shown(fig)
    for words, b in shown:
        assert min(b.x0, b.y0, box.x1 - b.x1, box.y1 - b.y1) >= -1, f"{words!r} is cut off"
    for i, (words, a) in enumerate(shown):
        for other, b in shown[i + 1 :]:
            across, up = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across <= 1 or up <= 1.5, f"{words!r} lies over {other!r}"


@pytest.mark.parametrize("name", NAMES)
def test_text_is_at_least_7_pt_inside_the_page_and_apart(once, name):
    fig = once(name)[0]
    texts = [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert texts
    for text in texts:
        assert text.get_fontsize() >= 7
        assert text.get_fontfamily() == ["DejaVu Sans"] or text.get_fontname() == "DejaVu Sans"
    _inside_and_apart(fig)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"layer_maps", "lr_finder", "training_curves"}))
def test_seven_networks_of_five_attention_kinds_fit_a_page(crowd, name):
    fig = figures.load(name).draw(crowd)
    _style.render(fig, "png")
    _inside_and_apart(fig)
    if name not in ("similarity_by_area", "accuracy_by_training", "similarity_accuracy"):
        assert fig.get_figheight() * 25.4 <= 247  # mm, what a page holds beside a caption


def test_one_colour_an_architecture_one_marker_an_attention_kind():
    shades = [_style.colour(n) for n in ("resnet18", "resnet50", "cornet_z", "inception_v3")]
    assert len(set(shades)) == 4
    okabe_ito = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    assert set(shades) <= okabe_ito
    new = ["alpha_net", "beta_net"]
    assert _style.colour("alpha_net", new) != _style.colour("beta_net", new)
    assert (_style.marker("none"), _style.line("none"), _style.marker("aacn"), _style.line("aacn")) == (
        "o",
        "-",
        "^",
        "--",
    )


def test_areas_stand_in_order(made):
    order = [p[0] for p in _style.places(made["scores"])]
    assert order == sorted(order, key=tables.REGIONS.index)
    titles = [
        ax.get_title().split(" ·")[0] for ax in figures.load("similarity_by_area").draw(made).axes if ax.get_title()
    ]
    assert titles == order == ["V1", "V4", "V4", "EVC", "IT"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_table_names_the_command_that_makes_it(made, name):
    for need in figures.load(name).NEEDS:
        some = {k: v for k, v in made.items() if k != need}
        step = tables.TABLES[need].step
        with pytest.raises(BlendnetError, match=f"{need}.csv is missing; run `blendnet {step} --profile demo`"):
            figures.draw(name, some, profile="demo")
        with pytest.raises(BlendnetError, match=f"run `blendnet {step}`"):
            figures.load(name).draw(some)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_column_is_one_clear_line(made, name):
    need = figures.load(name).NEEDS[0]
    gone = {
        "accuracy": "rate", "training": "val_loss", "lr_finder": "smoothed", "effects": "difference",
        "relation": "value", "power": "power", "consistency": "kappa", "psychometric": "threshold",
        "mixed": "estimate", "superposition": "weight_first", "decoding": "rate", "attention_maps": "received",
    }.get(need, "score")  # fmt: skip
    with pytest.raises(BlendnetError, match=f"{need}.csv has no column '{gone}'"):
        figures.draw(name, made | {need: made[need].drop(columns=gone)})


@pytest.mark.parametrize("name", NAMES)
def test_empty_tables_are_refused_and_not_drawn(made, name):
    empty = made | {need: tables.empty(need) for need in figures.load(name).NEEDS}
    with pytest.raises(BlendnetError, match=f"figure {name}: there are no"):
        figures.draw(name, empty)


def test_nothing_is_written_where_a_table_is_missing(made, tmp_path):
    with pytest.raises(BlendnetError):
        figures.draw_all({"accuracy": made["accuracy"]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_captions_state_n_and_intervals(made, name):
    caption = figures.load(name).caption(made)
    assert "interval" in caption
    assert "2" in caption  # seeds
    assert "planted" not in caption
    assert "\n" not in caption


@pytest.mark.parametrize("name", ["similarity_by_area", "layer_maps", "similarity_accuracy"])
def test_planted_recordings_are_named_so_in_figure_and_caption(planted, made, name):
    module = figures.load(name)
    assert "planted (invented) recording" in module.caption(planted).lower()
    assert "planted (invented) recording" in module.draw(planted).get_suptitle()
    assert not module.draw(made).get_suptitle()


def _points(ax, label_marker):
    return sorted((round(float(line.get_xdata()[0]), 3), round(float(line.get_ydata()[0]), 6))
                  for line in ax.lines if line.get_marker() == label_marker and len(line.get_xdata()) == 1)  # fmt: skip


def test_the_accuracies_drawn_are_those_of_the_table(made):
    ax = figures.load("accuracy_twins").draw(made).axes[1]
    a = made["accuracy"]
    a = a[(a["by"] == "all") & (a["outcome"] == "both")]
    for kind, marker in (("none", "o"), ("aacn", "^")):
        expected = sorted((100 * a[a["attention"] == kind]["rate"]).round(6))
        assert sorted(y for _, y in _points(ax, marker)) == pytest.approx(expected)
    assert any(np.allclose(line.get_ydata(), 100 / 28, atol=1e-3) for line in ax.lines)


def test_the_scores_drawn_are_those_of_the_table_with_chance_rows_and_ceiling(made):
    ax = figures.load("similarity_by_area").draw(made).axes[1]  # V4, PLS
    part = _style.at(made["scores"], ("V4", "invented-v4", "pls"))
    rows = part[part["network"].isin(["resnet18", "cornet_z"])]
    for kind, marker in (("none", "o"), ("aacn", "^")):
        own = rows[(rows["attention"] == kind) & (rows["kind"] != "shuffled")]
        assert sorted(y for _, y in _points(ax, marker)) == pytest.approx(sorted(own["score"]), abs=1e-5)
    assert len(_points(ax, "x")) == (rows["kind"] == "shuffled").sum()
    levels = [line.get_ydata()[0] for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    controls = part[part["kind"].isin(["pixels", "control"]) | (part["network"] == "mobilenet_v2")]["score"]
    for value in [*controls, part["ceiling"].median(), 0]:
        assert any(np.isclose(level, value) for level in levels), value


def test_layer_maps_hold_the_means_and_mark_committed_and_planted_layers(planted):
    fig = layer_maps.draw(planted)
    layers, scores = planted["layers"], planted["scores"]
    shown = next(ax for ax in fig.axes if ax.get_title() == "ResNet18, attention")
    places = _style.places(layers[layers["kind"] == "network"])
    names = layer_maps.order(layers, "resnet18")
    grid = np.asarray(shown.images[0].get_array())
    own = layers[(layers["run"] == made_tables.SOURCE)]
    for x, place in enumerate(places):
        profile = _style.at(own, place).set_index("layer")["score"]
        assert list(grid[:, x]) == pytest.approx([profile[n] for n in names])
    diamonds = sorted((round(x), round(y)) for x, y in _points(shown, "D"))
    truth = scores[(scores["run"] == made_tables.SOURCE) & (scores["kind"] == "network")].drop_duplicates("region")
    expected = sorted(([p[0] for p in places].index(r), names.index(layer.split(":")[1]))
                      for r, layer in zip(truth["region"], truth["planted_layer"]))  # fmt: skip
    assert diamonds == expected
    other = next(ax for ax in fig.axes if ax.get_title() == "CORnet-Z, plain")
    assert not _points(other, "D")


@pytest.mark.parametrize(
    ("truth", "found"),
    [("layer1", "layer1"), ("resnet18:layer1", "layer1"), ("resnet18-none-blended-s0:layer1", "layer1"),
     ("cornet_z:V1", None), ("resnet18-aacn4-blended-s0:layer1", None), ("layer9", None), ("", None)],
)  # fmt: skip
def test_which_planted_layer_is_marked(truth, found):
    assert layer_maps.planted_in(truth, "resnet18", "resnet18-none-blended-s0", ["conv1", "layer1"]) == found


def test_the_coefficient_in_the_title_is_that_of_the_table(made):
    fig = figures.load("similarity_accuracy").draw(made)
    c = made["correlation"]
    c = c[(c["accuracy"] == "blended_both") & (c["statistic"] == "spearman") & (c["left_out"] == "")]
    titles = [ax.get_title() for ax in fig.axes if ax.get_title()]
    for place, title in zip(_style.places(c), titles):
        row = _style.at(c, place).iloc[0]
        assert f"ρ = {row['value']:.2f}".replace("-", "−") in title
        assert f"p = {row['p']:.2g}, n = {row['n_points']}" in title


def test_a_coefficient_that_was_refused_is_said_to_be_missing():
    chosen = made_tables.runs(networks=("resnet18",))
    scores, accuracy = made_tables.scores_table(chosen), made_tables.accuracy_table(chosen)
    few = {"scores": scores, "accuracy": accuracy, "correlation": made_tables.correlation.compute(scores, accuracy)}
    titles = [ax.get_title() for ax in figures.load("similarity_accuracy").draw(few).axes if ax.get_title()]
    assert all("no coefficient (n = 2)" in title for title in titles)
    assert "not computed" in figures.load("similarity_accuracy").caption(few)


def test_plain_networks_alone_and_a_single_panel_are_drawn(made):
    plain = {k: v[v["attention"] == "none"] for k, v in made.items() if "attention" in v and k != "twins"}
    one = plain | {"scores": plain["scores"][plain["scores"]["region"] == "V1"]}
    for name in ("accuracy_alpha", "accuracy_twins", "similarity_by_area"):
        assert figures.load(name).draw(one).axes


def test_an_untrained_table_alone_can_be_drawn_by_accuracy(made):
    raw = made["accuracy"][made["accuracy"]["training"] == "untrained"]
    assert figures.load("accuracy_twins").draw({"accuracy": raw}).axes
    assert "no trained" in figures.load("accuracy_twins").caption({"accuracy": raw})
    with pytest.raises(BlendnetError, match="trained runs"):
        figures.load("accuracy_alpha").draw({"accuracy": raw})


def test_drawing_does_not_change_the_tables(made):
    before = {k: v.copy() for k, v in made.items()}
    for name in ("accuracy_alpha", "layer_maps"):
        figures.load(name).draw(made)
    for k, v in made.items():
        pd.testing.assert_frame_equal(v, before[k])


def test_figures_of_optional_tables_are_drawn_where_these_are(made, several):
    everywhere = set(NAMES) - {"accuracy_by_training"}
    assert set(figures.drawable(made)) == everywhere
    assert figures.drawable(several) == NAMES
    old = {k: v for k, v in made.items() if not tables.TABLES[k].optional}
    always = {"accuracy_alpha", "accuracy_twins", "layer_maps", "similarity_accuracy", "similarity_by_area"}
    assert set(figures.drawable(old)) == always
    assert set(figures.drawable(made | {"training": tables.empty("training")})) == everywhere - {"training_curves"}
    # A table that every profile must have is not optional: its figure stays in the list and says what is missing.
    assert "accuracy_twins" in figures.drawable({k: v for k, v in made.items() if k != "accuracy"})


def test_a_table_that_has_nothing_for_a_figure_leaves_it_out(made):
    e, r, c, p = (made[n] for n in ("effects", "relation", "consistency", "psychometric"))
    nothing = {
        "effects_by_alpha": made | {"effects": e[e["family"] != "alpha"]},
        "effects_by_pair": made | {"effects": e[e["family"] != "pair"]},
        "relation_by_depth": made | {"relation": r[r["depth"].isna()]},
        "error_consistency": made | {"consistency": c.assign(kappa=np.nan)},
        "psychometric_classes": made | {"psychometric": p.assign(threshold=np.nan)},
        "superposition_bias": made | {"superposition": made["superposition"].assign(bias=np.nan)},
    }
    for name, some in nothing.items():
        assert name not in figures.drawable(some)
        assert name in figures.drawable(made)
        with pytest.raises(BlendnetError, match=f"figure {name}: there are no"):
            figures.load(name).draw(some)


def test_accuracies_by_training_are_those_of_the_table(several):
    module = figures.load("accuracy_by_training")
    axes = [ax for ax in module.draw(several).axes if ax.axison]
    a = several["accuracy"]
    a = a[(a["by"] == "all") & a["test"].isin(("blended", "regular"))]
    for (outcome, network), ax in zip(((o, n) for o in ("both", "top1") for n in ("resnet18", "cornet_z")), axes):
        mine = a[(a["outcome"] == outcome) & (a["network"] == network)]
        for kind, marker in (("none", "o"), ("aacn", "^")):
            points = _points(ax, marker)
            for x, training in enumerate(("blended", "regular", "curriculum", "untrained")):
                part = mine[(mine["attention"] == kind) & (mine["training"] == training)]
                drawn = sorted(y for at, y in points if abs(at - x) < 0.5)
                assert drawn == pytest.approx(sorted(100 * part["rate"]), abs=1e-5)
        assert [t.get_text() for t in ax.get_xticklabels()] == ["blends", "one object", "curriculum", "untrained"]
    assert "zero-shot" in module.caption(several)
    assert "84 blends at alpha 0.5 and 96 images of one object" in module.caption(several)


def test_twins_of_every_training_have_a_row_on_one_scale(several):
    axes = figures.load("accuracy_twins").draw(several).axes
    assert len(axes) == 6
    for column in (0, 1):
        assert len({ax.get_ylim() for ax in axes[column::2]}) == 1
    titles = [ax.get_title() for ax in axes[1::2]]
    assert [t.split("(")[1] for t in titles] == [
        "trained on blended images)", "trained on regular images)", "trained by curriculum)",
    ]  # fmt: skip


def test_coefficients_stand_for_each_training_where_there_are_several(several):
    c = several["correlation"]
    assert set(c["training"]) == {"", "blended", "regular", "curriculum"}
    fig = figures.load("similarity_accuracy").draw(several)
    c = c[(c["accuracy"] == "blended_both") & (c["statistic"] == "spearman") & (c["left_out"] == "")]
    titles = [ax.get_title() for ax in fig.axes if ax.get_title()]
    for place, title in zip(_style.places(c), titles):
        own = _style.at(c, place).set_index("training")
        for training in ("blended", "regular", "curriculum"):
            row = own.loc[training]
            text = f"{training}: ρ = {row['value']:.2f}, p = {row['p']:.2g}, n = {row['n_points']}"
            assert text.replace("-", "−") in title
        assert own.loc["blended", "n_points"] * 3 == own.loc["", "n_points"]


def test_layer_maps_of_several_trainings_hold_one_of_them_and_say_which(several):
    module = figures.load("layer_maps")
    grid = next(ax for ax in module.draw(several).axes if ax.get_title() == "ResNet18, plain").images[0].get_array()
    layers = several["layers"]
    own = layers[
        (layers["network"] == "resnet18") & (layers["attention"] == "none") & (layers["training"] == "blended")
    ]
    place = _style.places(layers)[0]
    means = _style.at(own, place).groupby("layer")["score"].mean()
    names = layer_maps.order(layers, "resnet18")
    assert list(np.asarray(grid)[:, 0]) == pytest.approx([means[n] for n in names])
    assert "Of the networks trained on blended images; others are in layers.csv" in module.caption(several)


def test_training_curves_show_the_log_and_the_kept_epoch(several):
    fig = figures.load("training_curves").draw(several)
    df = several["training"]
    shown = [ax for ax in fig.axes if ax.axison]
    assert len(shown) == 12
    upper, lower = shown[0], shown[2]  # losses of both networks, then their accuracies
    own = df[(df["network"] == "resnet18") & (df["training"] == "blended")]
    lines = [line for line in upper.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 2 * own["run"].nunique()
    for _, run in own.groupby("run"):
        assert any(
            np.allclose(line.get_ydata(), run["val_loss"]) for line in lines if len(line.get_ydata()) == len(run)
        )
    kept = own[own["kept"]]
    marks = _points(lower, "o") + _points(lower, "^")
    assert sorted(marks) == [
        (pytest.approx(x), pytest.approx(y, abs=1e-5)) for x, y in sorted(zip(kept["epoch"], 100 * kept["val_both"]))
    ]
    caption = figures.load("training_curves").caption(several)
    assert f"{df.drop_duplicates('run')['stopped_early'].sum()} stopped before" in caption
    assert "two cores" in caption


def test_the_range_test_marks_what_it_suggests_and_what_the_sheet_has(made):
    ax = figures.load("lr_finder").draw(made).axes[0]
    df = made["lr_finder"]
    own = df[(df["network"] == "resnet18") & (df["suggested"] != "")]
    drawn = sorted(float(line.get_xdata()[0]) for line in ax.lines
                   if line.get_marker() in ("o", "^") and len(line.get_xdata()) == 1)  # fmt: skip
    assert drawn == pytest.approx(sorted(own["lr"]))
    assert any(list(line.get_xdata()) == [0.001, 0.001] for line in ax.lines)
    assert ax.get_xscale() == "log"


def test_effects_are_drawn_as_in_the_table_filled_by_their_verdict(made, once):
    e = made["effects"]
    ax = once("effects")[0].axes[0]
    assert ax.get_title() == "blends: both named"
    own = e[(e["quantity"] == "accuracy:blended_both") & (e["left_out"] == "")]
    marks = {round(float(line.get_xdata()[0]), 6): line for line in ax.lines if line.get_marker() == "^"}
    assert sorted(marks) == pytest.approx(sorted(100 * own["difference"]), abs=1e-5)
    faces = {"different": lambda line: line.get_color(), "equivalent": lambda _: "#c8c8c8"}
    for row in own.to_dict("records"):
        line = marks[round(100 * row["difference"], 6)]
        assert line.get_markerfacecolor() == faces.get(row["verdict"], lambda _: "white")(line)
    bars = sorted(tuple(line.get_xdata()) for line in ax.lines if len(set(line.get_xdata())) == 2)
    assert bars == [pytest.approx(b) for b in sorted(zip(100 * own["lo"], 100 * own["hi"]))]
    titles = [a.get_title().split(" ·")[0] for a in once("effects")[0].axes if a.get_title()]
    assert titles == ["blends: both named", "one object: top-1", "V1", "V4", "V4", "EVC", "IT"]
    caption = figures.load("effects").caption(made)
    assert "5 points of accuracy and 0.02 of r" in caption
    assert f"{e[(e['level'] == 'all') & e['family'].isin(('accuracy', 'score'))]['p_holm'].min():.2g}" in caption


def test_each_left_out_network_has_a_tick():
    e = made_tables.made_answers.effects_table(
        made_tables.runs(("resnet18", "cornet_z", "resnet50")), made_tables.REAL[:1]
    )
    ax = figures.load("effects").draw({"effects": e}).axes[0]
    out = e[(e["quantity"] == "accuracy:blended_both") & (e["left_out"] != "")]
    assert len(out) == 3
    assert sorted(x for x, _ in _points(ax, "|")) == pytest.approx(sorted(100 * out["difference"]), abs=2e-3)


def test_kappas_thresholds_and_powers_are_those_of_the_tables(made, once):
    c = made["consistency"]
    for ax, test in zip(once("error_consistency")[0].axes, ("blended", "regular")):
        own = c[(c["test"] == test) & c["kappa"].notna()]
        assert sorted(y for _, y in _points(ax, "o")) == pytest.approx(sorted(own["kappa"]), abs=1e-5)
    f = made["psychometric"]
    f = f[(f["group"] == "") & (f["training"] == "blended")]
    last = once("psychometric")[0].axes[2]
    drawn = sorted(x for mark in ("o", "^") for x, _ in _points(last, mark))
    assert drawn == pytest.approx(sorted(f["threshold"]), abs=1e-3)
    p = made["power"]
    ax = once("power")[0].axes[1]
    own = p[(p["difference"] == 0.05) & (p["n_seeds"] == 4)].sort_values("n_networks")
    assert any(np.allclose(line.get_ydata(), 100 * own["power"]) for line in ax.lines if len(line.get_ydata()) == 6)
    assert "6 architectures of 2 seeds" in figures.load("power").caption(made)


def test_lines_along_depth_are_means_over_seeds_and_the_lesion_is_grey(made, once):
    d = made["superposition"]
    d = d[(d["network"] == "resnet18") & (d["outcome"] == "all") & (d["alpha"] == 0.7)]
    lines = [line for line in once("superposition")[0].axes[0].lines if len(line.get_ydata()) == 6]
    for attention, lesion in (("none", ""), ("aacn", ""), ("aacn", "attention")):
        own = d[(d["attention"] == attention) & (d["lesion"] == lesion) & (d["training"] == "blended")]
        means = own.groupby("depth")["weight_first"].mean().to_numpy()
        (line,) = [x for x in lines if np.allclose(x.get_ydata(), means)]
        assert line.get_color() == ("#7a7a7a" if lesion else _style.colour("resnet18"))


def test_attention_maps_show_the_mean_over_heads_relative_to_an_even_spread_first_layer_first(made, once):
    m = made["attention_maps"]
    axes = once("attention_maps")[0].axes
    titles = [ax.get_title() for ax in axes[10:15]]
    assert titles[3:] == ["V4", "IT"]  # of CORnet-Z, whose names stand the other way round in the alphabet
    own = m[(m["run"] == "cornet_z-aacn4-blended-s0") & (m["layer"] == "V4") & (m["blend_id"] == "cat+face/0004")]
    shown = np.asarray(axes[13].images[0].get_array())
    assert shown.shape == (8, 8)
    assert shown.mean() == pytest.approx(1)
    place = own[(own["row"] == 2) & (own["column"] == 5)]["received"].mean()
    assert shown[2, 5] == pytest.approx(64 * place, rel=1e-6)


def test_attention_maps_of_kinds_that_are_no_softmax_of_places_say_what_they_are(made):
    caption = figures.load("attention_maps").caption
    assert "strips" not in caption(made)
    assert "gate" not in caption(made)
    m = made["attention_maps"]
    assert "Legacy attention: its tokens are strips of one channel" in caption({"attention_maps": m.assign(
        attention="aacn-legacy")})  # fmt: skip
    assert "CBAM: the gate of each place" in caption({"attention_maps": m.assign(attention="cbam")})


def test_one_network_of_one_seed_is_drawn_and_unknown_numbers_leave_gaps(made):
    chosen = made_tables.runs(networks=("resnet18",), seeds=(0,))
    answers, inside = made_tables.made_answers, made_tables.made_inside
    fits, points = answers.psychometric_tables(chosen, made_tables._about)
    alone = {
        "effects": answers.effects_table(chosen, made_tables.REAL), "psychometric": fits, "psychometric_points": points,
        "relation": answers.relation_table(chosen, made_tables.REAL), "consistency": answers.consistency_table(chosen),
        "superposition": inside.superposition_table(chosen, made_tables.LAYERS, made_tables._about),
        "decoding": inside.decoding_table(chosen, made_tables.LAYERS, made_tables._about),
        "attention_maps": inside.attention_maps_table(chosen, made_tables.LAYERS, made_tables._about),
    }  # fmt: skip
    assert alone["relation"]["value"].isna().all()
    assert set(alone["effects"]["verdict"]) == {"too few"}
    drawn = [n for n in figures.drawable(alone) if set(figures.load(n).NEEDS) <= set(alone)]
    assert {"effects", "relation", "relation_by_depth", "psychometric", "decoding", "attention_maps"} <= set(drawn)
    for name in drawn:
        fig = figures.load(name).draw(alone)
        assert fig.axes
        caption = figures.load(name).caption(alone)
        assert not re.search(r"\bnan\b", caption)
        if name.startswith("relation"):
            words = [t.get_text() for ax in fig.axes for t in ax.texts]
            assert "not computed (n = 2)" in words
