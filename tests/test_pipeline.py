"""The whole chain by the user's commands, on a small profile: every step, reuse, verify, and bad input."""

import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from blendnet.files import read_json, write_json
from pipelines import cli, draw, sheet
from tests.shared import FIGURES, TINY, small_steps, tiny_chain

ROOT = Path(__file__).resolve().parent.parent


def blendnet(*arguments: str) -> int:
    return cli.main(list(arguments))


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", TINY)
        small_steps(patch)
        yield TINY


@pytest.fixture(scope="module")
def chain(tiny, tmp_path_factory):
    """Results of `blendnet all` on the small profile, a copy to work on."""
    results = tmp_path_factory.mktemp("results") / "own"
    shutil.copytree(tiny_chain(tmp_path_factory), results)
    return results / "demo"


def test_all_leaves_tables_figures_and_report(chain):
    for name in ("scores", "layers", "accuracy", "correlation", "twins"):
        assert len(tables.read(chain / "tables" / f"{name}.csv", name))
    drawn = {f"{name}.{kind}" for name in FIGURES for kind in ("pdf", "png", "svg")}
    assert {p.name for p in (chain / "figures").iterdir()} == drawn | {draw.DRAWN}
    page = (chain / "report.html").read_text()
    assert "planted" in page
    assert "cornet_z-aacn4-blended-s0" in page
    assert not list(chain.rglob("*.partial"))


def test_scores_hold_every_run_chance_row_and_hash(chain):
    scores = tables.read(chain / "tables" / "scores.csv", "scores")
    assert set(scores["kind"]) == {"network", "untrained", "pixels", "shuffled"}
    assert set(scores["region"]) == {"V1", "IT"}
    networks = scores[scores["kind"] == "network"]
    assert set(networks["run"]) == {"cornet_z-none-blended-s0", "cornet_z-aacn4-blended-s0"}
    assert (networks["weights_sha256"].str.len() == 64).all()
    assert networks.groupby("run")["weights_sha256"].nunique().eq(1).all()
    assert networks["weights_sha256"].nunique() == 2
    assert ((networks["lo"] <= networks["score"]) & (networks["score"] <= networks["hi"])).mean() > 0.7
    np.testing.assert_allclose(networks["optimism"], networks["naive_score"] - networks["score"], atol=1e-5)
    assert (networks["optimism"] >= -1e-6).all()
    ceiled = networks.dropna(subset=["score_ceiled"])
    np.testing.assert_allclose(ceiled["score_ceiled"], ceiled["score"] / ceiled["ceiling"], rtol=1e-4)
    assert (networks["n_report"] == 40).all()


def test_accuracy_counts_match_the_kept_predictions(chain):
    accuracy = tables.read(chain / "tables" / "accuracy.csv", "accuracy")
    run = "cornet_z-none-blended-s0"
    blends = pd.read_csv(chain / "predictions" / run / "blended.csv")
    assert len(blends) == 28 * 3 * 2
    classes = [c[2:] for c in blends if c.startswith("z_")]
    half = blends[np.isclose(blends["alpha"], 0.5)]
    outputs = [f"z_{c}" for c in classes]
    both = sum(
        set(row[outputs].astype(float).nlargest(2).index) == {f"z_{row.class_a}", f"z_{row.class_b}"}
        for _, row in half.iterrows()
    )
    found = accuracy[(accuracy["run"] == run) & (accuracy["by"] == "all") & (accuracy["outcome"] == "both")].iloc[0]
    assert (found["k"], found["n"]) == (both, 28 * 3)


def test_second_time_everything_is_reused_and_tables_are_byte_equal(chain, tiny, capsys):
    before = {p: p.read_bytes() for p in [*(chain / "tables").glob("*.csv"), *(chain / "figures").iterdir()]}
    made = ("*/weights.safetensors", "predictions/*/key.json", "activations/*/planted/key.json",
            "activations/*/planted-source/key.json", "scores/*/*.json")  # fmt: skip
    stamps = {p: p.stat().st_mtime_ns for kind in made for p in [*chain.glob(kind), *chain.glob(f"checkpoints/{kind}")]}
    capsys.readouterr()
    assert blendnet("all", "--results", str(chain.parent)) == 0
    out = capsys.readouterr().out
    assert out.count("is trained") == 2
    assert "computed anew" not in out
    assert {p: p.read_bytes() for p in before} == before
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert len(stamps) == 2 + 4 + 4 + 1 + 20


def test_score_brain_in_two_halves_gives_the_same_table(chain, tiny):
    path = chain / "tables" / "scores.csv"
    before = path.read_bytes()
    for pattern in ("*none*", "*aacn4*"):
        assert blendnet("score", "--results", str(chain.parent), "--only", pattern, "--force") == 0
    assert path.read_bytes() == before


def test_verify_recomputes_and_finds_a_forged_score(chain, tiny, capsys):
    assert blendnet("verify", "--results", str(chain.parent), "--n", "2") == 0
    assert "2 of 2 scores agree" in capsys.readouterr().out
    path = chain / "tables" / "scores.csv"
    before = path.read_text()
    frame = pd.read_csv(path, keep_default_na=False)
    frame["score"] = [str(float(s) + 0.01) if s != "" else s for s in frame["score"].astype(str)]
    path.write_text(frame.to_csv(index=False))
    try:
        assert blendnet("verify", "--results", str(chain.parent), "--n", "1") == 1
        assert "DIFFERS" in capsys.readouterr().out
    finally:
        path.write_text(before)


def test_a_changed_seed_in_the_sheet_changes_the_keys(chain, tiny, capsys):
    sheet.PROFILES["demo"] = replace(TINY, projection_seed=5)
    try:
        capsys.readouterr()
        assert blendnet("extract", "--results", str(chain.parent), "--only", "*none-untrained*") == 0
        assert "projection.seed: 0 -> 5" in capsys.readouterr().out
    finally:
        sheet.PROFILES["demo"] = TINY
        assert blendnet("extract", "--results", str(chain.parent), "--only", "*none-untrained*") == 0


def line(capsys) -> str:
    err = [s for s in capsys.readouterr().err.splitlines() if s.startswith("blendnet:")]
    assert len(err) == 1, err
    return err[0]


def test_unknown_names_suggest_the_nearest(tiny, tmp_path, capsys):
    assert blendnet("train", "--profile", "foto", "--results", str(tmp_path)) == 1
    assert "did you mean 'photos'" in line(capsys)
    assert blendnet("train", "--only", "vgg*", "--results", str(tmp_path)) == 1
    assert "--only 'vgg*' fits none of 2 runs" in line(capsys)
    assert blendnet("score", "--recording", "cowley", "--results", str(tmp_path)) == 1
    assert "did you mean 'cowley2023'" in line(capsys)
    assert blendnet("train", "--device", "cuda:0", "--results", str(tmp_path)) == 1
    assert "--device 'cuda:0'" in line(capsys)


def test_missing_pieces_name_the_command_that_makes_them(tiny, tmp_path, capsys):
    assert blendnet("draw", "--results", str(tmp_path)) == 1
    assert "scores.csv is missing; run `blendnet score --profile demo`" in line(capsys)
    assert blendnet("score", "--results", str(tmp_path)) == 1
    assert "blendnet train" in line(capsys)
    assert list(tmp_path.rglob("*.csv")) == []


def test_a_checkpoint_of_another_model_is_refused(chain, tiny, capsys):
    a, b = (chain / "checkpoints" / f"cornet_z-{k}-blended-s0" for k in ("none", "aacn4"))
    meta = read_json(b / "meta.json")
    kept = chain / "kept"
    shutil.copytree(a, kept)
    try:
        shutil.rmtree(a)
        shutil.copytree(b, a)
        args = ["predict", "--results", str(chain.parent), "--force", "--only", "*none-blended*"]
        assert blendnet(*args) == 1
        assert "is not the sheet's (run: cornet_z-aac… -> cornet_z-none-blended-s0)" in line(capsys)
        # even where its meta.json says that it is the right one
        meta["key"]["run"] = "cornet_z-none-blended-s0"
        write_json(a / "meta.json", meta)
        assert blendnet(*args) == 1
        assert "is a checkpoint of another model" in line(capsys)
    finally:
        shutil.rmtree(a)
        kept.rename(a)


def test_a_wrong_table_is_one_clear_line(chain, tiny, capsys):
    path = chain / "tables" / "scores.csv"
    before = path.read_text()
    try:
        path.write_text(before.replace("region", "area", 1))
        assert blendnet("draw", "--results", str(chain.parent)) == 1
        assert "scores.csv has no column 'region'" in line(capsys)
    finally:
        path.write_text(before)


def test_results_that_cannot_be_written_are_one_clear_line(tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert blendnet("train", "--results", str(tmp_path / "file")) == 1
    assert "is a file, not a folder" in line(capsys)


def test_planted_is_in_no_profile_but_the_demo():
    assert [p.name for p in sheet.PROFILES.values() if "planted" in p.recordings] == ["demo"]
    assert all(r.planted is None or r.name == "demo" for r in sheet.PROFILES.values())


def test_planted_by_name_goes_with_any_profile(chain, tiny, monkeypatch, tmp_path):
    """Asked for by name it is scored, from the profile's first run, and labelled."""
    shutil.copytree(chain, tmp_path / "demo")
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, recordings=(), planted=None, metrics=("rsa",)))
    args = ["--results", str(tmp_path), "--recording", "planted", "--only", "*none-blended*"]
    assert blendnet("extract", *args) == 0
    assert blendnet("score", *args) == 0
    scores = tables.read(tmp_path / "demo" / "tables" / "scores.csv", "scores")
    assert scores["planted"].all()
    assert scores["planted_layer"].str.startswith("cornet_z-none-blended-s0:").all()


def test_scores_of_old_activations_are_refused(chain, tiny, monkeypatch, capsys):
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, width=90))
    assert blendnet("score", "--results", str(chain.parent)) == 1
    assert "are old (projection.width: 100 -> 90); run blendnet extract" in line(capsys)


def test_drawing_needs_no_torch(chain):
    code = f"""
        import sys
        from analysis import figures
        from pipelines import cli
        for name in figures.names():
            figures.load(name)
        figures.names = lambda: {list(FIGURES)}
        assert cli.main(["draw", "--results", {str(chain.parent)!r}]) == 0
        assert cli.main(["report", "--results", {str(chain.parent)!r}]) == 0
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
