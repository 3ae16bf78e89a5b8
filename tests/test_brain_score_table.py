"""`score` on recorded V1 and V4 and planted V2 and IT gives one table, and Brain-Score's own classes its numbers."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from analysis import tables
from pipelines import cli, sheet
from tests.shared import TINY, tiny_chain

PLANTED = replace(TINY.planted, layers={"V2": "V2.output", "IT": "IT.output"})


@pytest.mark.data
def test_scores_of_all_areas_are_brain_scores(data_root, tmp_path, tmp_path_factory, monkeypatch):
    pytest.importorskip("brainscore_vision", reason="brainscore-vision is not installed (extra 'brain')")
    from benchmarks import brain_score_table

    for name in brain_score_table.RECORDINGS[:2]:
        if not (data_root / name).is_dir():
            pytest.skip(f"no {name} in the data folder")
    shutil.copytree(tiny_chain(tmp_path_factory), tmp_path / "own")
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, planted=PLANTED, metrics=("pls",)))
    flags = ["--results", str(tmp_path / "own"), "--data", str(data_root), "--only", "*none-blended*"]
    chosen = [part for name in brain_score_table.RECORDINGS for part in ("--recording", name)]
    for verb in ("extract", "score"):
        assert cli.main([verb, *flags, *chosen]) == 0
    context = brain_score_table.Context(
        sheet.profile("demo"), tmp_path / "own" / "demo", data_root, recording=brain_score_table.RECORDINGS
    )
    found = brain_score_table.again(context)
    table = tables.read(context.tables / "scores.csv", "scores")
    assert len(found) == (table["kind"] != "shuffled").sum()
    areas = {(a.row["region"], a.row["planted"]) for a in found}
    assert areas == {("V1", False), ("V4", False), ("V2", True), ("IT", True)}
    for a in found:
        assert a.score == pytest.approx(a.row["score"], abs=2e-6), a.row["recording"]
    asked = [a for a in found if np.isfinite(a.ceiling)]
    assert {a.row["region"] for a in asked} >= {"V2", "IT"}
    for a in asked:
        assert a.ceiling == pytest.approx(a.row["ceiling"], abs=brain_score_table.CEILING)
    text = brain_score_table.page(found)
    assert text.count("planted (invented)") == sum(a.row["planted"] for a in found)
    assert "| recorded |" in text
