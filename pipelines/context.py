"""What every step is given: the profile, the folders, which runs, which device; and how it speaks."""

import fnmatch
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from blendnet import locks
from blendnet.errors import BlendnetError
from blendnet.run import Run
from pipelines.sheet import Profile

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?")


@dataclass
class Context:
    """One command's surroundings. results: the profile's own folder; data: where photographs and recordings lie."""

    profile: Profile
    results: Path
    data: Path
    only: str = "*"
    force: bool = False
    device: str = "auto"
    recording: tuple[str, ...] = ()
    whole_chain: bool = False
    tracker: str = "tensorboard"
    progress: bool = field(default_factory=lambda: sys.stderr.isatty())
    # 'no' in a unit of pipelines.executor: who submitted it makes the tables, once, when all are done.
    gathers: bool = field(default_factory=lambda: os.environ.get("BLENDNET_GATHER") != "no")

    def folder(self, kind: str, *parts: str) -> Path:
        """A folder or file below the profile's results, e.g. folder('checkpoints', run.id)."""
        return self.results.joinpath(kind, *parts)

    @property
    def tables(self) -> Path:
        """Where the committed tables lie."""
        return self.results / "tables"

    def torch_device(self) -> torch.device:
        """The device that was asked for; 'auto' takes a GPU where there is one. torch has others, on which nothing here
        was ever run: 'meta' holds no numbers, 'mps' no float64."""
        if not _DEVICE.fullmatch(self.device):
            raise BlendnetError(f"--device {self.device!r} is no device; use cpu, cuda or cuda:0")
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(self.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise BlendnetError(f"--device {self.device!r}: there is no CUDA GPU here; use --device cpu")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise BlendnetError(f"--device {self.device!r}: there are {torch.cuda.device_count()} GPUs, counted from 0")
        return device

    def select(self, runs: Iterable[Run]) -> list[Run]:
        """The runs whose id fits --only; none at all is one clear line."""
        runs = list(runs)
        chosen = [r for r in runs if fnmatch.fnmatch(r.id, self.only)]
        # 'pixels' is no run but may be scored; in a whole chain a pattern may fit the runs of some steps only.
        elsewhere = self.whole_chain and any(fnmatch.fnmatch(r.id, self.only) for r in self.profile.scored_runs())
        if not chosen and self.only != "pixels" and not elsewhere:
            raise BlendnetError(
                f"--only {self.only!r} fits none of {len(runs)} runs, for example {runs[0].id if runs else 'none'}"
            )
        return chosen

    def each(self, step: str, runs: list[Run]) -> Iterator[Run]:
        """Go through runs in `turns`."""
        for i in self.turns(step, [run.id for run in runs]):
            yield runs[i]

    def turns(self, step: str, names: list[str]) -> Iterator[int]:
        """Go through things by their names, saying which one of how many and the time left as measured so far.

        Each is locked while it is worked on; one that another process works on comes last, when that is done and there
        is most likely nothing left to do. torchrun's processes go through the same names in the same order, locked by
        the first of them.
        """
        began = time.perf_counter()
        waiting, passed = list(range(len(names))), []
        for turn in range(len(names)):
            lock = None
            while waiting and lock is None:
                i = waiting.pop(0)
                lock = self.lock(step, names[i])
                if int(os.environ.get("WORLD_SIZE") or 1) > 1:
                    if os.environ.get("RANK", "0") == "0":
                        locks.wait(lock)
                elif not lock.acquire():
                    passed.append(i)
                    lock = None
            if lock is None:
                i = passed.pop(0)
                lock = self.lock(step, names[i])
                take(lock, f"[{step}] waiting for {names[i]}")
            left = ""
            if turn:
                seconds = (time.perf_counter() - began) / turn * (len(names) - turn)
                left = f", about {duration(seconds)} left"
            say(f"[{step} {turn + 1}/{len(names)}] {names[i]}{left}")
            try:
                yield i
            finally:
                lock.release()

    def gathering(self) -> locks.Lock:
        """To be held while tables are made from the pieces of all runs: who reads the pieces first must not write
        last."""
        return self.lock("gather", "tables")

    def lock(self, step: str, name: str) -> locks.Lock:
        """The lock of one step of one run (or of a table that is gathered), not taken yet."""
        return locks.Lock(self.folder("locks", f"{step}-{name}.lock"))


def say(text: str) -> None:
    """One line to the user, at once; of several training processes the first alone speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def take(lock: locks.Lock, waiting: str) -> None:
    """Acquire a lock, however long it takes; where that is not at once, say for what, and who holds it."""
    if not lock.acquire():
        say(f"{waiting}, held by {locks.owner(lock.path)}")
        locks.wait(lock)


def duration(seconds: float) -> str:
    """Seconds for people: '40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def default_data() -> Path:
    """BLENDNET_DATA, else ./data."""
    return Path(os.environ.get("BLENDNET_DATA") or "data")
