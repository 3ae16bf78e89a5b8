"""Which stimuli train and which test: one place, so that every metric and every layer sees the same splits."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from blendnet.errors import BlendnetError

Splits = list[tuple[np.ndarray, np.ndarray]]


def shuffle_splits(
    n: int,
    *,
    n_splits: int = 10,
    test_size: float = 0.1,
    seed: int = 1,
    groups: Sequence[int] | np.ndarray | None = None,
    stratify: Sequence | np.ndarray | None = None,
) -> Splits:
    """`n_splits` random divisions of n stimuli into training and test indices.

    n: number of stimuli; test_size: fraction of the stimuli (of the groups, where groups are given) that is
    tested; groups: n labels, a group (the frames of one clip) is never divided; stratify: n labels
    (categories) that keep their proportions. Returns [(train, test), ...], integer arrays without overlap.

    Without groups these are the divisions of Brain-Score (Schrimpf et al. 2018, doi 10.1101/407007):
    scikit-learn's ShuffleSplit, or StratifiedShuffleSplit where `stratify` is given, with random_state = seed
    = 1. Raises BlendnetError for too few stimuli or groups, for labels of another length, for groups with
    stratify.
    """
    if not 0 < test_size < 1:
        raise BlendnetError(f"test_size {test_size} is not a fraction between 0 and 1")
    if n < 3:
        raise BlendnetError(f"{n} stimuli cannot be divided into training and test; at least 3 are needed")
    if groups is not None and stratify is not None:
        raise BlendnetError("groups and stratify cannot be used together; give one of them")
    try:
        if groups is not None:
            labels = _labels("groups", groups, n)
            splitter = GroupShuffleSplit(n_splits, test_size=test_size, random_state=seed)
            pairs = splitter.split(np.zeros(n), groups=labels)
        elif stratify is not None:
            labels = _labels("stratify", stratify, n)
            splitter = StratifiedShuffleSplit(n_splits, test_size=test_size, random_state=seed)
            pairs = splitter.split(np.zeros(n), labels)
        else:
            pairs = ShuffleSplit(n_splits, test_size=test_size, random_state=seed).split(np.zeros(n))
        return list(pairs)
    except ValueError as error:
        # scikit-learn says what is wrong (one group only, a category with one member) but not in our words.
        raise BlendnetError(f"{n} stimuli cannot be split {test_size:.0%} for test: {error}") from error


def halves(n: int, *, seed: int, groups: Sequence[int] | np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint halves (A, B) of n stimuli: layers are committed on A, scores reported on B.

    groups: n labels, a group goes whole into one half (then the halves differ by less than the largest
    group). Returns two sorted integer arrays that together hold 0..n-1. Raises BlendnetError for fewer than 2
    groups.
    """
    labels = np.arange(n) if groups is None else _labels("groups", groups, n)
    names, members = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise BlendnetError(f"{len(names)} group of stimuli cannot be halved; at least 2 are needed")
    sizes = np.bincount(members)
    filled, half_of = [0, 0], np.empty(len(names), dtype=int)
    for group in np.random.default_rng(seed).permutation(len(names)):
        half = 0 if filled[0] <= filled[1] else 1
        half_of[group] = half
        filled[half] += int(sizes[group])
    in_a = half_of[members] == 0
    return np.flatnonzero(in_a), np.flatnonzero(~in_a)


def _labels(what: str, labels: Sequence | np.ndarray, n: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise BlendnetError(f"{what} has shape {array.shape}, but there are {n} stimuli; give one label a stimulus")
    return array
