"""How sure is a similarity of RDMs: crossed bootstrap over stimuli and subjects, at the cost of one sort.

Resampling stimuli and subjects together counts the noise of a single measurement in both (the variance of the
crossed bootstrap is about (stimuli) + (subjects) + 3 (rest)). The 2-factor estimate of Schuett, Kipnis, Diedrichsen,
Kriegeskorte 2023 (doi 10.7554/eLife.82566) puts it right from three bootstraps on the same draws: over both, over
subjects alone and over stimuli alone. It is what rsatoolbox's eval_dual_bootstrap does, here without building a
single resampled RDM:

- A resample that holds stimulus i t_i times holds pair (i, j) t_i t_j times, and leaves out the pairs of a stimulus
  with its copies. So it only weights the pairs.
- Pearson and cosine need weighted sums of products of two RDMs; with P the products as a square matrix the sum is
  t'Pt, for all resamples one matrix product.
- Spearman needs the ranks within the resample. The pairs are sorted once; the doubled mean rank of a pair is the
  sum of the weights before its run of ties, plus that up to its end, plus 1: cumulative sums, whole numbers, exact.
- A pooled RDM of subjects (for the ceiling) is a sum of such whole numbers; its own ranks come from a sort by digits.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from analysis.similarity import rsa
from blendnet import _openmp
from blendnet.errors import BlendnetError

WAYS = ("both", "subjects", "stimuli")
# Bytes of the arrays that quadratic forms hold at once.
_BYTES = 2**28


class Bootstrap(NamedTuple):
    """What `bootstrap` found, for n_models RDMs.

    score (n_models,): mean similarity over subjects; samples (n, 3, n_models): the same in each resample, by WAYS
    (a way that there is none of, subjects for a single one, repeats `score`); variance (n_models,) and
    difference_variance (n_models, n_models): of the score and of differences of two, 2-factor estimates; lo, hi
    (n_models,): 95 % t interval of the score, within -1 and 1; ceiling (2,): lower and upper noise ceiling;
    ceiling_samples (n, 3, 2); dof: degrees of freedom.
    """

    score: np.ndarray
    samples: np.ndarray
    variance: np.ndarray
    difference_variance: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    ceiling: tuple[float, float]
    ceiling_samples: np.ndarray
    dof: int


class _Similar(NamedTuple):
    """Similarities in one resample of stimuli: models with subjects (n_models, n_subjects); a pool of subjects, each
    counted (n_subjects,) times, with subjects (n_subjects,)."""

    models: np.ndarray
    pooled: Callable[[np.ndarray], np.ndarray]


def bootstrap(
    model_rdms: np.ndarray,
    brain_rdms: np.ndarray,
    *,
    method: str = "spearman",
    n: int = 1000,
    seed: int | np.random.Generator = 0,
    groups: np.ndarray | None = None,
    subjects: bool = True,
    ceilings: bool = True,
    threads: int | None = None,
    device: str | None = None,
) -> Bootstrap:
    """Mean similarity of each model with the subjects, its noise ceiling, and how both vary with the draw.

    model_rdms: (n_models, n_pairs); brain_rdms: (n_subjects, n_pairs), resampled where there are several and
    `subjects` is true; method: any of rsa.METHODS; n: resamples; groups: n_stimuli labels that are drawn whole
    (clips); ceilings: false leaves the ceilings out (NaN), which the whitened methods always do; threads: default all
    that this process may use (the numbers do not depend on it); device: e.g. 'cuda', where Spearman then runs in
    PyTorch, many resamples at a time. Resamples with fewer than 3 different stimuli are NaN and enter no variance.
    Raises BlendnetError for NaN and unequal sizes.
    """
    models = np.atleast_2d(np.asarray(model_rdms, dtype=float))
    brain = np.atleast_2d(np.asarray(brain_rdms, dtype=float))
    if np.isnan(models).any() or np.isnan(brain).any():
        raise BlendnetError("an RDM holds NaN; take the subset of stimuli that all RDMs have before the bootstrap")
    if n < 2:
        raise BlendnetError(f"a bootstrap of {n} resamples has no variance; use 2 or more, 1000 for an interval")
    score = rsa.compare(models, brain, method).mean(axis=1)
    times, drawn, n_groups = draws(rsa.n_stimuli(models), len(brain), n, seed, groups)
    several = subjects and len(brain) > 1
    if not several:
        drawn = np.ones_like(drawn)
    ceilings = ceilings and len(brain) > 1 and not method.startswith("whitened")
    samples = np.full((n, 3, len(models)), np.nan)
    found = np.full((n, 3, 2), np.nan)
    whole = np.ones(len(brain), int)

    enough = (times > 0).sum(axis=1) >= 3  # with two stimuli there is one pair

    by_subjects: dict[bytes, tuple[float, float]] = {}  # with few subjects the same draws come again and again

    def fill(s: int, same: _Similar) -> None:
        if not enough[s]:
            return
        for way, (now, counts) in enumerate(((same, drawn[s]), (base, drawn[s]), (same, whole))):
            samples[s, way] = now.models @ counts / counts.sum()
            if ceilings and now is base:
                key = counts.tobytes()
                found[s, way] = by_subjects[key] = by_subjects.get(key) or _ceiling(now.pooled, counts)
            elif ceilings:
                found[s, way] = _ceiling(now.pooled, counts)

    def fill_all(part: list[int]) -> None:
        for s, same in zip(part, similar(part)):
            fill(s, same)

    if device is not None and method == "spearman":
        import torch

        from analysis.similarity import _rsa_torch

        a, b = torch.as_tensor(models, device=device), torch.as_tensor(brain, device=device)
        samples, found = _rsa_torch.spearman(a, b, times, drawn, ceilings=ceilings)
    else:
        similar = _resampler(models, brain, method, np.concatenate([times, np.ones((1, times.shape[1]), int)]))
        base = next(iter(similar([n])))  # every stimulus once
        # The whitened methods spend their time in linear algebra that is threaded itself; threads over it only collide.
        _in_threads(n, 1 if method.startswith("whitened") else threads, fill_all)
    variance, difference = variances(samples, len(brain) if several else None, n_groups)
    dof = min(len(brain) if several else n_groups, n_groups) - 1
    half = student.ppf(0.975, dof) * np.sqrt(variance) if dof > 0 else np.full(len(models), np.nan)
    lower_upper = rsa.ceiling(brain, method) if len(brain) > 1 else (float("nan"), float("nan"))
    return Bootstrap(
        score, samples, variance, difference,
        (score - half).clip(-1, 1), (score + half).clip(-1, 1), lower_upper, found, dof,
    )  # fmt: skip


def draws(
    n_stimuli: int, n_subjects: int, n: int, seed: int | np.random.Generator, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """How often each stimulus (n, n_stimuli) and subject (n, n_subjects) is drawn in each resample; number of groups.

    groups: n_stimuli labels that are drawn whole; None: each stimulus by itself.
    """
    labels = np.arange(n_stimuli) if groups is None else np.unique(groups, return_inverse=True)[1]
    if len(labels) != n_stimuli:
        raise BlendnetError(f"groups has {len(labels)} labels, but the RDMs are about {n_stimuli} stimuli")
    n_groups = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    times, drawn = np.empty((n, n_stimuli), int), np.empty((n, n_subjects), int)
    for s in range(n):  # in turn, so that the first resamples are the same whatever n
        times[s] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)[labels]
        drawn[s] = np.bincount(rng.integers(n_subjects, size=n_subjects), minlength=n_subjects)
    return times, drawn, n_groups


def variances(samples: np.ndarray, n_subjects: int | None, n_stimuli: int) -> tuple[np.ndarray, np.ndarray]:
    """Variance of each model's score (n_models,) and of each difference (n_models, n_models) from samples by WAYS.

    samples: (n, 3, n_models). With v_both, v_subjects, v_stimuli the variances of the three bootstraps, s = S / (S - 1)
    for S subjects and p likewise for stimuli: s v_subjects + p v_stimuli - s p (v_both - v_subjects - v_stimuli), not
    below either of the first two terms and not above v_both (Schuett et al. 2023). n_subjects None: only stimuli were
    drawn, p v_stimuli.
    """
    kept = samples[np.isfinite(samples).all(axis=(1, 2))]
    if len(kept) < 2:
        nothing = np.full(samples.shape[2], np.nan)
        return nothing, np.full((len(nothing), len(nothing)), np.nan)
    centred = kept - kept.mean(axis=0)
    covariance = np.einsum("nwi,nwj->wij", centred, centred) / (len(kept) - 1)
    own = np.einsum("wii->wi", covariance)
    apart = own[:, :, None] + own[:, None, :] - 2 * covariance
    return _two_factor(own, n_subjects, n_stimuli), _two_factor(apart, n_subjects, n_stimuli)


def _two_factor(v: np.ndarray, n_subjects: int | None, n_stimuli: int) -> np.ndarray:
    p = n_stimuli / (n_stimuli - 1)
    if n_subjects is None:
        return p * v[2]
    s = n_subjects / (n_subjects - 1)
    both, by_subjects, by_stimuli = v
    found = s * by_subjects + p * by_stimuli - s * p * (both - by_subjects - by_stimuli)
    return np.minimum(np.maximum(found, np.maximum(s * by_subjects, p * by_stimuli)), both)


def _ceiling(pooled: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> tuple[float, float]:
    """Lower and upper ceiling over the different subjects of a resample (Nili et al. 2014); NaN for fewer than two."""
    there = np.flatnonzero(counts)
    upper = float(pooled(counts)[there].mean())
    if len(there) < 2:
        return float("nan"), upper
    lower = [pooled(np.where(np.arange(len(counts)) == s, 0, counts))[s] for s in there]
    return float(np.mean(lower)), upper


def _in_threads(n: int, threads: int | None, work: Callable[[list[int]], None]) -> None:
    """work(numbers) over all resamples, in as many threads as asked for; numpy's inner loops run side by side."""
    parts = [list(range(s, min(n, s + 32))) for s in range(0, n, 32)]
    with ThreadPoolExecutor(threads or _openmp.threads()) as pool:
        for _ in pool.map(work, parts):
            pass


def _resampler(
    models: np.ndarray, brain: np.ndarray, method: str, times: np.ndarray
) -> Callable[[list[int]], Iterator[_Similar]]:
    """For each of the resamples (rows of times (n, n_stimuli)) with these numbers, the similarities in it."""
    rows = np.concatenate([models, brain])
    if method == "spearman":
        i, j = np.triu_indices(times.shape[1], 1)
        sorted_rows = [_sort(row) for row in rows]
        return lambda part: _spearmans(sorted_rows, len(models), i, j, times[part])
    if method.startswith("whitened"):
        return lambda part: (_whole(models, brain, method, times[s]) for s in part)
    sums = _weighted_sums(rows, len(models), times, centre=method == "pearson")
    return lambda part: (_from_products(sums[s], len(models), len(brain), method) for s in part)


class _Sorted(NamedTuple):
    """One RDM: its pairs from the least to the most dissimilar; the place of each pair in that order; where the run
    of ties of the pair at each place begins, and ends (None: no ties)."""

    order: np.ndarray
    place: np.ndarray
    begin: np.ndarray | None
    end: np.ndarray | None


def _sort(values: np.ndarray) -> _Sorted:
    order = np.argsort(values)  # not stable: within a run of ties it does not matter, and it is three times as fast
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    new = np.concatenate([[True], np.diff(values[order]) != 0])
    if new.all():
        return _Sorted(order, place, None, None)
    starts, run = np.flatnonzero(new), np.cumsum(new) - 1
    return _Sorted(order, place, starts[run], np.append(starts[1:], len(order))[run])


def _spearmans(
    rows: list[_Sorted], n_models: int, i: np.ndarray, j: np.ndarray, times: np.ndarray
) -> Iterator[_Similar]:
    """The similarities in each resample (rows of times (n, n_stimuli)); i, j: the stimuli of each pair (n_pairs,)."""
    # Memory for all of them: what is allocated anew for each costs as much as what is done in it.
    counts, ordered, total = np.empty(len(i), int), np.empty(len(i), int), np.zeros(len(i) + 1, np.int64)
    for own in times:
        np.take(own, i, out=counts, mode="clip")
        np.take(own, j, out=ordered, mode="clip")
        counts *= ordered
        kept = np.flatnonzero(counts)
        held = counts[kept]
        ranks = np.empty((len(rows), len(kept)), np.int64)
        for out, row in zip(ranks, rows):
            # Twice the mean rank of each kept pair in a list that holds each pair `counts` times.
            np.take(counts, row.order, out=ordered, mode="clip")
            np.cumsum(ordered, out=total[1:])
            place = row.place[kept]
            if row.begin is None or row.end is None:
                np.take(total, place, out=out, mode="clip")
                out *= 2
                out += held
            else:
                np.add(total[row.begin[place]], total[row.end[place]], out=out)
            out += 1
        yield _spearman(ranks, n_models, held)


def _spearman(ranks: np.ndarray, n_models: int, counts: np.ndarray) -> _Similar:
    """ranks (n_rows, m): doubled, of the pairs in a resample; counts (m,): how often it holds each."""
    weights = counts.astype(float)
    points = _standard(ranks, weights)
    brain, drawn = points[n_models:] * weights, ranks[n_models:]

    def pooled(times: np.ndarray) -> np.ndarray:
        point = _standard(_ranks_of_whole(times @ drawn, counts)[None], weights)[0]
        return (brain @ point).clip(-1, 1)

    return _Similar((points[:n_models] @ brain.T).clip(-1, 1), pooled)


def _standard(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows (r, m) minus their weighted mean and of weighted length 1; NaN where flat."""
    points = rows - (rows @ weights / max(weights.sum(), 1.0))[:, None]
    length = np.sqrt((points * points) @ weights)
    points /= np.where(length > 0, length, np.nan)[:, None]
    return points


def _ranks_of_whole(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Doubled mean ranks (m,) of whole numbers >= 0 in a list that holds each of them `weights` times.

    Sorted by one digit of 16 bits after the other, the only stable sort of numpy that takes linear time.
    """
    order = np.argsort((values & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(16, int(values.max(initial=0)).bit_length(), 16):
        digit = (values[order] >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
    ordered = values[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    upto = np.cumsum(weights[order])[last]
    doubled = upto.copy()
    doubled[1:] += upto[:-1]
    out = np.empty(len(values), np.int64)
    out[order] = np.repeat(doubled + 1, np.diff(last, prepend=-1))
    return out


def _weighted_sums(rows: np.ndarray, n_models: int, times: np.ndarray, *, centre: bool) -> np.ndarray:
    """Sums over pairs, weighted by each resample: 1, rows, squares, products with each subject.

    Returns (n, 1 + r + r * (1 + n_subjects)) for r rows, the last block being [square, products...] a row.
    """
    i, j = np.triu_indices(times.shape[1], 1)
    scale = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(scale > 0, scale, 1.0)
    if centre:  # on all pairs first: differences of sums of squares stay accurate
        rows = rows - rows.mean(axis=1, keepdims=True)
    vectors: list[tuple[np.ndarray, np.ndarray | None]] = [(np.ones(len(i)), None)] + [(row, None) for row in rows]
    for row in rows:
        vectors += [(row, row)] + [(row, other) for other in rows[n_models:]]
    t = times.astype(float)
    out = np.empty((len(times), len(vectors)))
    square = np.zeros((times.shape[1], times.shape[1]))
    step = max(1, _BYTES // (8 * times.shape[1]))
    for c, (a, b) in enumerate(vectors):
        square[i, j] = a if b is None else a * b
        for s in range(0, len(t), step):
            out[s : s + step, c] = np.einsum("nk,nk->n", t[s : s + step] @ square, t[s : s + step])
    return out


def _from_products(sums: np.ndarray, n_models: int, n_subjects: int, method: str) -> _Similar:
    """Similarities from one resample's weighted sums."""
    n_rows = n_models + n_subjects
    total, means = sums[0], sums[1 : 1 + n_rows]
    block = sums[1 + n_rows :].reshape(n_rows, -1)
    square, products = block[:, 0], block[:, 1:]
    if method == "pearson":
        means = means / max(total, 1.0)
        square = square - total * means**2
        products = products - total * means[:, None] * means[None, n_models:]
    length = np.sqrt(np.where(square > 1e-12 * np.maximum(block[:, 0], 1e-300), square, np.nan))
    g = (products / length[:, None] / length[None, n_models:]).clip(-1, 1)
    brain = g[n_models:]

    def pooled(counts: np.ndarray) -> np.ndarray:
        return counts @ brain / np.sqrt(counts @ brain @ counts)

    return _Similar(g[:n_models], pooled)


def _whole(models: np.ndarray, brain: np.ndarray, method: str, times: np.ndarray) -> _Similar:
    """The whitened comparisons: their weights are no product, so that the resampled RDMs are built."""
    index = np.repeat(np.arange(len(times)), times)
    if (times > 0).sum() < 3:
        return _Similar(np.full((len(models), len(brain)), np.nan), lambda counts: np.full(len(brain), np.nan))
    resampled = rsa.subset(np.concatenate([models, brain]), index)
    found = rsa.compare(resampled[: len(models)], resampled[len(models) :], method)
    return _Similar(found, lambda counts: np.full(len(brain), np.nan))
