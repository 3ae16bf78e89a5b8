"""The answer in words and small tables, made from the tables by rule.

None of these sentences says more than its numbers: a difference comes with its n, interval and p, or with the reason
why it has none.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables as columns
from analysis.figures import _style as s

FEW_NETWORKS = 5  # with fewer architectures the words say that they describe these and no others
_AREA = {region: i for i, region in enumerate(s.REGIONS)}


def accuracy_words(accuracy: pd.DataFrame, twins: pd.DataFrame, told: bool = False) -> list[str]:
    """Sentences on blends: twins against one another, guessing and untrained networks. told: the twins are told of
    from effects.csv (analysis/answer_effects.py), so not here."""
    out = []
    both = accuracy[(accuracy["by"] == "all") & (accuracy["outcome"] == "both")]
    for training in [] if told else _trainings(twins):
        for quantity, words in (("blended_both", "both objects named in a blend"),
                                ("regular_top1", "top-1 on images of one object")):  # fmt: skip
            mine = twins[(twins["quantity"] == f"accuracy:{quantity}") & (twins["training"] == training)]
            for row in mine[mine["level"] == "all"].to_dict("records"):
                kind = _kind(twins, row)
                out.append(
                    f"{s.trained_on(training).capitalize()}, {words}: plain {percent(row['plain'])}, {kind} "
                    f"{percent(row['attention'])}, difference {points(row['difference'])} {evidence(row, True)}"
                )
                alike = (mine["attention_kind"] == row["attention_kind"]) & (mine["heads"] == row["heads"])
                each = mine[(mine["level"] == "network") & alike].to_dict("records")
                out.append("By network: " + "; ".join(
                    f"{s.label(r['network'])} {points(r['difference'])} {evidence(r, True)}".rstrip(".") for r in each
                ) + ".")  # fmt: skip
    if not out and not told:
        out.append("The tables hold no pair of a plain and an attention network, so this cannot be said.")
    guess = both["chance"].dropna()
    if len(guess):
        untrained = both[both["training"] == "untrained"]["rate"]
        known = f"; untrained networks name both in {percent(untrained.mean())} (mean of {len(untrained)})"
        out.append(f"Guessing names both in {percent(guess.iloc[0])}{known if len(untrained) else ''}.")
        trained = both[~both["training"].isin(("untrained", ""))]
        if len(trained):
            above = int((trained["lo"] > trained["chance"]).sum())
            out.append(f"The Wilson 95 % interval lies above guessing in {above} of {len(trained)} trained runs "
                       f"(n = {span(trained['n'])} blends each).")  # fmt: skip
    return out


def area_words(scores: pd.DataFrame, twins: pd.DataFrame, told: bool = False) -> list[str]:
    """Sentences on brain scores: how many differences there are, which way, how sure, and against chance rows. told:
    the differences are told of from effects.csv, so not here."""
    all_rows = twins[(twins["level"] == "all") & twins["quantity"].str.startswith("score:")]
    rows = all_rows[all_rows["training"] != "untrained"]
    several = [word for word, column in (("training", "training"), ("kind of attention", "attention_kind"))
               if rows[column].nunique() > 1]  # fmt: skip
    named = ["recording", "region", "metric", *several]
    what = f"{', '.join(named[:-1])} and {named[-1]}"
    out = []
    if told:
        pass
    elif len(rows):
        sure = int(((rows["lo"] > 0) | (rows["hi"] < 0)).sum())
        none = int(rows["lo"].isna().sum())
        out.append(
            f"Attention minus plain was positive in {int((rows['difference'] > 0).sum())} of {len(rows)} "
            f"comparisons (one a {what}). The 95 % interval over "
            f"{span(rows['n'])} networks leaves out 0 in {sure}"
            + (f", {none} have no interval" if none else "")
            + f"; about {0.05 * (len(rows) - none):.1f} would do so if attention changed nothing."
        )
    else:
        out.append("The tables hold no brain score of a plain and an attention twin.")
    trained = scores[scores["kind"] == "network"]
    if len(trained):
        raw = scores[scores["kind"] == "untrained"]
        out += [_against(trained, raw, ["network", "attention"], "their untrained twin"),
                _against(trained, scores[scores["kind"] == "pixels"], [], "pixels")]  # fmt: skip
        shuffled = scores[scores["kind"] == "shuffled"]["score"].dropna()
        if len(shuffled):
            out.append(
                f"With the stimuli of the brain permuted the scores are {number(shuffled.mean())} on average "
                f"(from {number(shuffled.min())} to {number(shuffled.max())}, n = {len(shuffled)})."
            )
        optimism = trained["optimism"].dropna()
        if len(optimism):
            added = f"{number(optimism.mean())} on average (up to {number(optimism.max())}, n = {len(optimism)})"
            out.append(f"Choosing the layer on the stimuli that it is scored on would have added {added}.")
    return [line for line in out if line]


def correlation_words(correlation: pd.DataFrame) -> list[str]:
    """Sentences on brain score against accuracy; says how many coefficients could not be computed, and why."""
    c = correlation
    rows = c[(c["accuracy"] == "blended_both") & (c["statistic"] == "spearman") & (c["left_out"] == "")]
    out = []
    several = s.trainings(rows["training"])
    if several:
        rows = rows[rows["training"] != ""]
        out.append("Each way of training by itself: over all of them together a coefficient would mostly say that "
                   "training changes accuracy and brain score at once.")  # fmt: skip
    began = len(out)
    rows = rows.sort_values(["region", "recording", "metric"], key=lambda v: v.map(_AREA) if v.name == "region" else v)
    for row in rows[rows["value"].notna()].to_dict("records"):
        interval = f"95 % interval {number(row['lo'])} to {number(row['hi'])}" if pd.notna(row["lo"]) else "no interval"
        how = f" {s.trained_on(row['training'])}" if row["training"] else ""
        within = f", within architectures p = {p_value(row['p_within'])}" if pd.notna(row["p_within"]) else ""
        out.append(
            f"{row['region']} ({row['recording']}, {s.label(row['metric'])}): Spearman "
            f"{number(row['value'])}, {interval}, permutation p = {p_value(row['p'])}{within}, {row['n_points']} "
            f"networks{how} of {row['n_architectures']} architectures ({row['n_runs']} runs)."
        )
    refused = rows[rows["value"].isna()]
    if len(refused):
        out.append(f"{len(refused)} of {len(rows)} were not computed: {'; '.join(sorted(set(refused['note'])))}.")
    if len(out) == began:
        out.append("No trained run has both a brain score and an accuracy.")
    elif (rows["n_architectures"] < FEW_NETWORKS).all():
        out.append("With fewer than five architectures these coefficients describe the networks here and no others.")
    return out


def evidence(row: Mapping[str, Any], rates: bool = False) -> str:
    """n, interval and p of a mean difference, and what the interval allows to say; never a bare 'significant'."""
    unit = "networks" if row["level"] == "all" else "seeds"
    if pd.isna(row["lo"]) or pd.isna(row["hi"]):
        return f"(n = {row['n']} {unit if row['n'] != 1 else unit[:-1]}, so no interval and no p: it may be chance)."
    show = points if rates else number
    if row["lo"] <= 0 <= row["hi"]:
        words, end = "the interval contains 0", ", so neither sign is excluded"
    else:
        words, end = "the interval leaves out 0", ", so this is not settled" if row["p"] > 0.05 else ""
    floor = 2.0 ** (1 - row["n"])
    limit = f", which cannot be below {p_value(floor)} with this n" if floor > 0.05 else ""
    return (f"(95 % interval {show(row['lo'])} to {show(row['hi'])} over {row['n']} {unit}: {words}; "
            f"sign-flip p = {p_value(row['p'])}{limit}{end}).")  # fmt: skip


def accuracy_summary(accuracy: pd.DataFrame) -> pd.DataFrame:
    """One row a network, attention and training: rates in percent, mean over seeds; guessing in the last row."""
    overall = accuracy[accuracy["by"] == "all"]
    rows = []
    keys = ["network", "attention", "heads", "training"]
    for values, part in overall.groupby(keys, dropna=False, sort=True):
        row: dict[str, Any] = dict(zip(keys, values)) | {"seeds": part["seed"].nunique()}
        for outcome, words in (("top1", "one object: top-1"), ("both", "both"), ("one", "one"), ("none", "none")):
            mine = part[part["outcome"] == outcome]
            row[words] = 100 * mine["rate"].mean() if len(mine) else np.nan
        blends = part[part["outcome"] == "both"]
        row["blends"] = int(blends["n"].max()) if len(blends) else 0
        for cost in ("parameters", "flops"):
            row[cost] = part[cost].dropna().astype(float).mean()
        rows.append(row)
    first = overall.drop_duplicates("outcome").set_index("outcome")["chance"]
    rows.append({"network": "guessing", "one object: top-1": 100 * first.get("top1", np.nan),
                 **{o: 100 * first.get(o, np.nan) for o in ("both", "one", "none")}})  # fmt: skip
    frame = pd.DataFrame(rows)
    frame["heads"] = frame["heads"].astype("Int64")
    frame["seeds"], frame["blends"] = frame["seeds"].astype("Int64"), frame["blends"].astype("Int64")
    return frame.astype({"parameters": "Int64", "flops": "Int64"})


def area_summary(scores: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """One row a region, recording, metric and training: twins, difference, chance rows and ceiling."""
    rows = []
    for place in s.places(scores):
        own = s.at(scores, place)
        means = {k: p.groupby("network")["score"].mean().mean() for k, p in own.groupby("kind")}
        quantity = f"score:{place[0]}:{place[1]}:{place[2]}"
        mine = twins[(twins["quantity"] == quantity) & (twins["level"] == "all") & (twins["training"] != "untrained")]
        base = {"region": place[0], "recording": place[1], "metric": s.label(place[2])}
        rest = {"untrained": means.get("untrained", np.nan), "pixels": means.get("pixels", np.nan),
                "shuffled": means.get("shuffled", np.nan), "ceiling": own["ceiling"].dropna().median(),
                "stimuli": own["n_report"].max()}  # fmt: skip
        for row in mine.to_dict("records") or [{}]:
            rows.append(base | {"training": row.get("training", ""), "kind": row.get("attention_kind", "")}
                        | {k: row.get(k, np.nan) for k in ("plain", "attention", "difference", "lo", "hi", "p")}
                        | {"networks": row.get("n", 0)} | rest)  # fmt: skip
    return pd.DataFrame(rows)


def _against(trained: pd.DataFrame, base: pd.DataFrame, keys: list[str], words: str) -> str:
    """How many mean scores of trained networks lie above a chance row at the same place."""
    place = ["recording", "region", "metric"]
    if not len(base):
        return ""
    means = trained.groupby([*place, "network", "attention", "training"])["score"].mean().reset_index()
    other = base.groupby([*place, *keys])["score"].mean().rename("base").reset_index()
    both = means.merge(other, on=[*place, *keys]).dropna()
    if not len(both):
        return ""
    gap = both["score"] - both["base"]
    return (f"Trained networks (means over seeds) score above {words} in {int((gap > 0).sum())} of {len(both)} "
            f"cases, by {number(gap.mean())} on average.")  # fmt: skip


def _kind(twins: pd.DataFrame, row: dict[str, Any]) -> str:
    """'attention', or which where the tables hold several kinds."""
    several = len(twins[["attention_kind", "heads"]].drop_duplicates()) > 1
    return s.twin(row["attention_kind"], row["heads"]) if several else "attention"


def _trainings(twins: pd.DataFrame) -> list[str]:
    return [t for t in columns.TRAININGS if t not in ("untrained", "") and (twins["training"] == t).any()]


def percent(value: float) -> str:
    """'12.3 %' of a rate, with two digits below 10 %."""
    return f"{100 * value:.1f} %" if value >= 0.1 else f"{100 * value:.2f} %"


def points(value: float) -> str:
    """'+1.2 points' of a difference of rates."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def number(value: float) -> str:
    """A score or coefficient with three digits."""
    return f"{value:.3f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p with two digits."""
    return f"{value:.2g}"


def span(values: pd.Series) -> str:
    """'2', or '1 to 3'."""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
