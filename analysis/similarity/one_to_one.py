"""One unit for each neuroid: is there a model unit that responds like it, without mixing units?

Li et al. 2015 (arXiv 1511.07543) for both ways to match, by correlation: 'greedy max' (their semi-matching)
gives each neuroid the unit that correlates best with it, and one unit may serve several neuroids;
'hungarian' gives no unit twice and makes the sum of correlations as large as possible (Kuhn 1955), the
one-to-one score of Khosla, Williams 2024 (arXiv 2311.09466). The pairs come from the training stimuli, their
correlations from the test stimuli. Correlations count with their sign.

Ceiling: the same metric between two halves of the repetitions (self_ceiling), by Spearman-Brown: where a
neuroid is matched with itself, the two halves are parallel measurements of it.
"""

from types import ModuleType

import numpy as np
from scipy.optimize import linear_sum_assignment

from analysis.similarity._arrays import pearson
from analysis.similarity._backend import Array, blocks, checked, host, rows, unit_columns
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

DIRECTION = "model to brain"
ASSIGNMENTS = ("hungarian", "greedy max")


def score(
    x: Array,
    y: Array,
    splits: Splits,
    *,
    assign: str = "hungarian",
    max_bytes: int = 2**30,
) -> np.ndarray:
    """Pearson r of each neuroid with its matched unit at the test stimuli; float64 (n_splits, n_neuroids).

    x: (n_stimuli, n_units), y: (n_stimuli, n_neuroids), numpy arrays or torch tensors; shapes, errors and
    assign as in `match`. NaN where a neuroid has no unit (it is constant in training, or there are fewer
    units than neuroids), or it or its unit is constant at the test stimuli.
    """
    xp, x, y = checked(x, y, splits)
    known = host(y)
    r = np.full((len(splits), y.shape[1]), np.nan)
    for f, (train, test) in enumerate(splits):
        units = _match(xp, x, rows(y, train), train, assign, max_bytes)
        has = np.flatnonzero(units >= 0)
        if len(has):
            matched = host(rows(rows(x.T, units[has]).T, test)).astype(np.float64)
            r[f, has] = pearson(matched, known[np.ix_(test, has)])
    return r


def match(x: Array, y: Array, *, assign: str = "hungarian", max_bytes: int = 2**30) -> np.ndarray:
    """The unit of each neuroid, integers (n_neuroids,); -1 where there is none.

    x: (n_stimuli, n_units), y: (n_stimuli, n_neuroids). assign: 'hungarian' or 'greedy max'. Constant units
    are never taken, constant neuroids get none. Units are read in blocks, so that at most about max_bytes are
    used; both ways are exact all the same ('hungarian' keeps, when memory is short, those units that are
    among the n_neuroids best of any neuroid: an optimal assignment needs no others). Raises BlendnetError
    where max_bytes cannot hold these, and for NaN, infinity and unequal numbers of stimuli.
    """
    xp, x, y = checked(x, y, None)
    return _match(xp, x, y, None, assign, max_bytes)


def _match(xp: ModuleType, x: Array, y: Array, train: np.ndarray | None, assign: str, max_bytes: int) -> np.ndarray:
    if assign not in ASSIGNMENTS:
        raise unknown("assignment", assign, ASSIGNMENTS)
    y, silent = unit_columns(xp, y)
    n, n_neuroids = y.shape
    units = np.full(n_neuroids, -1)
    wanted = np.flatnonzero(~host(silent))
    if not len(wanted):
        return units
    y = rows(y.T, wanted).T
    # A quarter for a block of units (with the copies that make it unit length) and their correlations.
    width = max_bytes // 4 // (8 * (4 * n + len(wanted)))
    held = np.empty((0, len(wanted)))  # correlations of the units that are candidates
    names = np.empty(0, dtype=np.intp)
    for columns in blocks(x.shape[1], min(width, 4096)):
        block, dead = unit_columns(xp, rows(x[:, columns], train))
        found = host(block.T @ y)
        alive = np.flatnonzero(~host(dead))
        held = np.concatenate([held, found[alive]])
        names = np.concatenate([names, columns.start + alive])
        if assign == "greedy max" and len(names):
            best = np.unique(held.argmax(axis=0))
            held, names = held[best], names[best]
        elif held.nbytes > max_bytes // 4 and len(names) > len(wanted):
            kept = np.unique(np.argpartition(-held, len(wanted) - 1, axis=0)[: len(wanted)])
            held, names = held[kept], names[kept]
            if held.nbytes > max_bytes // 4:
                raise BlendnetError(
                    f"max_bytes {max_bytes} cannot hold the {len(names)} units that an assignment to {len(wanted)} "
                    f"neuroids may need; give at least {5 * held.nbytes} or assign 'greedy max'"
                )
    if not len(names):
        return units
    if assign == "greedy max":
        units[wanted] = names[held.argmax(axis=0)]
    else:
        unit, neuroid = linear_sum_assignment(held, maximize=True)
        units[wanted[neuroid]] = names[unit]
    return units
