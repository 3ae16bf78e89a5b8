"""A unit of work as a process or job of its own does it: the program is run as a user would run it."""

import contextlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from blendnet.files import write_json
from pipelines._units import WHOLE, note_path, read_note, rests_on, state_of

PROGRAM = "pipelines.cli"
# Set for units: they leave the tables to whom they were submitted by (pipelines.context.Context.gathers).
NO_GATHER = {"BLENDNET_GATHER": "no"}
# In which SLURM says what GPUs it gave.
GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES")
# A verb that is one unit keeps no state: requeued at its limit it would begin again for ever.
ENDED = "{verb} was told to end before it was done, and would begin from nothing again: raise --slurm minutes"
# After SIGTERM, which SLURM sends before it kills; a signal to requeue may still come in this time.
END_S = 3


@dataclass(frozen=True)
class Unit:
    """One verb for one run. A call does it, writes the note and ends the process with its exit status.

    results: the profile's folder, absolute; arguments: those of the command line; basis: see is_done; token: names the
    submission in the note; program: the module whose main(arguments) is called. processes, nodes: processes of torchrun
    on each of so many nodes; gpu: it asked SLURM for a GPU and is to compute on it.
    """

    verb: str
    run: str
    results: str
    arguments: tuple[str, ...]
    basis: str = ""
    token: str = ""
    program: str = PROGRAM
    processes: int = 1
    nodes: int = 1
    gpu: bool = False

    @property
    def device(self) -> str:
        """What the program is told to compute on."""
        given = dict(zip(self.arguments, self.arguments[1:]))
        return given.get("--device", "auto")

    def __call__(self) -> NoReturn:
        if self.verb not in WHOLE:
            os.environ.update(NO_GATHER)
        _end_on_sigterm()
        results, began = Path(self.results), time.time()
        before = read_note(results, self.verb, self.run)
        had = state_of(results, self.verb, self.run)
        note = {"verb": self.verb, "run": self.run, "token": self.token, "basis": self.basis, "host": _host(),
                "job": job_id(), "attempt": int(os.environ.get("SLURM_RESTART_COUNT") or 0) + 1}  # fmt: skip
        try:
            status, line, said = self._work()
        except SystemExit:  # by a signal: the job is requeued, or is ended
            # Once is enough: Python gives signals their fatal defaults back while it ends.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            self._write(note | {"status": "stopped", "error": ""}, before, began)
            raise
        products = state_of(results, self.verb, self.run)
        if status == 0:
            note |= {"status": "done", "products": products, "reused": bool(products) and products == had,
                     "rests_on": rests_on(results, self.verb, self.run)}  # fmt: skip
        else:
            # 130: the program's own word for an interruption.
            note |= {"status": "stopped" if status == 130 else "failed",
                     "error": line or said or f"ended with status {status} without a word"}  # fmt: skip
        self._write(note | {"exit": status, "said": said}, before, began)
        raise SystemExit(status)

    def checkpoint(self):
        """submitit calls this when SLURM says that the time is over, or that others need the place: requeue the same
        unit. It goes on from what it has on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _write(self, note: dict[str, Any], before: dict[str, Any], began: float) -> None:
        if os.environ.get("SLURM_PROCID", "0") != "0":  # of several nodes the first speaks
            return
        seconds = time.time() - began
        if before.get("token") == self.token and before.get("status") == "stopped":
            seconds += before.get("seconds") or 0.0  # an attempt that was broken off
        took: float | None = round(max(seconds, 0.0), 1)
        if note.get("reused"):  # looking takes no time worth planning with
            took = before.get("seconds") if before.get("status") == "done" else None
        write_json(note_path(Path(self.results), self.verb, self.run), note | {"seconds": took})

    def _work(self) -> tuple[int, str, str]:
        """Exit status, last line of error and last line of all that the program says."""
        missing = self.gpu and no_gpu()
        if missing:
            print(f"blendnet: error: {missing}", file=sys.stderr, flush=True)
            return 1, missing, ""
        if self.processes * self.nodes > 1:
            return *self._torchrun(), ""
        with _listening() as (heard, output):
            try:
                status = importlib.import_module(self.program).main(list(self.arguments))
            except Exception as error:  # a defect of ours: the log has all of it, the note one line
                if type(error).__name__ == "UncompletedJobError":  # submitit's, where a job is not to be requeued
                    return 1, ENDED.format(verb=self.verb), output.last
                traceback.print_exc()
                return 1, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}", output.last
        return status, heard.line, output.last

    def _torchrun(self) -> tuple[int, str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(self.processes)]
        if self.nodes == 1:
            command += ["--standalone"]
        else:
            first = os.environ["SLURM_NODEID"] == "0"
            # The same on all nodes, and most likely another than that of other jobs there.
            port = 20000 + int(os.environ["SLURM_JOB_ID"]) % 20000
            command += ["--nnodes", str(self.nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{_head()}:{port}",
                        "--rdzv-id", os.environ["SLURM_JOB_ID"], "--rdzv-conf", f"is_host={int(first)}"]  # fmt: skip
        # A session of its own: SLURM's signal to requeue is for us, and would end torchrun before we have answered.
        process = subprocess.Popen([*command, "-m", self.program, *self.arguments], stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)  # fmt: skip
        heard = _Heard(sys.stderr)
        try:
            assert process.stderr is not None
            for text in process.stderr:
                heard.write(text)
            return process.wait(), heard.line
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class _Heard(io.TextIOBase):
    """A stream that passes on and keeps the last line, and the last in which the program says what is wrong."""

    def __init__(self, to) -> None:
        self.to, self.line, self.last, self._rest = to, "", "", ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-2000:]  # a progress bar has no lines
        for line in lines:
            self.last = line.strip()[:500] or self.last
            if line.startswith("blendnet: error: "):
                self.line = line.removeprefix("blendnet: error: ")
        return self.to.write(text)

    def flush(self) -> None:
        self.to.flush()

    def isatty(self) -> bool:
        return self.to.isatty()

    def fileno(self) -> int:
        return self.to.fileno()


@contextlib.contextmanager
def _listening() -> Iterator[tuple[_Heard, _Heard]]:
    heard, output = _Heard(sys.stderr), _Heard(sys.stdout)
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(output):
        yield heard, output


def no_gpu() -> str:
    """What is wrong where SLURM was asked for a GPU and torch sees none: with --device auto the program would quietly
    take the CPU, for a hundred times as long. '' where all is well, and outside of SLURM."""
    if not job_id():
        return ""
    import torch

    if torch.cuda.is_available():
        return ""
    given = [f"{name}={os.environ[name]}" for name in GIVEN if os.environ.get(name)]
    return (
        f"this job asked SLURM for a GPU and was given {' '.join(given) or 'none that a variable names'}, but torch "
        f"{torch.__version__} sees none on {_host()}; compare nvidia-smi there with torch.version.cuda, leave it out "
        f"with --slurm exclude={_host()}, or compute without: --device cpu"
    )


def _end_on_sigterm() -> None:
    """End by ourselves, so that locks are given back: whoever goes on elsewhere need not wait until they are stale.
    submitit lets SIGTERM pass, waiting for the signal to requeue that may follow; so it is waited for here, too."""
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(END_S))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _head() -> str:
    """Where the first node of this job is reached."""
    listed = subprocess.run(["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]], capture_output=True,
                            text=True, check=False, timeout=60).stdout.split()  # fmt: skip
    with contextlib.suppress(OSError, IndexError):
        socket.gethostbyname(listed[0])
        return listed[0]
    return os.environ["SLURM_LAUNCH_NODE_IPADDR"]  # srun runs on the first node


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def job_id() -> str:
    """SLURM's number of the job that this process is in, '12_3' in an array; '' outside."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")


def main(arguments: Sequence[str]) -> NoReturn:
    """The unit that is written in the one argument, as JSON: how local processes are given theirs."""
    # A command in the background (`nohup … &`) has its interrupts ignored, and its children inherit that; theirs come
    # from whom they were started by.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given = json.loads(arguments[0])
    Unit(**given | {"arguments": tuple(given["arguments"])})()


def command(unit: Unit) -> list[str]:
    """The command that runs this unit in a process of its own."""
    return [sys.executable, "-m", "pipelines._job", json.dumps(asdict(unit))]


if __name__ == "__main__":
    main(sys.argv[1:])
