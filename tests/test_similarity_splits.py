"""Splits and halves: those of scikit-learn, groups whole, nothing on both sides."""

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from analysis.similarity._splits import halves, shuffle_splits
from blendnet.errors import BlendnetError


def same(ours, theirs):
    return all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("n", [10, 92, 135, 640, 3200])
def test_equals_scikit_learn_as_brain_score_calls_it(n):
    # Brain-Score gives train_size, not test_size; the two could round differently.
    theirs = ShuffleSplit(n_splits=10, train_size=0.9, test_size=None, random_state=1).split(np.zeros(n))
    assert same(shuffle_splits(n), list(theirs))


@pytest.mark.parametrize("n", [92, 135, 3200])
def test_equals_scikit_learn_stratified(n):
    labels = np.arange(n) % 5
    theirs = StratifiedShuffleSplit(n_splits=10, train_size=0.9, random_state=1).split(np.zeros(n), labels)
    assert same(shuffle_splits(n, stratify=labels), list(theirs))


def test_groups_are_never_divided():
    groups = np.repeat(np.arange(20), 11)[np.random.default_rng(0).permutation(220)]
    for train, test in shuffle_splits(220, groups=groups):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(220))
        assert len(set(groups[test])) == 2


def test_seed_changes_splits():
    assert same(shuffle_splits(50, seed=3), shuffle_splits(50, seed=3))
    assert not same(shuffle_splits(50, seed=3), shuffle_splits(50, seed=4))


@pytest.mark.parametrize("n", [2, 5, 92, 641])
def test_halves_are_disjoint_and_equal(n):
    a, b = halves(n, seed=0)
    assert sorted([*a, *b]) == list(range(n))
    assert abs(len(a) - len(b)) <= 1
    assert n < 10 or not np.array_equal(a, halves(n, seed=1)[0])


def test_halves_keep_groups_whole():
    groups = np.repeat(np.arange(9), [1, 2, 3, 4, 5, 6, 7, 8, 9])
    for seed in range(20):
        a, b = halves(len(groups), seed=seed, groups=groups)
        assert not set(groups[a]) & set(groups[b])
        assert abs(len(a) - len(b)) <= 9
        assert len(a) + len(b) == len(groups)


def test_impossible_splits_are_one_line():
    for make, says in [
        (lambda: shuffle_splits(2), "at least 3"),
        (lambda: shuffle_splits(20, test_size=1.5), "test_size 1.5"),
        (lambda: shuffle_splits(20, groups=np.zeros(20)), "cannot be split"),
        (lambda: shuffle_splits(20, groups=np.zeros(19)), "one label a stimulus"),
        (lambda: shuffle_splits(20, groups=np.arange(20), stratify=np.arange(20)), "together"),
        (lambda: halves(5, seed=0, groups=np.zeros(5)), "at least 2"),
        (lambda: shuffle_splits(20, stratify=np.arange(20)), "cannot be split"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            make()
        assert "\n" not in str(error.value)
