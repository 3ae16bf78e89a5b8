"""The harness of tests/test_faults.py, tests/test_concurrency.py and benchmarks/faults.py: a small chain in processes
that can be killed, starved and started side by side.

Starting Python and torch takes seconds, a step of the small chain less. One server (`python -m tests.faults`) imports
everything and forks a process a command: the child is as if started by hand, in a session of its own, with its output
in a file. It never computes before it forks, so that no child inherits half a thread pool.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHAIN = ("train", "predict", "dissect", "extract", "score", "correlate", "draw", "report")
# Drawing all figures would take as long as all else together, six times.
FIGURES = ("accuracy_twins", "similarity_by_area")
# What a wall clock writes; all else of a results folder is a function of sheet and code.
WALL_CLOCK = ("seconds", "images_per_s", "hardware")


def tiny() -> Any:
    """The sheet of the small chain: two trained and two untrained networks of 32 px, two planted areas, two metrics."""
    from blendnet.training.recipes import recipe
    from pipelines import sheet

    return replace(
        sheet.DEMO, networks=("cornet_z",), recipe=recipe("modern", epochs=3, epoch_size=64, batch_size=32),
        image_size=32, n_per_class=16, alphas=(0.5,), val_per_pair=1, test_per_pair=2, width=60, n_bootstrap=10,
        n_splits=2, metrics=("pls", "rsa"),
        planted=sheet.Planted(
            source="cornet_z-aacn4-blended-s0", layers={"V1": "V1.output", "IT": "IT.output"}, n_stimuli=60,
            n_neuroids=8,
        ),
    )  # fmt: skip


class Child:
    """A forked `blendnet` command. log: its output; `.steps` and `.units` beside it: steps begun, units computed."""

    def __init__(self, server: "Server", pid: int, log: Path) -> None:
        self.server, self.pid, self.log = server, pid, log
        self.status: int | None = None

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        os.killpg(self.pid, signal.SIGKILL)

    def ended(self) -> bool:
        """Has it ended? Never waits."""
        if self.status is None:
            found = self.server.ask({"do": "poll", "pid": self.pid})
            self.status = found["status"]
        return self.status is not None

    def wait(self, seconds: float = 300) -> int:
        """The exit status, negative for a signal; a child that takes longer is killed and is an error."""
        until = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError(f"not done after {seconds:.0f} s:\n{self.output()[-2000:]}")
            time.sleep(0.02)
        assert self.status is not None
        return self.status

    def output(self) -> str:
        """All that it has printed."""
        return self.log.read_text() if self.log.exists() else ""

    def error_lines(self) -> list[str]:
        """The lines 'blendnet: ...' and any trace of a traceback."""
        return [s for s in self.output().splitlines() if s.startswith(("blendnet: ", "Traceback"))]

    def steps(self) -> list[tuple[str, float]]:
        """(verb, seconds since the start) of the steps begun."""
        return [(a, float(b)) for a, b in map(str.split, _lines(self.log.with_suffix(".steps")))]

    def units(self) -> list[str]:
        """Units of work computed (not reused), e.g. 'score pixels pls'."""
        return _lines(self.log.with_suffix(".units"))


def _lines(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


class Server:
    """Forks commands; to be closed, or used with `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
                            "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "BS_INSTALL_DEPENDENCIES": "no"}  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-m", "tests.faults"], cwd=ROOT, env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question, one answer, both a line of JSON."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the fork server has died"
        return json.loads(answer)

    def ready(self) -> None:
        """Return when all is imported, so that what comes next can be timed."""
        self.ask({"do": "nothing"})

    def start(self, verb: str, results: Path, *arguments: str, fault: str = "") -> Child:
        """`blendnet VERB --results RESULTS ARGUMENTS` in a process of its own; fault: one of FAULTS, 'name:value'."""
        self.count += 1
        log = self.folder / f"{self.count:03d}-{verb}.log"
        argv = [verb, "--results", str(results), "--device", "cpu", *arguments]
        found = self.ask({"do": "start", "argv": argv, "log": str(log), "fault": fault})
        return Child(self, found["pid"], log)

    def run(self, verb: str, results: Path, *arguments: str, fault: str = "") -> Child:
        """The same, waited for."""
        child = self.start(verb, results, *arguments, fault=fault)
        child.wait()
        return child


def killed_at(server: Server, verb: str, results: Path, step: str, delay: float, fault: str = "") -> tuple[Child, str]:
    """Start a command and kill it `delay` seconds after `step` has begun; the child, and the step in which it was hit
    ('' where it had ended by then, which is no kill)."""
    child = server.start(verb, results, fault=fault)
    while step not in dict(child.steps()) and not child.ended():
        time.sleep(0.002)
    until = time.monotonic() + delay
    while time.monotonic() < until and not child.ended():
        time.sleep(min(0.02, max(0.0, until - time.monotonic())))
    if child.ended():
        return child, ""
    child.kill()
    return child, child.steps()[-1][0] if child.wait() == -signal.SIGKILL else ""


def durations(child: Child, total: float) -> dict[str, float]:
    """Seconds that each step of an undisturbed `all` took. total: seconds of all of it."""
    begun = child.steps()
    ends = [t for _, t in begun[1:]] + [total]
    return {step: end - start for (step, start), end in zip(begun, ends)}


def snapshot(results: Path) -> dict[str, str]:
    """sha256 of every product below a results folder whose bytes do not tell the time: tables (training.csv without
    the columns of a wall clock), weights, activations, predictions, pieces, ceilings, figures."""
    wanted = ("tables/*.csv", "checkpoints/*/weights.safetensors", "activations/**/*.npy", "predictions/*/*",
              "inside/*/*.json", "scores/*/*.json", "cache/ceilings/*.json", "figures/*.p*", "figures/*.svg",
              "manifests/*.csv")  # fmt: skip
    found = {}
    for path in sorted({p for pattern in wanted for p in results.glob(pattern)}):
        content = path.read_bytes()
        if path.name == "training.csv":
            content = _without_clock(content)
        found[str(path.relative_to(results))] = hashlib.sha256(content).hexdigest()
    return found


def _without_clock(content: bytes) -> bytes:
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    return frame.drop(columns=list(WALL_CLOCK)).to_csv(index=False).encode()


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Paths whose bytes differ, or that only one of two snapshots has."""
    return sorted(path for path in {*found, *wanted} if found.get(path) != wanted.get(path))


def leftovers(results: Path) -> list[str]:
    """Files of a write that did not end, and locks."""
    return sorted(str(p.relative_to(results)) for p in results.rglob("*") if p.suffix in (".partial", ".lock"))


# --- in the child ----------------------------------------------------------------------------------------------------


def _after_steps(n: str, error: Exception | Callable[[], object]) -> None:
    """After n training steps the error is raised, or a function called that may raise one."""
    from blendnet.training import loop

    real, left = loop.train_step, [int(n)]

    def step(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            if isinstance(error, Exception):
                raise error
            error()
        return real(*args, **kwargs)

    loop.train_step = step


def _gpu_gone(n: str) -> None:
    import torch

    kind = getattr(torch, "AcceleratorError", RuntimeError)
    _after_steps(n, kind("CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"))


def _gpu_gone_old_torch(n: str) -> None:
    """As torch before 2.8 says it."""
    _after_steps(n, RuntimeError("CUDA error: the launch timed out and was terminated\nCompile with TORCH_USE_CUDA"))


def _gpu_full(n: str) -> None:
    import torch

    _after_steps(n, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))


def _memory(ask: Callable[[], object]) -> None:
    """A limit on the memory of the process, of 64 MB beyond what it has, and a wish for more."""
    import resource

    data = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmData"))
    limit = int(data.split()[1]) * 2**10 + 2**26
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    ask()


def _no_memory(n: str) -> None:
    """torch asks the system for 1 GB and does not get it."""
    import torch

    _after_steps(n, lambda: _memory(lambda: torch.ones(2**28)))


def _no_memory_numpy(n: str) -> None:
    """numpy asks the system for 1 GB and does not get it."""
    import numpy as np

    _after_steps(n, lambda: _memory(lambda: np.ones(2**27)))


def _clock(seconds: str) -> None:
    """The wall clock is off by so many seconds, and goes back as much again at every fifth look."""
    real, looks = time.time, [0]

    def now() -> float:
        looks[0] += 1
        return real() + int(seconds) * (1 + looks[0] // 5)

    time.time = now


FAULTS = {"gpu-gone": _gpu_gone, "gpu-gone-old-torch": _gpu_gone_old_torch, "gpu-full": _gpu_full,
          "no-memory": _no_memory, "no-memory-numpy": _no_memory_numpy, "clock": _clock}  # fmt: skip


def _count(log: Path) -> None:
    """Note each unit of work that is really computed, and each step begun, in files beside the log."""
    from blendnet import activations
    from blendnet.training import loop
    from pipelines import cli, dissect, predict, scoring

    def note(kind: str, line: str) -> None:
        with open(log.with_suffix(kind), "a") as file:
            file.write(line + "\n")

    def wrap(module: Any, name: str, say: Any) -> None:
        real = getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            note(".units", say(*args, **kwargs))
            return real(*args, **kwargs)

        setattr(module, name, counted)

    began, step = time.monotonic(), cli.run_step

    def run_step(context: Any, verb: str) -> None:
        note(".steps", f"{verb} {time.monotonic() - began:.4f}")
        step(context, verb)

    cli.run_step = run_step
    wrap(loop, "_epoch", lambda *a: f"train {a[9].id} epoch {a[5] if isinstance(a[5], int) else a[6]}")
    wrap(activations, "_array", lambda partial, layer, *a, **k:
         f"extract {partial.parent.name} {partial.name} {layer} {'new' if k['new'] else 'resumed'}")  # fmt: skip
    wrap(scoring, "compute", lambda c, run, recording, xs, metric, _:
         f"score {run.id if run else 'pixels'} {recording.name} {recording.region} {metric}")  # fmt: skip
    wrap(scoring, "_ceiling", lambda recording, metric, *a:
         f"score {recording.name} {recording.region} ceiling of {metric}")  # fmt: skip
    wrap(dissect, "_piece", lambda c, run, model, material, name: f"dissect {run.id} {name}")
    wrap(predict, "_write", lambda path, *a: f"predict {path.parent.name} {path.name}")


def _child(question: dict[str, Any]) -> int:
    import torch

    os.setsid()
    log = Path(question["log"])
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(1)
    from pipelines import cli

    _count(log)
    name, _, value = question["fault"].partition(":")
    if name:
        FAULTS[name](value)
    return cli.main(question["argv"])


def serve() -> None:
    """Read questions from stdin, fork, answer on stdout; at its end no child is left."""
    import importlib
    import traceback

    import torch

    torch.set_num_threads(1)
    from analysis import figures
    from pipelines import cli, dissect, sheet

    for verb in (*CHAIN, "doctor"):
        importlib.import_module(f"pipelines.{verb}")
    importlib.import_module("torch.utils.tensorboard")
    importlib.import_module("matplotlib.backends.backend_pdf")
    importlib.import_module("matplotlib.backends.backend_svg")
    assert cli.CHAIN == CHAIN
    sheet.PROFILES["demo"] = tiny()
    dissect.N_BLENDS = dissect.N_TRAIN = dissect.N_TEST = 56  # no matter of the sheet
    figures.names = lambda: list(FIGURES)
    for name in FIGURES:
        figures.load(name)
    children: set[int] = set()
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "start":
            pid = os.fork()
            if pid == 0:
                status = 70
                try:
                    status = _child(question)
                except SystemExit as error:
                    status = error.code if isinstance(error.code, int) else 71
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            children.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        elif question["do"] == "nothing":
            answer = {}
        else:
            pid, status = os.waitpid(question["pid"], os.WNOHANG)
            if pid:
                children.discard(pid)
            answer = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve()
