"""Paired differences: the interval and p of a mean whose variance has several sources, equivalence, and effect size.

A variance is given in parts, (variance of the mean from this source, its degrees of freedom): few seeds say little of
how seeds spread, many images much of how images do. Adding the variances and going by one t distribution of
Satterthwaite's degrees of freedom covers only 87 % where two seeds meet many images, by simulation; the half widths
added in quadrature cover at least 95 %, whatever the shares, and exactly 95 % where one source alone matters (Banerjee
1960, Sankhya 22, 357-376). Both are in the calibration table (benchmarks/_calibration_effects.py).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, nctdtrinc, stdtr, stdtrit

from analysis.stats.twins import sign_flip_p

__all__ = ["half_width", "hedges_g", "interval", "one_sided_p", "sign_flip_floor", "sign_flip_p", "tost_p"]
Parts = Sequence[tuple[float, float]]  # (variance of the mean, degrees of freedom), one for each source
_RANDOM_FLIPS, _EXACT = 10_000, 16  # as in twins.sign_flip_p


def half_width(parts: Parts, level: float = 0.95) -> float:
    """Half of the interval's width: sqrt(sum of t(df)^2 times variance) over the parts; NaN without parts."""
    if not parts:
        return float("nan")
    variance, df = np.array(parts, dtype=float).T
    return float(np.sqrt(np.sum(stdtrit(df, 0.5 + level / 2) ** 2 * variance)))


def interval(value: float, parts: Parts, level: float = 0.95) -> tuple[float, float]:
    """(lo, hi) around value; NaN without parts. Not cut to any range."""
    half = half_width(parts, level)
    return value - half, value + half


def one_sided_p(distance: float, parts: Parts) -> float:
    """p of an estimate that lies `distance` above the null, against it being above: the p at which the one-sided limit
    of `interval` meets the null. Over .5 for a negative distance; NaN without parts or without any variance."""
    if not parts or not sum(variance for variance, _ in parts) > 0 or not np.isfinite(distance):
        return float("nan")
    if distance < 0:
        return 1 - one_sided_p(-distance, parts)
    if half_width(parts, 1 - 2 * 1e-12) <= distance:
        return 1e-12  # further out the quantiles of t lose their digits
    return float(brentq(lambda p: half_width(parts, 1 - 2 * p) - distance, 1e-12, 0.5, xtol=1e-13))


def tost_p(value: float, parts: Parts, margin: float) -> float:
    """p of the claim that the true value lies within -margin to margin: the larger p of the two one-sided tests.

    Below .05 exactly where the 90 % interval lies within the margin (Schuirmann 1987, doi 10.1007/BF01068419). NaN
    without parts.
    """
    return float(np.maximum(one_sided_p(value + margin, parts), one_sided_p(margin - value, parts)))


def sign_flip_floor(n: int) -> float:
    """The smallest p that `twins.sign_flip_p` can give with n differences: 2 / 2^n where exact; NaN for n < 2."""
    if n < 2:
        return float("nan")
    return 2.0 / 2**n if n <= _EXACT else 1.0 / (_RANDOM_FLIPS + 1)


def hedges_g(d: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(g, lo, hi): mean of the paired differences d (n,) in units of their own standard deviation (g_z).

    g = J(n - 1) mean / sd with the exact factor J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), without which few
    differences overstate the effect (Hedges 1981, doi 10.3102/10769986006002107). The interval is that of the true
    mean / sd, by inverting the noncentral t of sqrt(n) mean / sd (Steiger 2004, doi 10.1037/1082-989X.9.2.164). NaN for
    n < 3: J(1) is 0, two differences say nothing of their standard deviation; NaN where the differences are all alike.
    """
    d = np.asarray(d, dtype=float)
    n = len(d)
    nothing = (float("nan"),) * 3
    if n < 3:
        return nothing
    sd = d.std(ddof=1)
    if not sd > 1e-12 * max(1e-12, np.abs(d).max()):
        return nothing
    m = n - 1
    j = np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2)
    z = d.mean() / sd
    tail = (1 - level) / 2
    ends = [_noncentrality(m, 1 - tail, np.sqrt(n) * z), _noncentrality(m, tail, np.sqrt(n) * z)]
    return float(j * z), float(ends[0] / np.sqrt(n)), float(ends[1] / np.sqrt(n))


def _noncentrality(df: float, p: float, value: float) -> float:
    """The noncentrality at which the noncentral t of df has probability p below value."""
    # The library's inverse works for positive noncentralities only, below which the mirror image holds.
    if stdtr(df, value) > p:
        return float(nctdtrinc(df, p, value))
    return -float(nctdtrinc(df, 1 - p, -value))
