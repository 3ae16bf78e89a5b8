"""How many networks and seeds would it take? Power of a mean paired difference over networks, each the mean of its
seeds, by simulation.

difference of network a, seed s = effect + network_sd * N(0, 1) of a + seed_sd * N(0, 1) of (a, s). The stimuli are
those of the tables: what they do to one seed is in seed_sd, what they do to all alike no further network makes less.
A spread known from two networks is hardly known, so the designs are tried at its upper limit, too: planning on the
estimate itself falls short in most studies planned so (Browne 1995, doi 10.1002/sim.4780141709).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student

from analysis import tables
from analysis.stats.accuracy import wilson
from analysis.stats.effects import MARGINS
from blendnet.errors import BlendnetError, unknown

NETWORKS = tuple(range(2, 11))
SEEDS = (1, 2, 3, 5, 10)
TESTS = ("t", "sign flip")
ASSURANCE = 0.8  # the upper limit of a spread holds with this probability
_SPREADS = ("estimated", "upper 80 %")
_CELL = ["training", "attention_kind", "heads"]


@dataclass(frozen=True)
class Spread:
    """network_sd, seed_sd: of the paired difference; network_df, seed_df: degrees of freedom behind the variance of
    network means and of seeds; difference: the mean over networks; seeds_per_network: harmonic mean."""

    network_sd: float
    seed_sd: float
    network_df: int
    seed_df: int
    difference: float
    seeds_per_network: float


def spread(differences: Sequence[np.ndarray]) -> Spread:
    """Variance components of paired differences, for each network (n_seeds,), by the method of moments.

    seed variance: pooled within networks; network variance: that of the network means less the seeds' share,
    seed variance / harmonic mean of the seeds, and 0 where that is negative. With networks of equally many seeds and
    no negative it is the REML estimate (Searle, Casella and McCulloch 1992, section 3.8). Raises BlendnetError with
    fewer than 2 networks, or no network of 2 seeds.
    """
    values = [np.asarray(d, dtype=float) for d in differences]
    sizes = np.array([len(v) for v in values])
    df = int((sizes - 1).sum())
    if len(values) < 2 or df < 1:
        raise BlendnetError(
            f"{len(values)} networks with {sizes.max(initial=0)} seeds show no spread of networks and seeds; train "
            "twins of 2 networks or more, one of them with 2 seeds or more"
        )
    seed_variance = sum(float(((v - v.mean()) ** 2).sum()) for v in values) / df
    means = np.array([v.mean() for v in values])
    harmonic = len(sizes) / float((1 / sizes).sum())
    network_variance = max(0.0, float(means.var(ddof=1)) - seed_variance / harmonic)
    return Spread(
        float(np.sqrt(network_variance)), float(np.sqrt(seed_variance)), len(values) - 1, df, float(means.mean()),
        harmonic,
    )  # fmt: skip


def cautious(found: Spread) -> Spread:
    """The same with upper one-sided 80 % limits of both spreads: chi-square for seeds; for networks the variance of
    the network means at its limit, less the seeds' estimated share."""
    seed_variance = found.seed_sd**2
    between = found.network_sd**2 + seed_variance / found.seeds_per_network
    upper = between * found.network_df / chi2.ppf(1 - ASSURANCE, found.network_df)
    return Spread(
        float(np.sqrt(max(0.0, upper - seed_variance / found.seeds_per_network))),
        float(np.sqrt(seed_variance * found.seed_df / chi2.ppf(1 - ASSURANCE, found.seed_df))),
        found.network_df, found.seed_df, found.difference, found.seeds_per_network,
    )  # fmt: skip


class Designs:
    """Simulated network means, drawn once for each number of networks and used for every effect and spread, so that
    designs differ by the design and not by the draw."""

    def __init__(self, n_simulations: int = 2000, seed: int = 0, networks: Sequence[int] = NETWORKS) -> None:
        if n_simulations < 1:
            raise BlendnetError(f"{n_simulations} simulations give no power; ask for 1000 or more")
        self.n = n_simulations
        self._z, self._flips = {}, {}
        for k in networks:
            z = np.random.default_rng([seed, k]).normal(size=(n_simulations, k))
            # The first sign stays: a pattern and its opposite have one absolute sum.
            signs = 1.0 - 2.0 * ((np.arange(2 ** (k - 1))[:, None] >> np.arange(k)) & 1)
            self._z[k], self._flips[k] = z, (signs.sum(axis=1), z @ signs.T)

    def hits(self, n_networks: int, effect: float, sd: float, test: str = "t", level: float = 0.05) -> int:
        """In how many of n simulations a test of n_networks network means, normal with mean `effect` and `sd`, rejects.

        test: 't' (the interval of effects.py where networks are drawn) or 'sign flip' (exact, two-sided). Raises
        BlendnetError for another test.
        """
        if test not in TESTS:
            raise unknown("test", test, TESTS)
        if test == "t":
            d = effect + sd * self._z[n_networks]
            se = d.std(axis=1, ddof=1) / np.sqrt(n_networks)
            return int(np.sum(np.abs(d.mean(axis=1)) > student.ppf(1 - level / 2, n_networks - 1) * se))
        if 2.0 / 2**n_networks > level:
            return 0  # no p is that small
        counts, flipped = self._flips[n_networks]
        sums = np.abs(effect * counts + sd * flipped)
        p = np.mean(sums >= sums[:, :1] * (1 - 1e-9), axis=1)
        return int(np.sum(p <= level))


def compute(
    twins: pd.DataFrame,
    *,
    quantity: str | None = None,
    effect: float | None = None,
    n_simulations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The power table from the twins table.

    quantity: one of its quantities, None for all; effect: the true difference to be found, None for the observed one
    and the margin of equivalence (effects.MARGINS). For each quantity the training, attention kind and heads with the
    most networks that have pairs, then the most pairs: untrained ones never. Rows: 2 to 10 networks x 1, 2, 3, 5, 10
    seeds x test, with a Wilson interval for the number of simulations, at the estimated spread and, but for the
    observed effect, at its upper 80 % limit. Raises BlendnetError for an unknown quantity, an effect of 0 and where no
    quantity shows a spread of networks and of seeds.
    """
    if effect is not None and not 0 < abs(effect) < np.inf:
        raise BlendnetError(f"an effect of {effect:g} cannot be found; give the smallest difference that matters")
    if seed < 0:
        raise BlendnetError(f"seed {seed} is negative; give 0 or more")
    pairs = twins[(twins["level"] == "pair") & ~twins["training"].isin(("untrained", "imagenet"))]
    names = sorted(pairs["quantity"].unique())
    if quantity is not None and quantity not in names:
        raise unknown("quantity", quantity, names)
    designs = Designs(n_simulations, seed)
    rows, why = [], None
    for name in [quantity] if quantity else names:
        own, about = _most(pairs[pairs["quantity"] == name])
        try:
            found = spread([part["difference"].to_numpy(float) for _, part in own.groupby("network", sort=True)])
        except BlendnetError as error:
            why = error
            continue
        if not found.seed_sd + found.network_sd > 0:
            continue
        source = f"{about}: {found.network_df + 1} networks, {len(own)} pairs"
        for true, which in _effects(name, found, effect):
            for kind, spreads in zip(_SPREADS, (found, cautious(found))):
                if which != "observed" or kind == _SPREADS[0]:
                    rows += _rows(designs, name, true, spreads, source, f"{which}, {kind} spread")
    if not rows:
        raise why or BlendnetError("twins.csv has no pair of trained networks whose differences vary; train more seeds")
    key = list(tables.TABLES["power"].key)
    return tables.from_rows(pd.DataFrame(rows).drop_duplicates(key).to_dict("records"), "power")


def sentences(table: pd.DataFrame, power: float = 0.8) -> list[str]:
    """For each quantity and effect one line: the design of fewest trained networks that reaches the power."""
    out = []
    for (name, true), part in table.groupby(["quantity", "difference"], sort=True):
        says = [f"{_needed(own, power)} at the {kind} spread" for kind in _SPREADS
                if len(own := part[part["note"].str.contains(kind, regex=False)])]  # fmt: skip
        first = part.iloc[0]
        which = first["note"].split(",")[0]
        out.append(f"an effect of {true:+.3g} ({which}) in {name} needs, for {power:.0%} power, {'; '.join(says)} "
                   f"[{first['source']}]")  # fmt: skip
    return out


def _needed(own: pd.DataFrame, power: float) -> str:
    says = []
    for test in TESTS:
        enough = own[(own["test"] == test) & (own["power"] >= power)]
        if len(enough):
            cost = (enough["n_networks"] * enough["n_seeds"]).astype(int)
            best = enough.assign(cost=cost).sort_values(["cost", "n_seeds"], kind="stable").iloc[0]
            says.append(f"{best['n_networks']} networks x {best['n_seeds']} seeds ({test})")
        else:
            says.append(f"more than {own['n_networks'].max()} x {own['n_seeds'].max()} ({test})")
    return " or ".join(says)


def _most(pairs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    cells = [(-part["network"].nunique(), -len(part), names) for names, part in pairs.groupby(_CELL, sort=True)]
    training, kind, heads = min(cells)[2]
    own = pairs[(pairs["training"] == training) & (pairs["attention_kind"] == kind) & (pairs["heads"] == heads)]
    return own, f"{training} {kind}{heads or ''}"


def _effects(name: str, found: Spread, effect: float | None) -> list[tuple[float, str]]:
    if effect is not None:
        return [(effect, "given")]
    margin = MARGINS["accuracy" if name.startswith("accuracy") else "score"]
    return [(margin, "margin")] + ([(found.difference, "observed")] if abs(found.difference) > 1e-9 else [])


def _rows(designs: Designs, name: str, true: float, found: Spread, source: str, note: str) -> list[dict]:
    rows = []
    for k in NETWORKS:
        for n_seeds in SEEDS:
            sd = float(np.sqrt(found.network_sd**2 + found.seed_sd**2 / n_seeds))
            for test in TESTS:
                hits = designs.hits(k, true, sd, test)
                lo, hi = wilson(hits, designs.n)
                rows.append({
                    "quantity": name, "difference": true, "network_sd": found.network_sd, "seed_sd": found.seed_sd,
                    "n_networks": k, "n_seeds": n_seeds, "test": test, "power": hits / designs.n, "lo": float(lo),
                    "hi": float(hi), "n_simulations": designs.n, "source": source, "note": note,
                })  # fmt: skip
    return rows
