"""Every way to train and every metric by the user's commands, on a small profile; plans, rate finder, zoo, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import tables
from analysis.figures._style import trained_on
from analysis.stats.layers import METRICS
from blendnet.attention import set_lesion
from blendnet.checkpoint import load
from blendnet.files import read_json
from blendnet.run import Run
from blendnet.training.recipes import recipe
from pipelines import cli, sheet
from tests.shared import TINY, small_steps

WIDE = replace(
    TINY,
    recipe=recipe(
        "modern", epochs=3, epoch_size=96, batch_size=32, ema=0.9, patience=5, jitter=0.2, channels_last=True,
        curriculum_epochs=2.0,
    ),
    attentions=("none", "se"),
    trainings=("regular", "curriculum"),
    metrics=METRICS,
    width=40,
    n_splits=2,
    n_bootstrap=4,
    planted=sheet.Planted(
        source="cornet_z-se-regular-s0", layers={"V4": "V4.output"}, n_stimuli=100, n_neuroids=10
    ),
)  # fmt: skip


def blendnet(*arguments: str) -> int:
    return cli.main(list(arguments))


@pytest.fixture(scope="module")
def wide():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", WIDE)
        small_steps(patch, "accuracy_by_training")
        yield WIDE


@pytest.fixture(scope="module")
def chain(wide, tmp_path_factory):
    results = tmp_path_factory.mktemp("wide")
    assert blendnet("all", "--results", str(results), "--tracker", "none") == 0
    return results / "demo"


@pytest.mark.slow
def test_every_metric_has_scores_with_ceiling_and_chance(chain):
    scores = tables.read(chain / "tables" / "scores.csv", "scores")
    assert set(scores["metric"]) == set(METRICS)
    assert set(scores["training"]) == {"regular", "curriculum", "untrained", ""}
    networks = scores[scores["kind"] == "network"]
    assert networks["score"].notna().all()
    assert networks.groupby("metric")["code_version"].nunique().eq(1).all()
    assert networks["code_version"].nunique() > 6  # each metric by its own code
    reverse = networks[networks["metric"].str.endswith("_reverse")]
    assert (reverse["ceiling"] == 1).all()
    regressions = networks[networks["metric"].isin(("pls", "ridge"))].dropna(subset=["score_ceiled_lo"])
    assert len(regressions)
    assert (regressions["score_ceiled_lo"] <= regressions["score_ceiled_hi"]).all()
    maps = tables.read(chain / "tables" / "layers.csv", "layers")
    assert set(maps["metric"]) == set(METRICS)


@pytest.mark.slow
def test_every_training_is_in_the_tables_and_the_report(chain):
    log = tables.read(chain / "tables" / "training.csv", "training")
    assert set(log["training"]) == {"regular", "curriculum"}
    assert log.groupby("run")["kept"].sum().eq(1).all()
    accuracy = tables.read(chain / "tables" / "accuracy.csv", "accuracy")
    blends = accuracy[(accuracy["by"] == "all") & (accuracy["outcome"] == "both")]
    assert {"regular", "curriculum"} <= set(blends["training"])  # regular: zero-shot superposition
    twins = tables.read(chain / "tables" / "twins.csv", "twins")
    assert set(twins["attention_kind"]) == {"se"}
    names = {p.stem for p in (chain / "figures").glob("*.pdf")}
    assert {"accuracy_by_training", "training_curves"} <= names
    assert trained_on("curriculum").capitalize() in (chain / "report.html").read_text()
    recipe_of = read_json(chain / "checkpoints" / "cornet_z-se-curriculum-s0" / "meta.json")["recipe"]
    assert (recipe_of["ema"], recipe_of["patience"], recipe_of["jitter"]) == (0.9, 5, 0.2)


@pytest.mark.slow
def test_a_lesioned_twin_answers_otherwise(chain, wide):
    import torch

    from blendnet import models

    run = Run.from_id("cornet_z-se-regular-s0")
    model = models.build("cornet_z", attention="se", n_classes=8, image_size=32).eval()
    load(chain / "checkpoints" / run.id, model)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model(x)
        assert set_lesion(model, "attention") == len(models.sites("cornet_z"))
        assert not torch.allclose(model(x), whole)
        set_lesion(model, None)
        assert torch.equal(model(x), whole)


@pytest.mark.slow
def test_verify_recomputes_other_metrics_too(chain, capsys):
    assert blendnet("verify", "--results", str(chain.parent), "--n", "6", "--seed", "1") == 0
    assert "6 of 6 scores agree" in capsys.readouterr().out


@pytest.mark.slow
def test_budget_is_kept_to_by_later_verbs_and_find_lr_writes_its_table(wide, tmp_path, capsys, monkeypatch):
    common = ("--results", str(tmp_path), "--only", "cornet_z-none-regular-s0")
    assert blendnet("plan", "--budget", "30m", *common) == 0  # which trains nothing
    plan = read_json(tmp_path / "demo" / "plan.json")
    assert plan["epochs"] >= 1
    capsys.readouterr()
    assert blendnet("find-lr", *common) == 0
    rates = tables.read(tmp_path / "demo" / "tables" / "lr_finder.csv", "lr_finder")
    assert np.all(np.diff(rates["lr"]) > 0)
    long = replace(WIDE, recipe=replace(WIDE.recipe, epoch_size=2_000_000))  # one epoch takes minutes anywhere
    monkeypatch.setitem(sheet.PROFILES, "demo", long)
    assert blendnet("plan", "--budget", "5s", *common) == 1
    assert "budget" in capsys.readouterr().err


def test_an_original_checkpoint_is_imported_kept_and_named_in_the_tables(tmp_path, monkeypatch, capsys):
    """import-legacy, then train and predict, by their commands; the accuracy is that of the original's own module."""
    import pandas as pd
    import torch

    from tests.test_import_legacy import original, save

    profile = replace(
        TINY, name="legacy", recipe=recipe("study"), attentions=("none", "aacn-legacy"), recordings=(), planted=None
    )
    monkeypatch.setitem(sheet.PROFILES, "legacy", profile)
    torch.manual_seed(0)
    source = original("cornet_z", True, size=32)
    path = save(tmp_path / "cornet_z_aacn.pth", source)
    where = ("--profile", "legacy", "--results", str(tmp_path))
    run = "cornet_z-aacn-legacy4-blended-s0"
    assert blendnet("import-legacy", str(path), "--training", "blended", "--heads", "8", *where) == 1
    assert "8" in capsys.readouterr().err
    assert blendnet("import-legacy", str(path), "--training", "blended", *where) == 0
    capsys.readouterr()
    assert blendnet("train", "--only", run, *where) == 0
    assert "kept" in capsys.readouterr().out
    assert blendnet("predict", "--only", run, *where) == 0
    found = pd.read_csv(tmp_path / "legacy" / "predictions" / run / "regular.csv")
    logits = found[[c for c in found if c.startswith("z_")]].to_numpy()

    from blendnet.training.augment import normalise
    from pipelines import photographs
    from pipelines.context import Context

    photos = photographs.load(Context(profile, tmp_path / "legacy", tmp_path))
    images = photos.images[photos.indices("test")].float() / 255
    with torch.no_grad():
        theirs = source(normalise(images)).numpy()
    np.testing.assert_allclose(logits, theirs, atol=1e-4 * np.abs(theirs).max())


def test_the_zoo_prints_what_a_network_costs(capsys):
    assert blendnet("models", "cornet_z", "--attention", "none", "--attention", "aacn", "--image-size", "64") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["network", "attention", "parameters"]
    assert {line.split()[1] for line in lines[1:]} == {"none", "aacn4"}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("train", "--tracker", "mlfow"), "did you mean 'mlflow'"),
        (("train", "--budget", "soon"), "soon"),
        (("import-legacy", "/nowhere/file.pth", "--training", "blended"), "/nowhere/file.pth"),
        (("export-brainscore", "cornet_z-none-blended-s7", "OUT"), "cornet_z-none-blended-s7"),
        (("models", "resnet19"), "did you mean 'resnet18'"),
    ],
)
def test_refusals_are_one_line(command, says, tmp_path, capsys):
    words = [str(tmp_path / "out") if word == "OUT" else word for word in command]
    where = () if command[0] == "models" else ("--results", str(tmp_path))
    assert blendnet(*words, *where) == 1
    error = capsys.readouterr().err.strip()
    assert says in error
    assert error.startswith("blendnet: error:")
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_several_processes_are_for_training_only(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert blendnet("score", "--results", str(tmp_path)) == 1
    assert "only training is shared" in capsys.readouterr().err
