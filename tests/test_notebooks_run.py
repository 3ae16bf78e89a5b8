"""All notebooks, executed on the results of a real (small) chain: what they compute is what the tables hold, what they
show is not empty.

Four run in this process through IPython, since a kernel would import everything anew; the one with widgets runs in a
kernel of its own. A cell that raises fails the test either way.
"""

import io
import json
import os
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import figures, tables
from blendnet import models
from pipelines import draw, sheet
from tests import made_tables
from tests.notebooks_executed import FOLDER, NAMES, ROOT, code_of, execute, in_a_kernel, read
from tests.shared import TINY, tiny_chain
from tests.test_notebooks import CHOICES, RUNS, STIMULI, made_given, write_made


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Tables, checkpoints and activations of the small chain; all but drawing, which notebook 4 does."""
    root = tmp_path_factory.mktemp("results") / "own"
    shutil.copytree(tiny_chain(tmp_path_factory), root, ignore=shutil.ignore_patterns("figures", "report.html"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", TINY)
        yield root


@pytest.fixture
def run(results, monkeypatch):
    """Runs a notebook in its own folder on the results of the chain; a failing cell fails the test."""
    monkeypatch.setenv("RESULTS", str(results))
    monkeypatch.delenv("BLENDNET_PROFILE", raising=False)
    monkeypatch.chdir(FOLDER)

    def fully(name):
        ran = execute(name)
        assert ran.error is None, ran.said[-3000:]
        for picture in ran.pictures:
            assert Image.open(io.BytesIO(picture)).convert("L").getextrema()[0] < 100
            assert np.asarray(Image.open(io.BytesIO(picture)).convert("L")).std() > 5
        return ran

    return fully


def test_1_shows_blends_and_counts_as_the_table_does(run, results):
    ran = run(NAMES[0])
    assert len(ran.pictures) == 3
    assert ran.names["exact"] is True
    accuracy = pd.read_csv(results / "demo" / "tables" / "accuracy.csv", keep_default_na=False)
    counted = ran.names["counted"]
    assert list(counted.index) == ["cornet_z-none-blended-s0", "cornet_z-aacn4-blended-s0"]
    for one, row in counted.iterrows():
        here = accuracy.query("run == @one and test == 'blended' and by == 'all'").set_index("outcome")
        for outcome in ("both", "one", "none"):
            assert row[outcome] == pytest.approx(int(here.loc[outcome, "k"]) / int(here.loc[outcome, "n"]), abs=1e-9)
        by_alpha = accuracy.query("run == @one and by == 'alpha' and outcome == 'both'")
        rates = {float(a): k / n for a, k, n in zip(by_alpha["group"], by_alpha["k"], by_alpha["n"]) if float(a) <= 0.5}
        assert ran.names["by_alpha"][one].to_dict() == pytest.approx(rates, abs=1e-9)
    assert "168 blends: 28 pairs of classes x 3 pairs of photographs x 2 alphas (0.3, 0.5)" in ran.said


def test_2_gets_the_score_of_the_table_by_hand(run, results):
    ran = run(NAMES[1])
    scores = tables.read(results / "demo" / "tables" / "scores.csv")
    chosen = ran.names["row"]
    place = {name: chosen[name] for name in ("run", "recording", "region", "metric", "kind")}
    row = scores.loc[(scores[list(place)] == pd.Series(place)).all(axis=1)].iloc[0]
    assert ran.names["committed"] == row["layer"]
    assert ran.names["naive"] == row["naive_layer"]
    assert ran.names["by_hand_score"] == pytest.approx(row["score"], abs=1e-6)
    assert ran.names["ceiling"] == pytest.approx(row["ceiling"], abs=1e-6)
    compared = ran.names["compared"]
    assert compared.loc["optimism", "by hand"] == pytest.approx(row["optimism"], abs=1e-6)
    assert compared.loc["score_ceiled", "by hand"] == pytest.approx(row["score_ceiled"], rel=1e-5)
    assert [compared.loc[end, "in one call"] for end in ("lo", "hi")] == pytest.approx([row["lo"], row["hi"]], abs=1e-6)
    assert ran.names["sklearn_error"] < 1e-6
    assert ran.names["activation_error"] < 1e-5
    assert ran.names["same_weights"] is True
    assert "the score by hand is the table's, to 1e-6: True" in ran.said
    assert len(ran.pictures) == 1


def test_4_draws_every_figure_of_the_tables_once(run, results):
    ran = run(NAMES[3])
    wanted = figures.drawable(draw.read_tables(TINY, results / "demo"))
    assert sorted(ran.names["drawn"]) == wanted
    assert ran.names["waiting"] == []
    assert len(ran.pictures) == len(wanted) >= 8
    effects = tables.read(results / "demo" / "tables" / "effects.csv")
    n = int((effects["verdict"] != "too few").sum())
    assert f"{n} of {n} verdicts follow from their rows by the rule; {len(effects) - n} are 'too few'" in ran.said
    assert len(ran.names["overall"]) == 2 + 4  # two accuracies, and two areas by two metrics


def test_4_reads_verdicts_where_there_are_some(tmp_path, monkeypatch, capsys):
    """Invented tables of several networks and seeds: all their relations are shown, and the rule tells verdicts."""
    made = made_tables.made(quick=True)
    for name, table in made.items():
        tables.write(table, tmp_path / "demo" / "tables" / f"{name}.csv")
    monkeypatch.setenv("RESULTS", str(tmp_path))
    monkeypatch.delenv("BLENDNET_PROFILE", raising=False)
    monkeypatch.chdir(FOLDER)
    cells = [source for source in code_of(NAMES[3]) if "draw_from(" not in source or "def draw_from" in source]
    ran = execute(NAMES[3], cells)
    assert ran.error is None, ran.said
    pivot = ran.names["plainly"]
    assert len(pivot) == int(((made["relation"]["statistic"] == "spearman") & made["relation"]["depth"].isna()).sum())
    words = ran.names["in_words"]
    assert words({"value": 0.5, "lo": -0.25, "hi": 0.75}) == "0.50 (-0.25 to 0.75)"
    assert words({"value": np.nan}) == "–"
    rule = ran.names["by_the_rule"]
    assert rule({"lo": 0.01, "hi": 0.03, "p_equivalent": 0.01}) == "different"
    assert rule({"lo": -0.03, "hi": -0.01, "p_equivalent": 0.5}) == "different"
    assert rule({"lo": -0.01, "hi": 0.01, "p_equivalent": 0.01}) == "equivalent"
    assert rule({"lo": -0.1, "hi": 0.1, "p_equivalent": 0.4}) == "undecided"
    assert rule({"lo": np.nan, "hi": np.nan, "p_equivalent": np.nan}) == "undecided"


def test_5_scores_any_network_and_any_recording(run):
    ran = run(NAMES[4])
    mine, yours = ran.names["mine"], ran.names["yours"]
    assert mine.layer in ("relu1", "relu2", "relu3", "pool")
    assert mine.lo <= mine.score <= mine.hi
    assert yours.layer in models.layers("cornet_z")
    # The invented neuroids see light in single spots: a layer finds them, the shuffled stimuli do not hold them.
    assert yours.score > 0.4
    assert abs(ran.names["shuffled"]) < 0.3
    assert np.isfinite(ran.names["start"].score)
    assert len(ran.pictures) == 1


# Run in the kernel of notebook 3: choices are made with its widgets, and what was drawn is written down.
_CHOOSE = """
import json

drawn, wrong = [], []
PANELS = ("profile_figure", "profile_words", "committed_table", "accuracy_table", "rdm_figure", "neuroid_figure",
          "rdm_pair", "stimuli_figure")


def words(a):
    return isinstance(a, str) or (isinstance(a, list | tuple) and all(isinstance(b, str) for b in a))


def noted(name):
    real = getattr(nb, name)

    def call(*args):
        try:
            answer = real(*args)
        except Exception as error:
            wrong.append([name, repr(error)])
            raise
        drawn.append([name, [a for a in args if words(a)]])
        return answer

    setattr(nb, name, call)


for name in PANELS:
    noted(name)


def since():
    new = [d for d in drawn]
    drawn.clear()
    return new


first = dict(run=one_run.value, area=area.value, layer=one_layer.value, layers=one_layer.options)
other_layer = [la for la in one_layer.options if la != one_layer.value][0]
one_layer.value = other_layer
clicked = since()
known = {la: [neuroids(*place(), "pls", la)[1], in_the_table(la, "pls")] for la in one_layer.options}
metric.value = "rsa"
by_rsa = since()
best = nb.best_and_worst(predicted(*place(), "rsa", one_layer.value).value, how_many.value)[0].tolist()
profile.value = "made"
since()
networks.value = networks.options[:1]
for recording.value in recording.options:
    for metric.value in metric.options:
        pass
runs.value = runs.options
layer.value = layer.options[-1]
made = since()
profile.value = "made-planted"
print(json.dumps(dict(first=first, other_layer=other_layer, clicked=clicked, known=known, by_rsa=by_rsa, best=best,
                      made=made, wrong=wrong, other=since(), networks=networks.options, rdm=runs.options,
                      recordings=recording.options)))
"""


@pytest.mark.slow
def test_3_answers_every_choice(results, monkeypatch):
    write_made(results, made_given())
    monkeypatch.setenv("BLENDNET_PROFILE", "demo")
    monkeypatch.setenv("RESULTS", str(results))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    notebook = read(NAMES[2])
    small = "from pipelines import sheet\nfrom tests.shared import TINY\nsheet.PROFILES['demo'] = TINY"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    notebook.cells.append(nbformat.v4.new_code_cell(_CHOOSE))
    client = in_a_kernel(notebook)
    # What the Output widgets hold at the end; errors of callbacks land there and stop nothing.
    shown = [o for state in client.widget_state.values() for o in state.get("outputs", [])]
    assert [o for o in shown if o["output_type"] == "error"] == []
    assert any("activations" in o.get("text", "") for o in shown)
    said = json.loads("".join(o["text"] for o in notebook.cells[-1].outputs if o.get("name") == "stdout"))

    first = said["first"]
    scores = tables.read(results / "demo" / "tables" / "scores.csv").query("kind == 'network' and metric == 'pls'")
    here = scores[(scores["run"] == first["run"]) & (scores["region"] == first["area"])]
    assert first["layer"] == here["layer"].item()
    assert tuple(first["layers"]) == models.layers("cornet_z")
    # A click draws the three panels of that layer.
    assert [name for name, _ in said["clicked"]] == ["neuroid_figure", "rdm_pair", "stimuli_figure"]
    assert all(said["other_layer"] in json.dumps(args) for _, args in said["clicked"])
    for computed, table in said["known"].values():
        assert computed == pytest.approx(table, abs=1e-5)
    assert {name for name, _ in said["by_rsa"]} >= {"profile_figure", "rdm_pair", "stimuli_figure"}
    assert len(said["best"]) == 5

    profiles = [args for name, args in said["made"] if name == "profile_figure"]
    assert {tuple(a for a in args if isinstance(a, str))[:2] for args in profiles} >= set(CHOICES)
    rdms = [args for name, args in said["made"] if name == "rdm_figure"]
    assert rdms[-1] == ["made", list(RUNS), STIMULI, "layer1"]
    # A passing state may have no answer (no network chosen yet); anything but the house's own error is a fault.
    assert [w for w in said["wrong"] if "BlendnetError" not in w[1]] == []
    assert said["networks"] == ["resnet18"]
    assert said["recordings"] == sorted(r for r, _, _ in made_tables.PLANTED)
    assert said["other"][-1][0] in ("profile_figure", "profile_words", "committed_table", "accuracy_table")
    assert said["rdm"] == []
