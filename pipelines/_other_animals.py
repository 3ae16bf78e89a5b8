"""A second measure of what could be reached, beside the split-half ceiling: how well other animals predict an animal.

For published RDMs of several subjects, leaving one out is the ceiling itself (rsa.ceiling). Neuroids of several animals
share no space, so the other animals are taken as a model of the one left out (analysis/similarity/_animals.py): a floor
for what a good model should reach. It stands in a column of its own and nothing is divided by it.
"""

from functools import partial
from typing import Any

import numpy as np

from analysis.similarity import pls, ridge
from analysis.similarity._animals import leave_one_animal_out
from analysis.similarity._splits import shuffle_splits
from analysis.stats.intervals import aggregate
from blendnet.data.brain.recording import Recording


def other_animals(recording: Recording, metric: str, half: np.ndarray, how: dict[str, Any]) -> dict[str, float]:
    """{'other_animals': r} of the reported half, aggregated as a score is; {} for other metrics than `pls` and `ridge`,
    and where all neuroids are of one animal. Computed once a process: it is the same for every network.

    half: integer, the reported stimuli; how: n_splits, test_size, seed, groups and maybe stratify of scoring.how_of.
    """
    if metric not in ("pls", "ridge") or recording.trials is None or len(set(recording.subjects)) < 2:
        return {}
    key = (recording.sha256, recording.name, recording.region, metric, half.tobytes(), how["n_splits"],
           how["test_size"], how["seed"])  # fmt: skip
    if key not in _FOUND:
        own = {name: labels if labels is None else labels[half] for name, labels in
               (("groups", how["groups"]), ("stratify", how.get("stratify")))}  # fmt: skip
        splits = shuffle_splits(
            len(half), n_splits=how["n_splits"], test_size=how["test_size"], seed=how["seed"], **own
        )
        score = pls.score if metric == "pls" else partial(ridge.score, groups=own["groups"])
        r = leave_one_animal_out(recording.mean()[half], recording.subjects, splits, score)
        _FOUND[key] = {"other_animals": aggregate(r)}
    return _FOUND[key]


_FOUND: dict[tuple, dict[str, float]] = {}
