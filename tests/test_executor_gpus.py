"""GPUs by a real SLURM, whose first node has two that stand for real ones (tests/slurm_cluster.py): what jobs ask for
reaches SLURM, each sees what SLURM gave it, and what the cluster has not is said in one line."""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from pipelines import _attach, _slurm, _units, resources, sheet
from pipelines._follow import Pace
from pipelines._job import Unit
from pipelines.context import Context
from tests.conftest import one_line
from tests.slurm_cluster import CannotStartError, cluster

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def main(arguments: list[str]) -> int:
    """A program for units that writes down which GPUs it was given, and waits for the other one, so that both run at
    once."""
    results, run = Path(arguments[1]), arguments[2]
    kept = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", "SLURMD_NODENAME")
    write_json(results / f"{run}.json", {name: os.environ.get(name) for name in kept})
    both = "import sys, time, pathlib as p\nwhile len(list(p.Path(sys.argv[1]).glob('run*.json'))) < 2: time.sleep(0.1)"
    if run != "alone":
        subprocess.run([sys.executable, "-c", both, str(results)], check=True, timeout=100)
    write_json(results / "predictions" / run / "key.json", {})
    return 0


@pytest.fixture(scope="module")
def node_with_gpus():
    """A cluster of a node with two GPUs and one without."""
    try:
        with cluster(nodes=2, cpus=2, gpus=2) as folder:
            yield folder
    except CannotStartError as why:
        pytest.skip(f"no SLURM here: {why}")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # units import this file
    return tmp_path / "demo"


def submit(results: Path, runs: tuple[str, ...], *slurm: str, verb: str = "predict") -> str:
    """Submit units and wait until they are done; what was said. --device cpu: torch cannot see what stands for GPUs."""
    said, failed = attempt(results, runs, *slurm, verb=verb, device="cpu")
    assert failed == {}, failed
    return said


def attempt(results: Path, runs: tuple[str, ...], *slurm: str, verb: str, device: str) -> tuple[str, dict[str, str]]:
    """Submit units and wait; what was said, and {run: what is wrong}."""
    context = Context(profile=replace(sheet.DEMO), results=results, data=ROOT / "data", device="cpu", tracker="none")
    units = [Unit(verb, run, str(results), (verb, str(results), run, "--device", device), "basis", run,
                  "tests.test_executor_gpus") for run in runs]  # fmt: skip
    asked = resources.resources(verb, ("cpus=1", "mem_gb=1", "minutes=5", *slurm))
    out = io.StringIO()
    with redirect_stdout(out):
        failed = _attach.by_slurm(context, verb, units, asked, lambda unit: None, Pace(look=0.1, ask=0.5, note=1.5))
    return out.getvalue(), failed


def shown(job: str) -> str:
    return subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("asked", ["gpus=1", "gres=gpu:1"])
def test_tasks_of_an_array_have_a_gpu_each(node_with_gpus, results, asked):
    submit(results, ("run1", "run2"), asked)
    found = [read_json(results / f"run{i}.json") for i in (1, 2)]
    assert {about["CUDA_VISIBLE_DEVICES"] for about in found} == {"0", "1"}
    for about in found:
        assert about["CUDA_VISIBLE_DEVICES"] == about["SLURM_JOB_GPUS"]
        assert about["SLURM_GPUS_ON_NODE"] == "1"
        assert about["SLURMD_NODENAME"] == "n1"
    units = read_json(_units.book_path(results, "predict"))["units"]
    for run in ("run1", "run2"):
        said = shown(units[run]["job"])
        assert "TresPerNode=gres:gpu:1" in said
        assert "TimeLimit=00:05:00" in said
        assert re.search(r"MinMemoryNode=1G\b", said), said
        assert "CPUs/Task=1" in said


def test_a_job_without_gpus_sees_none(node_with_gpus, results):
    submit(results, ("alone",), "gpus=0")
    assert read_json(results / "alone.json")["CUDA_VISIBLE_DEVICES"] is None
    assert "TresPerNode" not in shown(read_json(_units.book_path(results, "predict"))["units"]["alone"]["job"])


def test_a_gpu_that_slurm_gave_and_torch_does_not_see_is_no_run_on_the_cpu(node_with_gpus, results):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, which torch would see in place of what stands for one")
    _, failed = attempt(results, ("alone",), "gpus=1", verb="predict", device="auto")
    assert failed["alone"].startswith("this job asked SLURM for a GPU and was given SLURM_JOB_GPUS=")
    assert "CUDA_VISIBLE_DEVICES=0" in failed["alone"]
    assert "sees none on n1" in failed["alone"]
    assert not (results / "alone.json").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("gpus=3",), ("gpus=3", "no node", "--device cpu")),
        (("gpus=1", "nodelist=n2"), ("gpus=1", "nodelist=n2", "no node")),
        (("gres=tpu:1",), ("gres=tpu:1", "sinfo -o '%P %G'")),
        (("mem_gb=9000",), ("mem_gb=9000", "no node")),
        (("constraint=h100",), ("constraint=h100", "sinfo -o '%P %f'")),
    ],
)
def test_what_no_node_has_is_one_line(node_with_gpus, results, asked, words):
    with pytest.raises(BlendnetError) as error:
        submit(results, ("run1",), "processes=1", *asked)
    one_line(error, "sbatch refused the jobs", *words)
    assert not _units.book_path(results, "predict").exists()


def test_a_reason_to_wait_for_ever_comes_with_what_to_do(node_with_gpus):
    made = subprocess.run(["sbatch", "--parsable", "--cpus-per-task=99", "--output=/dev/null", "--wrap=true"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    try:
        state, reason = (_slurm.queue() or {})[made]
        assert state == "PENDING"
        assert "lower --slurm cpus" in _slurm.waits(reason)
    finally:
        subprocess.run(["scancel", made], check=True)
