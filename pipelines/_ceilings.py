"""Ceilings, kept in the results folder: one is the same for every network, and that of an RDM takes minutes.

A stored ceiling is used only if all that it rests on is equal: recording, metric, splits, resamples, code. Nothing that
checks a score reads one: `blendnet verify` computes its own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from blendnet import stored
from blendnet._kinds import must_be
from blendnet.data.brain.recording import Recording
from blendnet.errors import BlendnetError
from blendnet.files import read_object, write_json
from blendnet.keys import difference
from pipelines import scoring
from pipelines.context import Context, take

# Its folder below the results, beside what else can be made again.
FOLDER = ("cache", "ceilings")
_AGAIN = "delete it and score again"


def ceiling_of(context: Context, recording: Recording, metric: str, key: dict[str, Any]) -> scoring.Ceiling:
    """The ceiling of a recording under a metric, read where it is stored under this key, else computed and stored.

    Of several processes the first computes, the others wait for it. With --force each process computes its own, once,
    and waits for nobody. Raises BlendnetError where the stored one was changed after it was written, or is none.
    """
    path = context.folder(*FOLDER, f"{recording.name}-{recording.region}-{metric}.json")
    if context.force:
        return _computed(context, recording, metric, key, path)
    lock = context.lock("ceiling", path.stem)
    # A lock that is there may be a dead one's, which whoever takes it clears away.
    if not lock.path.exists() and (known := _read(context, path, key)):
        return known
    take(lock, f"  waiting for the ceiling of {recording.name} {recording.region}")
    try:
        return _read(context, path, key) or _computed(context, recording, metric, key, path)
    finally:
        lock.release()


def _computed(context: Context, recording: Recording, metric: str, key: dict[str, Any], path: Path) -> scoring.Ceiling:
    found = scoring.computed_ceiling(context, recording, metric)
    samples = [float(v) if np.isfinite(v) else None for v in found.samples]
    write_json(path, {"key": key, **found.columns(), "samples": samples})
    return found


def _read(context: Context, path: Path, key: dict[str, Any]) -> scoring.Ceiling | None:
    """What is stored under the key, None where nothing is."""
    if not path.exists():
        return None
    found = read_object(path, {}, _AGAIN)
    if difference(found.get("key"), key):
        return None
    must_be(path, found, stored.CEILING, _AGAIN)
    samples = np.array([np.nan if v is None else v for v in found["samples"]], dtype=float)
    wanted = scoring.rdm_resamples(context.profile.n_bootstrap)
    if len(samples) not in (0, wanted):
        raise BlendnetError(f"{path} holds a ceiling in {len(samples)} resamples, not {wanted}; {_AGAIN}")
    return scoring.Ceiling(found["ceiling"], found["ceiling_lo"], found["ceiling_hi"], samples)
