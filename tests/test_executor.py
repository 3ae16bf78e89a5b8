"""Units of work: processes of this machine, notes, what is submitted again, and what SLURM is asked for."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from pipelines import _job, _local, _slurm, _units, resources, sheet
from pipelines._job import Unit
from tests.conftest import one_line

ROOT = Path(__file__).resolve().parent.parent
RUN = "cornet_z-none-blended-s0"
SAYS = "invented: the photographs are gone; bring them back"


def main(arguments: list[str]) -> int:
    """A program for units that does what the name of the run says, and writes down when and with what it ran."""
    if arguments[0] == "verify":
        return says_and_ends_with_seed(arguments)
    if "--only" in arguments:  # the real program
        return small_main(arguments)
    results, run = Path(arguments[1]), arguments[2]
    began = time.time()
    if run.startswith("wrong"):
        print(f"blendnet: error: {SAYS}", file=sys.stderr)
        return 1
    if run.startswith("crash"):
        raise ValueError("invented: two lines\nof trouble")
    if run.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    (results / f"{run}.started").touch()
    time.sleep(60 if run.startswith("long") else 0.3)
    folder = results / "predictions" / run
    folder.mkdir(parents=True, exist_ok=True)
    if not run.startswith("same") or not (folder / "key.json").exists():
        (folder / "key.json").write_text("{}")
    kept = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "BLENDNET_GATHER")
    about = {"began": began, "ended": time.time()} | {name: os.environ.get(name) for name in kept}
    write_json(results / f"{run}.json", about)
    return 0


def says_and_ends_with_seed(arguments: list[str]) -> int:
    """A verb that is one unit: it writes down how often, with what and where it ran; its status is --seed."""
    from pipelines import cli

    given = cli.parser().parse_args(arguments)
    path = given.results / "ran.json"
    before = read_json(path)["times"] if path.exists() else 0
    write_json(path, {"times": before + 1, "n": given.n, "gathers": os.environ.get("BLENDNET_GATHER")})
    print(f"  {given.n - given.seed} of {given.n} scores agree", flush=True)
    return given.seed


def unit(results: Path, run: str, verb: str = "predict", **changes) -> Unit:
    made = Unit(verb, run, str(results), (verb, str(results), run), "basis", f"token {run}", "tests.test_executor")
    return replace(made, **changes)


def by_processes(results: Path, runs: list[str], jobs: int, devices=()) -> dict[str, str]:
    from pipelines._follow import Pace, follow

    units = [unit(results, run) for run in runs]
    pool = _local.Pool(units, jobs=jobs, devices=devices, logs=results / "logs")
    logs = {u.run: _local.log_path(pool.logs, u) for u in units}
    with _local.running(pool):
        return follow(results, "predict", {u.run: u.token for u in units}, pool.look, logs, Pace(look=0.02))


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)  # units import this file


def test_processes_are_so_many_at_once_with_a_gpu_each(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_local, "cores", lambda: 6)
    runs = ["a", "b", "c", "d"]
    assert by_processes(tmp_path, runs, jobs=2, devices=("3", "5")) == {}
    found = {run: read_json(tmp_path / f"{run}.json") for run in runs}
    for about in found.values():
        meanwhile = [o for o in found.values() if o["began"] < about["ended"] and about["began"] < o["ended"]]
        assert len(meanwhile) <= 2
        # Two at a time never share a GPU.
        assert len({o["CUDA_VISIBLE_DEVICES"] for o in meanwhile}) == len(meanwhile)
        assert about["OMP_NUM_THREADS"] == "3"
        assert about["BLENDNET_GATHER"] == "no"
    assert {about["CUDA_VISIBLE_DEVICES"] for about in found.values()} == {"3", "5"}
    said = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in said] == [f"[predict {k}/4" for k in (1, 2, 3, 4)]
    assert all("done" in line for line in said)
    assert ["left" in line for line in said] == [True, True, True, False]


def test_units_that_fail_crash_or_are_killed_are_told_each_with_its_line(tmp_path, capsys):
    failed = by_processes(tmp_path, ["wrong", "crash", "killed", "good"], jobs=4)
    assert set(failed) == {"wrong", "crash", "killed"}
    assert failed["wrong"].startswith(f"{SAYS} (log: ")
    assert failed["crash"].startswith("ValueError: invented: two lines (log: ")
    assert failed["killed"].startswith("ended by SIGKILL (out of memory? lower --jobs) without a word (log: ")
    logs = {run: Path(why.split("(log: ")[1].rstrip(")")).read_text() for run, why in failed.items()}
    assert SAYS in logs["wrong"]
    assert "Traceback" in logs["crash"]
    assert _units.read_note(tmp_path, "predict", "good")["status"] == "done"
    assert _units.read_note(tmp_path, "predict", "wrong")["error"] == SAYS
    assert capsys.readouterr().out.count("FAILED") == 3


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_children_end_with_their_parent(tmp_path, how):
    pool = _local.Pool([unit(tmp_path, "long1"), unit(tmp_path, "long2")], jobs=2, devices=(), logs=tmp_path)
    with pytest.raises(KeyboardInterrupt), _local.running(pool):
        assert pool.look() == {}
        while not all((tmp_path / f"long{i}.started").exists() for i in (1, 2)):
            time.sleep(0.02)
        if how == "Ctrl-C":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(pool.going) == 2
    assert all(process.returncode is not None for process, _ in pool.going.values())
    assert not (tmp_path / "predictions").exists()


def call(made: Unit) -> int:
    """A unit in this process, as far as its signals and environment allow."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(_job, "NO_GATHER", {})
        made()
    for number, handler in before.items():
        signal.signal(number, handler)
    return ended.value.code


def test_what_is_done_is_told_by_note_basis_products_and_what_they_rest_on(tmp_path):
    made = unit(tmp_path, RUN)
    assert not _units.is_done(tmp_path, "predict", RUN, "basis")
    weights = tmp_path / "checkpoints" / RUN / "meta.json"
    write_json(weights, {})
    assert call(made) == 0
    assert _units.is_done(tmp_path, "predict", RUN, "basis")
    assert not _units.is_done(tmp_path, "predict", RUN, "another sheet")
    assert not _units.is_done(tmp_path, "train", RUN, "basis")
    write_json(weights, {"trained": "again"})
    assert not _units.is_done(tmp_path, "predict", RUN, "basis")
    assert call(made) == 0
    assert _units.is_done(tmp_path, "predict", RUN, "basis")
    (tmp_path / "predictions" / RUN / "key.json").write_text('{"changed": 1}')
    assert not _units.is_done(tmp_path, "predict", RUN, "basis")
    assert call(made) == 0
    (tmp_path / "predictions" / RUN / "key.json").unlink()
    assert not _units.is_done(tmp_path, "predict", RUN, "basis")
    _units.note_path(tmp_path, "predict", RUN).write_text("{ half a no")
    assert not _units.is_done(tmp_path, "predict", RUN, "basis")


def test_seconds_add_up_over_stops_and_outlive_a_reuse(tmp_path):
    made = unit(tmp_path, "same")
    assert call(made) == 0
    note = _units.read_note(tmp_path, "predict", "same")
    assert (note["status"], note["reused"]) == ("done", False)
    assert 0.2 < note["seconds"] < 60
    write_json(_units.note_path(tmp_path, "predict", "same"), note | {"seconds": 100.0})
    assert call(made) == 0
    again = _units.read_note(tmp_path, "predict", "same")
    assert (again["reused"], again["seconds"]) == (True, 100.0)
    stopped = {"status": "stopped", "token": "token fresh", "seconds": 50.0}
    write_json(_units.note_path(tmp_path, "predict", "fresh"), stopped)
    assert call(unit(tmp_path, "fresh")) == 0
    assert 50.2 < _units.read_note(tmp_path, "predict", "fresh")["seconds"] < 110
    # Of another submission: not a part of this one.
    write_json(_units.note_path(tmp_path, "predict", "fresh"), stopped | {"token": "another"})
    assert call(unit(tmp_path, "fresh")) == 0
    assert _units.read_note(tmp_path, "predict", "fresh")["seconds"] < 50


def test_a_unit_is_requeued_as_it_was():
    made = unit(Path("/r"), RUN)
    assert made.checkpoint().function == made
    given = _job.command(made)
    assert given[1:3] == ["-m", "pipelines._job"]
    assert json.loads(given[3])["run"] == RUN


def test_resources_of_a_step_and_changes():
    of = resources.resources
    assert of("train").gpus == 1
    assert of("score").gpus == 0
    assert of("train", device="cpu").gpus == 0
    assert of("train", ["gpus=2"], device="cpu").gpus == 2
    found = of("score", ["score.mem_gb=64", "mem_gb=8", "train.nodes=4", "partition=big", "setup=a", "setup=b"])
    assert (found.mem_gb, found.nodes, found.partition, found.setup) == (64, 1, "big", ("a", "b"))
    assert of("train", ["train.nodes=4", "gpus=8"]).each == 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("memory_gb=8", "unknown key in --slurm 'memory_gb'; did you mean 'mem_gb'?"),
        ("trian.mem_gb=8", "unknown step in --slurm 'trian'; did you mean 'train'?"),
        ("mem_gb", "is not of the form KEY=VALUE"),
        ("mem_gb=", "is not of the form KEY=VALUE"),
        ("minutes=1h", "'1h' is no number"),
        ("minutes=1.5", "'1.5' is no number"),
        ("mem_gb=nan", "makes no sense"),
        ("mem_gb=-1", "makes no sense"),
        ("cpus=0", "needs more than 0"),
        ("minutes=1", "be requeued at once and for ever"),
        ("nodes=2", "only training is shared; write train.nodes="),
        ("more=reservation", "is not of the form OPTION:VALUE"),
    ],
)
def test_changes_that_make_no_sense_are_one_line(change, words):
    with pytest.raises(BlendnetError) as error:
        resources.resources("predict", [change])
    one_line(error, words)


def test_sbatch_is_asked_for_what_was_chosen(tmp_path):
    from submitit.slurm.slurm import _make_sbatch_string

    asked = resources.resources(
        "train", ["minutes=30", "cpus=6", "mem_gb=1.5", "gpus=2", "nodes=3", "partition=gpu", "parallel=7",
                  "setup=module load cuda", "more=reservation:night shift", "signal_s=45"],
    )  # fmt: skip
    options = resources.sbatch("train", asked, "/work")
    text = _make_sbatch_string(command="python unit", folder=tmp_path, map_count=20, **options)
    for line in ("time=30", "cpus-per-task=6", "mem=1536MB", "gpus-per-node=2", "nodes=3", "ntasks-per-node=1",
                 "partition=gpu", "array=0-19%7", "reservation='night shift'", "signal=USR2@45", "chdir=/work",
                 "job-name=blendnet-train"):  # fmt: skip
        assert f"#SBATCH --{line}\n" in text, (line, text)
    assert "#SBATCH --requeue\n" in text
    assert "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-3}\nmodule load cuda\n" in text
    assert "--cpus-per-task=6 python unit" in text


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Programs of SLURM that print what a test writes into <name>.out, or fail where there is none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scontrol", "sacct"):
        (folder / name).write_text(f"#!/bin/sh\nexec cat {folder}/{name}.out\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_what_slurm_says_of_jobs_is_read(commands):
    assert _slurm.queue() is None
    (commands / "squeue.out").write_text("12_0|RUNNING|None\n12_1|PENDING|JobArrayTaskLimit\n9|PENDING|(a|b)\n")
    assert _slurm.queue() == {
        "12_0": ("RUNNING", "None"), "12_1": ("PENDING", "JobArrayTaskLimit"), "9": ("PENDING", "(a|b)"),
    }  # fmt: skip
    (commands / "squeue.out").write_text("")
    assert _slurm.queue() == {}
    assert "SLURM does not know the job any more" in _slurm.ending("12_0")
    (commands / "sacct.out").write_text("CANCELLED by 0\n")
    assert (
        _slurm.ending("12_0") == "ended by SLURM (CANCELLED); somebody cancelled it; the same command submits it again"
    )
    (commands / "scontrol.out").write_text("JobId=12 ArrayTaskId=0 JobName=x JobState=OUT_OF_MEMORY Reason=None\n")
    assert _slurm.ending("12_0") == "ended by SLURM (OUT_OF_MEMORY); raise --slurm mem_gb"
    assert _slurm.largest_array() == 1000
    (commands / "scontrol.out").write_text("MaxArraySize            = 501\n")
    assert _slurm.largest_array() == 500


class Fake:
    """SLURM as a list of answers to squeue; submitted units are kept."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.submitted = list(answers), []
        monkeypatch.setattr(_slurm, "queue", lambda: self.answers.pop(0))
        monkeypatch.setattr(_slurm, "ending", lambda job: f"job {job} is over")
        monkeypatch.setattr(_slurm, "submit", self.submit)

    def submit(self, units, asked, folder):
        self.submitted.append([u.run for u in units])
        return {u.run: f"{len(self.submitted)}_{i}" for i, u in enumerate(units)}


@pytest.fixture
def context(tmp_path):
    from pipelines.context import Context

    return Context(profile=sheet.DEMO, results=tmp_path / "demo", data=tmp_path, device="cpu", tracker="none")


def by_slurm(context, units, pace=0.0, before=lambda unit: None):
    from pipelines import _attach
    from pipelines._follow import Pace

    asked = resources.resources("predict")
    return _attach.by_slurm(context, "predict", units, asked, before, Pace(look=0.01, ask=0.0, note=pace))


def test_only_what_is_not_in_flight_is_submitted(context, monkeypatch, capsys):
    results = context.results.absolute()
    units = [unit(results, run) for run in ("a", "b")]
    held = {"1_0": ("PENDING", "AssocMaxJobsLimit"), "1_1": ("RUNNING", "None")}
    # Asked before submitting, then: both wait, SLURM is away, both are gone.
    fake = Fake(monkeypatch, {}, held, None, held, {})
    failed = by_slurm(context, units)
    assert fake.submitted == [["a", "b"]]
    assert {run: why.split(" (log")[0] for run, why in failed.items()} == {
        "a": "job 1_0 is over", "b": "job 1_1 is over",
    }  # fmt: skip
    assert failed["a"].endswith("jobs/slurm/1_0_0_log.out)")
    assert capsys.readouterr().out.count("waits: AssocMaxJobsLimit") == 1  # said once

    # Another submission: 1_1 still runs and is attached to by its own token, not by that of a new unit.
    write_json(_units.note_path(results, "predict", "a"), {"status": "done", "token": "of another submission"})
    again = [replace(u, token=f"new {u.run}") for u in units]
    forgotten = []

    def before(about_to: Unit) -> None:
        forgotten.append(about_to.run)
        write_json(_units.note_path(results, "predict", "b"), {"status": "done", "token": "token b", "seconds": 1})

    fake = Fake(monkeypatch, {"1_1": ("RUNNING", "None")}, {"1_1": ("RUNNING", "None")}, {})
    failed = by_slurm(context, again, before=before)
    assert fake.submitted == [["a"]]
    assert forgotten == ["a"]
    assert set(failed) == {"a"}
    out = capsys.readouterr().out
    assert "1 of them are queued or running already: attached" in out
    assert "b done (1 s)" in out

    # SLURM lists a job for a while after its unit has ended: nobody waits for it, or takes its word for a new one.
    write_json(_units.note_path(results, "predict", "b"), {"status": "failed", "token": "token b", "error": "long ago"})
    fake = Fake(monkeypatch, {"1_1": ("RUNNING", "None")}, {"1_1": ("RUNNING", "None")}, {})
    failed = by_slurm(context, [again[1]])
    assert fake.submitted == [["b"]]
    assert failed["b"].startswith("job 1_0 is over")
    assert "attached" not in capsys.readouterr().out


def test_jobs_go_on_without_the_command_and_an_absent_slurm_is_one_line(context, monkeypatch, capsys):
    units = [unit(context.results.absolute(), "a")]

    def interrupted():
        raise KeyboardInterrupt

    fake = Fake(monkeypatch, {})
    real = fake.submit
    monkeypatch.setattr(_slurm, "submit", lambda *a: (monkeypatch.setattr(_slurm, "queue", interrupted), real(*a))[1])
    with pytest.raises(KeyboardInterrupt):
        by_slurm(context, units)
    assert "the jobs go on without this command" in capsys.readouterr().out
    Fake(monkeypatch, None)
    with pytest.raises(BlendnetError, match="SLURM does not answer"):
        by_slurm(context, units)
    assert not list(context.folder("locks").glob("*.lock"))


def test_options_that_do_not_go_together_are_one_line(context, monkeypatch):
    from pipelines import executor

    for verb, options, words in (
        ("doctor", {"executor": "local"}, "doctor is for the machine at hand"),
        ("verify", {"executor": "local", "slurm": ["mem_gb=1"]}, "goes with --executor slurm only"),
        ("verify", {"executor": "slurm", "slurm": ["verify.mem=1"]}, "did you mean 'mem_gb'"),
        ("verify", {"executor": "slurm", "slurm": ["nodes=2"]}, "only training is shared"),
        ("train", {"executor": "slurm", "jobs": 2}, "with --executor local"),
        ("train", {"executor": "local", "jobs": 0}, "--jobs 0"),
        ("train", {"executor": "local", "slurm": ["mem_gb=1"]}, "goes with --executor slurm only"),
        ("all", {"executor": "slurm", "slurm": ["mem=1"]}, "did you mean 'mem_gb'"),
    ):
        with pytest.raises(BlendnetError) as error:
            executor.run(context, verb, **options)
        one_line(error, words)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BlendnetError, match="there is no sbatch on this machine"):
        executor.run(context, "train", executor="slurm")


def test_force_forgets_a_training_once_and_not_in_its_unit(context):
    from pipelines import executor

    context.force = True
    folder = context.folder("checkpoints", RUN)
    for name in ("meta.json", "state.safetensors", "weights.safetensors"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    made = executor._unit(context, "train", RUN, "basis", "program")
    assert "--force" not in made.arguments
    executor._forget(context, made)
    assert [p.name for p in folder.iterdir()] == ["weights.safetensors"]
    made = executor._unit(context, "predict", RUN, "basis", "program")
    assert "--force" in made.arguments
    executor._forget(context, made)
    assert (folder / "weights.safetensors").exists()


def small() -> sheet.Profile:
    from blendnet.training.recipes import recipe

    return replace(
        sheet.DEMO, networks=("cornet_z",), image_size=32, n_per_class=12, val_per_pair=1, test_per_pair=1,
        recipe=recipe("modern", epochs=1, epoch_size=64, batch_size=32), alphas=(0.5,), recordings=(), planted=None,
    )  # fmt: skip


def test_units_of_a_verb_are_its_runs_and_the_pixels(context):
    from pipelines import executor

    names = {verb: executor.selected(context, verb) for verb in _units.VERBS}
    assert names == {verb: _units.names(context.profile, verb) for verb in _units.VERBS}
    assert names["score"] == [*names["extract"], "pixels"]
    assert len(names["train"]) == 4
    assert len(names["predict"]) == 8
    context.only = "cornet_z-*"
    assert executor.selected(context, "score") == [n for n in names["score"] if n.startswith("cornet_z-")]
    context.only = "pixels"
    assert executor.selected(context, "score") == ["pixels"]
    context.only = "vgg*"
    with pytest.raises(BlendnetError, match="fits none of 4 runs"):
        executor.selected(context, "train")


def small_main(arguments: list[str]) -> int:
    """The real program on the small profile."""
    from pipelines import cli

    sheet.PROFILES["demo"] = small()
    return cli.main(arguments)


@pytest.mark.slow
def test_processes_give_the_checkpoints_and_tables_of_one(tmp_path, monkeypatch, capsys):
    import pandas as pd
    import torch

    from blendnet import checkpoint
    from pipelines import cli, executor
    from pipelines._follow import Pace
    from pipelines.context import Context

    monkeypatch.setitem(sheet.PROFILES, "demo", small())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    two = Context(profile=small(), results=tmp_path / "two" / "demo", data=tmp_path, device="cpu", tracker="none")
    options = {"executor": "local", "jobs": 2, "program": "tests.test_executor", "pace": Pace(look=0.1)}
    assert executor.run(two, "train", **options) == 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert cli.main(["train", "--results", str(tmp_path / "one"), "--device", "cpu", "--tracker", "none"]) == 0
    torch.set_num_threads(threads)
    for run in ("cornet_z-none-blended-s0", "cornet_z-aacn4-blended-s0"):
        metas = [checkpoint.load_meta(tmp_path / n / "demo" / "checkpoints" / run) for n in ("one", "two")]
        assert metas[0]["weights_sha256"] == metas[1]["weights_sha256"]
    tables = [pd.read_csv(tmp_path / n / "demo" / "tables" / "training.csv") for n in ("one", "two")]
    times = ["seconds", "images_per_s"]
    pd.testing.assert_frame_equal(tables[0].drop(columns=times), tables[1].drop(columns=times), check_exact=True)
    capsys.readouterr()
    assert executor.run(two, "train", **options) == 0
    assert "[train] 2 units: 2 were done before, 0 to do" in capsys.readouterr().out
