"""Soft matching: the best way to match units one to one when there are more on one side than on the other.

Khosla, Williams 2024 (arXiv 2311.09466). Each of p units spreads the weight 1/p over the q neuroids, so that
each neuroid gets 1/q (a transportation plan, Kantorovich 1942); the score is the largest sum of weight times
Pearson correlation. With p = q it is the one-to-one assignment (Birkhoff 1946). Correlations count with
their sign; a rotation of the units changes the score, unlike CKA or regression.

The plan is a linear programme with p q weights. With p = q it is scipy's assignment; else a minimum-cost flow
is solved here, on a graph of the smaller side only (general solvers take minutes at 2000 x 168), and its
prices prove the plan optimal: nothing is approximated, or an error is raised.

Ceiling: the same metric between two halves of the repetitions (self_ceiling), by Spearman-Brown on the mean
correlation, which is exact only where all neuroids are equally reliable.
"""

from types import ModuleType

import numpy as np
from scipy.optimize import linear_sum_assignment

from analysis.similarity._backend import Array, checked, host, rows, unit_columns
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError

DIRECTION = "none"
# The plan's correlation may fall short of the proven optimum by this much (rounding).
_GAP = 1e-9


def score(x: Array, y: Array, splits: Splits | None = None, *, max_bytes: int = 2**30) -> np.ndarray:
    """Soft matching correlation of x (n_stimuli, n_units) with y (n_stimuli, n_neuroids); float64 (n_splits, 1).

    numpy arrays or torch tensors. splits None: plan and correlation from all stimuli, (1, 1); this is far
    above 0 also for independent responses of many units. With splits: the plan of the training stimuli, the
    correlations of the test stimuli. Units and neuroids that are constant in training take no part in the
    plan; a pair of which one is constant at the test stimuli is left out, the others' weights count. NaN
    where nothing is left. Raises BlendnetError where the correlations of all pairs exceed max_bytes, and for
    NaN, infinity, unequal numbers of stimuli and impossible splits.
    """
    xp, x, y = checked(x, y, splits)
    values = []
    for train, test in splits if splits is not None else [(None, None)]:
        units, neuroids, correlation = _correlations(xp, rows(x, train), rows(y, train), max_bytes)
        if correlation.size == 0:
            values.append(np.nan)
            continue
        i, j, weight = transport(correlation)
        if test is None:
            values.append(float(weight @ correlation[i, j]))
            continue
        tested_x, dead = unit_columns(xp, rows(rows(x.T, units).T, test))
        tested_y, silent = unit_columns(xp, rows(rows(y.T, neuroids).T, test))
        tested_x, tested_y, dead, silent = host(tested_x), host(tested_y), host(dead), host(silent)
        weight = weight * ~(dead[i] | silent[j])
        r = np.einsum("ns,ns->s", tested_x[:, i], tested_y[:, j])
        values.append(float(weight @ r / weight.sum()) if weight.any() else np.nan)
    return np.array(values)[:, None]


def distance(x: Array, y: Array, *, max_bytes: int = 2**30) -> float:
    """Soft matching distance of units of unit length, sqrt(2 - 2 score): 0 for equal sets, a metric."""
    return float(np.sqrt(np.maximum(2.0 - 2.0 * score(x, y, max_bytes=max_bytes)[0, 0], 0.0)))


def transport(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plan with uniform marginals that makes the sum of weight * gain largest: (i, j, weight), weight > 0.

    gain: (p, q). Rows sum to 1/p, columns to 1/q. Exact: equal numbers by assignment (Jonker, Volgenant 1987,
    in scipy), others as a minimum-cost flow that is proven optimal by its prices, to 1e-9. Raises
    BlendnetError where the proof fails.
    """
    gain = np.asarray(gain, dtype=np.float64)
    p, q = gain.shape
    if p == q:
        i, j = linear_sum_assignment(gain, maximize=True)
        return i, j, np.full(p, 1.0 / p)
    if p < q:
        j, i, weight = transport(gain.T)
        return i, j, weight
    divisor = int(np.gcd(p, q))
    supply, demand = q // divisor, p // divisor  # whole numbers, so that the marginals are exactly equal
    flow, prices = _flow(-gain, supply, demand)
    j, i = np.nonzero(flow)
    weight = flow[j, i] / (supply * p)
    # Weak duality: no plan can be better than this, whatever the prices are.
    bound = (gain + prices).max(axis=1).mean() - prices.mean()
    if not bound - weight @ gain[i, j] <= _GAP * max(1.0, np.abs(gain).max()):
        raise BlendnetError(
            f"the transport plan of {p} x {q} units is not proven optimal (gap {bound - weight @ gain[i, j]:.1e}); "
            "check the responses for numbers of very different size"
        )
    return i, j, weight


def _correlations(xp: ModuleType, x: Array, y: Array, max_bytes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(units that vary, neuroids that vary, their Pearson correlations)."""
    needed = 8 * (3 * x.shape[1] * y.shape[1] + 2 * x.shape[0] * (x.shape[1] + y.shape[1]))
    if needed > max_bytes:
        raise BlendnetError(
            f"soft matching of {x.shape[1]} x {y.shape[1]} units needs about {needed} bytes, max_bytes is {max_bytes}; "
            "raise it or take fewer units"
        )
    a, dead = unit_columns(xp, x)
    b, silent = unit_columns(xp, y)
    units, neuroids = np.flatnonzero(~host(dead)), np.flatnonzero(~host(silent))
    return units, neuroids, host(rows(a.T, units) @ rows(b.T, neuroids).T)


def _flow(cost: np.ndarray, supply: int, demand: int) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest whole flow (q, p) from units (p, supply each) to neuroids (q, demand each), and the neuroids' prices.

    Successive shortest paths (Ahuja, Magnanti, Orlin 1993, ch. 9). Under any prices v, units that all go to
    the neuroid with the least cost - v are the cheapest flow for the loads that result. Then load moves from
    neuroids with too much to such with too little, along the cheapest chain of units that change neuroid
    (Dijkstra on the q neuroids, with `change` the least cost at which some unit goes from one to another), and
    the prices keep the flow cheapest for its loads. Good first prices leave few moves.
    """
    p, q = cost.shape
    v = _prices(cost, demand / supply)
    first = (cost - v).argmin(axis=1)
    flow = np.zeros((q, p), dtype=np.int64)
    flow[first, np.arange(p)] = supply
    change = np.full((q, q), np.inf)  # of `mover`, from neuroid (row) to neuroid (column)
    mover = np.zeros((q, q), dtype=np.intp)

    def renew(a: int) -> None:
        units = np.flatnonzero(flow[a])
        change[a] = np.inf
        if len(units):
            differences = cost[units] - cost[units, a][:, None]
            least = differences.argmin(axis=0)
            change[a], mover[a] = differences[least, np.arange(q)], units[least]

    for a in range(q):
        renew(a)
    excess = flow.sum(axis=1) - demand
    while (excess > 0).any():
        end, far, before = _nearest(change, v, excess)
        v = v + np.minimum(far, far[end])
        path = [end]
        while before[path[-1]] >= 0:
            path.append(int(before[path[-1]]))
        path.reverse()
        steps = [(a, b, int(mover[a, b])) for a, b in zip(path, path[1:])]
        amount = min(int(excess[path[0]]), -int(excess[end]), *(int(flow[a, unit]) for a, _, unit in steps))
        for a, b, unit in steps:
            flow[a, unit] -= amount
            flow[b, unit] += amount
            cheaper = cost[unit] - cost[unit, b] < change[b]
            change[b, cheaper], mover[b, cheaper] = (cost[unit] - cost[unit, b])[cheaper], unit
        for a, _, unit in steps:
            if not flow[a, unit]:
                renew(a)
        excess[path[0]] -= amount
        excess[end] += amount
    return flow, v


def _nearest(change: np.ndarray, v: np.ndarray, excess: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Dijkstra from all neuroids with excess to the nearest that lacks load: (it, distances, predecessors)."""
    q = len(v)
    far = np.where(excess > 0, 0.0, np.inf)
    open_far = far.copy()  # infinite once a neuroid is done
    before = np.full(q, -1)
    done = np.zeros(q, dtype=bool)
    while True:
        a = int(open_far.argmin())
        if excess[a] < 0:
            return a, far, before
        done[a] = True
        open_far[a] = np.inf
        reached = far[a] + np.maximum(change[a] + (v[a] - v), 0.0)  # below 0 by rounding only
        nearer = (reached < far) & ~done
        far[nearer] = open_far[nearer] = reached[nearer]
        before[nearer] = a


def _prices(cost: np.ndarray, load: float) -> np.ndarray:
    """Prices (q,) under which the units choose the neuroids about equally often (`load` units each).

    The entropic problem's, by Sinkhorn's iteration (Cuturi 2013), its temperature falling: only a start.
    """
    v = np.zeros(cost.shape[1])
    spread = float(cost.std()) or 1.0
    for temperature in spread * np.geomspace(0.5, 0.01, 8):
        for _ in range(5):
            z = (v - cost) / temperature
            z -= z.max(axis=1, keepdims=True)
            np.exp(z, out=z)
            share = (z / z.sum(axis=1, keepdims=True)).sum(axis=0)
            v = v + temperature * np.log(load / np.maximum(share, 1e-3))
    return v
