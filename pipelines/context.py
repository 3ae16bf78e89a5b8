"""What every step is given: the profile, the folders, which runs, which device; and how it speaks."""

import fnmatch
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from blendnet.errors import BlendnetError
from blendnet.run import Run
from pipelines.sheet import Profile


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

    def folder(self, kind: str, *parts: str) -> Path:
        """A folder or file below the profile's results, e.g. folder('checkpoints', run.id)."""
        return self.results.joinpath(kind, *parts)

    @property
    def tables(self) -> Path:
        """Where the committed tables lie."""
        return self.results / "tables"

    def torch_device(self) -> torch.device:
        """The device that was asked for; 'auto' takes a GPU where there is one."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise BlendnetError(f"--device {self.device!r} is no device; use cpu, cuda or cuda:0") from error
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
        """Go through runs, saying which one of how many and the time left as measured so far."""
        began = time.perf_counter()
        for i, run in enumerate(runs):
            left = ""
            if i:
                seconds = (time.perf_counter() - began) / i * (len(runs) - i)
                left = f", about {duration(seconds)} left"
            say(f"[{step} {i + 1}/{len(runs)}] {run.id}{left}")
            yield run


def say(text: str) -> None:
    """One line to the user, at once; of several training processes the first alone speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


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
