"""blendnet reproduce: what it compares, what it says, and when it fails. The real rebuilding: test_determinism.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis import tables
from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import read_json, sha256_file, write_json
from blendnet.run import Run
from pipelines import _anew, provenance, reproduce, sheet
from pipelines.context import Context
from tests.conftest import ROOT, one_line

RUN = "resnet18-none-blended-s0"
PHOTOS = ROOT / "results" / "photos" / "tables"  # committed: real rows


def rows(name: str, run: str = RUN) -> pd.DataFrame:
    table = tables.read(PHOTOS / f"{name}.csv", name)
    return table[table["run"] == run].reset_index(drop=True)


def context(results: Path, profile: sheet.Profile = sheet.PHOTOS) -> Context:
    return Context(profile=profile, results=results, data=Path("data"), device="cpu")


def test_equal_tables_are_identical_whatever_their_order_and_hashes():
    scores = rows("scores")
    other = scores.sample(frac=1, random_state=0).assign(weights_sha256="0" * 64, code_version="other")
    verdict = _anew.compare("scores", scores, tables.check(other, "scores"))
    assert (verdict.ok, verdict.identical, verdict.text) == (True, True, f"identical: {len(scores)} rows")
    assert _anew.rests(scores, other) == " (other code than stored)"
    assert _anew.rests(scores, scores) == ""


@pytest.mark.parametrize(("apart", "ok"), [(0.9, True), (1.1, False)])
def test_a_number_may_lie_as_far_apart_as_is_stated_and_no_further(apart, ok):
    scores = rows("scores")
    other = scores.copy()
    other.loc[3, "lo"] += apart * _anew.TOLERANCES["scores"]
    verdict = _anew.compare("scores", scores, other)
    assert (verdict.ok, verdict.identical) == (ok, False)
    assert "at most (lo)" in verdict.text
    assert verdict.text.startswith("within tolerance" if ok else f"DIFFERS: of {len(scores)} rows lo in 1; by ")


def test_a_missing_number_an_other_layer_and_an_other_count_have_no_tolerance():
    scores, accuracy = rows("scores"), rows("accuracy")
    for column, value in (("score", np.nan), ("layer", "fc"), ("n_report", 1)):
        other = scores.copy()
        other.loc[0, column] = value
        assert f"{column} in 1" in _anew.compare("scores", scores, other).text
        assert not _anew.compare("scores", scores, other).ok
    other = accuracy.copy()
    other.loc[5, "k"] += 1
    assert not _anew.compare("accuracy", accuracy, other).ok
    fewer = _anew.compare("scores", scores, scores.iloc[1:])
    assert not fewer.ok
    assert fewer.text.startswith("DIFFERS: 1 rows stored only, 0 anew only (")


def test_a_column_that_one_table_was_made_without_is_not_compared():
    """Stored tables from before a column existed are rebuilt by code that fills it."""
    scores = rows("scores")
    filled = scores.assign(**{"score(r^2/c)": 0.5, "ceiling_below": False})
    assert scores["score(r^2/c)"].isna().all()
    assert _anew.compare("scores", scores, tables.check(filled, "scores")).identical
    assert _anew.compare("scores", tables.check(filled, "scores"), scores).identical
    other = tables.check(filled.assign(**{"score(r^2/c)": 0.6}), "scores")
    assert not _anew.compare("scores", tables.check(filled, "scores"), other).ok


def test_times_are_not_compared_and_losses_are():
    training = rows("training")
    assert _anew.compare("training", training, training.assign(seconds=0.5, images_per_s=1.0)).identical
    assert not _anew.compare("training", training, training.assign(train_loss=training["train_loss"] + 1e-4)).ok


def test_every_kind_of_rows_of_one_run_has_a_tolerance():
    """A new table with rows of single runs must be compared, too, or be named here with a reason."""
    of_one_run = {n for n, t in tables.TABLES.items() if "run" in t.key}
    not_compared = {"lr_finder"}  # trains nothing that is kept
    assert of_one_run - not_compared == set(_anew.TOLERANCES) - {"weights"}


def saved(folder: Path, scale: float) -> str:
    torch.manual_seed(0)
    model = nn.Linear(50, 50)
    with torch.no_grad():
        model.weight.mul_(1 + scale)
        model.bias.mul_(1 + scale)
    meta = {"run": RUN, "classes": [], "image_size": 1}
    return checkpoint.save(folder, model, meta)["weights_sha256"]


def test_weights_are_compared_by_their_distance(tmp_path):
    old = saved(tmp_path / "old", 0)
    for scale, ok in ((3e-5, True), (3e-4, False)):
        saved(tmp_path / f"{ok}", scale)
        verdict = _anew.weights(tmp_path / "old", tmp_path / f"{ok}", old)
        assert (verdict.ok, verdict.identical) == (ok, False)
        assert f"relative distance {scale:.2g}, " in verdict.text  # ||(1 + s) w - w|| / ||w|| = s
    assert _anew.weights(tmp_path / "old", tmp_path / "old", old).identical
    assert "the stored are not here" in _anew.weights(tmp_path / "gone", tmp_path / "True", old).text


def test_what_differs_in_the_surroundings_is_named():
    old = {"surroundings": {"torch": "2.15.0", "threads": 2, "git_commit": "a" * 40, "hardware": "A"},
           "key": {"photos_sha256": "x"}}  # fmt: skip
    new = {"surroundings": {"torch": "2.16.0", "threads": 1, "git_commit": "a" * 40 + "+changes", "python": "3.12.1"},
           "key": {"photos_sha256": "x", "space": "pixel"}, "processes": 4}  # fmt: skip
    assert _anew.differing(old, new) == [
        "git_commit: aaaaaaaa -> aaaaaaaa+changes", "threads: 2 -> 1 (OMP_NUM_THREADS=2 gives the recorded)",
        "torch: 2.15.0 -> 2.16.0", "processes: 1 -> 4",
    ]  # fmt: skip
    assert _anew.differing(old, old) == []


def test_the_profile_of_one_run_has_that_run_alone_and_all_else(tmp_path):
    runs = sheet.FULL.scored_runs()
    for run in (runs[0], runs[-1], next(r for r in runs if r.training == "untrained"), Run.from_id("vit_small-self-regular-s3")):  # fmt: skip # noqa: E501
        alone = reproduce.alone(context(tmp_path, sheet.FULL), run)
        assert run in alone.scored_runs()
        assert {r for r in alone.scored_runs() if r.training != "untrained"} <= {run}
        assert alone.size_of(run) == sheet.FULL.size_of(run)
        assert alone.colour_of(run) == sheet.FULL.colour_of(run)
        assert (alone.recordings, alone.metrics, alone.width) == (sheet.FULL.recordings, sheet.FULL.metrics, 1000)


def test_the_line_of_a_kind_and_the_exit_status(tmp_path, monkeypatch, capsys):
    """Rebuilding is replaced by tables that are there: first the stored ones, then ones with another accuracy."""
    write_json(tmp_path / "tables" / "provenance.json", {"trained": {RUN: {
        "recipe": sheet.PHOTOS.recipe.asdict(), "seconds": 400.0, "threads": 2, "hardware": "A"}}})  # fmt: skip
    for name in ("accuracy", "scores", "layers"):
        tables.write(rows(name), tmp_path / "tables" / f"{name}.csv")

    def again(given, run, record, stored, results):
        assert (run.id, set(stored)) == (RUN, {"accuracy", "scores", "layers"})
        assert record["recipe"] == sheet.PHOTOS.recipe.asdict()
        for name, table in stored.items():
            changed = table.assign(k=0) if name == "accuracy" and forged else table
            tables.write(changed, results / "tables" / f"{name}.csv")
        return replace(given, results=results)

    monkeypatch.setattr(reproduce, "_again", again)
    monkeypatch.setattr(reproduce.tempfile, "tempdir", str(tmp_path))
    forged = False
    assert reproduce.reproduce(context(tmp_path), RUN) == 0
    out = capsys.readouterr().out
    assert "training took 7 min when it was stored (A, 2 threads)" in out
    assert "3 of 3 kinds reproduced\n" in out
    forged = True
    assert reproduce.reproduce(context(tmp_path), RUN, keep=True) == 1
    out = capsys.readouterr().out
    assert "  accuracy            DIFFERS: of " in out
    assert "2 of 3 kinds reproduced; not reproduced: accuracy" in out
    assert Path(out.partition("kept: ")[2].partition("\n")[0], "tables", "scores.csv").exists()


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(BlendnetError) as error:
        reproduce.reproduce(context(tmp_path), "resnet18-non-blended-s0")
    one_line(error, "did you mean 'resnet18-none-blended-s0'")
    with pytest.raises(BlendnetError) as error:
        reproduce.reproduce(context(tmp_path), RUN)
    one_line(error, "hold no row of resnet18-none-blended-s0", "blendnet all --profile photos")
    tables.write(rows("accuracy"), tmp_path / "tables" / "accuracy.csv")
    with pytest.raises(BlendnetError) as error:
        reproduce.reproduce(context(tmp_path), RUN)
    one_line(error, "recipe of resnet18-none-blended-s0 is recorded neither")
    write_json(tmp_path / "tables" / "provenance.json", {"trained": {RUN: {"recipe": {"name": "x", "colour": 1}}}})
    with pytest.raises(BlendnetError) as error:
        reproduce.reproduce(context(tmp_path), RUN)
    one_line(error, "the recorded recipe is not one of this version", "check out its commit")
    folder = tmp_path / "checkpoints" / RUN
    saved(folder, 0)
    write_json(folder / "meta.json", read_json(folder / "meta.json") | {"legacy": {"dk": 32}})
    with pytest.raises(BlendnetError) as error:
        reproduce.reproduce(context(tmp_path), RUN)
    one_line(error, "was imported, not trained here", "blendnet verify")


def test_provenance_names_code_lock_data_and_hardware_of_the_numbers(tmp_path):
    """Also of responses that cannot be read here any more: the stored scores say what they were made with."""
    scores = tables.read(PHOTOS / "scores.csv", "scores")
    tables.write(scores, tmp_path / "tables" / "scores.csv")
    away = replace(context(tmp_path), data=tmp_path / "nowhere")
    found = provenance.collect(away)
    about = found["surroundings"]
    for name in ("git_commit", "code", "hardware", "cores", "memory_gib", "threads", "python", "numpy", "torch"):
        assert about[name], name
    assert 0.1 < about["memory_gib"] < 1e5
    assert found["lock_sha256"] == sha256_file(ROOT / "requirements.lock")
    rests = {f"{r} {a}": d for r, a, d in scores[["recording", "region", "recording_sha256"]].itertuples(index=False)}
    assert {name: entry["sha256"] for name, entry in found["recordings"].items()} == rests
    assert len(rests) > 3
    # Two hashes under one name, as after new data for some of the networks: neither is hidden.
    scores.loc[scores.index[0], "recording_sha256"] = "f" * 64
    tables.write(scores, tmp_path / "tables" / "scores.csv")
    name = f"{scores.iloc[0]['recording']} {scores.iloc[0]['region']}"
    entry = provenance.collect(away)["recordings"][name]
    assert entry == {"scored_with_sha256": sorted({rests[name], "f" * 64})}


def test_provenance_says_where_the_data_here_are_not_those_of_the_scores(tmp_path, monkeypatch):
    from pipelines import recordings
    from tests.test_score_keys import recording

    here = recording()
    monkeypatch.setattr(recordings, "load_one", lambda name, data: [here])
    scores = rows("scores").assign(recording=here.name, region=here.region).drop_duplicates(
        list(tables.TABLES["scores"].key))  # fmt: skip
    profile = replace(sheet.PHOTOS, recordings=("cowley2023",))
    for digest, more in ((here.sha256, None), ("a" * 64, ["a" * 64])):
        tables.write(scores.assign(recording_sha256=digest), tmp_path / "tables" / "scores.csv")
        entry = provenance.collect(context(tmp_path, profile))["recordings"][f"{here.name} {here.region}"]
        assert entry["sha256"] == here.sha256
        assert entry.get("scored_with_sha256") == more
