"""Is the effect of attention calibrated? Simulated twins whose true effect is known: networks differ in it, seeds
differ within networks, and all are tested on the same blends, which share photographs.

`rows` gives a table's rows: what was counted, in which design, the nominal and the found share with a Wilson interval
for the number of simulations. What is claimed and what is not:

- 'interval covers' and 'no effect called different' use the functions of the effects table. Where the spread of seeds
  or networks meets that of stimuli the interval covers more than 95 % (paired.py), never less; 2 seeds do so with a
  t quantile of 12.7, so they cover and say nothing.
- 'sign flip' is exact over what was drawn; with n differences its level is a multiple of 2 / 2^n, given as nominal.
- rows that end in '(not used)' or '(not claimed)' are what a simpler choice would give: why it is not ours.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from analysis.stats import hierarchical, multiplicity, paired
from analysis.stats.accuracy import wilson
from analysis.stats.effects import MARGINS, verdict

NETWORK_SD, SEED_SD, PHOTOGRAPH_SD = 0.02, 0.03, 0.08  # of the difference in accuracy; photos: .02 to .05 for seeds
N_BLENDS, N_PHOTOGRAPHS = 240, 160


class Twins(NamedTuple):
    """values: for each network (n_seeds,); differences: (N_BLENDS, n_pairs), photographs: (N_BLENDS, 2); truths: of
    the average network and seed, of these networks, of these very runs."""

    values: list[np.ndarray]
    differences: np.ndarray
    photographs: np.ndarray
    truths: tuple[float, float, float]


def simulate(
    rng: np.random.Generator, n_networks: int, n_seeds: int, *, effect: float = 0.0, network_sd: float = NETWORK_SD,
    seed_sd: float = SEED_SD,
) -> Twins:  # fmt: skip
    """One study: each blend named or not by each plain network and its twin.

    A twin's chance on a blend is plain's plus effect + network + seed + what the blend's two photographs add, which is
    the same for all networks: some photographs suit attention."""
    of_network = effect + network_sd * rng.normal(size=n_networks)
    of_run = of_network[:, None] + seed_sd * rng.normal(size=(n_networks, n_seeds))
    half = N_PHOTOGRAPHS // 2
    photographs = rng.integers(half, size=(N_BLENDS, 2)) + np.array([0, half])
    suits = PHOTOGRAPH_SD * rng.normal(size=N_PHOTOGRAPHS)
    by_blend = suits[photographs].sum(axis=1)[:, None]
    plain = rng.uniform(0.35, 0.65, size=(N_BLENDS, 1))
    shape = (N_BLENDS, n_networks * n_seeds)
    difference = (rng.random(shape) < plain + by_blend + of_run.reshape(1, -1)).astype(float)
    difference -= rng.random(shape) < plain
    values = list(difference.mean(axis=0).reshape(n_networks, n_seeds))
    return Twins(values, difference, photographs, (effect, float(of_network.mean()), float(of_run.mean())))


def estimate(twins: Twins) -> hierarchical.Estimate:
    """As the effects table does it, with the images drawn."""
    covariance = hierarchical.blends_covariance(twins.differences, twins.photographs)
    return hierarchical.estimate(twins.values, covariance, len(twins.differences))


def covers(twins: Twins) -> float:
    """Does the interval hold the truth it speaks of: of all networks, of these ones, or of these runs? NaN where there
    is none, since two seeds differ by the same number of blends."""
    found = estimate(twins)
    if found.flat:
        return float("nan")
    which = {"networks": 0, "seeds": 1}.get(found.drawn[0], 2)
    lo, hi = paired.interval(found.value, found.parts)
    return float(lo <= twins.truths[which] <= hi)


def called_different(twins: Twins) -> bool:
    """Does the effects table say 'different'?"""
    found = estimate(twins)
    return verdict(*paired.interval(found.value, found.parts), float("nan")) == "different"


def called_equivalent(twins: Twins) -> bool:
    """Does two one-sided tests at the margin of accuracies reject?"""
    found = estimate(twins)
    # The same as tost_p < .05, without its root finding; a test holds the two together.
    return abs(found.value) + paired.half_width(found.parts, 0.9) < MARGINS["accuracy"]


def covers_by_satterthwaite(twins: Twins) -> float:
    """Variances added, one t distribution: the usual alternative."""
    found = estimate(twins)
    if found.flat:
        return float("nan")
    variance, df = np.array(found.parts).T
    half = student.ppf(0.975, variance.sum() ** 2 / (variance**2 / df).sum()) * np.sqrt(variance.sum())
    return float(abs(found.value - twins.truths[0 if "networks" in found.drawn else 1]) <= half)


def covers_without_images(twins: Twins) -> bool:
    """The t interval over networks or seeds alone, as for one fixed set of test images."""
    found = hierarchical.estimate(twins.values)
    lo, hi = paired.interval(found.value, found.parts)
    return bool(lo <= twins.truths[0 if "networks" in found.drawn else 1] <= hi)


def covers_by_percentiles(twins: Twins, rng: np.random.Generator) -> bool:
    """The plain hierarchical bootstrap, everything drawn."""
    lo, hi = hierarchical.percentile(twins.values, twins.differences, 200, rng)
    return bool(lo <= twins.truths[0 if len(twins.values) > 1 else 1] <= hi)


def rows(n_simulations: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
    """The table: what, design, nominal, found, lo, hi, n_simulations (of them those that had an interval); the same for
    the same arguments."""
    found = []
    for i, (what, design, nominal, hit) in enumerate(_cases()):
        rng = np.random.default_rng([seed, i])
        hits = np.array([hit(rng) for _ in range(n_simulations)], dtype=float)
        n = int(np.isfinite(hits).sum())
        # Each may be a share itself (of false discoveries), which varies less than hits do: the interval is then wide.
        lo, hi = wilson(np.nansum(hits), n)
        found.append({"what": what, "design": design, "nominal": nominal, "found": float(np.nanmean(hits)),
                      "lo": float(lo), "hi": float(hi), "n_simulations": n})  # fmt: skip
    return found


Case = tuple[str, str, float, Callable[[np.random.Generator], float]]


def _cases() -> Iterator[Case]:
    for n in (1, 2, 3, 5):
        yield "interval covers", _words(1, n), 0.95, _of(covers, 1, n)
    for networks in (2, 3, 5, 7):
        for n in (1, 3):
            yield "interval covers", _words(networks, n), 0.95, _of(covers, networks, n)
    for networks, n in ((1, 2), (1, 3), (1, 5), (2, 3), (3, 3), (5, 3), (7, 3)):
        case = _of(called_different, networks, n, network_sd=0.0 if networks < 3 else NETWORK_SD)
        yield "no effect called different", _words(networks, n), 0.05, case
    for networks, n in ((1, 3), (3, 3), (5, 3), (7, 3)):
        sds = {"network_sd": 0.005, "seed_sd": 0.01, "effect": MARGINS["accuracy"]}
        yield "effect of one margin called equivalent", _words(networks, n), 0.05, _of(
            called_equivalent, networks, n, **sds | ({"network_sd": 0.0} if networks < 3 else {})
        )  # fmt: skip
    yield "interval covers, from bootstrap samples of scores", "1 network x 3 seeds, 60 stimuli", 0.95, _scores_cover
    for n in (6, 8, 10):
        size = np.floor(0.05 * 2 ** (n - 1)) / 2 ** (n - 1)
        yield "sign flip rejects, no effect", f"{n} networks x 1 seed, these stimuli", float(size), _flips(n, 0.0)
    size = np.floor(0.05 * 2**7) / 2**7
    yield "sign flip rejects, no effect, for other stimuli (not claimed)", "8 networks x 1 seed", float(size), _flips(
        8, 0.5
    )  # fmt: skip
    yield "Holm: any false rejection", "20 tests without effect, correlated .5", 0.05, _holm_errs
    yield (
        "Benjamini-Hochberg: share of false among rejected",
        "20 tests, 5 with effect, correlated .5",
        0.0375,
        _bh_errs,
    )
    yield "interval of the effect size covers", "5 networks, effect 0.8 sd", 0.95, _g_covers
    yield "Satterthwaite interval covers (not used)", _words(1, 2), 0.95, _of(covers_by_satterthwaite, 1, 2)
    yield "Satterthwaite interval covers (not used)", _words(1, 3), 0.95, _of(covers_by_satterthwaite, 1, 3)
    for networks, n in ((1, 5), (7, 3)):
        yield "t over seeds or networks alone covers (not used)", _words(networks, n), 0.95, _of(
            covers_without_images, networks, n)  # fmt: skip
    for networks, n in ((1, 2), (1, 5), (3, 1), (7, 3)):
        yield "percentile bootstrap covers (not used)", _words(networks, n), 0.95, _percentiles(networks, n)
        wide = f"{_words(networks, n)}, spread x 5"
        yield "percentile bootstrap covers (not used)", wide, 0.95, _percentiles(networks, n, 5.0)
        yield "interval covers", wide, 0.95, _of(
            covers, networks, n, seed_sd=5 * SEED_SD, network_sd=5 * NETWORK_SD * (networks > 1)
        )  # fmt: skip


def _words(networks: int, seeds: int) -> str:
    return f"{networks} network{'s' * (networks > 1)} x {seeds} seed{'s' * (seeds > 1)}, {N_BLENDS} blends"


def _of(hit: Callable[[Twins], float], networks: int, seeds: int, **how: float) -> Callable:
    # One architecture over its seeds: the network's own effect is what is asked for, so it has no spread.
    if networks == 1:
        how = {"network_sd": 0.0} | how
    return lambda rng: hit(simulate(rng, networks, seeds, **how))


def _percentiles(networks: int, seeds: int, times: float = 1.0) -> Callable[[np.random.Generator], float]:
    how = {"network_sd": times * NETWORK_SD * (networks > 1), "seed_sd": times * SEED_SD}
    return lambda rng: covers_by_percentiles(simulate(rng, networks, seeds, **how), rng)


def _flips(n: int, shared: float) -> Callable[[np.random.Generator], float]:
    """shared: the share of the variance that all networks have alike, from the stimuli."""

    def hit(rng: np.random.Generator) -> float:
        d = np.sqrt(1 - shared) * rng.normal(size=n) + np.sqrt(shared) * rng.normal()
        return float(paired.sign_flip_p(d) <= 0.05)

    return hit


def _scores_cover(rng: np.random.Generator) -> float:
    n, n_boot = 60, 300
    x = 0.05 * rng.normal(size=3) + 0.4 * rng.normal(size=(n, 1)) + 0.2 * rng.normal(size=(n, 3))
    samples = rng.multinomial(n, np.full(n, 1 / n), size=n_boot) / n @ x
    found = hierarchical.estimate([x.mean(axis=0)], hierarchical.samples_covariance(samples), n)
    lo, hi = paired.interval(found.value, found.parts)
    return float(lo <= 0 <= hi)


def _p_values(rng: np.random.Generator, effects: np.ndarray) -> np.ndarray:
    """t tests over 6 networks of 20 quantities, which correlate .5 within a network."""
    d = effects + np.sqrt(0.5) * (rng.normal(size=(6, len(effects))) + rng.normal(size=(6, 1)))
    return np.asarray(ttest_1samp(d, 0.0).pvalue)


def _holm_errs(rng: np.random.Generator) -> float:
    return float((multiplicity.holm(_p_values(rng, np.zeros(20))) <= 0.05).any())


def _bh_errs(rng: np.random.Generator) -> float:
    effects = np.where(np.arange(20) < 5, 2.5, 0.0)
    rejected = multiplicity.benjamini_hochberg(_p_values(rng, effects)) <= 0.05
    return float(rejected[5:].sum() / max(1, rejected.sum()))


def _g_covers(rng: np.random.Generator) -> float:
    _, lo, hi = paired.hedges_g(0.8 + rng.normal(size=5))
    return float(lo <= 0.8 <= hi)
