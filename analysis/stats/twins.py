"""What attention changes: paired differences, attention minus plain, of networks that differ in nothing else.

A pair shares network, training and seed. The unit of an average is what was drawn: seeds within one
network, and networks (each the mean of its seeds) over all.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from analysis import tables
from analysis.stats.correlation import QUANTITIES, rates

_EXACT = 16


def compute(scores: pd.DataFrame | None, accuracy: pd.DataFrame | None, *, seed: int = 0) -> pd.DataFrame:
    """The twins table from the tables of those names; either may be None.

    level 'pair': one network, training and seed; 'network': mean over its n seeds; 'all': mean over n
    networks. lo, hi: 95 % t interval of the mean where n >= 2 (of rates cut at -1 and 1, past which no
    difference lies); p: two-sided sign-flip, exact up to n = 16. quantity:
    'accuracy:blended_both', 'accuracy:regular_top1', 'score:REGION:RECORDING:METRIC' (raw score).
    """
    values = []
    if accuracy is not None:
        about = accuracy[[*_KEY, "run", "attention"]].drop_duplicates("run")
        for quantity in QUANTITIES:
            part = rates(accuracy, quantity).merge(about, on="run").rename(columns={"rate": "value"})
            values.append(part.assign(quantity=f"accuracy:{quantity}"))
    if scores is not None:
        part = scores[scores["kind"].isin(("network", "untrained"))].rename(columns={"score": "value"})
        quantity = "score:" + part["region"] + ":" + part["recording"] + ":" + part["metric"]
        values.append(part.assign(quantity=quantity)[[*_KEY, "run", "attention", "value", "quantity"]])
    if not values:
        return tables.empty("twins")
    found = pairs(pd.concat(values, ignore_index=True).dropna(subset=["value"]))
    if not len(found):
        return tables.empty("twins")
    rows = found.assign(level="pair", n=1, interval="").to_dict("records")
    cells = ["quantity", "training", "attention_kind", "heads"]
    for names, part in found.groupby(cells, sort=True):
        base = dict(zip(cells, names))
        quantity = base["quantity"]
        rate = str(quantity).startswith("accuracy:")
        means = part.groupby("network", sort=True)[["plain", "attention", "difference"]].mean()
        for network, own in part.groupby("network", sort=True):
            rows.append(base | {"level": "network", "network": network} | _summary(own, "seeds", seed, rate))
        rows.append(base | {"level": "all"} | _summary(means, "networks", seed, rate))
    return tables.from_rows(rows, "twins")


_KEY = ["network", "training", "seed", "heads"]


def pairs(values: pd.DataFrame) -> pd.DataFrame:
    plain = values[values["attention"] == "none"].drop(columns=["attention", "heads"])
    other = values[values["attention"] != "none"].rename(columns={"attention": "attention_kind"})
    both = other.merge(plain, on=["network", "training", "seed", "quantity"], suffixes=("_attention", "_plain"))
    both = both.rename(columns={
        "value_attention": "attention", "value_plain": "plain",
        "run_attention": "attention_run", "run_plain": "plain_run",
    })  # fmt: skip
    return both.assign(difference=both["attention"] - both["plain"])


def _summary(part: pd.DataFrame, unit: str, seed: int, rate: bool) -> dict[str, Any]:
    d = part["difference"].to_numpy(dtype=float)
    lo, hi = t_interval(d)
    if rate:
        lo, hi = float(np.maximum(lo, -1)), float(np.minimum(hi, 1))  # these keep NaN
    p = sign_flip_p(d, seed=seed)
    words = f"t over {len(d)} {unit}" if len(d) > 1 else f"none: one of the {unit} only"
    return {"plain": part["plain"].mean(), "attention": part["attention"].mean(), "difference": d.mean(),
            "lo": lo, "hi": hi, "p": p, "n": len(d), "interval": words}  # fmt: skip


def t_interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval (lo, hi) of the mean of d (n,); NaN with n < 2. Wide with two seeds, as it should
    be."""
    d = np.asarray(d, dtype=float)
    if len(d) < 2:
        return float("nan"), float("nan")
    half = t.ppf(0.5 + level / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


def sign_flip_p(d: np.ndarray, *, n_flips: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the mean of d (n,) under the null that each difference could as well have the other
    sign.

    All 2^n sign patterns up to n = 16, else n_flips seeded random ones with the +1 rule. NaN with n < 2; the
    smallest p possible is 2 / 2^n (0.5 with two seeds).
    """
    d = np.asarray(d, dtype=float)
    if len(d) < 2:
        return float("nan")
    close = abs(d.sum()) * (1 - 1e-9)
    if len(d) <= _EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        return float(np.mean(np.abs(signs @ d) >= close))
    signs = np.random.default_rng(seed).choice((-1, 1), size=(n_flips, len(d)))
    return float((np.sum(np.abs(signs @ d) >= close) + 1) / (n_flips + 1))
