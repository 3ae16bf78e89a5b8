"""Do two networks fail on the same images? Error consistency: Cohen's kappa of being right, between two networks.

Geirhos, Meding and Wichmann 2020 (NeurIPS 33, arXiv 2006.16736): two networks that are right at rates p and q agree on
c_exp = p q + (1 - p)(1 - q) of the images if their errors have nothing to do with each other; kappa is the share of
what is left, kappa = (c_obs - c_exp) / (1 - c_exp). It is signed: below 0 where one is right just where the other errs.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from blendnet.run import Run

TESTS = (("blended", "both"), ("regular", "top1"))
_PLAIN = "none"


def compute(
    found: Mapping[Run, Mapping[str, pd.DataFrame]], *, alpha: float = 0.5, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """The consistency table: every pair of trained runs of one training, on the images that both were shown.

    found: for each run {'blended': frame, 'regular': frame} as `effects.correct` makes them (id, correct; of blends
    also alpha: those at `alpha` count); untrained runs are left out. relation: 'twin' (network and seed the same,
    one of the two plain), 'seed' (all the same but the seed), 'attention' (network the same, another attention or
    number of heads, and no twins), 'network' (another architecture). lo, hi: 95 % percentile interval over n_boot
    resamples of the images, the same for all pairs. kappa is empty, and note says why, where a network is right
    on every image or on none: then chance alone settles what they agree on.
    """
    rows: list[dict[str, Any]] = []
    for training in tables.TRAINED:
        runs = sorted((r for r in found if r.training == training), key=lambda r: r.id)
        if len(runs) < 2:
            continue
        for test, outcome in TESTS:
            right, shown = _matrices([_named(found[r][test], alpha) for r in runs])
            pairs = list(combinations(range(len(runs)), 2))
            numbers = _kappas(right, shown, np.array(pairs), n_boot, seed)
            for (i, j), row in zip(pairs, numbers.to_dict("records")):
                base = {"test": test, "outcome": outcome, "training": training}
                words = {"relation": relation(runs[i], runs[j]), "note": _note(runs[i], runs[j], row)}
                rows.append(base | _side(runs[i], "a") | _side(runs[j], "b") | row | words)
    kept = tables.columns("consistency")
    return tables.from_rows([{k: row[k] for k in kept} for row in rows], "consistency")


def _named(frame: pd.DataFrame, alpha: float) -> pd.Series:
    """Whether each image was named rightly, by its id."""
    if "alpha" in frame.columns:
        frame = frame[np.isclose(frame["alpha"].astype(float), alpha)]
    return frame.set_index("id")["correct"]


def relation(a: Run, b: Run) -> str:
    """What two runs of one training share: 'twin', 'seed', 'attention' or 'network'."""
    if a.network != b.network:
        return "network"
    if (a.attention, a.heads) == (b.attention, b.heads):
        return "seed"
    return "twin" if a.seed == b.seed and _PLAIN in (a.attention, b.attention) else "attention"


def _side(run: Run, side: str) -> dict[str, str]:
    return {f"run_{side}": run.id, f"network_{side}": run.network, f"attention_{side}": run.attention}


def _note(a: Run, b: Run, row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return "no image in common"
    extreme = [f"{run.id} is right on {'every image' if rate else 'no image'}"
               for run, rate in ((a, row["rate_a"]), (b, row["rate_b"])) if rate in (0.0, 1.0)]  # fmt: skip
    return "no kappa: " + ", ".join(extreme) if extreme else ""


def _matrices(found: list[pd.Series]) -> tuple[np.ndarray, np.ndarray]:
    """right and shown, float32 (n_runs, n_images) of 0 and 1, over all images that any run was shown."""
    ids = pd.Index(np.unique(np.concatenate([np.asarray(s.index, dtype=object) for s in found])))
    right, shown = np.zeros((2, len(found), len(ids)), dtype=np.float32)
    for i, series in enumerate(found):
        places = ids.get_indexer(series.index)
        right[i, places], shown[i, places] = series.to_numpy(), 1.0
    return right, shown


def _kappas(right: np.ndarray, shown: np.ndarray, pairs: np.ndarray, n_boot: int, seed: int) -> pd.DataFrame:
    """agreement, expected, kappa, lo, hi, n and both accuracies of pairs (n_pairs, 2) of rows of right and shown."""
    a, b = pairs.T
    n, rate_a, rate_b, agreement = _counts(right, shown, np.ones(right.shape[1], dtype=np.float32), a, b)
    kappa, expected = _kappa(rate_a, rate_b, agreement)
    rng = np.random.default_rng(seed)
    samples = np.empty((n_boot, len(pairs)), dtype=np.float32)
    for out in samples:
        weights = np.bincount(rng.integers(right.shape[1], size=right.shape[1]), minlength=right.shape[1])
        out[:] = _kappa(*_counts(right, shown, weights.astype(np.float32), a, b)[1:])[0]
    lo, hi = np.full((2, len(pairs)), np.nan)
    # A resample in which one of the two is always right has no kappa; where many are so, no interval is to be trusted.
    some = np.isfinite(kappa) & (np.isfinite(samples).mean(axis=0) > 0.9)
    if some.any():
        lo[some], hi[some] = np.nanquantile(samples[:, some], [0.025, 0.975], axis=0)
    return pd.DataFrame({"agreement": agreement, "expected": expected, "kappa": kappa, "lo": lo, "hi": hi,
                         "n": n.astype(int), "rate_a": rate_a, "rate_b": rate_b})  # fmt: skip


def _counts(right: np.ndarray, shown: np.ndarray, weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple:
    """n, both accuracies and the agreement of each pair, on the images both were shown, each counted `weights` times;
    all pairs at once by products of (n_runs, n_images) matrices."""
    weighted = right * weights
    both = (weighted @ right.T)[a, b].astype(float)
    if shown.all():
        n = np.full(len(a), float(weights.sum()))
        total = weighted.sum(axis=1, dtype=float)
        of_a, of_b = total[a], total[b]
    else:
        n = ((shown * weights) @ shown.T)[a, b].astype(float)
        crossed = (weighted @ shown.T).astype(float)
        of_a, of_b = crossed[a, b], crossed[b, a]
    with np.errstate(divide="ignore", invalid="ignore"):
        return n, of_a / n, of_b / n, (n - of_a - of_b + 2 * both) / n


def _kappa(rate_a: np.ndarray, rate_b: np.ndarray, agreement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(kappa, agreement expected by chance) of each pair."""
    expected = rate_a * rate_b + (1 - rate_a) * (1 - rate_b)
    known = (rate_a > 0) & (rate_a < 1) & (rate_b > 0) & (rate_b < 1)
    kappa = np.full(len(expected), np.nan)
    kappa[known] = np.clip((agreement[known] - expected[known]) / (1 - expected[known]), -1, 1)
    return kappa, expected
