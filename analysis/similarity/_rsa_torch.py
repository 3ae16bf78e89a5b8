"""RSA on a PyTorch device, the same numbers: RDMs as points, and the Spearman bootstrap, many resamples at a time."""

import numpy as np
import torch
from torch import Tensor

from analysis.similarity.rsa import n_stimuli


def spearman(
    models: Tensor,
    brain: Tensor,
    times: np.ndarray,
    drawn: np.ndarray,
    *,
    ceilings: bool,
    max_bytes: int = 2**30,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean similarities (n, 3, n_models) and ceilings (n, 3, 2) by rsa_bootstrap.WAYS; NaN where there are none.

    models (n_models, n_pairs), brain (n_subjects, n_pairs): on one device; times (n, n_stimuli), drawn (n,
    n_subjects): how often each is drawn; max_bytes: about what the ranks of one batch of resamples take.
    """
    device, n_models, n_subjects = models.device, len(models), len(brain)
    rows = torch.cat([models, brain]).double()
    i, j = torch.triu_indices(times.shape[1], times.shape[1], 1, device=device)
    tables = [_sort(row) for row in rows]
    step = max(1, max_bytes // (8 * rows.numel() * 3))
    samples = np.full((len(times), 3, n_models), np.nan)
    found = np.full((len(times), 3, 2), np.nan)
    whole = torch.ones_like(torch.as_tensor(drawn[:1]), device=device)
    base_times = torch.ones((1, times.shape[1]), dtype=torch.int64, device=device)
    base = _ranks(tables, base_times[:, i] * base_times[:, j])
    for start in range(0, len(times), step):
        stop = min(len(times), start + step)
        t = torch.as_tensor(times[start:stop], device=device)
        counts = t[:, i] * t[:, j]
        now = _ranks(tables, counts)
        s = torch.as_tensor(drawn[start:stop], device=device)
        same = torch.ones((stop - start, len(i)), dtype=torch.int64, device=device)
        bases = base.expand(stop - start, -1, -1)
        ways = ((now, counts, s), (bases, same, s), (now, counts, whole.expand(stop - start, -1)))
        for way, (ranks, weights, subjects) in enumerate(ways):
            points = _standard(ranks, weights)
            weighted = points[:, n_models:] * weights[:, None]
            similar = (points[:, :n_models] @ weighted.transpose(1, 2)).clamp(-1, 1)  # (batch, models, subjects)
            share = subjects.double() / subjects.sum(1, keepdim=True)
            samples[start:stop, way] = (similar @ share[:, :, None])[:, :, 0].cpu().numpy()
            if ceilings:
                bounds = _ceilings(ranks[:, n_models:], weights, weighted, subjects, n_subjects)
                found[start:stop, way] = bounds.cpu().numpy()
    few = (times > 0).sum(axis=1) < 3
    samples[few], found[few] = np.nan, np.nan
    return samples, found


def point(values: Tensor, method: str) -> Tensor:
    """An RDM (n_pairs,) without missing pairs as a vector of unit length, as rsa._points; NaN where it is constant."""
    if method == "spearman":
        _, begin, end = _sort(values)
        points = 0.5 * (begin + end + 1).double()
    elif method in ("whitened", "whitened_cosine"):
        points = _whitened(values - values.mean() if method == "whitened" else values)
    else:
        points = values
    if method in ("spearman", "pearson"):
        points = points - points.mean()
    length = (points * points).sum().sqrt()
    flat = length <= 1e-12 * values.abs().max() * len(values) ** 0.5
    return points / torch.where(flat, torch.nan, length)


def _whitened(values: Tensor) -> Tensor:
    """rsa._whitened of all pairs: their row effects are a row's sum less half of the mean, over n / 2."""
    n = n_stimuli(values)
    i, j = torch.triu_indices(n, n, 1, device=values.device)
    g = -0.5 * values
    sums = torch.zeros(n, dtype=g.dtype, device=g.device).index_add_(0, i, g).index_add_(0, j, g)
    effect = (sums - 0.5 * sums.mean()) / (0.5 * n)
    return torch.cat([2.0**0.5 * (g - 0.5 * (effect[i] + effect[j])), -effect])


def _sort(row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order of the pairs; for each pair where its run of ties begins and ends in it."""
    ordered, order = torch.sort(row, stable=True)
    return order, torch.searchsorted(ordered, row), torch.searchsorted(ordered, row, right=True)


def _ranks(tables: list[tuple[Tensor, Tensor, Tensor]], counts: Tensor) -> Tensor:
    """Doubled mean ranks (batch, n_rows, n_pairs), int64, in lists that hold each pair `counts` (batch, n_pairs)
    times."""
    return torch.stack([_doubled(counts[:, order], begin, end) for order, begin, end in tables], 1)


def _doubled(ordered_counts: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    total = torch.nn.functional.pad(ordered_counts.cumsum(1), (1, 0))
    if begin.ndim == 1:
        return total[:, begin] + total[:, end] + 1
    return total.gather(1, begin) + total.gather(1, end) + 1


def _standard(ranks: Tensor, weights: Tensor) -> Tensor:
    w = weights.double()[:, None]
    points = ranks.double()
    points = points - (points * w).sum(2, keepdim=True) / w.sum(2, keepdim=True)
    length = (points * points * w).sum(2, keepdim=True).sqrt()
    return points / torch.where(length > 0, length, torch.nan)


def _pooled(drawn: Tensor, weights: Tensor, weighted: Tensor, times: Tensor) -> Tensor:
    """A pool of subjects, each counted `times` (batch, n_subjects), with each subject; (batch, n_subjects)."""
    values = (drawn * times[:, :, None]).sum(1)
    ordered, order = torch.sort(values, dim=1)
    begin, end = torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)
    point = _standard(_doubled(weights.gather(1, order), begin, end)[:, None], weights)
    return (weighted @ point.transpose(1, 2))[:, :, 0].clamp(-1, 1)


def _ceilings(drawn: Tensor, weights: Tensor, weighted: Tensor, times: Tensor, n_subjects: int) -> Tensor:
    """(batch, 2): lower and upper ceiling over the different subjects that were drawn."""
    there = times > 0
    n = there.sum(1)
    upper = torch.where(there, _pooled(drawn, weights, weighted, times), 0.0).sum(1) / n
    lower = torch.zeros_like(upper)
    for s in range(n_subjects):
        others = times.clone()
        others[:, s] = 0
        own = _pooled(drawn, weights, weighted, others)[:, s]
        lower += torch.where(there[:, s] & (n > 1), own, 0.0)
    return torch.stack([torch.where(n > 1, lower / n, torch.nan), upper], 1)
