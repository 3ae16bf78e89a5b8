"""Ceilings, kept in the results folder: one is the same for every network, and that of an RDM takes minutes.

A stored ceiling is used only if all that it rests on is equal: recording, metric, splits, resamples, code. Nothing that
checks a score reads one: `blendnet verify` computes its own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from blendnet import locks, stored
from blendnet.data.brain.recording import Recording
from blendnet.files import read_object, write_json
from blendnet.keys import stale
from pipelines import scoring
from pipelines.context import Context, say

# Its folder below the results, beside what else can be made again.
FOLDER = ("cache", "ceilings")


def ceiling_of(context: Context, recording: Recording, metric: str, key: dict[str, Any]) -> scoring.Ceiling:
    """The ceiling of a recording under a metric, read where it is stored under this key, else computed and stored.

    Of several processes the first computes, the others wait for it. With --force it is computed anew, once a process.
    Raises BlendnetError where the stored one was changed after it was written, or is none.
    """
    path = context.folder(*FOLDER, f"{recording.name}-{recording.region}-{metric}.json")
    if not context.force and stale(path, key) == []:
        return _read(path)
    lock = context.lock("ceiling", path.stem)
    if not lock.acquire():
        say(f"  waiting for the ceiling of {recording.name} {recording.region}, held by {locks.owner(lock.path)}")
        locks.wait(lock)
    try:
        if not context.force and stale(path, key) == []:
            return _read(path)
        found = scoring.ceiling_of(context, recording, metric)
        samples = [float(v) if np.isfinite(v) else None for v in found.samples]
        write_json(path, {"key": key, **found._asdict(), "samples": samples})
        return found
    finally:
        lock.release()


def _read(path: Path) -> scoring.Ceiling:
    found = read_object(path, stored.CEILING, "delete it and score again")
    samples = np.array([np.nan if v is None else v for v in found["samples"]], dtype=float)
    return scoring.Ceiling(found["ceiling"], found["ceiling_lo"], found["ceiling_hi"], samples)
