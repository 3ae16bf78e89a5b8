"""What a way of training changes: networks trained on single objects, or by a curriculum, against the same networks
trained on blends. As between twins (analysis/stats/twins.py), the unit of an average is what was drawn.
"""

import pandas as pd

from analysis.stats.correlation import QUANTITIES, rates
from analysis.stats.twins import sign_flip_p, t_interval

BASE = "blended"
_PAIR = ["network", "attention", "heads", "seed"]


def compare(accuracy: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """training minus blends, of runs that share network, attention and seed; no rows where there are none.

    accuracy: the table of that name. Columns: quantity ('blended_both', 'regular_top1'), training, attention, heads,
    level ('network': mean over its n seeds; 'all': mean over n networks), network ('' for all), value, base (rates),
    difference, lo, hi (95 % t interval of the mean difference, cut at -1 and 1), p (two-sided sign-flip), n.
    """
    about = accuracy[["run", "training", *_PAIR]].drop_duplicates("run")
    rows = []
    for quantity in QUANTITIES:
        found = rates(accuracy, quantity).merge(about, on="run")
        base = found[found["training"] == BASE].rename(columns={"rate": "base"})
        other = found[~found["training"].isin((BASE, "untrained", "imagenet", ""))].rename(columns={"rate": "value"})
        pairs = other[["training", "value", *_PAIR]].merge(base[["base", *_PAIR]], on=_PAIR)
        pairs["difference"] = pairs["value"] - pairs["base"]
        for (training, attention, heads), part in pairs.groupby(["training", "attention", "heads"], sort=True):
            where = {"quantity": quantity, "training": training, "attention": attention, "heads": heads}
            means = part.groupby("network", sort=True)[["value", "base", "difference"]].mean()
            rows += [where | {"level": "network", "network": name} | _summary(own, seed)
                     for name, own in part.groupby("network", sort=True)]  # fmt: skip
            rows.append(where | {"level": "all", "network": ""} | _summary(means, seed))
    columns = ["quantity", "training", "attention", "heads", "level", "network", "value", "base", "difference", "lo",
               "hi", "p", "n"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _summary(part: pd.DataFrame, seed: int) -> dict:
    d = part["difference"].to_numpy(dtype=float)
    lo, hi = t_interval(d)
    if len(d) > 1:
        lo, hi = max(lo, -1.0), min(hi, 1.0)
    return {"value": part["value"].mean(), "base": part["base"].mean(), "difference": d.mean(), "lo": lo, "hi": hi,
            "p": sign_flip_p(d, seed=seed), "n": len(d)}  # fmt: skip
