"""Units as processes of this machine, so many at once, one GPU each.

Plain processes, not submitit's LocalExecutor: that one starts all units at once, gives each a time limit, and names its
files by process numbers, which are used again, so that an old result can be taken for a new one.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blendnet.files import make_folder
from pipelines._job import Unit, command

PATIENCE_S = 30  # that interrupted children have to end by themselves


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(device: str) -> list[str]:
    """The GPUs to spread units over, as CUDA_VISIBLE_DEVICES names them; none for --device cpu or cuda:N."""
    if device not in ("auto", "cuda"):
        return []
    import torch

    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return [seen[i] if i < len(seen) else str(i) for i in range(torch.cuda.device_count())]


class Pool:
    """Starts units one after the other, at most `jobs` at once. Used with `running`."""

    def __init__(self, units: Sequence[Unit], *, jobs: int, devices: Sequence[str], logs: Path) -> None:
        self.waiting = list(units)
        self.logs = make_folder(logs)
        self.threads = max(1, cores() // jobs)
        self.free = [(i, devices[i % len(devices)] if devices else None) for i in range(jobs)]
        self.going: dict[str, tuple[subprocess.Popen, tuple[int, str | None]]] = {}

    def look(self) -> dict[str, str]:
        """Start what there is room for; {run: why} of those that have ended since the last look."""
        ended = {}
        for run, (process, slot) in list(self.going.items()):
            status = process.poll()
            if status is not None:
                del self.going[run]
                self.free.append(slot)
                killed = " (out of memory? lower --jobs)" if status == -signal.SIGKILL else ""
                by = f"by {signal.Signals(-status).name}{killed}" if status < 0 else f"with status {status}"
                ended[run] = f"ended {by} without a word"
        while self.free and self.waiting:
            self._start(self.waiting.pop(0), self.free.pop(0))
        return ended

    def _start(self, unit: Unit, slot: tuple[int, str | None]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(self.threads)}
        if slot[1] is not None:
            environment["CUDA_VISIBLE_DEVICES"] = slot[1]
        with log_path(self.logs, unit).open("w") as log:
            # A session of its own: Ctrl-C reaches us alone, and we tell the children once.
            process = subprocess.Popen(command(unit), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       env=environment, start_new_session=True)  # fmt: skip
        self.going[unit.run] = (process, slot)

    def end(self) -> None:
        """End what is running: asked first, so that locks are given back, then by force."""
        for process, _ in self.going.values():
            process.send_signal(signal.SIGINT)
        for process, _ in self.going.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def log_path(logs: Path, unit: Unit) -> Path:
    """What a unit's process wrote."""
    return logs / f"{unit.verb}-{unit.run}.log"


@contextmanager
def running(pool: Pool) -> Iterator[Pool]:
    """End the children however this process ends, SIGTERM included (kill -9 excepted: they then finish their units)."""

    def stop(*_) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield pool
    finally:
        pool.end()
        if main:
            signal.signal(signal.SIGTERM, before)
