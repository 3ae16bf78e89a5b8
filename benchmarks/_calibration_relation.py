"""Are the relation and mixed tables calibrated? Simulated networks of which it is known what goes with what.

`rows` gives a table's rows: what was counted, in which design, the nominal and the found share or mean with an interval
for the number of simulations. Points are G architectures x m cells; `shared` is the share of the variance of score and
accuracy that the cells of one architecture have in common. Rows that end in '(not used)' or '(not claimed)' are what a
simpler choice would give, or where a limit of the method lies; permutation p can only be a multiple of 1 over their
number, and the nominal value is the largest one up to 5 %.
"""

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from analysis.stats import correlation, mixed, nested, partial
from analysis.stats.accuracy import wilson
from analysis.stats.correlation import STATISTICS

N_PERMUTATIONS = 199
DESIGNS = ((3, 2), (6, 2), (7, 4))
SHARED = 0.7
# One simulated study gives a value for each name; NaN where there is none.
Study = Callable[[np.random.Generator], dict[str, float]]


def rows(n_simulations: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
    """The table: what, design, nominal (NaN where nothing is claimed), found, lo, hi, n_simulations (of them those that
    had a value); the same for the same arguments. Mixed models, slow to fit, are simulated a seventh as often."""
    out = []
    for i, (design, nominal, study) in enumerate(_cases()):
        rng = np.random.default_rng([seed, i])
        n = max(n_simulations // 7, 10) if "mixed" in design else n_simulations
        studies = [study(rng) for _ in range(n)]
        for what, should in nominal.items():
            values = np.array([one[what] for one in studies])
            values = values[np.isfinite(values)]
            if what.startswith("mean"):
                half = norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
                lo, hi = values.mean() - half, values.mean() + half
            else:
                lo, hi = wilson(values.sum(), len(values))
            out.append({"what": what, "design": design, "nominal": should, "found": float(values.mean()),
                        "lo": float(lo), "hi": float(hi), "n_simulations": len(values)})  # fmt: skip
    return out


def _cases() -> Iterator[tuple[str, dict[str, float], Study]]:
    for networks, cells in DESIGNS:
        for statistic in STATISTICS:
            for shared in (0.0, SHARED):
                yield _no_relation(networks, cells, statistic, shared)
    for networks, cells in ((2, 2), *DESIGNS):
        for statistic in STATISTICS:
            for shared in (0.0, SHARED):
                for rho in (0.5, 0.8):
                    yield _coverage(networks, cells, statistic, shared, rho)
    for networks, cells in ((2, 2), (7, 4)):
        yield _bootstrap(networks, cells)
    for networks, cells, k, shared in ((6, 2, 1, 0.0), (7, 4, 1, 0.0), (7, 4, 1, SHARED), (7, 4, 4, 0.0)):
        for statistic in STATISTICS:
            yield _explained(networks, cells, statistic, k, shared)
    for statistic in STATISTICS:
        yield _partial_coverage(7, 4, statistic)
        yield _limits(7, 4, statistic)
    for networks in (4, 7):
        for slope in (0.0, 0.5):
            yield _mixed(networks, slope)


def points(
    rng: np.random.Generator, networks: int, cells: int, shared: float, rho: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score (n, 1) and accuracy (n,) of unit variance that correlate rho, between architectures as within, and the
    architecture of each point (n,)."""
    groups = np.repeat(np.arange(networks), cells)
    root = np.linalg.cholesky([[1, rho], [rho, 1]])
    both = np.sqrt(shared) * rng.normal(size=(networks, 2))[groups]
    both = (both + np.sqrt(1 - shared) * rng.normal(size=(len(groups), 2))) @ root.T
    return both[:, :1], both[:, 1], groups


def largest_level(networks: int, cells: int, statistic: str, within: bool) -> float:
    """The largest value up to 5 % that the p of all permutations takes, without ties; .05 where they are drawn."""
    n = networks * cells
    if within:
        arrangements = float(np.prod([float(np.prod(np.arange(1, cells + 1)))] * networks))
        # The mirror image of a part within groups of two is as large, so that p goes in twos.
        return 0.05 if arrangements > nested.ALL_UP_TO else 2 * np.floor(0.05 * arrangements / 2) / arrangements
    if statistic == "pearson" or n > 8:
        return 0.05
    straight = np.arange(n)
    # The sum of squared differences of ranks is symmetric about its mean over all permutations.
    mean = n * (n * n - 1) / 6
    far = np.array([abs(((straight - np.array(o)) ** 2).sum() - mean) for o in permutations(straight)])
    sizes = [float((far >= value).mean()) for value in np.unique(far)]
    return max([size for size in sizes if size <= 0.05], default=0.0)


def _words(networks: int, cells: int, statistic: str, shared: float | None = None, more: str = "") -> str:
    words = f"{statistic}, {networks * cells} points = {networks} x {cells}"
    words += "" if shared is None else ", independent" if not shared else f", shared {shared:g}"
    return words + (f", {more}" if more else "")


def _tests(
    x: np.ndarray, y: np.ndarray, z: np.ndarray | None, groups: np.ndarray, statistic: str, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Does p reject, does p_within (NaN where there is none), is 0 outside of the interval?"""
    how: dict[str, Any] = {"statistic": statistic, "n_permutations": N_PERMUTATIONS, "seed": int(rng.integers(2**31))}
    p = nested.permutation_p(x, y, z, **how)[0][0]
    within = nested.permutation_p(x, y, z, groups, **how)[0][0]
    lo, hi = _interval(x, y, z, groups, statistic)
    return float(p <= 0.05), float(within <= 0.05) if np.isfinite(within) else np.nan, float(not lo <= 0 <= hi)


def _interval(
    x: np.ndarray, y: np.ndarray, z: np.ndarray | None, groups: np.ndarray, statistic: str
) -> tuple[float, float]:
    r = partial.coefficients(x, y, z, statistic)
    lo, hi = partial.interval(r, partial.degrees(x, y, groups, z, statistic), len(y), statistic)
    return float(lo[0]), float(hi[0])


def population(rho: float, statistic: str) -> float:
    """Correlation of ranks in a normal population with correlation rho (Pearson 1907): 6/pi asin(rho/2)."""
    return rho if statistic == "pearson" else float(6 / np.pi * np.arcsin(rho / 2))


def _no_relation(networks: int, cells: int, statistic: str, shared: float) -> tuple[str, dict[str, float], Study]:
    free = "p, no relation" + (" (not claimed)" if shared else "")

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, groups = points(rng, networks, cells, shared)
        p, within, outside = _tests(x, y, None, groups, statistic, rng)
        return {free: p, "p_within, no relation": within, "interval without 0, no relation": outside}

    nominal = {free: largest_level(networks, cells, statistic, False),
               "p_within, no relation": largest_level(networks, cells, statistic, True),
               "interval without 0, no relation": 0.05}  # fmt: skip
    return _words(networks, cells, statistic, shared), nominal, study


def _coverage(
    networks: int, cells: int, statistic: str, shared: float, rho: float
) -> tuple[str, dict[str, float], Study]:
    truth = population(rho, statistic)

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, groups = points(rng, networks, cells, shared, rho)
        lo, hi = _interval(x, y, None, groups, statistic)
        return {"interval covers": float(lo <= truth <= hi)}

    return _words(networks, cells, statistic, shared, f"correlation {rho:g}"), {"interval covers": 0.95}, study


def _bootstrap(networks: int, cells: int) -> tuple[str, dict[str, float], Study]:
    what = "percentile bootstrap covers (not used in relation.csv)"

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, groups = points(rng, networks, cells, SHARED, 0.5)
        how: dict[str, Any] = {"statistic": "pearson", "n_bootstrap": 200, "seed": int(rng.integers(2**31))}
        lo, hi, _ = correlation.bootstrap(x[:, 0], y, groups, **how)
        return {what: float(lo <= 0.5 <= hi) if np.isfinite(lo) else np.nan}

    return _words(networks, cells, "pearson", SHARED, "correlation 0.5"), {what: 0.95}, study


def driven(
    rng: np.random.Generator, networks: int, cells: int, k: int, rho: float = 0.0, shared: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score (n, 1) and accuracy (n,) that k covariates (n, k) drive, four times the variance of what is left, and that
    correlate rho beside them, with a share of that in common within architectures (n,).

    The covariates differ between architectures nearly alone."""
    x, y, groups = points(rng, networks, cells, shared, rho)
    z = np.sqrt(0.95) * rng.normal(size=(networks, k))[groups] + np.sqrt(0.05) * rng.normal(size=(len(groups), k))
    pull = 2 * z.sum(axis=1) / np.sqrt(k)
    return x + pull[:, None], y + pull, z, groups


def _explained(networks: int, cells: int, statistic: str, k: int, shared: float) -> tuple[str, dict[str, float], Study]:
    free = "p of partial correlation" + " (not claimed)" * (shared > 0)
    nominal = {
        "mean plain correlation": np.nan, "mean partial correlation": 0.0, free: 0.05,
        "p_within of partial correlation": 0.05 if cells > 2 else largest_level(networks, cells, statistic, True),
        "interval of partial correlation without 0": 0.05,
    }  # fmt: skip
    ranks = "mean partial correlation, ranks on ranks (not used)"
    if statistic == "spearman":
        nominal |= {ranks: 0.0}

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, z, groups = driven(rng, networks, cells, k, 0.0, shared)
        p, within, outside = _tests(x, y, z, groups, statistic, rng)
        found = (partial.coefficients(x, y, z, statistic)[0], p, within, outside)
        out = dict(zip(list(nominal)[1:5], map(float, found)))
        out["mean plain correlation"] = float(partial.coefficients(x, y, None, statistic)[0])
        ranked = [rankdata(values, axis=0) for values in (x, y, z)]
        return out | {ranks: float(partial.coefficients(ranked[0], ranked[1], ranked[2], "pearson")[0])}

    more = f"both follow {k} covariate{'s' * (k > 1)}"
    return _words(networks, cells, statistic, shared or None, more), nominal, study


def _partial_coverage(networks: int, cells: int, statistic: str) -> tuple[str, dict[str, float], Study]:
    truth = population(0.5, statistic)

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, z, groups = driven(rng, networks, cells, 2, 0.5)
        lo, hi = _interval(x, y, z, groups, statistic)
        return {"interval of partial correlation covers": float(lo <= truth <= hi)}

    words = _words(networks, cells, statistic, None, "both follow 2 covariates, partial correlation 0.5")
    return words, {"interval of partial correlation covers": 0.95}, study


def _limits(networks: int, cells: int, statistic: str) -> tuple[str, dict[str, float], Study]:
    names = ("mean partial correlation (not claimed)", "p of partial correlation (not claimed)")

    def study(rng: np.random.Generator) -> dict[str, float]:
        x, y, z, groups = driven(rng, networks, cells, 1)
        noisy = z + 0.5 * rng.normal(size=z.shape)
        p = _tests(x, y, noisy, groups, statistic, rng)[0]
        return dict(zip(names, (float(partial.coefficients(x, y, noisy, statistic)[0]), p)))

    words = _words(networks, cells, statistic, None, "both follow a covariate that is measured with reliability 0.8")
    return words, dict(zip(names, (0.0, 0.05))), study


def _mixed(networks: int, slope: float) -> tuple[str, dict[str, float], Study]:
    """2 kinds x 5 seeds; standard deviations 1 of networks, .5 of cells, .5 of seeds, in the score as in the
    accuracy."""
    group = np.repeat(np.arange(networks), 10)
    attention = np.tile(np.repeat([0.0, 1.0], 5), networks)
    cell = np.repeat(np.arange(2 * networks), 5)
    normal, no_cells = "score by the normal distribution (not used)", "score without effect of cells (not used)"
    names = ("score covers", "attention covers") if slope else ("score, no effect", "attention, no effect")

    def spread(rng: np.random.Generator) -> np.ndarray:
        of_cell = rng.normal(size=networks)[group] + 0.5 * rng.normal(size=2 * networks)[cell]
        return of_cell + 0.5 * rng.normal(size=len(group))

    def study(rng: np.random.Generator) -> dict[str, float]:
        x = spread(rng)
        y = spread(rng) + slope * (x + attention)
        terms = np.column_stack([x, attention])
        found = mixed.fit(y, terms, group, cell)
        lo, hi, _ = mixed.inference(found.estimate, found.se, found.df)
        inside = np.where(np.isfinite(lo), (lo <= slope) & (slope <= hi), np.nan)
        if slope:
            return dict(zip(names, map(float, inside)))
        apart = mixed.fit(y, terms, group, np.arange(len(y)))
        _, _, p = mixed.inference(apart.estimate, apart.se, apart.df)
        wald = float(abs(found.estimate[0] / found.se[0]) > norm.ppf(0.975)) if np.isfinite(found.se[0]) else np.nan
        wrong = float(p[0] <= 0.05) if np.isfinite(p[0]) else np.nan
        return dict(zip(names, map(float, 1 - inside))) | {normal: wald, no_cells: wrong}

    nominal = dict.fromkeys(names, 0.95 if slope else 0.05)
    if not slope:
        nominal |= {normal: 0.05, no_cells: 0.05}
    return f"mixed model, {networks} networks x 2 kinds x 5 seeds", nominal, study
