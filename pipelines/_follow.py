"""Waiting for units: one line as each ends, with the time left, and what went wrong with those that failed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import _units
from pipelines.context import duration, say

# {run: why} of the units whose process or job is over.
Over = dict[str, str]


@dataclass(frozen=True)
class Pace:
    """Seconds between looks at the notes; between questions to SLURM, whose controller serves many; and for which the
    note of a job that is gone is waited for, since it may be on its way through a network file system."""

    look: float = 1.0
    ask: float = 20.0
    note: float = 45.0


def follow(
    results: Path, verb: str, tokens: dict[str, str], look: Callable[[], Over], logs: dict[str, Path], pace: Pace
) -> dict[str, str]:
    """Wait until all units have ended; {run: what is wrong, and the log file} of those that failed.

    tokens: {run: that of its submission}, by which the note of an earlier one is told apart. A unit whose process or
    job is over without a note of its end has failed.
    """
    began, left = time.monotonic(), dict(tokens)
    failed: dict[str, str] = {}
    while left:
        over = look()  # before the notes: who is over by now has written its note
        for run in list(left):
            note = _units.read_note(results, verb, run)
            if note.get("token") != left[run]:
                note = {}
            if note.get("status") not in ("done", "failed") and run not in over:
                continue
            del left[run]
            if note.get("status") != "done":
                failed[run] = f"{note.get('error') or over[run]} (log: {logs[run]})"
            _tell(verb, run, note, len(tokens) - len(left), len(tokens), time.monotonic() - began)
        if left:
            time.sleep(pace.look)
    return failed


def _tell(verb: str, run: str, note: dict[str, Any], k: int, n: int, passed: float) -> None:
    how = "FAILED"
    if note.get("status") == "done":
        how = "done (reused)" if note.get("reused") else f"done ({duration(note.get('seconds') or 0)})"
    left = f", about {duration(passed / k * (n - k))} left" if k < n else ""
    say(f"[{verb} {k}/{n}] {run} {how}{left}")
