"""`blendnet status`: every state from what lies in a results folder and what SLURM says, and the time left."""

import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from blendnet.files import write_json
from blendnet.locks import Lock
from pipelines import _slurm, _units, sheet, status
from tests.conftest import one_line

ROOT = Path(__file__).resolve().parent.parent
PROFILE = replace(sheet.DEMO, seeds=(0, 1, 2))
TRAINED = [run.id for run in PROFILE.trained_runs()]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder, and a SLURM that knows of no job."""
    monkeypatch.setattr(_slurm, "queue", dict)
    monkeypatch.setattr(_slurm, "ending", lambda job: f"job {job} ended by SLURM (TIMEOUT)")
    return tmp_path / "demo"


def trained(results: Path, run: str, seconds: float) -> None:
    folder = results / "checkpoints" / run
    write_json(folder / "meta.json", {"seconds": seconds})
    (folder / "weights.safetensors").write_bytes(b"w")


def note(results: Path, verb: str, run: str, **about) -> None:
    write_json(_units.note_path(results, verb, run), {"verb": verb, "run": run} | about)


def states(results: Path, verb: str) -> dict[str, str]:
    found = status.collect(PROFILE, results)["verbs"][verb]["units"]
    return {run: about["state"] for run, about in found.items() if about["state"] != "not started"}


def test_nothing_is_started_in_an_empty_folder(results):
    found = status.collect(PROFILE, results)
    counts = {verb: about["counts"] for verb, about in found["verbs"].items()}
    assert {verb: c["not started"] for verb, c in counts.items()} == {
        "train": 12, "predict": 16, "dissect": 12, "extract": 16, "score": 17,
    }  # fmt: skip
    assert all(sum(c.values()) == c["not started"] for c in counts.values())
    assert found["seconds_left"] is None
    assert found["slurm"] is None
    assert not results.exists()


def test_every_state_of_a_training(results, monkeypatch):
    done, running, on_node, queued, failed, silent, mended, half = TRAINED[:8]
    trained(results, done, 100)
    lock = Lock(results / "locks" / f"train-{running}.lock")
    assert lock.acquire()
    jobs = {on_node: "7_0", queued: "7_1", silent: "7_2", failed: "7_3"}
    units = {run: {"job": job, "token": run} for run, job in jobs.items()}
    write_json(results / "jobs" / "train.json", {"units": units})
    monkeypatch.setattr(_slurm, "queue", lambda: {"7_0": ("RUNNING", "None"), "7_1": ("PENDING", "QOSMaxGRESPerUser")})
    note(results, "train", failed, status="failed", error="invented: no paper", token=failed)
    note(results, "train", mended, status="failed", error="invented: long ago")
    trained(results, mended, 140)
    later = time.time() + 5
    for path in (results / "checkpoints" / mended).iterdir():
        os.utime(path, (later, later))
    (results / "checkpoints" / half).mkdir()
    (results / "checkpoints" / half / "weights.safetensors").write_bytes(b"w")
    assert states(results, "train") == {
        done: "done", running: "running", on_node: "running", queued: "queued", silent: "failed", failed: "failed",
        mended: "done",
    }  # fmt: skip
    lines = status.lines(status.collect(PROFILE, results))
    assert f"running: train {running}: process {os.getpid()} on " in "\n".join(lines)
    assert f"running: train {on_node}: job 7_0" in lines
    assert "queued: train, 1 units wait: QOSMaxGRESPerUser" in lines
    assert f"failed: train {silent}: job 7_2 ended by SLURM (TIMEOUT)" in lines
    assert f"failed: train {failed}: invented: no paper" in lines
    row = next(line for line in lines if line.startswith("train"))
    assert row.split()[:6] == ["train", "2", "2", "1", "2", "5"]
    lock.release()
    assert states(results, "train").get(running) is None


def test_a_silent_slurm_is_said(results, monkeypatch):
    write_json(results / "jobs" / "train.json", {"units": {TRAINED[0]: {"job": "7_0", "token": "t"}}})
    trained(results, TRAINED[0], 3)
    monkeypatch.setattr(_slurm, "queue", lambda: None)
    found = status.collect(PROFILE, results)
    assert found["slurm"] is False
    assert any("SLURM does not answer" in line for line in status.lines(found))


def test_time_left_from_what_alike_units_took(results):
    plain = [run for run in TRAINED if run.startswith("resnet18-none")]
    aacn = [run for run in TRAINED if run.startswith("resnet18-aacn4")]
    trained(results, plain[0], 100)
    trained(results, plain[1], 200)
    trained(results, aacn[0], 900)
    note(results, "train", aacn[0], status="done", seconds=1000.0)  # a unit's own time goes before the training's
    # One plain of 150 s, two attention of 1000 s; six of another network, of which nothing is known but all others.
    expected = 150 + 2 * 1000 + 6 * (100 + 200 + 1000) / 3
    assert status.collect(PROFILE, results)["verbs"]["train"]["seconds_left"] == pytest.approx(expected, abs=0.1)
    held = [Lock(results / "locks" / f"train-{run}.lock") for run in aacn[1:]]
    assert all(lock.acquire() for lock in held)
    # Two at once, each half done.
    assert status.collect(PROFILE, results)["verbs"]["train"]["seconds_left"] == pytest.approx(
        (expected - 1000) / 2, abs=0.1
    )
    for lock in held:
        lock.release()
    for run in TRAINED:
        trained(results, run, 10)
    assert status.collect(PROFILE, results)["verbs"]["train"]["seconds_left"] == 0


def test_scores_and_activations_are_complete_with_as_many_pieces_as_any(results):
    first, second = TRAINED[:2]
    for run, n in ((first, 3), (second, 2)):
        for i in range(n):
            write_json(results / "scores" / run / f"recording{i}-V1-pls.json", {})
            write_json(results / "activations" / run / f"stimuli{i}" / "key.json", {})
    write_json(results / "activations" / first / "planted-source" / "key.json", {})
    assert states(results, "score") == {first: "done"}
    assert states(results, "extract") == {first: "done"}
    write_json(results / "inside" / first / "maps.json", {})
    assert states(results, "dissect") == {}
    write_json(results / "inside" / first / "whole.json", {})
    assert states(results, "dissect") == {first: "done"}


def test_json_for_machines_and_no_torch(tmp_path):
    code = f"""
        import sys
        from pathlib import Path
        from pipelines import sheet, status
        status.status(sheet.DEMO, Path({str(tmp_path)!r}), as_json=True)
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["verbs"]) == set(_units.VERBS)
    assert found["verbs"]["train"]["counts"]["not started"] == 4


def test_a_damaged_note_is_as_good_as_none_and_damaged_jobs_are_one_line(results):
    trained(results, TRAINED[0], 100)
    for about in ({"seconds": "x"}, {"seconds": -1}, {"error": 5, "status": "failed"}, {"token": []}):
        note(results, "train", TRAINED[0], **({"status": "done"} | about))
        unit = status.collect(PROFILE, results)["verbs"]["train"]["units"][TRAINED[0]]
        assert unit == {"state": "done", "seconds": 100}
    for units in ([], {TRAINED[0]: 5}, {TRAINED[0]: {"job": "7_0"}}, None):
        write_json(results / "jobs" / "train.json", {"units": units})
        with pytest.raises(BlendnetError) as error:
            status.collect(PROFILE, results)
        one_line(error, "jobs/train.json is not as it was written", "look with squeue", "delete it")
