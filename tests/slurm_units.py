"""What the units of the SLURM tests run, and how the tests submit them: the real program on a profile of seconds.

python -m tests.slurm_units --executor train FOLDER KEY=VALUE ...     # submits, waits, says how it ended
"""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import figures
from blendnet.files import read_json
from blendnet.training.recipes import recipe
from pipelines import sheet

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "tests.slurm_units"
RUNS = ("cornet_z-none-blended-s0", "cornet_z-none-blended-s1")
EPOCHS = 16
# SLOW=seconds: every training step of a job's first attempt takes so much longer, those of its first epoch excepted.
# With 2 steps an epoch a training that is not disturbed would go on for 2 minutes, beyond the shortest limit of SLURM.
SLOW_S = 4
# DEAF=run: this one hears no signal, as a process in a long call of a library does not, and can only be killed.


def tiny(epochs: int = EPOCHS) -> sheet.Profile:
    """The demo profile cut to seconds: two seeds of one network at 32 px, two steps an epoch, one planted area."""
    return replace(
        sheet.DEMO, networks=("cornet_z",), attentions=("none",), seeds=(0, 1), image_size=32, n_per_class=16,
        recipe=recipe("modern", epochs=epochs, epoch_size=64, batch_size=32), val_per_pair=1, test_per_pair=1,
        alphas=(0.5,), width=60, n_bootstrap=10, n_splits=2,
        planted=sheet.Planted(source=RUNS[0], layers={"V1": "V1.output"}, n_stimuli=60, n_neuroids=8),
    )  # fmt: skip


def small(patch: pytest.MonkeyPatch) -> None:
    """What is no matter of the sheet cut to seconds, too: images to dissect with, and figures."""
    from pipelines import dissect

    for name in ("N_BLENDS", "N_TRAIN", "N_TEST"):
        patch.setattr(dissect, name, 28)
    patch.setattr(figures, "names", lambda: ["similarity_by_area"])


def main(arguments: list[str]) -> int:
    """What units call: the program with that profile, hindered as the environment says. With --executor as the first
    word it submits."""
    from pipelines import _job, cli

    _job.END_S = 1  # a short training could end by itself in the time that SLURM's warning leaves
    epochs = int(os.environ.get("EPOCHS") or EPOCHS)
    sheet.PROFILES["demo"] = tiny(epochs)
    small(pytest.MonkeyPatch())
    if arguments[0] == "--executor":
        verb, results, *slurm = arguments[1:]
        return submitting(verb, Path(results), *slurm, only=os.environ.get("ONLY", "*"), epochs=epochs)
    if os.environ.get("DEAF") == arguments[arguments.index("--only") + 1]:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.environ.get("SLOW") and not os.environ.get("SLURM_RESTART_COUNT"):
        _slow_down(float(os.environ["SLOW"]))
    return cli.main(arguments)


def _slow_down(seconds: float) -> None:
    from blendnet.training import loop

    step, taken = loop.train_step, []

    def slowly(*arguments, **options):
        taken.append(1)
        time.sleep(seconds if len(taken) > 2 else 0)
        return step(*arguments, **options)

    loop.train_step = slowly


def submitting(
    verb: str, results: Path, *slurm: str, only: str = "*", epochs: int = EPOCHS, own: Sequence[str] = ()
) -> int:
    """Submit and wait; the exit status."""
    from pipelines import executor
    from pipelines._follow import Pace
    from pipelines.context import Context

    context = Context(profile=tiny(epochs), results=results / "demo", data=ROOT / "data", only=only, device="cpu",
                      tracker="none", progress=False, whole_chain=verb == "all")  # fmt: skip
    return executor.run(context, verb, executor="slurm", slurm=("cpus=1", "mem_gb=1", "minutes=5", *slurm),
                        own=own, program=PROGRAM, pace=Pace(look=0.1, ask=0.5, note=1.5))  # fmt: skip


def submit(
    verb: str, results: Path, *slurm: str, only: str = "*", epochs: int = EPOCHS, own: Sequence[str] = (), **about
) -> tuple[int, str]:
    """Exit status and output of submitting in this process, which has torch loaded; about: SLOW and DEAF."""
    out = io.StringIO()
    with redirect_stdout(out), chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        small(patch)
        for name, value in ({"EPOCHS": epochs} | about).items():
            patch.setenv(name, str(value))
        status = submitting(verb, results, *slurm, only=only, epochs=epochs, own=own)
    return status, out.getvalue()


def submitter(verb: str, results: Path, *slurm: str, out: Path | None = None, **about) -> subprocess.Popen:
    """A process that submits and waits, as a user's command does; out: the file for what it says."""
    environment = os.environ | {k: str(v) for k, v in about.items()}
    with (out or Path(os.devnull)).open("w") as to:
        return subprocess.Popen([sys.executable, "-m", PROGRAM, "--executor", verb, str(results), *slurm], cwd=ROOT,
                                stdout=to, stderr=to, env=environment)  # fmt: skip


def here(verb: str, results: Path, *arguments: str, epochs: int = EPOCHS) -> None:
    """The program in one process, without SLURM."""
    import torch

    from pipelines import cli

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", tiny(epochs))
        small(patch)
        torch.set_num_threads(1)  # as in the jobs: sums over other parts differ in their last bits
        tracker = ["--tracker", "none"] if verb in ("train", "all") else []
        assert cli.main([verb, "--results", str(results), "--device", "cpu", *tracker, *arguments]) == 0
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
    """{run: its job}."""
    return {run: about["job"] for run, about in read_json(results / "demo" / "jobs" / f"{verb}.json")["units"].items()}


def log(results: Path, job: str) -> str:
    return (results / "demo" / "jobs" / "slurm" / f"{job}_0_log.out").read_text()


def saved(results: Path, run: str) -> bool:
    """Has the training of a run come through an epoch, and is it not done?"""
    return (results / "demo" / "checkpoints" / run / "state.safetensors").exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
