"""What the notebook of layers shows of the tables and the stored activations, on invented ones; see also
test_notebooks_run.py (all notebooks, executed) and test_notebooks_layer.py (neuroids and stimuli of a layer)."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from analysis import notebook as nb
from analysis import tables
from analysis.figures import _style
from analysis.notebook import _stored
from blendnet.errors import BlendnetError
from tests import made_tables

RUNS = ("resnet18-aacn4-blended-s0", "resnet18-none-blended-s0")
STIMULI = "invented-stimuli"
CHOICES = [(recording, metric) for recording, metric in dict.fromkeys((r, m) for r, _, m in made_tables.REAL)]


@pytest.fixture(scope="module")
def given():
    return made_given()


@pytest.fixture(scope="module")
def results(given, tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    write_made(root, given)
    return root


def made_given():
    chosen = made_tables.runs()
    return {
        "scores": made_tables.scores_table(chosen),
        "layers": made_tables.layers_table(chosen),
        "accuracy": made_tables.accuracy_table(chosen),
    }


def write_made(root, given):
    """results/ as the chain writes it, of two profiles; activations of two runs in the first."""
    planted = {
        "scores": made_tables.scores_table(made_tables.runs(("resnet18",)), made_tables.PLANTED, True),
        "layers": made_tables.layers_table(made_tables.runs(("resnet18",)), made_tables.PLANTED),
        "accuracy": given["accuracy"],
    }
    for profile, some in (("made", given), ("made-planted", planted)):
        for name, table in some.items():
            tables.write(table, root / profile / "tables" / f"{name}.csv")
    rng = np.random.default_rng(0)
    for i, run in enumerate(RUNS):
        folder = root / "made" / "activations" / run / STIMULI
        folder.mkdir(parents=True)
        for layer in ("conv1", "layer1"):
            np.save(folder / f"{layer}.npy", rng.normal(size=(12, 30)).astype(np.float32))
        key = {"key": {"layers": ["conv1", "layer1"]}, "sha256": ("cd" if i else "00") * 32, "n_stimuli": 12,
               "stimulus_id": [f"s{k}" for k in range(12)]}  # fmt: skip
        (folder / "key.json").write_text(json.dumps(key))
    (root / "made" / "activations" / RUNS[0] / f"{STIMULI}.partial").mkdir()
    # What a planted recording was made from is stored, too; it is no activation that is scored.
    (root / "made" / "activations" / RUNS[0] / "planted-source").mkdir()
    (root / "made" / "activations" / RUNS[0] / "planted-source" / "key.json").write_text("{}")


def plain_csv(results, name):
    """A table as pandas alone reads it."""
    return pd.read_csv(results / "made" / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


@pytest.mark.parametrize(("recording", "metric"), CHOICES)
def test_every_choice_is_drawn_as_the_tables_say(given, results, recording, metric):
    fig = nb.profile_figure(given, ["resnet18", "cornet_z"], recording, metric)
    layers = plain_csv(results, "layers")
    layers = layers[(layers["recording"] == recording) & (layers["metric"] == metric)]
    regions = [r for r in ("V1", "V2", "V4", "EVC", "IT") if r in set(layers["region"])]
    assert [a.get_title() for a in fig.axes] == [f"{n} · {r}" for r in regions for n in ("ResNet18", "CORnet-Z")]
    for ax, (region, network) in zip(fig.axes, [(r, n) for r in regions for n in ("resnet18", "cornet_z")]):
        drawn = {line.get_label(): line for line in ax.lines}
        for kind in ("network", "untrained"):
            for attention in ("none", "aacn"):
                own = layers[(layers["region"] == region) & (layers["network"] == network)]
                own = own[(own["kind"] == kind) & (own["attention"] == attention)]
                means = own.groupby("depth")["score"].mean()
                line = drawn[f"{kind} {attention}"]
                np.testing.assert_allclose(line.get_xdata(), means.index)
                np.testing.assert_allclose(line.get_ydata(), means, atol=1e-5)
    assert len(nb.png(fig)) > 5000
    words = nb.profile_words(given, ["resnet18"], recording, metric)
    assert recording in words
    assert "640 stimuli" in words


@pytest.mark.parametrize(("recording", "metric"), CHOICES)
def test_committed_layers_are_those_of_the_table(given, results, recording, metric):
    found = nb.committed_table(given["scores"], ["resnet18"], metric, recording=recording)
    scores = plain_csv(results, "scores")
    scores = scores[(scores["recording"] == recording) & (scores["metric"] == metric)]
    own = scores[(scores["network"] == "resnet18") & (scores["kind"] == "network")]
    assert len(found) == len(own) == 4 * own["region"].nunique()
    for row in found.to_dict("records"):
        here = scores[scores["region"] == row["region"]]
        same = (here["attention"] == row["attention"]) & (here["network"] == "resnet18")
        one = here[same & (here["seed"] == row["seed"]) & (here["kind"] == "network")].iloc[0]
        assert (row["layer"], row["naive_layer"]) == (one["layer"], one["naive_layer"])
        for name in ("score", "lo", "hi", "ceiling", "optimism"):
            assert row[name] == pytest.approx(one[name], abs=1e-5)
        shuffled = here[(here["kind"] == "shuffled") & (here["run"] == one["run"])]["score"]
        assert row["shuffled"] == pytest.approx(shuffled.item(), abs=1e-5)
        untrained = here[same & (here["kind"] == "untrained")]["score"]
        assert row["untrained"] == pytest.approx(untrained.mean(), abs=1e-5)
        assert row["pixels"] == pytest.approx(here[here["kind"] == "pixels"]["score"].item(), abs=1e-5)


def test_levels_are_those_of_the_table(given, results):
    level = nb.level_table(given["scores"], "cornet_z", "invented-fmri", "rsa").set_index("region")
    scores = plain_csv(results, "scores")
    here = scores[(scores["recording"] == "invented-fmri") & (scores["region"] == "IT")]
    own = here[(here["network"] == "cornet_z") & (here["training"] == "blended")]
    assert sorted(level.index) == ["EVC", "IT"]
    assert level.loc["IT", "ceiling"] == pytest.approx(own["ceiling"].iloc[0])
    shuffled = own[own["kind"] == "shuffled"]["score"].mean()
    assert level.loc["IT", "shuffled"] == pytest.approx(shuffled, abs=1e-5)


def test_ready_made_networks_are_shown_with_their_untrained_self(given):
    found = nb.committed_table(given["scores"], ["mobilenet_v2"], "pls")
    assert list(found["layer"]) == ["features.11"]
    assert found["untrained"].item() < found["score"].item()
    assert found["shuffled"].isna().all()


def test_accuracy_is_that_of_the_table(given, results):
    found = nb.accuracy_table(given["accuracy"], ["cornet_z"])
    table = plain_csv(results, "accuracy")
    for row in found.to_dict("records"):
        outcome = {"blended": "both", "regular": "top1"}[row["test"]]
        one = table.query("network == 'cornet_z' and training == 'blended' and by == 'all'")
        one = one[(one["attention"] == row["attention"]) & (one["seed"] == row["seed"])]
        one = one[(one["test"] == row["test"]) & (one["outcome"] == outcome)]
        assert row["rate"] == pytest.approx((one["k"] / one["n"]).item(), abs=1e-5)
    assert len(found) == 8


def test_a_missing_score_leaves_a_gap_and_no_picture_of_nothing(given):
    layers = given["layers"].copy()
    layers.loc[layers["recording"] == "invented-v1", "score"] = np.nan
    with pytest.raises(BlendnetError, match="no layer of resnet18 has a pls score on invented-v1"):
        nb.profile_figure(given | {"layers": layers}, ["resnet18"], "invented-v1", "pls")
    scores = given["scores"].copy()
    scores[["ceiling", "ceiling_lo", "ceiling_hi"]] = np.nan
    fig = nb.profile_figure(given | {"scores": scores}, ["resnet18"], "invented-v1", "pls")
    flat = [x.get_ydata()[0] for x in fig.axes[0].lines if x.get_color() == _style.CONTROL]
    assert flat == []


@pytest.mark.parametrize(
    ("networks", "recording", "metric", "words"),
    [
        ([], "invented-v1", "pls", "no network is chosen"),
        (["resnet81"], "invented-v1", "pls", "did you mean 'resnet18'"),
        (["resnet18"], "invented-v9", "pls", "unknown recording 'invented-v9'"),
        (["resnet18"], "invented-v1", "ridge", "unknown metric 'ridge'"),
    ],
)
def test_a_wrong_choice_is_one_line(given, networks, recording, metric, words):
    with pytest.raises(BlendnetError, match=words):
        nb.profile_figure(given, networks, recording, metric)


def test_a_folder_without_results_names_the_command(tmp_path):
    with pytest.raises(BlendnetError, match="run `make demo` first"):
        nb.profiles(tmp_path)
    with pytest.raises(BlendnetError, match="run `blendnet score --profile photos`"):
        nb.load(tmp_path, "photos")


def test_loading_reads_the_profiles(given, results):
    assert nb.profiles(results) == ["made", "made-planted"]
    (results / "unfinished" / "tables").mkdir(parents=True)
    assert nb.profiles(results) == ["made", "made-planted"]
    found = nb.load(results, "made")
    assert {name: len(table) for name, table in found.items()} == {name: len(given[name]) for name in nb.TABLES}
    assert nb.networks(found["layers"]) == ["resnet18", "cornet_z"]
    pixels = found["layers"].iloc[:1].assign(network="pixels", run="pixels", kind="pixels")
    assert nb.networks(pd.concat([found["layers"], pixels])) == ["resnet18", "cornet_z"]
    assert nb.trainings(found["layers"]) == ["blended"]
    assert nb.metrics(found["layers"], "invented-v4") == ["pls", "ridge"]


def test_stored_activations_are_found_and_held_against_the_scores(given, results):
    found = nb.stored(results, "made", given["scores"])
    assert list(found["run"]) == list(RUNS)
    assert list(found["scored"]) == [False, True]
    assert found["layers"].iloc[0] == ("conv1", "layer1")
    assert "1 of 2 extractions are not those that scores.csv rests on" in nb.stored_words(found, "made")
    none = nb.stored(results, "made-planted", given["scores"])
    assert "extract --profile made-planted" in nb.stored_words(none, "made-planted")


def test_the_rdm_is_that_of_scipy(results, monkeypatch):
    found, ids = nb.layer_rdm(results, "made", RUNS[0], STIMULI, "layer1")
    folder = results / "made" / "activations"
    x = [np.load(folder / run / STIMULI / "layer1.npy").astype(float) for run in RUNS]
    np.testing.assert_allclose(found, squareform(pdist(x[0], "correlation")), atol=1e-12)
    assert ids == [f"s{k}" for k in range(12)]
    fig = nb.rdm_figure(results, "made", RUNS, STIMULI, "layer1")
    expected = spearmanr(pdist(x[0], "correlation"), pdist(x[1], "correlation")).statistic
    assert fig.axes[1].get_title().endswith(f": {expected:.2f}".replace("-", "−"))
    np.testing.assert_allclose(np.asarray(fig.axes[0].images[0].get_array()), found)
    monkeypatch.setattr(_stored, "MOST_STIMULI", 5)
    fewer, kept = nb.layer_rdm(results, "made", RUNS[0], STIMULI, "layer1")
    index = [int(i[1:]) for i in kept]
    assert (len(index), index[0], index[-1]) == (5, 0, 11)
    np.testing.assert_allclose(fewer, found[np.ix_(index, index)], atol=1e-12)


def test_a_wrong_layer_or_a_lost_file_is_one_line(results, tmp_path):
    with pytest.raises(BlendnetError, match="unknown layer 'layer9'"):
        nb.layer_rdm(results, "made", RUNS[0], STIMULI, "layer9")
    folder = tmp_path / "p" / "activations" / "r" / "s"
    folder.mkdir(parents=True)
    about = {"key": {"layers": ["a"]}, "sha256": "0" * 64, "n_stimuli": 3, "stimulus_id": ["x", "y", "z"]}
    (folder / "key.json").write_text(json.dumps(about))
    with pytest.raises(BlendnetError, match=r"a\.npy cannot be read"):
        nb.layer_rdm(tmp_path, "p", "r", "s", "a")
