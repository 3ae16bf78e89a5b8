"""Units by a real SLURM (tests/slurm_cluster.py): requeued, past their time limit, their submitter killed, failing,
over two nodes; the tables are those of the program in one process."""

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import read_json
from blendnet.training.recipes import recipe
from pipelines import sheet
from tests.conftest import one_line
from tests.slurm_cluster import CannotStartError, cluster

ROOT = Path(__file__).resolve().parent.parent
RUNS = ("cornet_z-none-blended-s0", "cornet_z-none-blended-s1")
PREDICTED = (*RUNS, "cornet_z-none-untrained-s0")
EPOCHS = 40
TIMES = ["seconds", "images_per_s"]
pytestmark = pytest.mark.slow


def tiny(epochs: int):
    """The demo profile cut to seconds: two seeds of one network at 32 px."""
    return replace(
        sheet.DEMO, networks=("cornet_z",), attentions=("none",), seeds=(0, 1), image_size=32, n_per_class=16,
        recipe=recipe("modern", epochs=epochs, epoch_size=64, batch_size=32), val_per_pair=1, test_per_pair=1,
        alphas=(0.5,), recordings=(), planted=None,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """What units call: the program with that profile. With --executor as the first word it submits."""
    from pipelines import _job, cli

    _job.END_S = 1  # a short training could end by itself in the time that SLURM's warning leaves
    epochs = int(os.environ.get("EPOCHS") or EPOCHS)
    sheet.PROFILES["demo"] = tiny(epochs)
    if arguments[0] == "--executor":
        return submitting(arguments[1], Path(arguments[2]), epochs=epochs)
    return cli.main(arguments)


def submitting(verb: str, results: Path, *slurm: str, only: str = "*", epochs: int) -> int:
    """Submit and wait; the exit status."""
    from pipelines import executor
    from pipelines._follow import Pace
    from pipelines.context import Context

    context = Context(profile=tiny(epochs), results=results / "demo", data=ROOT / "data", only=only, device="cpu",
                      tracker="none", progress=False)  # fmt: skip
    return executor.run(
        context, verb, executor="slurm", slurm=("cpus=1", "mem_gb=1", "minutes=5", *slurm),
        program="tests.test_executor_slurm", pace=Pace(look=0.2, ask=1.0, note=3.0),
    )  # fmt: skip


def submit(verb: str, results: Path, *slurm: str, only: str = "*", epochs: int = EPOCHS) -> tuple[int, str]:
    """Exit status and output of submitting in this process, which has torch loaded."""
    out = io.StringIO()
    with redirect_stdout(out), chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EPOCHS", str(epochs))
        status = submitting(verb, results, *slurm, only=only, epochs=epochs)
    return status, out.getvalue()


def here(verb: str, results: Path, *arguments: str, epochs: int = EPOCHS) -> None:
    """The program in one process, without SLURM."""
    from pipelines import cli

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", tiny(epochs))
        torch.set_num_threads(1)  # as in the jobs: sums over other parts differ in their last bits
        assert cli.main([verb, "--results", str(results), "--device", "cpu", *arguments]) == 0
        torch.set_num_threads(threads)


def until(ready, seconds: float = 200) -> None:
    """Wait for something to be so."""
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit
        time.sleep(0.02)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def jobs(results: Path, verb: str) -> dict[str, str]:
    return {run: about["job"] for run, about in read_json(results / "demo" / "jobs" / f"{verb}.json")["units"].items()}


def log(results: Path, job: str) -> str:
    return (results / "demo" / "jobs" / "slurm" / f"{job}_0_log.out").read_text()


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes of one core each."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            with cluster(nodes=2, cpus=1) as folder:
                yield folder
    except CannotStartError as why:
        pytest.skip(f"no SLURM here: {why}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, nodes):
    """train and predict in one process, without SLURM."""
    results = tmp_path_factory.mktemp("here")
    here("train", results)
    here("predict", results)
    return results


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, nodes):
    """train and predict by SLURM: the submitter is killed, one training is requeued in its middle, the other is told
    that its time is over; then the same command again. Gives the results and what was said."""
    results = tmp_path_factory.mktemp("slurm")
    folders = [results / "demo" / "checkpoints" / run for run in RUNS]
    command = [sys.executable, "-m", "tests.test_executor_slurm", "--executor", "train", str(results)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | {"EPOCHS": str(EPOCHS)})
    try:
        until(lambda: any((f / "state.safetensors").exists() for f in folders))
    finally:
        process.kill()
        process.wait()
    made = jobs(results, "train")
    # Requeued as by an administrator, or for a job of higher priority; and by the signal that SLURM sends signal_s
    # before a job's limit: limits are whole minutes, which no test waits for.
    ways = {RUNS[0]: ("scontrol", "requeue"), RUNS[1]: ("scancel", "--signal=USR2")}
    while ways:
        run = next((r for r in ways if (results / "demo" / "checkpoints" / r / "state.safetensors").exists()), None)
        if run is not None:
            slurm(*ways.pop(run), made[run])
        time.sleep(0.02)
    assert not any((f / "meta.json").exists() for f in folders)
    found = {"train": submit("train", results), "jobs": made, "jobs after": jobs(results, "train")}
    found["train again"] = submit("train", results)
    found["predict"] = submit("predict", results)
    return results, found


def test_tables_and_weights_are_those_of_an_undisturbed_run(undisturbed, disturbed):
    results, found = disturbed
    for step in ("train", "predict"):
        assert found[step][0] == 0, found[step][1]
    for run in RUNS:
        metas = [checkpoint.load_meta(base / "demo" / "checkpoints" / run) for base in (undisturbed, results)]
        assert metas[0]["weights_sha256"] == metas[1]["weights_sha256"]
    names = {p.name for p in (undisturbed / "demo" / "tables").glob("*.csv")}
    assert names >= {"training.csv", "accuracy.csv", "consistency.csv", "psychometric.csv"}
    assert {p.name for p in (results / "demo" / "tables").glob("*.csv")} == names
    for name in names - {"training.csv"}:
        tables = [(base / "demo" / "tables" / name).read_bytes() for base in (undisturbed, results)]
        assert tables[0] == tables[1], name
    training = [pd.read_csv(base / "demo" / "tables" / "training.csv") for base in (undisturbed, results)]
    pd.testing.assert_frame_equal(training[0].drop(columns=TIMES), training[1].drop(columns=TIMES), check_exact=True)


def test_requeued_and_timed_out_trainings_went_on_from_their_state(disturbed):
    results, found = disturbed
    for run in RUNS:
        text = log(results, found["jobs"][run])
        assert re.search(rf"resumed: {run} after epoch [1-9]", text), text
        assert read_json(results / "demo" / "jobs" / f"train-{run}.json")["attempt"] == 2
    timed_out = log(results, found["jobs"][RUNS[1]])
    assert "Caught signal SIGUSR2" in timed_out
    assert "Requeued job" in timed_out


def test_the_same_command_attaches_to_jobs_of_a_killed_one(disturbed):
    _, found = disturbed
    out = found["train"][1]
    assert "[train] 2 of them are queued or running already: attached" in out
    assert "submitted" not in out
    assert found["jobs after"] == found["jobs"]
    assert re.search(r"\[train 2/2\] cornet_z-none-blended-s[01] done \(\d+ s\)", out), out
    status, again = found["train again"]
    assert status == 0
    assert "[train] 2 units: 2 were done before, 0 to do" in again


def test_units_leave_the_table_to_the_command_and_run_as_one_array(disturbed):
    results, found = disturbed
    made = jobs(results, "predict")
    assert set(made) == set(PREDICTED)
    assert len({job.split("_")[0] for job in made.values()}) == 1
    assert "[predict 3/3]" in found["predict"][1]
    script = next((results / "demo" / "jobs" / "slurm").glob(f"{made[RUNS[0]].split('_')[0]}_submission.sh"))
    assert "--requeue" in script.read_text()


def test_a_failing_unit_is_told_with_its_line_and_its_log(disturbed):
    results, _ = disturbed
    weights = results / "demo" / "checkpoints" / RUNS[0] / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        status, out = submit("predict", results, only=RUNS[0])
        assert status == 1
        line = next(line for line in out.splitlines() if "failed:" in line)
        assert line.startswith(f"[predict] {RUNS[0]} failed: {weights} has sha256")
        assert "train the run again" in line
        path = Path(re.search(r"\(log: (.*)\)$", line).group(1))
        assert "blendnet: error:" in path.read_text()
        assert "Traceback" not in out
    finally:
        weights.write_bytes(kept)


def test_a_job_that_is_cancelled_is_told(nodes, tmp_path):
    state = tmp_path / "demo" / "checkpoints" / RUNS[0] / "state.safetensors"

    def cancel():
        until(state.exists)
        slurm("scancel", jobs(tmp_path, "train")[RUNS[0]])

    meanwhile = threading.Thread(target=cancel)
    meanwhile.start()
    status, out = submit("train", tmp_path, only=RUNS[0], epochs=1000)
    meanwhile.join()
    assert status == 1
    assert f"{RUNS[0]} failed: ended by SLURM (CANCELLED); somebody cancelled it" in out
    # It was told and gave its lock back.
    assert read_json(tmp_path / "demo" / "jobs" / f"train-{RUNS[0]}.json")["status"] == "stopped"
    assert not list((tmp_path / "demo" / "locks").glob("train-*.lock"))


def test_one_training_over_two_nodes(undisturbed, tmp_path):
    """torchrun on each node finds the other; the curve is that of one process up to rounding."""
    status, out = submit("train", tmp_path, "nodes=2", only=RUNS[0], epochs=2)
    assert status == 0, out + "".join(p.read_text() for p in tmp_path.rglob("*.out"))
    meta = checkpoint.load_meta(tmp_path / "demo" / "checkpoints" / RUNS[0])
    assert meta["processes"] == 2
    assert json.loads((tmp_path / "demo" / "jobs" / f"train-{RUNS[0]}.json").read_text())["status"] == "done"
    here("train", tmp_path / "one", "--only", RUNS[0], epochs=2)
    logs = [base / "demo" / "checkpoints" / RUNS[0] / "log.csv" for base in (tmp_path / "one", tmp_path)]
    curves = [pd.read_csv(path) for path in logs]
    pd.testing.assert_frame_equal(curves[0].drop(columns=TIMES), curves[1].drop(columns=TIMES), rtol=1e-5, atol=0)


def test_what_sbatch_refuses_is_one_line(nodes, tmp_path):
    with pytest.raises(BlendnetError, match="sbatch refused the jobs: .*invalid partition specified: gpu") as error:
        submit("train", tmp_path, "partition=gpu", only=RUNS[0])
    one_line(error, "--slurm")
    assert not (tmp_path / "demo" / "jobs" / "train.json").exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
