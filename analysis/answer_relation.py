"""Whether brain similarity goes with accuracy, in words, from relation.csv and mixed.csv."""

import pandas as pd

from analysis.answer import FEW_NETWORKS, number, p_value, span
from analysis.answer_effects import count
from analysis.figures import _style as s


def committed(relation: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of the committed layer's score with naming both objects; each training by itself where there
    are several."""
    rows = relation[(relation["accuracy"] == "blended_both") & (relation["statistic"] == "spearman")
                    & relation["depth"].isna()]  # fmt: skip
    return rows[rows["training"] != ""] if s.trainings(rows["training"]) else rows


def lead(relation: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """(question with the count that answers it, what that rests on, the areas one by one); [] without rows."""
    rows = committed(relation)
    plain = rows[rows["adjusted"] == ""]
    if not len(plain):
        return []
    question = "Do networks that see superimposed objects better resemble the brain more?"
    known = plain[plain["value"].notna()]
    if not len(known):
        why = "; ".join(sorted(set(plain["note"]) - {""}))
        text = f"None of {len(plain)} coefficients could be computed: {why}."
        return [(f"{question} Too few networks to say.", text, [])]
    within = known[known["p_within"].notna()]
    sure = within[within["p_within"] <= 0.05]
    head = "Undecided: no permutation within architectures was possible."
    if len(within):
        ways = f" ({int((sure['value'] > 0).sum())} of them positive)" if len(sure) else ""
        none = "" if len(sure) else "Not shown. "
        head = (f"{none}In {len(sure)} of {count(len(within), 'comparison')} the p within architectures is at most "
                f"0.05{ways}; chance alone would give {0.05 * len(within):.1f}.")  # fmt: skip
    text = ("Score of the committed layer against the share of blends with both objects named; no p here is corrected "
            "for the number of comparisons.")  # fmt: skip
    if plain["n_architectures"].max() < FEW_NETWORKS:
        text += (f" With {span(plain['n_architectures'])} architectures the coefficients describe the networks here "
                 "and no others.")  # fmt: skip
    return [(f"{question} {head}", text, [area_words(rows, r) for r in s.REGIONS if (rows["region"] == r).any()])]


def area_words(rows: pd.DataFrame, region: str) -> str:
    """One sentence on an area: coefficients and p, as they are, given accuracy on single objects, and given as much as
    the table has."""
    own = rows[rows["region"] == region]
    plain = own[own["adjusted"] == ""]
    parts = [f"{region}: {_range(plain)}{_p_range(plain)}"]
    sets = sorted(set(own["adjusted"]) - {""}, key=lambda g: (g.count("+"), g))
    for given in dict.fromkeys([g for g in sets if g == "regular_top1"] + sets[-1:]):
        part = own[own["adjusted"] == given]
        parts.append(f"given {in_words(given)}: {_range(part)}{_p_range(part)}")
    n = plain[plain["value"].notna()]
    if len(n):
        parts[-1] += (
            f" ({span(n['n_points'])} points, {span(n['n_runs'])} runs, {span(n['n_architectures'])} architectures)"
        )
    return "; ".join(parts) + "."


def in_words(adjusted: str) -> str:
    """'regular_top1+log_flops' as 'accuracy on single objects and log flops'."""
    names = [g.replace("regular_top1", "accuracy on single objects").replace("_", " ") for g in adjusted.split("+")]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _range(rows: pd.DataFrame) -> str:
    known = rows["value"].dropna()
    if not len(known):
        return "not computed"
    which = f"{len(known)} of {len(rows)}" if len(known) < len(rows) else str(len(rows))
    if known.min() == known.max():
        one = rows[rows["value"].notna()].iloc[0]
        wide = f", 95 % interval {number(one['lo'])} to {number(one['hi'])}" if pd.notna(one["lo"]) else ", no interval"
        return f"Spearman {number(known.iloc[0])}{wide if len(known) == 1 else ''}"
    return f"Spearman from {number(known.min())} to {number(known.max())} ({which} comparisons)"


def _p_range(rows: pd.DataFrame) -> str:
    rows = rows[rows["value"].notna()]
    out = []
    for key, name in (("p", "p"), ("p_within", "p within architectures")):
        known = rows[key].dropna()
        if len(known):
            low, high = p_value(known.min()), p_value(known.max())
            out.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return f", {', '.join(out)}" if out else ""


def mixed_words(mixed: pd.DataFrame) -> list[str]:
    """What the mixed models estimate for each term but the constant, and how many were refused and why."""
    terms = mixed[~mixed["term"].str.lower().isin(("intercept", "constant", "1"))]
    if not len(terms):
        return []
    known = terms[terms["estimate"].notna()]
    out = []
    for term, part in known.groupby("term", sort=True):
        inside = int(((part["lo"] <= 0) & (part["hi"] >= 0)).sum())
        out.append(
            f"Mixed model with architectures as random intercepts, term {term.replace('_', ' ')}: estimates from "
            f"{number(part['estimate'].min())} to {number(part['estimate'].max())} in {count(len(part), 'model')}; the "
            f"95 % interval contains 0 in {inside} (no correction for their number; {span(part['n_runs'])} runs of "
            f"{span(part['n_architectures'])} architectures)."
        )
    refused = mixed[mixed["estimate"].isna()]
    if len(refused):
        why = "; ".join(sorted(set(refused["note"]) - {""})) or "no reason is given"
        out.append(f"{len(refused)} of {len(mixed)} estimates were not computed: {why}.")
    return out
