"""Representational similarity analysis: dissimilarity matrices (RDMs), their comparison, its ceiling and interval.

Kriegeskorte, Mur, Bandettini 2008 (doi 10.3389/neuro.06.004.2008); Nili et al. 2014 (doi
10.1371/journal.pcbi.1003553) for the ceiling; Diedrichsen et al. 2021 (arXiv 2007.02789) for the whitened
comparison. Values are those of rsatoolbox 0.2.0. An RDM is the vector of its upper triangle, row by row, of
n_pairs = n_stimuli * (n_stimuli - 1) / 2 numbers; NaN marks a pair that is left out.
"""

from types import ModuleType

import numpy as np

from analysis.similarity._backend import Array, checked, not_finite, together
from analysis.similarity._rdm import DISTANCES as DISTANCES
from analysis.similarity._rdm import dissimilarities
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

# Name here -> name in rsatoolbox: spearman, corr, cosine, corr_cov, cosine_cov.
METHODS = ("spearman", "pearson", "cosine", "whitened", "whitened_cosine")
# Bytes for each of n^2: two RDMs, and while one is ranked its order, its runs of ties and its ranks; or while one is
# whitened its row effects by pair.
_BYTES = {"spearman": 36, "pearson": 32, "cosine": 32, "whitened": 60, "whitened_cosine": 60}


def rdm(x: Array, *, distance: str = "correlation", max_bytes: int = 2**32) -> Array:
    """Dissimilarity of every pair of stimuli; float64 (n_pairs,), a tensor on the device of x where x is one.

    x: patterns (n_stimuli, n_features); distance: 'correlation' (1 - Pearson r of two patterns) or
    'euclidean' (mean squared difference over features, as rsatoolbox). max_bytes: bound on the working memory
    beside x and the RDM. Raises BlendnetError for NaN, for fewer than 3 stimuli and, with 'correlation', for a
    pattern without variation (its correlation does not exist).
    """
    xp, (x,) = together(x)
    if x.ndim != 2 or len(x) < 3 or x.shape[1] == 0:
        raise BlendnetError(f"patterns of shape {tuple(x.shape)} make no RDM; (n_stimuli >= 3, n_features) are needed")
    place = not_finite(xp, x, min(4096, max_bytes // len(x)))
    if place is not None:
        raise BlendnetError(f"feature {place[1]} is {float(x[place])} at stimulus {place[0]}; leave it out")
    return dissimilarities(xp, x, None, distance=distance, max_bytes=max_bytes)


def n_stimuli(rdms: Array) -> int:
    """How many stimuli an RDM vector (..., n_pairs) is about; BlendnetError where n_pairs is not n(n-1)/2."""
    n_pairs = np.shape(rdms)[-1]
    n = round((1 + float(np.sqrt(1 + 8 * n_pairs))) / 2)
    if n * (n - 1) // 2 != n_pairs or n < 2:
        raise BlendnetError(f"an RDM vector of {n_pairs} pairs belongs to no number of stimuli; n(n-1)/2 are needed")
    return n


def subset(rdms: np.ndarray, index: np.ndarray) -> np.ndarray:
    """RDMs of some stimuli: (..., n_pairs), index (m,) -> (..., m * (m - 1) / 2), in the order of index.

    A stimulus may be repeated, as in a resample: a pair of a stimulus with itself is NaN.
    """
    rdms, index = np.asarray(rdms, dtype=np.float64), np.asarray(index)
    return square(rdms, diagonal=np.nan)[..., index[:, None], index][..., *np.triu_indices(len(index), 1)]


def square(rdms: np.ndarray, *, diagonal: float = 0.0) -> np.ndarray:
    """(..., n_pairs) -> symmetric (..., n_stimuli, n_stimuli)."""
    n = n_stimuli(rdms)
    i, j = np.triu_indices(n, 1)
    full = np.full((*np.shape(rdms)[:-1], n, n), diagonal)
    full[..., i, j] = full[..., j, i] = rdms
    return full


def compare(a: np.ndarray, b: np.ndarray, method: str = "spearman") -> np.ndarray:
    """Similarity of RDMs: a (*A, n_pairs), b (*B, n_pairs) -> float64 (*A, *B), between -1 and 1.

    method: 'spearman' (ties get mean ranks), 'pearson', 'cosine', 'whitened' (Pearson after whitening by the
    covariance of dissimilarity estimates, rsatoolbox's corr_cov), 'whitened_cosine' (cosine_cov: linear CKA).
    Pairs that are NaN in any RDM are left out of all. NaN where an RDM does not vary.
    Raises BlendnetError for RDMs of different sizes and fewer than 3 common pairs.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape[-1] != b.shape[-1]:
        raise BlendnetError(
            f"RDMs of {n_stimuli(a)} and {n_stimuli(b)} stimuli cannot be compared; take the common stimuli of both"
        )
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    kept = ~(np.isnan(flat_a).any(axis=0) | np.isnan(flat_b).any(axis=0))
    if kept.sum() < 3:
        raise BlendnetError(f"the RDMs have {int(kept.sum())} pairs of stimuli in common; at least 3 are needed")
    points_a, points_b = _points(flat_a, kept, method), _points(flat_b, kept, method)
    return (points_a @ points_b.T).clip(-1.0, 1.0).reshape(a.shape[:-1] + b.shape[:-1])


def pool(rdms: np.ndarray, method: str = "spearman") -> np.ndarray:
    """One RDM of several subjects, (n_subjects, n_pairs) -> (n_pairs,): the one nearest to all by this method.

    Mean of ranks (spearman), of z-scores (pearson, whitened), of RDMs of equal length (cosine,
    whitened_cosine).
    """
    rdms = np.asarray(rdms, dtype=np.float64)
    kept = ~np.isnan(rdms).any(axis=0)
    values = rdms[:, kept]
    if method == "spearman":
        values = _ranks(values)
    elif method in ("pearson", "whitened"):
        values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    elif method in ("cosine", "whitened_cosine"):
        values = values / np.sqrt((values**2).mean(axis=1, keepdims=True))
    else:
        raise unknown("method", method, METHODS)
    pooled = np.full(rdms.shape[1], np.nan)
    pooled[kept] = values.mean(axis=0)
    return pooled


def score(x: np.ndarray, brain_rdms: np.ndarray, *, method: str = "spearman") -> np.ndarray:
    """Similarity of a layer with each subject's RDM; float64 (n_subjects,).

    x: features (n_stimuli, n_features) of the same stimuli in the same order; brain_rdms: (n_subjects,
    n_pairs).
    """
    return compare(rdm(x), np.atleast_2d(brain_rdms), method)


def score_responses(
    x: Array,
    y: Array,
    splits: Splits | None = None,
    *,
    method: str = "spearman",
    distance: str = "correlation",
    max_bytes: int = 2**32,
) -> np.ndarray:
    """Similarity of the RDM of x (n_stimuli, n_features) with that of responses y (n_stimuli, n_neuroids).

    In the form of the other metrics: splits None: over all stimuli, float64 (1, 1); with splits: over the test stimuli
    of each, (n_splits, 1); nothing is fitted, the training stimuli are not used. Torch tensors stay on their device.
    max_bytes: bound on the working memory beside x and y (in float64). All pairs are ranked together, so that n stimuli
    take at least 32 n^2 bytes (36 for ranks, 60 where they are whitened). Raises BlendnetError where max_bytes is less,
    as `rdm`, for fewer than 3 (test) stimuli and unequal numbers of stimuli.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    xp, x, y = checked(x, y, splits, n_train=0, n_test=3)
    tests = [None] if splits is None else [np.asarray(test) for _, test in splits]
    n = max(len(x) if test is None else len(test) for test in tests)
    needed = _BYTES[method] * n * n
    if max_bytes < needed:
        raise BlendnetError(
            f"max_bytes {max_bytes} is too little for all pairs of {n} stimuli; give at least {needed}, or splits with "
            "fewer test stimuli"
        )
    found = []
    for test in tests:
        points = []
        for side in (x, y):
            values = dissimilarities(xp, side, test, distance=distance, max_bytes=max_bytes // 2)
            points.append(_point(xp, values, method))
            del values
        found.append([np.clip(float(points[0] @ points[1]), -1.0, 1.0)])
    return np.array(found)


def _point(xp: ModuleType, values: Array, method: str) -> Array:
    """An RDM (n_pairs,) without missing pairs as a vector of unit length, as `_points`."""
    if xp is np:
        return _points(values[None], np.ones(len(values), dtype=bool), method)[0]
    from analysis.similarity._rsa_torch import point

    return point(values, method)


def ceiling(brain_rdms: np.ndarray, method: str = "spearman") -> tuple[float, float]:
    """(lower, upper) bound of the mean similarity with the subjects that any model can reach.

    Upper: the pooled RDM of all subjects against each; lower: that of the others against each (Nili et al.
    2014; rsatoolbox's boot_noise_ceiling). brain_rdms: (n_subjects, n_pairs); (nan, nan) for one subject.
    """
    brain_rdms = np.atleast_2d(np.asarray(brain_rdms, dtype=np.float64))
    n = len(brain_rdms)
    if n < 2:
        return float("nan"), float("nan")
    upper = compare(pool(brain_rdms, method), brain_rdms, method).mean()
    others = [float(compare(pool(np.delete(brain_rdms, i, axis=0), method), brain_rdms[i], method)) for i in range(n)]
    return float(np.mean(others)), float(upper)


def _points(rdms: np.ndarray, kept: np.ndarray, method: str) -> np.ndarray:
    """Vectors of unit length (n_rdms, n) whose inner products are the similarities.

    An RDM of thousands of stimuli is hundreds of megabytes, so that no copy of it is made that is not needed.
    """
    values = rdms if kept.all() else rdms[:, kept]
    if method == "spearman":
        points = _ranks(values)
    elif method in ("pearson", "cosine"):
        points = values.copy()
    elif method in ("whitened", "whitened_cosine"):
        filled = np.where(kept, rdms, 0.0)
        if method == "whitened":
            filled = np.where(kept, filled - filled.sum(axis=1, keepdims=True) / kept.sum(), 0.0)
        points = _whitened(filled, kept)
    else:
        raise unknown("method", method, METHODS)
    if method in ("spearman", "pearson"):
        points -= points.mean(axis=1, keepdims=True)
    length = np.sqrt((points * points).sum(axis=1, keepdims=True))
    most = np.maximum(values.max(axis=1, keepdims=True), -values.min(axis=1, keepdims=True))
    flat = length <= 1e-12 * most * np.sqrt(kept.sum())
    points /= np.where(flat, 1.0, length)
    points[flat[:, 0]] = np.nan
    return points


def _ranks(rows: np.ndarray) -> np.ndarray:
    """Mean ranks (r, n), from 1, of each row; those of scipy's rankdata, which holds about twice as many copies."""
    out = np.empty(rows.shape)
    for row, ranks in zip(rows, out):
        order = np.argsort(row)
        ordered = row[order]
        new = ordered[1:] != ordered[:-1]
        del ordered
        if new.all():
            ranks[order] = np.arange(1.0, len(row) + 1.0)
            continue
        last = np.append(np.flatnonzero(new), len(row) - 1)
        size = np.diff(last, prepend=-1)
        ranks[order] = np.repeat(last - 0.5 * (size - 1) + 1.0, size)
    return out


def _whitened(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """RDMs (n_rdms, n_pairs) as second moments whose entries are independent and equally noisy.

    G = -D/2 without its row and column means, the entries off the diagonal, which occur twice, times sqrt(2):
    then inner products are those that the inverse covariance of dissimilarities gives (Diedrichsen et al.
    2021). Where pairs are missing, the row effects a_i + a_j are those of a least-squares fit to the pairs
    that are there.
    """
    n = n_stimuli(values)
    i, j = np.triu_indices(n, 1)
    g = -0.5 * values[:, kept]
    i, j = i[kept], j[kept]
    there = np.zeros((n, n))
    there[i, j] = there[j, i] = 1.0
    sums = np.zeros((len(values), n))
    for row, out in zip(g, sums):
        out += np.bincount(i, row, n) + np.bincount(j, row, n)
    normal = 0.5 * there + np.diag(0.5 * there.sum(axis=1) + 1.0)
    effect = np.linalg.solve(normal, sums.T).T
    return np.hstack([np.sqrt(2.0) * (g - 0.5 * (effect[:, i] + effect[:, j])), -effect])
