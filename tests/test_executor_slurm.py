"""Units by a real SLURM (tests/slurm_cluster.py): requeued, preempted, at their time limit, cancelled, their submitter
killed, failing, over two nodes, the whole chain; the tables are those of the program in one process."""

import json
import re
import shutil
import threading
import time

import pandas as pd
import pytest

from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import read_json
from pipelines import _slurm, status
from tests.conftest import one_line
from tests.shared import tiny_chain
from tests.slurm_cluster import CannotStartError, cluster
from tests.slurm_units import EPOCHS, RUNS, SLOW_S, here, jobs, log, saved, slurm, submit, submitter, tiny, until

TIMES = ["seconds", "images_per_s"]
TOLD, DEAF = RUNS
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    """A cluster of four nodes of one core each."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            with cluster(nodes=4, cpus=1) as folder:
                yield folder
    except CannotStartError as why:
        pytest.skip(f"no SLURM here: {why}")


@pytest.fixture(scope="module")
def limited(tmp_path_factory, nodes):
    """Two trainings that work for longer than their limit, which is SLURM's shortest, one minute. Begun before all
    others, so that they wait meanwhile; gives the results, the process that submitted, and the file it says all in."""
    results = tmp_path_factory.mktemp("limited")
    process = submitter("train", results, "minutes=1", "signal_s=5", out=results / "said", SLOW=SLOW_S, DEAF=DEAF)
    yield results, process, results / "said"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, limited):
    """train and predict in one process, without SLURM."""
    results = tmp_path_factory.mktemp("here")
    here("train", results)
    here("predict", results, "--only", "cornet_z-none-blended-*")
    return results


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, undisturbed):
    """train and predict by SLURM: the submitter is killed, one training is requeued in its middle, the other makes
    place for a job of higher priority; then the same command again. Gives the results and what was said."""
    results = tmp_path_factory.mktemp("slurm")
    process = submitter("train", results, SLOW=SLOW_S)
    try:
        until(lambda: all(saved(results, run) for run in RUNS))
        seen = status.collect(tiny(), results / "demo")
    finally:
        process.kill()
        process.wait()
    made = jobs(results, "train")
    slurm("scontrol", "requeue", made[RUNS[0]])
    node = slurm("squeue", "-h", "-j", made[RUNS[1]], "-o", "%N").strip()
    slurm("sbatch", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 1")
    until(lambda: all((_slurm.queue() or {}).get(job, [""])[0] == "PENDING" for job in made.values()))
    assert not any((results / "demo" / "checkpoints" / run / "meta.json").exists() for run in RUNS)
    found = {"status": seen, "train": submit("train", results), "jobs": made, "jobs after": jobs(results, "train")}
    found["train again"] = submit("train", results)
    found["predict"] = submit("predict", results, only="cornet_z-none-blended-*")
    return results, found


def same_results(one, two) -> set[str]:
    """Weights and all tables are equal, to the byte where no seconds are in them; the tables' names."""
    for run in RUNS:
        metas = [checkpoint.load_meta(base / "demo" / "checkpoints" / run) for base in (one, two)]
        assert metas[0]["weights_sha256"] == metas[1]["weights_sha256"]
    names = {p.name for p in (one / "demo" / "tables").glob("*.csv")}
    assert names >= {"training.csv", "accuracy.csv", "consistency.csv", "psychometric.csv"}
    assert {p.name for p in (two / "demo" / "tables").glob("*.csv")} == names
    for name in names - {"training.csv"}:
        tables = [(base / "demo" / "tables" / name).read_bytes() for base in (one, two)]
        assert tables[0] == tables[1], name
    training = [pd.read_csv(base / "demo" / "tables" / "training.csv") for base in (one, two)]
    pd.testing.assert_frame_equal(training[0].drop(columns=TIMES), training[1].drop(columns=TIMES), check_exact=True)
    return names


def test_tables_and_weights_are_those_of_an_undisturbed_run(undisturbed, disturbed):
    results, found = disturbed
    for step in ("train", "predict"):
        assert found[step][0] == 0, found[step][1]
    same_results(undisturbed, results)


def test_requeued_and_preempted_trainings_went_on_from_their_state(disturbed, nodes):
    results, found = disturbed
    for run in RUNS:
        text = log(results, found["jobs"][run])
        assert re.search(rf"resumed: {run} after epoch [1-9]", text), text
        assert read_json(results / "demo" / "jobs" / f"train-{run}.json")["attempt"] == 2
    assert "preempted" in (nodes / "slurmctld.log").read_text()


def test_the_same_command_attaches_to_jobs_of_a_killed_one(disturbed):
    _, found = disturbed
    out = found["train"][1]
    assert "[train] 2 of them are queued or running already: attached" in out
    assert "submitted" not in out
    assert found["jobs after"] == found["jobs"]
    assert re.search(r"\[train 2/2\] cornet_z-none-blended-s[01] done \(\d+ s\)", out), out
    again = found["train again"]
    assert again[0] == 0
    assert "[train] 2 units: 2 were done before, 0 to do" in again[1]


def test_units_leave_the_table_to_the_command_and_run_as_one_array(disturbed):
    results, found = disturbed
    made = jobs(results, "predict")
    assert set(made) == set(RUNS)
    assert len({job.split("_")[0] for job in made.values()}) == 1
    assert "[predict 2/2]" in found["predict"][1]
    script = next((results / "demo" / "jobs" / "slurm").glob(f"{made[RUNS[0]].split('_')[0]}_submission.sh"))
    assert "--requeue" in script.read_text()


def test_the_whole_chain_by_slurm_ends_with_the_tables_of_one_process(undisturbed, disturbed, tmp_path):
    """`all`: what was trained and predicted is taken as it is, all other steps are done, by jobs where they are divided
    into runs."""
    one, two = tmp_path / "here", tmp_path / "slurm"
    shutil.copytree(undisturbed, one)
    shutil.copytree(disturbed[0], two)
    here("all", one, "--only", "cornet_z-none-blended-*")
    ended, out = submit("all", two, only="cornet_z-none-blended-*")
    assert ended == 0, out
    assert "[train] 2 units: 2 were done before, 0 to do" in out
    for step in ("extract", "score", "dissect"):
        made = jobs(two, step)
        assert set(made) == set(RUNS)
        for run in RUNS:
            assert " JobState=COMPLETED " in slurm("scontrol", "show", "job", "-o", made[run])
    names = same_results(one, two)
    assert names >= {f"{name}.csv" for name in ("scores", "layers", "superposition", "decoding", "correlation")}
    scores = pd.read_csv(two / "demo" / "tables" / "scores.csv")
    assert set(scores["run"]) == set(RUNS)
    assert set(scores["recording"]) == {"planted-V1"}
    for results in (one, two):
        assert (results / "demo" / "report.html").exists()
        assert (results / "demo" / "figures" / "similarity_by_area.png").exists()


def test_status_names_the_jobs_that_run(disturbed):
    _, found = disturbed
    assert found["status"]["slurm"] is True
    assert found["status"]["verbs"]["train"]["counts"]["running"] == 2
    said = status.lines(found["status"])
    for run in RUNS:
        number = found["jobs"][run].split("_")[0]
        assert re.search(rf"^running: train {run}: process \d+ on \S+ \(job {number[:-1]}", "\n".join(said), re.M), said


def test_a_failing_unit_is_told_with_its_line_and_its_log(disturbed):
    results, _ = disturbed
    weights = results / "demo" / "checkpoints" / RUNS[0] / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        ended, out = submit("predict", results, only=RUNS[0])
        assert ended == 1
        line = next(line for line in out.splitlines() if "failed:" in line)
        assert line.startswith(f"[predict] {RUNS[0]} failed: {weights} has sha256")
        assert "train the run again" in line
        path = re.search(r"\(log: (.*)\)$", line).group(1)
        assert path == str(results / "demo" / "jobs" / "slurm" / f"{jobs(results, 'predict')[RUNS[0]]}_0_log.out")
        assert "blendnet: error:" in log(results, jobs(results, "predict")[RUNS[0]])
        assert "Traceback" not in out
    finally:
        weights.write_bytes(kept)


def test_a_job_that_is_cancelled_is_told_and_goes_on_by_the_same_command(undisturbed, tmp_path):
    for kind in ("checkpoints", "predictions"):  # the other run is done
        shutil.copytree(undisturbed / "demo" / kind / RUNS[1], tmp_path / "demo" / kind / RUNS[1])

    def cancel():
        until(lambda: saved(tmp_path, RUNS[0]))
        slurm("scancel", jobs(tmp_path, "train")[RUNS[0]])

    meanwhile = threading.Thread(target=cancel)
    meanwhile.start()
    ended, out = submit("train", tmp_path, only=RUNS[0], SLOW=SLOW_S)
    meanwhile.join()
    assert ended == 1
    assert f"{RUNS[0]} failed: ended by SLURM (CANCELLED); somebody cancelled it" in out
    # It was told and gave its lock back.
    assert read_json(tmp_path / "demo" / "jobs" / f"train-{RUNS[0]}.json")["status"] == "stopped"
    assert not list((tmp_path / "demo" / "locks").glob("train-*.lock"))
    assert not (tmp_path / "demo" / "checkpoints" / RUNS[0] / "meta.json").exists()

    cancelled = jobs(tmp_path, "train")[RUNS[0]]
    ended, out = submit("train", tmp_path, only=RUNS[0])
    assert ended == 0, out
    again = jobs(tmp_path, "train")[RUNS[0]]
    assert again != cancelled
    assert re.search(rf"resumed: {RUNS[0]} after epoch [1-9]", log(tmp_path, again))
    here("predict", tmp_path, "--only", "cornet_z-none-blended-*")
    same_results(undisturbed, tmp_path)


def test_one_training_over_two_nodes(nodes, tmp_path):
    """torchrun on each node finds the other; the curve is that of one process up to rounding."""
    ended, out = submit("train", tmp_path, "nodes=2", only=RUNS[0], epochs=2)
    assert ended == 0, out + "".join(p.read_text() for p in tmp_path.rglob("*.out"))
    meta = checkpoint.load_meta(tmp_path / "demo" / "checkpoints" / RUNS[0])
    assert meta["processes"] == 2
    assert json.loads((tmp_path / "demo" / "jobs" / f"train-{RUNS[0]}.json").read_text())["status"] == "done"
    here("train", tmp_path / "one", "--only", RUNS[0], epochs=2)
    logs = [base / "demo" / "checkpoints" / RUNS[0] / "log.csv" for base in (tmp_path / "one", tmp_path)]
    curves = [pd.read_csv(path) for path in logs]
    pd.testing.assert_frame_equal(curves[0].drop(columns=TIMES), curves[1].drop(columns=TIMES), rtol=1e-5, atol=0)


def test_a_verb_that_is_one_job_makes_the_tables_that_it_makes_here(nodes, tmp_path_factory):
    """correlate on a finished chain; and a verb that ends with a status of its own and says why."""
    finished = tiny_chain(tmp_path_factory)
    one, two = (tmp_path_factory.mktemp(name) for name in ("whole-here", "whole-slurm"))
    made = ("correlation", "twins", "effects", "relation", "mixed")
    for results in (one, two):
        shutil.copytree(finished, results, dirs_exist_ok=True, ignore=shutil.ignore_patterns("figures", "report.html"))
        for name in made:
            (results / "demo" / "tables" / f"{name}.csv").unlink()
    here("correlate", one)
    ended, out = submit("correlate", two)
    assert ended == 0, out
    for name in made:
        tables = [(results / "demo" / "tables" / f"{name}.csv").read_bytes() for results in (one, two)]
        assert tables[0] == tables[1], name
    assert "submitted to SLURM: 1 units" in out
    assert re.search(r"^\[correlate\] \d+ coefficients, \d+ twin differences", out, re.M), out
    assert " JobName=blendnet-correlate " in slurm("scontrol", "show", "job", "-o", jobs(two, "correlate")["all"])

    ended, out = submit("draw", two, own=["--check"])
    assert ended == 1
    assert re.search(r"^\[draw\] failed: stale figures: .*\(log: .*_0_log.out\)$", out, re.M), out
    seen = status.lines(status.collect(tiny(), two / "demo"))
    assert any(line.startswith("failed: draw all: stale figures") for line in seen), seen
    assert not any("correlate" in line for line in seen)


def test_what_sbatch_refuses_is_one_line(nodes, tmp_path):
    with pytest.raises(BlendnetError, match="sbatch refused the jobs: .*invalid partition specified: gpu") as error:
        submit("train", tmp_path, "partition=gpu", only=RUNS[0])
    one_line(error, "--slurm")
    assert not (tmp_path / "demo" / "jobs" / "train.json").exists()


def test_trainings_at_the_limit_that_slurmctld_enforces(undisturbed, limited):
    """The last test: the minute has passed meanwhile. One training was told before its limit, asked to be requeued and
    went on; the other heard nothing, was killed at the limit, and is done by the same command given again."""
    results, process, said = limited
    assert process.wait(300) == 1
    made = jobs(results, "train")
    told = log(results, made[TOLD])
    assert "Caught signal SIGUSR2" in told
    assert "Requeued job" in told
    assert re.search(rf"resumed: {TOLD} after epoch [1-9]", told), told
    # On a busy machine the second attempt may meet the limit, too.
    attempts = read_json(results / "demo" / "jobs" / f"train-{TOLD}.json")["attempt"]
    assert attempts >= 2
    shown = slurm("scontrol", "show", "job", "-o", made[TOLD])
    assert f" Restarts={attempts - 1} " in shown
    assert " TimeLimit=00:01:00 " in shown

    shown = slurm("scontrol", "show", "job", "-o", made[DEAF])
    assert " JobState=TIMEOUT Reason=TimeLimit " in shown
    minutes, seconds = re.search(r" RunTime=00:(\d\d):(\d\d) ", shown).groups()
    assert 60 * int(minutes) + int(seconds) >= 60
    why = "ended by SLURM (TIMEOUT); killed at its limit without having been heard; the same command goes on from what"
    assert re.search(rf"^\[train\] {DEAF} failed: {re.escape(why)}.*signal_s.* \(log: ", said.read_text(), re.M)
    assert "Traceback" not in said.read_text()
    seen = status.lines(status.collect(tiny(), results / "demo"))
    assert any(line.startswith(f"failed: train {DEAF}: {why}") for line in seen), seen
    assert seen[2].split()[:6] == ["train", "1", "0", "0", "1", "0"], seen

    began = time.monotonic()
    ended, out = submit("train", results)
    assert ended == 0, out
    assert not re.search(rf"{TOLD} done \(\d", out), out  # trained again
    assert re.search(rf"resumed: {DEAF} after epoch [1-9]", log(results, jobs(results, "train")[DEAF]))
    assert time.monotonic() - began < 170  # the lock of the killed job was not waited for until it was stale
    meta = checkpoint.load_meta(results / "demo" / "checkpoints" / DEAF)
    assert meta["epochs_trained"] == EPOCHS
    here("predict", results, "--only", "cornet_z-none-blended-*")
    same_results(undisturbed, results)
