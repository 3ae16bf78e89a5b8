"""What one score takes at the sizes of real recordings: one layer, one metric, invented numbers; each in a process of
its own.

    python -m benchmarks._scoring_side < sizes.json > measured.json

sizes.json: list of {stimuli, neuroids, subjects, metric}, neuroids 0 for RDMs of so many subjects. CPU seconds of one
thread: `layer`, what every layer costs (half A, half B, all stimuli, no interval); `once`, what comes to it for the
layer that is reported (resamples, the shuffled row); `ceiling`, once a recording, since it is kept. `bytes`: the most
held beyond the layer and the recording.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.similarity import rsa
from analysis.similarity._splits import halves
from analysis.stats.layers import layer_score
from benchmarks import _scaling_side as side
from benchmarks._similarity_side import held
from blendnet.data.brain.recording import Recording
from pipelines import scoring, sheet
from pipelines.context import Context


def recording(stimuli: int, neuroids: int, subjects: int) -> Recording:
    """Invented responses, or RDMs of so many subjects where there are no neuroids."""
    found = side.brain(stimuli, neuroids or 20)
    if neuroids:
        return found
    rng = np.random.default_rng(0)
    rdms = np.stack([rsa.rdm(rng.normal(size=(stimuli, 20))).ravel() for _ in range(subjects)])
    return replace(found, trials=None, rdms=rdms, subjects=tuple(f"s{i}" for i in range(subjects)))


def measure(size: dict[str, Any]) -> dict[str, float]:
    """CPU seconds of one metric at one size, with the sheet's full profile."""
    context = Context(sheet.FULL, Path(), Path(), progress=False)
    brain = recording(size["stimuli"], size["neuroids"], size["subjects"])
    rng = np.random.default_rng(1)
    spectrum = np.arange(1, context.profile.width + 1, dtype=np.float32) ** -0.5  # variances 1/k
    x = rng.standard_normal((size["stimuli"], context.profile.width), dtype=np.float32) * spectrum
    metric, how = size["metric"], scoring.how_of(context, brain)
    split = halves(size["stimuli"], seed=context.profile.score_seed, groups=how["groups"])
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = held()
    began = time.process_time()
    scoring.computed_ceiling(context, brain, metric)
    ceiling = time.process_time()
    for half in (*split, np.arange(size["stimuli"])):
        given = {"rdms": rsa.subset(brain.rdms, half)} if brain.rdm_only else {"y": brain.mean()[half]}
        layer_score(x[half], **given, metric=metric, n_boot=0, **(how | {"groups": None}))
    layer = time.process_time()
    scoring.compute(context, context.profile.trained_runs()[0], brain, {"layer": x}, metric)  # its ceiling is known
    whole = time.process_time()
    found = {"ceiling": ceiling - began, "layer": layer - ceiling, "once": max(0.0, whole - layer - (layer - ceiling))}
    return found | {"bytes": held(peak=True) - before}


def main() -> None:
    """Read sizes, write what they take."""
    torch.set_num_threads(1)
    answer = []
    for size in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder:
            answer.append(size | side.apart(lambda size=size: measure(size), Path(folder) / "answer.json"))
        print(answer[-1], file=sys.stderr, flush=True)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
