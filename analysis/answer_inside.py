"""What blending does inside the networks, how alike they err, and what it would take to know more, in words.

All of this is description: the tables have no test over networks for it, which the sentences say.
"""

from typing import Any

import pandas as pd

from analysis.answer import number, percent, span
from analysis.answer_effects import NAMES, count
from analysis.figures import _style as s

_TWIN = ["network", "attention", "heads", "training", "lesion"]
_NEARNESS = {"twin": "a plain network and its attention twin", "seed": "two seeds of one network",
             "attention": "plain and attention, other seed", "network": "different architectures"}  # fmt: skip


def superposition_summary(superposition: pd.DataFrame) -> pd.DataFrame:
    """Equal blends (alpha .5, or the nearest there is), first and last layer of each trained network: means over seeds
    of weights, fit and bias."""
    rows = superposition[(superposition["outcome"] == "all") & (superposition["training"] != "untrained")]
    if not len(rows):
        return rows
    alpha = min(rows["alpha"].unique(), key=lambda a: (abs(a - 0.5), a))
    rows = rows[rows["alpha"] == alpha]
    means = rows.groupby([*_TWIN, "layer", "depth"], dropna=False, sort=True).agg(
        seeds=("seed", "nunique"), first=("weight_first", "mean"), second=("weight_second", "mean"), r2=("r2", "mean"),
        mixture=("r2_mixture", "mean"), bias=("bias", "mean"), blends=("n_blends", "max"),
    ).reset_index()  # fmt: skip
    ends = means.groupby(_TWIN, dropna=False)["depth"]
    means = means[(means["depth"] == ends.transform("min")) | (means["depth"] == ends.transform("max"))]
    return means.assign(alpha=alpha).sort_values([*_TWIN, "depth"], ignore_index=True)


def superposition_words(superposition: pd.DataFrame) -> list[str]:
    """One sentence a trained network on its last layer, and one on what the numbers are."""
    ends = superposition_summary(superposition)
    if not len(ends):
        return []
    alpha = ends["alpha"].iloc[0]
    out = [
        "The response to a blend, fitted as a weighted sum of the responses to its two images (alpha "
        f"{alpha:g}, means over seeds). No test over networks was made: differences are described, not judged."
    ]
    last = ends[ends["depth"] == ends.groupby(_TWIN, dropna=False)["depth"].transform("max")]
    for row in last.dropna(subset=["r2"]).to_dict("records"):
        out.append(
            f"{name(row)}, last layer ({row['layer']}): weights {number(row['first'])} and {number(row['second'])}, "
            f"R² of the sum {number(row['r2'])} (of the plain mixture {number(row['mixture'])}), bias toward the "
            f"better-recognised object {number(row['bias'])} ({count(row['blends'], 'blend')}, "
            f"{count(row['seeds'], 'seed')})."
        )
    return out


def decoding_summary(decoding: pd.DataFrame) -> pd.DataFrame:
    """Both objects read linearly from the layers: the best and the last layer of each network, means over seeds."""
    rows = decoding[decoding["outcome"] == "both"]
    if not len(rows):
        return rows
    means = (
        rows.groupby([*_TWIN, "layer", "depth"], dropna=False, sort=True)
        .agg(seeds=("seed", "nunique"), rate=("rate", "mean"), chance=("chance", "mean"), n=("n", "max"))
        .reset_index()
    )
    found = []
    for keys, part in means.groupby(_TWIN, dropna=False, sort=True):
        best, last = part.loc[part["rate"].idxmax()], part.loc[part["depth"].idxmax()]
        found.append(dict(zip(_TWIN, keys)) | {
            "seeds": int(part["seeds"].max()), "best layer": best["layer"], "best (%)": 100 * best["rate"],
            "last layer": last["layer"], "last (%)": 100 * last["rate"], "guessing (%)": 100 * best["chance"],
            "blends": int(part["n"].max())})  # fmt: skip
    return pd.DataFrame(found)


def decoding_words(decoding: pd.DataFrame) -> list[str]:
    """One sentence a trained network: where both objects are read best."""
    rows = decoding_summary(decoding)
    rows = rows[rows["training"] != "untrained"] if len(rows) else rows
    if not len(rows):
        return []
    out = [f"Both objects named by a linear readout (guessing {span_of(rows['guessing (%)'])} %). The best layer is "
           "picked on the same blends, which flatters it."]  # fmt: skip
    for row in rows.to_dict("records"):
        last = "its last layer" if row["best layer"] == row["last layer"] else (
            f"in the last layer ({row['last layer']}) {row['last (%)']:.1f} %")  # fmt: skip
        out.append(f"{name(row)}: best in {row['best layer']} with {row['best (%)']:.1f} %, {last} "
                   f"({count(row['blends'], 'blend')}, {count(row['seeds'], 'seed')}).")  # fmt: skip
    return out


def consistency_words(consistency: pd.DataFrame) -> list[str]:
    """Mean signed kappa of each kind of pair on each test, with its range and number of pairs."""
    out = []
    for test, words in (("blended", "on blends"), ("regular", "on single objects")):
        rows = consistency[consistency["test"] == test]
        parts = []
        for relation, which in _NEARNESS.items():
            known = rows[rows["relation"] == relation]["kappa"].dropna()
            if len(known):
                parts.append(f"{which} {number(known.mean())} (from {number(known.min())} to {number(known.max())}, "
                             f"{count(len(known), 'pair')})")  # fmt: skip
        if parts:
            out.append(
                f"Error consistency {words} (kappa: 0 is what the two accuracies give by chance, 1 the same "
                f"errors): {'; '.join(parts)}. Pairs share runs, so there is no interval over pairs."
            )
        lost = rows[rows["kappa"].isna()]
        if len(lost):
            out.append(f"{len(lost)} of {len(rows)} pairs {words} {'has' if len(lost) == 1 else 'have'} no kappa.")
    return out


def psychometric_words(psychometric: pd.DataFrame) -> list[str]:
    """Fitted thresholds of plain and attention twins, over all classes, paired by network, training and seed."""
    rows = psychometric[(psychometric["group"] == "") & (psychometric["training"] != "untrained")]
    if not len(rows):
        return []
    out = []
    keys = ["network", "training", "seed"]
    plain = rows[rows["attention"] == "none"].set_index(keys)["threshold"].dropna()
    for (kind, heads), part in rows[rows["attention"] != "none"].groupby(["attention", "heads"], sort=True):
        both = pd.concat({"plain": plain, "twin": part.set_index(keys)["threshold"].dropna()}, axis=1).dropna()
        if not len(both):
            continue
        means = both.groupby(["training", "network"]).mean()
        for training in s.trainings(pd.Series(means.index.get_level_values("training"))):
            own = means.loc[training]
            gap = own["twin"] - own["plain"]
            each = ", ".join(f"{s.label(n)} {_signed(g)}" for n, g in gap.items())
            out.append(
                f"{s.trained_on(training).capitalize()}, the weight at which an object is named half-way between "
                f"floor and top: plain {number(own['plain'].mean())}, {s.twin(kind, heads)} "
                f"{number(own['twin'].mean())}, difference {_signed(gap.mean())} ({each}; "
                f"{count(len(both.xs(training, level='training')), 'pair')} of runs; no interval over networks)."
            )
    lost = int(rows["threshold"].isna().sum())
    fitted = rows["p_fit"].dropna()
    if len(fitted):
        out.append(f"The curve is rejected (p below 0.05) in {int((fitted < 0.05).sum())} of {len(fitted)} fits"
                   + (f"; {lost} of {len(rows)} runs have no threshold." if lost else "."))  # fmt: skip
    return out


def power_words(power: pd.DataFrame, enough: float = 0.8) -> list[str]:
    """The fewest networks, for each number of seeds, that find a given difference with the power `enough`."""
    out = []
    keys = ["quantity", "difference", "network_sd", "seed_sd", "test"]
    for values, part in power.dropna(subset=["power", "difference"]).groupby(keys, sort=True):
        row: dict[str, Any] = dict(zip(keys, values))
        rate = row["quantity"].startswith(("accuracy", "alpha", "pair"))
        size = f"{100 * row['difference']:.3g} points" if rate else f"{row['difference']:g}"
        found = []
        for seeds, same in part.groupby("n_seeds", sort=True):
            reach = same[same["power"] >= enough].sort_values("n_networks")
            if len(reach):
                first = reach.iloc[0]
                found.append(f"{count(first['n_networks'], 'network')} with {count(seeds, 'seed')} each "
                             f"({percent(first['power'])})")  # fmt: skip
        most = f"{int(part['n_networks'].max())} networks of {int(part['n_seeds'].max())} seeds"
        needs = "takes " + ", or ".join(found) if found else f"takes more than any design up to {most}"
        words = NAMES.get(row["quantity"], row["quantity"])
        out.append(
            f"To find a true difference of {size} ({words}) in {enough:.0%} of studies {needs} (simulated "
            f"{span(part['n_simulations'])} times for {row['test']}; spread over networks {row['network_sd']:.3g}, "
            f"over seeds {row['seed_sd']:.3g})."
        )
    return out


def name(row: dict[str, Any]) -> str:
    """'ResNet18, attention (4 heads), attention lesioned', with the training where it is not blends."""
    parts = [s.label(row["network"]), s.twin(row["attention"], row["heads"])]
    parts += [s.trained_on(row["training"])] if row["training"] != "blended" else []
    return ", ".join([*parts, "attention lesioned"] if row["lesion"] else parts)


def span_of(values: pd.Series) -> str:
    """'3.57', or '3.57 to 4.00'."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
