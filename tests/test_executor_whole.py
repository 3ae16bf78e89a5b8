"""Verbs that are not divided into runs as one unit each, and units that were given a GPU which torch does not see."""

import argparse
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from pipelines import _attach, _job, _slurm, _units, cli, executor, resources, sheet, status
from pipelines._follow import Pace
from pipelines._job import Unit
from tests import test_executor
from tests.conftest import one_line
from tests.test_executor import Fake, call, context, from_the_root, unit  # noqa: F401  (fixtures)

PACE = Pace(look=0.02, ask=0.0, note=0.0)


def run(context, verb: str = "verify", *own: str, by: str = "slurm") -> int:  # noqa: F811
    return executor.run(context, verb, executor=by, own=own, program="tests.test_executor", pace=PACE)


def subparser(verb: str) -> argparse.ArgumentParser:
    return next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[verb]


@pytest.mark.parametrize("verb", _units.WHOLE)
def test_a_unit_is_told_all_that_its_verb_was_told(context, verb):  # noqa: F811
    common = {a.dest for a in subparser("correlate")._actions}
    assert {a.dest for a in subparser(verb)._actions} - common == set(cli.WHOLE[verb])
    words = {"check": ["--check"], "keep": ["--keep"], "run": ["cornet_z-none-blended-s0"], "n": ["--n", "7"],
             "effect": ["--effect", "-0.25"], "quantity": ["--quantity", "accuracy:blended both"], "budget":
             ["--budget", "2h"], "n_simulations": ["--n-simulations", "11"], "seed": ["--seed", "0"]}  # fmt: skip
    for more in ([], [w for name in cli.WHOLE[verb] for w in words[name]]):
        needed = words["run"] if verb == "reproduce" else words["budget"] if verb == "plan" else []
        given = subparser(verb).parse_args([*(more or needed), "--only", "cornet*", "--recording", "a", "--force"])
        given.verb = verb
        about = replace(context, only=given.only, recording=tuple(given.recording), force=given.force)
        made = executor._unit(about, verb, _units.ALL, "", "program", cli.own_arguments(given))
        again = cli.parser().parse_args(list(made.arguments))
        for name in (*cli.WHOLE[verb], "only", "recording", "force", "verb"):
            assert getattr(again, name) == getattr(given, name), name
        assert again.results.is_absolute()
        assert again.data.is_absolute()
        assert again.executor == "here"


def test_the_verbs_are_the_same_everywhere():
    assert set(cli.WHOLE) == set(_units.WHOLE)
    assert set(resources.STEPS) == {*_units.DIVIDED, *_units.WHOLE}
    trains = {"reproduce", "find-lr", "plan"}
    assert {verb for verb in _units.WHOLE if resources.resources(verb).gpus} == trains
    assert [resources.resources("brainscore-layers", device=d).gpus for d in ("auto", "cpu", "cuda:0")] == [0, 0, 1]
    asked = resources.resources("correlate", ["correlate.partition=cpu", "draw.partition=no", "mem_gb=3"])
    assert (asked.partition, asked.mem_gb, asked.gpus) == ("cpu", 3, 0)


def test_the_guide_names_every_verb_that_no_executor_does():
    every = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    without = {verb for verb, sub in every.items() if "--executor" not in sub.format_help()}
    guide = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "run-on-a-cluster.md"
    sentence = re.search(r"`status`, `doctor`[^.]*have no `--executor`", " ".join(guide.read_text().split()))
    assert sentence is not None
    assert set(re.findall(r"`([a-z-]+)`", sentence[0])) - {"--executor"} == without


def test_one_process_runs_each_time_and_its_status_is_the_verbs(context, capsys):  # noqa: F811
    assert run(context, "verify", "--n=5", by="local") == 0
    assert "[verify] 5 of 5 scores agree" in capsys.readouterr().out.splitlines()
    assert run(context, "verify", "--n=5", by="local") == 0
    out = capsys.readouterr().out
    assert "reused" not in out
    assert read_json(context.results.parent / "ran.json") == {"times": 2, "n": 5, "gathers": None}
    assert run(context, "verify", "--n=5", "--seed=3", by="local") == 3
    assert "[verify] failed: 2 of 5 scores agree (log: " in capsys.readouterr().out
    assert not _units.is_done(context.results.absolute(), "verify", _units.ALL, "")


def test_the_line_of_a_real_verb_comes_back(context, capsys):  # noqa: F811
    assert run(context, "power", "--n-simulations=5", by="local") == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "failed" in line)
    assert "twins.csv" in line
    assert "blendnet correlate" in line


def test_a_job_that_was_killed_is_told_with_the_end_of_its_log(context, monkeypatch, capsys):  # noqa: F811
    results = context.results.absolute()
    write_json(_units.note_path(results, "verify", _units.ALL), {"status": "failed", "token": "old", "exit": 7})
    log = _slurm.log_path(_attach.jobs_folder(results), "1_0")
    log.parent.mkdir(parents=True)
    log.write_text("submitit INFO (x)\n  agrees V1\nKilled for it\n\nslurmstepd: error: oom\nsrun: error: n1\n")
    monkeypatch.setattr(_slurm, "check", lambda: None)
    fake = Fake(monkeypatch, {}, {}, {})
    assert run(context) == 1
    assert fake.submitted == [["all"]]
    out = capsys.readouterr().out.splitlines()
    assert any(line.startswith("[verify] failed: job 1_0 is over (log: ") for line in out)
    assert out[-1] == "[verify] its log ends: Killed for it"


def test_the_same_command_attaches_and_another_is_refused(context, monkeypatch, capsys):  # noqa: F811
    results = context.results.absolute()
    monkeypatch.setattr(_slurm, "check", lambda: None)

    def interrupted(*_):
        raise KeyboardInterrupt

    fake = Fake(monkeypatch, {})
    real = _attach._follow.follow
    monkeypatch.setattr(_attach._follow, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(context, "verify", "--n=5")
    assert fake.submitted == [["all"]]
    assert "the jobs go on without this command" in capsys.readouterr().out
    monkeypatch.setattr(_attach._follow, "follow", real)

    running = {"1_0": ("RUNNING", "None")}
    fake = Fake(monkeypatch, running)
    with pytest.raises(BlendnetError) as error:
        run(context, "verify", "--n=50")
    text = str(error.value)
    assert "\n" not in text
    assert "verify is under way as job 1_0 with other arguments: verify --n=5 --profile demo" in text
    assert text.endswith("scancel 1_0")

    token = read_json(_units.book_path(results, "verify"))["units"]["all"]["token"]

    def ends():
        note = {"status": "failed", "token": token, "exit": 4, "error": "1 of 5 scores agree", "said": "1 of 5"}
        write_json(_units.note_path(results, "verify", "all"), note)
        return running

    fake = Fake(monkeypatch, running)
    answers = iter((lambda: running, ends))
    monkeypatch.setattr(_slurm, "queue", lambda: next(answers)())
    assert run(context, "verify", "--n=5") == 4
    assert fake.submitted == []
    assert "1 of them are queued or running already: attached" in capsys.readouterr().out
    # It has said its last word, so that the next is a new job, with whatever arguments.
    fake = Fake(monkeypatch, running, {}, {})
    assert run(context, "verify", "--n=50") == 1
    assert fake.submitted == [["all"]]


def test_status_tells_of_such_units_where_there_are_any(context, monkeypatch):  # noqa: F811
    results = context.results.absolute()
    assert status.collect(sheet.DEMO, results)["whole"] == {}
    for verb, job in (("correlate", "3_0"), ("draw", "4_0"), ("report", "5_0"), ("find-lr", "6_0")):
        write_json(_units.book_path(results, verb), {"units": {"all": {"job": job, "token": verb}}})
    monkeypatch.setattr(_slurm, "queue", lambda: {"3_0": ("RUNNING", "None"), "4_0": ("PENDING", "Priority"),
                                                  "5_0": ("PENDING", "BadConstraints")})  # fmt: skip
    monkeypatch.setattr(_slurm, "ending", lambda job: f"ended by SLURM ({job})")
    for verb, about in (("verify", {"status": "failed", "error": "2 of 5 scores agree"}),
                        ("power", {"status": "done", "seconds": 3.0}), ("plan", {"status": "failed"})):  # fmt: skip
        write_json(_units.note_path(results, verb, "all"), about)
    (results / "plan.json").touch()  # later than the failure, by whoever
    later = _units.note_path(results, "plan", "all").stat().st_mtime + 5
    os.utime(results / "plan.json", (later, later))
    found = status.collect(sheet.DEMO, results)
    assert {verb: about["state"] for verb, about in found["whole"].items()} == {
        "correlate": "running", "draw": "queued", "report": "queued", "find-lr": "failed", "verify": "failed",
        "power": "done", "plan": "done",
    }  # fmt: skip
    assert found["whole"]["power"] == {"state": "done", "seconds": 3.0}
    # Once done, then cancelled: the last counts.
    write_json(_units.note_path(results, "find-lr", "all"), {"status": "done", "token": "of an earlier one"})
    assert status.collect(sheet.DEMO, results)["whole"]["find-lr"]["state"] == "failed"
    assert set(found["verbs"]) == set(_units.VERBS)
    lines = status.lines(found)
    assert "running: correlate all: job 3_0" in lines
    assert "queued: draw all: job 4_0" in lines
    assert sum(line.startswith("queued: report") for line in lines) == 1
    assert "failed: find-lr all: ended by SLURM (6_0)" in lines
    assert "failed: verify all: 2 of 5 scores agree" in lines


@pytest.fixture
def submitted(monkeypatch):
    """What submitit is given: [(how often a limit may be met, units)]."""
    from submitit.slurm.slurm import SlurmExecutor

    found = []

    class Job:
        job_id = "1_0"

    def submit(self, units):
        found.append((self.max_num_timeout, units))
        return [Job() for _ in units]

    monkeypatch.setattr(SlurmExecutor, "submit_array", submit)
    monkeypatch.setattr(SlurmExecutor, "__init__", lambda self, folder, max_num_timeout: setattr(
        self, "max_num_timeout", max_num_timeout))  # fmt: skip
    monkeypatch.setattr(SlurmExecutor, "update_parameters", lambda self, **options: None)
    monkeypatch.setattr(_slurm, "largest_array", lambda: 1000)
    return found


def test_a_verb_without_a_state_is_not_requeued_at_its_limit(submitted, tmp_path, monkeypatch):
    from submitit.core.utils import UncompletedJobError

    asked = resources.resources("verify")
    for verb in ("train", "verify"):
        _slurm.submit([unit(tmp_path, "all", verb)], asked, tmp_path)
    assert [most for most, _ in submitted] == [_slurm.TIMEOUTS, 0]

    def told(arguments):
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    monkeypatch.setattr(test_executor, "main", told)
    assert call(unit(tmp_path, "all", "verify")) == 1
    note = _units.read_note(tmp_path, "verify", "all")
    assert note["status"] == "failed"
    assert note["error"].endswith("raise --slurm minutes")


@pytest.mark.parametrize(
    ("changes", "device", "uses"),
    [((), "auto", True), ((), "cuda", True), ((), "cpu", False), (("gpus=0",), "auto", False),
     (("gres=gpu:a100:1",), "auto", True), (("gres=tpu:1",), "auto", False)],
)  # fmt: skip
def test_units_know_whether_a_gpu_was_asked_for_them(submitted, tmp_path, changes, device, uses):
    made = unit(tmp_path, "a", arguments=("predict", str(tmp_path), "a", "--device", device))
    _slurm.submit([made], resources.resources("predict", changes), tmp_path)
    assert [u.gpu for u in submitted[0][1]] == [uses]


@pytest.mark.parametrize("name", _job.GIVEN)
def test_a_unit_whose_gpu_torch_does_not_see_fails_in_one_line(tmp_path, monkeypatch, capsys, name):
    import torch

    for one in _job.GIVEN:
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURMD_NODENAME", "n3")
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made: Unit = unit(tmp_path, "quick", gpu=True)
    assert call(made) == 1
    assert not (tmp_path / "quick.json").exists()  # it did not run
    note = _units.read_note(tmp_path, "predict", "quick")
    assert note["status"] == "failed"
    assert note["error"].startswith(f"this job asked SLURM for a GPU and was given {name}=1, but torch ")
    assert "sees none on n3" in note["error"]
    assert note["error"].endswith("--device cpu")
    assert capsys.readouterr().err == f"blendnet: error: {note['error']}\n"

    assert call(replace(made, gpu=False)) == 0
    (tmp_path / "quick.json").unlink()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert call(made) == 0
    assert (tmp_path / "quick.json").exists()


def test_options_of_an_executor_without_it_are_one_line(capsys):
    assert cli.main(["correlate", "--slurm", "partition=cpu"]) == 1
    assert "--slurm partition=cpu: goes with --executor slurm only" in capsys.readouterr().err
    for verb in ("status", "doctor", "data"):
        with pytest.raises(SystemExit):
            cli.parser().parse_args([verb, *(["check"] if verb == "data" else []), "--executor", "slurm"])
    assert "unrecognized arguments: --executor slurm" in capsys.readouterr().err


def test_the_command_line_gives_its_own_arguments_to_the_unit(tmp_path, capsys):
    wanted = ["power", "--executor", "local", "--results", str(tmp_path), "--n-simulations", "0"]
    assert cli.main(wanted) == 1
    assert "[power 1/1] all FAILED" in capsys.readouterr().out
    note = _units.read_note(tmp_path / "demo", "power", "all")
    assert cli.main(wanted[:1] + wanted[3:]) == 1
    assert capsys.readouterr().err == f"blendnet: error: {note['error']}\n"


def test_without_slurm_a_verb_is_one_line(context, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BlendnetError) as error:
        run(context, "correlate")
    one_line(error, "there is no sbatch on this machine")
