"""Seeds within networks, all of them tested on the same stimuli: what the mean difference would do if seeds, networks
and stimuli were drawn again.

The bootstrap of stimuli (and neuroids) is carried through: its samples give the covariance of the differences. Seeds
and networks are too few for it: n of them drawn again spread by sqrt((n - 1) / n) of what they should, and their
quantiles know no t distribution, while the images, which are in the spread of the seeds already, count twice. Which
error wins depends on the design (`percentile`, kept to show that: benchmarks/_calibration_effects.py). Here the spread
of seeds and networks is estimated and its degrees of freedom kept (paired.py), and of the stimuli only what they do to
all seeds alike is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_NETWORKS = 3  # with fewer, networks are not drawn: the interval speaks of these ones
_NOTHING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """value: mean over networks of the mean over seeds; parts: (variance of it, degrees of freedom) for each source
    drawn; drawn: of 'networks', 'seeds', 'stimuli'; flat: no interval, since the units' differences are all alike."""

    value: float
    parts: tuple[tuple[float, float], ...]
    drawn: tuple[str, ...]
    flat: bool = False


def estimate(values: Sequence[np.ndarray], covariance: np.ndarray | None = None, n_stimuli: int = 0) -> Estimate:
    """Mean difference over networks and what its variance is made of.

    values: for each network, the differences (n_seeds,); covariance: (n, n) of all of them in that order, from drawing
    the stimuli again (`blends_covariance`, `samples_covariance`), or None where that is not known; n_stimuli: gives its
    degrees of freedom.

    With 3 networks or more: variance of their means / n_networks, which holds seeds and networks. With 1 or 2, each of
    2 seeds or more: for each network its variance over seeds / n_seeds / n_networks^2; the networks are fixed. Else
    neither is drawn and the stimuli alone remain, with their whole variance. No parts where nothing could be drawn, or
    where the differences of the units are equal to the last digit: rates of few images can be, and a spread of zero
    would make an interval without width.
    """
    values = [np.asarray(v, dtype=float) for v in values]
    sizes = [len(v) for v in values]
    count = len(values)
    means = np.array([v.mean() for v in values])
    value = float(means.mean())
    stimuli = ("stimuli",) if covariance is not None else ()
    parts: list[tuple[float, float]] = []
    if count >= FEWEST_NETWORKS:
        parts.append((float(means.var(ddof=1)) / count, count - 1))
        drawn: tuple[str, ...] = ("networks", "seeds") if max(sizes) > 1 else ("networks",)
    elif min(sizes) > 1:
        parts += [(float(v.var(ddof=1)) / len(v) / count**2, len(v) - 1) for v in values]
        drawn = ("seeds",)
    else:
        drawn = ()
    scale = max(float(np.abs(np.concatenate(values)).max()), _NOTHING)
    if any(variance <= (_NOTHING * scale) ** 2 for variance, _ in parts):
        return Estimate(value, (), drawn + stimuli, True)
    if covariance is not None:
        shared = _shared(np.asarray(covariance, dtype=float), sizes, drawn)
        if not drawn and shared <= (_NOTHING * scale) ** 2:
            return Estimate(value, (), stimuli, True)
        parts.append((shared, max(1, n_stimuli - 1)))
    return Estimate(value, tuple(parts), drawn + stimuli)


def _shared(covariance: np.ndarray, sizes: Sequence[int], drawn: Sequence[str]) -> float:
    """The variance from stimuli that is not yet in the spread of the drawn units: the mean covariance of two of them.

    The spread of units holds, of their covariance C from the stimuli, (mean of the diagonal - mean off it) / n; the
    variance of their mean is that plus the mean off the diagonal."""
    network = np.repeat(np.arange(len(sizes)), sizes)
    average = (network == np.arange(len(sizes))[:, None]) / np.asarray(sizes, dtype=float)[:, None]
    between = average @ covariance @ average.T
    if "networks" in drawn:
        return max(0.0, float(between[~np.eye(len(sizes), dtype=bool)].mean()))
    if "seeds" in drawn:
        for a, n in enumerate(sizes):
            block = covariance[np.ix_(network == a, network == a)]
            between[a, a] = block[~np.eye(n, dtype=bool)].mean()
    return max(0.0, float(between.mean()))


def blends_covariance(differences: np.ndarray, photographs: np.ndarray | None = None) -> np.ndarray:
    """Covariance (n_pairs, n_pairs) of mean differences from drawing the test images again.

    differences: (n_images, n_pairs), attention's outcome minus plain's on the same image; photographs: (n_images, 2),
    the two photographs of each blend, None for images of one object. It is what the bootstrap of images would give in
    infinitely many resamples. Blends that share a photograph are no independent draws, so the covariance of those is
    added, as for any dyads: sum over i, j that are the same or share a photograph of e_i e_j / n^2 (Aronow, Samii,
    Assenova 2015, doi 10.1093/pan/mpv018). Resampling photographs and multiplying their counts (Owen 2007, doi
    10.1214/07-AOAS122) would weight what is peculiar to a blend up to threefold, as each photograph is in only about
    two blends here. Where the sharing comes out negative (chance), the blends count as independent: the larger wins.
    """
    d = np.asarray(differences, dtype=float)
    n = len(d)
    if n < 2:
        return np.full((d.shape[1],) * 2, np.nan)
    e = d - d.mean(axis=0)
    alone = e.T @ e / (n * (n - 1))
    if photographs is None:
        return alone
    _, codes = np.unique(np.asarray(photographs), return_inverse=True)
    codes = np.asarray(codes).reshape(n, 2)  # numpy 2.0 gives another shape
    sums = np.zeros((int(codes.max()) + 1, d.shape[1]))
    np.add.at(sums, codes[:, 0], e)
    np.add.at(sums, codes[:, 1], e)
    together = (sums.T @ sums - e.T @ e) / (n * (n - 1))
    return together if together.sum() > alone.sum() else alone


def samples_covariance(samples: np.ndarray) -> np.ndarray | None:
    """Covariance (n_pairs, n_pairs) of differences from their bootstrap samples (n_boot, n_pairs), each row one
    resample of stimuli and neuroids; resamples without a score are left out; None with fewer than 10 left."""
    samples = np.asarray(samples, dtype=float)
    known = samples[np.isfinite(samples).all(axis=1)]
    return np.atleast_2d(np.cov(known, rowvar=False)) if len(known) >= 10 else None


def percentile(
    values: Sequence[np.ndarray], differences: np.ndarray | None, n_boot: int, rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """Percentile interval of the plain hierarchical bootstrap: networks drawn, within each its seeds, and the images
    alike for all. For comparison only.

    values, differences: as in `estimate` and `blends_covariance`, of one order.
    """
    sizes = [len(v) for v in values]
    deviations = np.zeros((n_boot, sum(sizes)))
    if differences is not None:
        n = len(differences)
        deviations = (rng.multinomial(n, np.full(n, 1 / n), size=n_boot) / n - 1 / n) @ differences
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=n_boot)
    blocks = []
    for a, n in enumerate(sizes):
        # A network drawn twice gets its seeds drawn twice.
        counts = rng.multinomial(drawn[:, a] * n, np.full(n, 1 / n))
        blocks.append(counts / (n * len(sizes)))
    weights = np.concatenate(blocks, axis=1)
    samples = (weights * (np.concatenate(values) + deviations)).sum(axis=1)
    lo, hi = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)
