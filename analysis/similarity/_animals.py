"""How well the neuroids of one animal go with those of others, for recordings of several animals."""

from collections.abc import Callable, Sequence

import numpy as np

from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError


def leave_one_animal_out(
    y: np.ndarray,
    animals: Sequence[str] | np.ndarray,
    splits: Splits,
    score: Callable[[np.ndarray, np.ndarray, Splits], np.ndarray],
) -> np.ndarray:
    """How well each animal's neuroids are predicted from those of all other animals, by the same metric as a model.

    y: mean responses (n_stimuli, n_neuroids); animals: n_neuroids names; splits: [(train, test), ...]; score: a
    metric with a direction, `pls.score` or `ridge.score`. Returns r, float64 (n_splits, n_neuroids).

    RDMs of subjects lie in one space, so that each can be left out of their mean (rsa.ceiling). Neuroids do not:
    no neuroid of one animal is that of another, and a mean over animals does not exist. What can be left out is an
    animal as a model of the others (Nayebi et al. 2021, doi 10.1101/2021.06.16.448730). It is a floor for what a
    good model should reach rather than a bound: the others' neuroids are a small sample and are noisy, so that a
    model may pass it. It is therefore not divided by (`ceiled` takes the split-half reliability). Raises
    BlendnetError for one animal and for names of another number than neuroids.
    """
    names = np.asarray(animals)
    if names.shape != (y.shape[1],):
        raise BlendnetError(f"{names.size} animals for {y.shape[1]} neuroids; give the animal of each neuroid")
    every = np.unique(names)
    if len(every) < 2:
        raise BlendnetError(f"all neuroids are of animal {every[0]!r}; to leave one out takes at least 2 animals")
    r = np.empty((len(splits), y.shape[1]))
    for name in every:
        r[:, names == name] = score(y[:, names != name], y[:, names == name], splits)
    return r
