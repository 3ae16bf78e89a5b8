"""Many tests at once: p adjusted so that a table of comparisons can be read for what stands out in it."""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Step-down p, which hold the chance of any false rejection at their level however the tests depend on each other.

    p: (n,), NaN where there is no test: these stay NaN and are not counted. The i-th smallest of m becomes the largest
    of (m - j + 1) p_(j) over j <= i, cut at 1. Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    out = np.full(p.shape, np.nan)
    order = known[np.argsort(p[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Step-up p, which hold the expected share of false rejections among all of them at their level, for tests that
    are independent or depend positively.

    p: (n,), NaN as in `holm`. The i-th smallest of m becomes the smallest of m p_(j) / j over j >= i, cut at 1.
    Benjamini and Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    out = np.full(p.shape, np.nan)
    order = known[np.argsort(-p[known], kind="stable")]
    m = len(order)
    out[order] = np.minimum(np.minimum.accumulate(p[order] * m / np.arange(m, 0, -1)), 1.0)
    return out
