"""What attention changes, in words, from effects.csv: the first lines of the report, and what stands behind them.

The verdict of a row is that of the table, which goes by its interval; no sentence adds to it. A verdict 'different'
whose Holm-corrected sign-flip p is above .05 is said to be so by its interval alone.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.answer import FEW_NETWORKS, number, p_value, percent, points, span
from analysis.figures import _style as s

_SEEN = "accuracy:blended_both"
NAMES = {"accuracy:blended_both": "both objects of a blend", "accuracy:regular_top1": "the object of a single image"}


def overall(effects: pd.DataFrame, family: str = "") -> pd.DataFrame:
    """The rows over all networks of trained twins, none left out; of one family where it is given."""
    rows = effects[(effects["level"] == "all") & (effects["left_out"] == "") & (effects["training"] != "untrained")]
    return rows[rows["family"] == family] if family else rows


def leads(effects: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """(question with its verdict, the numbers, more of them one by one) on superimposed objects and on the brain; []
    without such rows."""
    out: list[tuple[str, str, list[str]]] = []
    rows = overall(effects)
    seen = rows[rows["quantity"] == _SEEN].to_dict("records")
    if seen:
        verdicts = together([(where(r, effects), seen_verdict(r)) for r in seen])
        head = f"Does attention make these networks see superimposed objects better? {verdicts}"
        out.append((head, " ".join(sentence(r, effects) for r in seen), []))
    scores = rows[rows["family"] == "score"]
    if len(scores):
        areas = [area(part, region) for region, part in by_region(scores)]
        head = "Does attention make them more like the brain? " + "; ".join(f"{name}: {v}" for name, v, _ in areas)
        out.append((f"{head}.", multiplicity(scores), [words for _, _, words in areas]))
    return out


def seen_verdict(row: Mapping[str, Any]) -> str:
    """The verdict on an accuracy in a few words."""
    if row["verdict"] == "different":
        how = "yes, better" if row["difference"] > 0 else "no, worse"
        return how + _uncorrected(row)
    if row["verdict"] == "equivalent":
        return f"no, the same within {_margin(row)}"
    return "undecided" if row["verdict"] == "undecided" else "too few networks and seeds to say"


def _uncorrected(row: Mapping[str, Any]) -> str:
    """Whether a verdict of the interval is not borne out by the corrected p, and whether it could have been."""
    if not row["p_holm"] > 0.05:
        return ""
    if _floored(row):
        return f" by the interval; no p can be below {p_value(row['p_floor'])} with so few"
    return " by the interval, but not by p corrected for the number of comparisons"


def sentence(row: Mapping[str, Any], effects: pd.DataFrame) -> str:
    """One comparison over all networks with everything it rests on: rates, difference, interval, p, n, margin."""
    what = NAMES.get(row["quantity"], row["quantity"])
    left = leave_one_out(row, effects)
    return (
        f"{where(row, effects)[:1].upper()}{where(row, effects)[1:]}, the plain networks name {what} in "
        f"{percent(row['plain'])}, those with {s.twin(row['attention_kind'], row['heads'])} in "
        f"{percent(row['attention'])}: difference {points(row['difference'])} ({numbers(row)}). "
        f"{meaning(row)}{f' {left}' if left else ''}"
    )


def numbers(row: Mapping[str, Any]) -> str:
    """Interval, p plain and corrected, effect size and n of a comparison; what is not known is said to be so."""
    rate = row["family"] != "score"
    show = points if rate else number
    parts = []
    if pd.notna(row["lo"]) and pd.notna(row["hi"]):
        parts.append(f"95 % interval {show(row['lo'])} to {show(row['hi'])}, from drawing {row['resampled']}")
    else:
        parts.append("no interval")
    parts.append(_p_words(row))
    if pd.notna(row["effect"]):
        wide = f" ({row['effect_lo']:.2f} to {row['effect_hi']:.2f})" if pd.notna(row["effect_lo"]) else ""
        parts.append(f"standardised effect {row['effect']:.2f}{wide}".replace("-", "−"))
    n = [f"{count(row['n_networks'], 'network')}", f"{count(row['n_seeds'], 'seed')} each"]
    if pd.notna(row["n_stimuli"]):
        n.append(count(row["n_stimuli"], "stimulus", "stimuli"))
    if pd.notna(row["n_neuroids"]):
        n.append(count(row["n_neuroids"], "neuroid"))
    return "; ".join([*parts, "n = " + ", ".join(n)])


def _p_words(row: Mapping[str, Any]) -> str:
    if pd.isna(row["p"]):
        return "no p"
    floor = f", which cannot be below {p_value(row['p_floor'])} here" if _floored(row) else ""
    corrected = [f"{name} {p_value(row[key])}" for key, name in (("p_holm", "Holm"), ("p_bh", "Benjamini-Hochberg"))
                 if pd.notna(row[key])]  # fmt: skip
    return f"sign-flip p = {p_value(row['p'])}{floor}" + (f" (corrected: {', '.join(corrected)})" if corrected else "")


def _floored(row: Mapping[str, Any]) -> bool:
    return pd.notna(row["p_floor"]) and row["p_floor"] > 0.05


def meaning(row: Mapping[str, Any]) -> str:
    """What the verdict of the table means, with the margin that it was reached against, and the table's own note."""
    same = f" (p = {p_value(row['p_equivalent'])})" if pd.notna(row["p_equivalent"]) else ""
    words = {
        "different": f"The verdict is different{_uncorrected(row)}.",
        "equivalent": f"The verdict is equivalent: a difference of {_margin(row)} or more is excluded{same}.",
        "undecided": "The verdict is undecided: neither is a difference shown nor that it is smaller than "
                     f"{_margin(row)}{same}.",
        "too few": "There are too few to say.",
    }[row["verdict"]]  # fmt: skip
    return f"{words} Note: {row['note']}." if row["note"] else words


def leave_one_out(row: Mapping[str, Any], effects: pd.DataFrame) -> str:
    """What becomes of a comparison when each architecture in turn is left out; '' where that was not done."""
    keys = ("quantity", "training", "attention_kind", "heads")
    alike = effects[(effects["level"] == "all") & (effects["left_out"] != "")]
    for key in keys:
        alike = alike[alike[key] == row[key]]
    if not len(alike):
        return ""
    show = points if row["family"] != "score" else number
    low, high = alike["difference"].min(), alike["difference"].max()
    verdicts = ", ".join(f"without {s.label(r['left_out'])} {r['verdict']}" for r in alike.to_dict("records"))
    return (f"With one architecture left out the difference lies between {show(low)} and {show(high)} "
            f"(verdict: {verdicts}).")  # fmt: skip


def area(rows: pd.DataFrame, region: str) -> tuple[str, str, str]:
    """(region, verdict in a few words, sentence) over all recordings and metrics of one area."""
    n = len(rows)
    found = {v: rows[rows["verdict"] == v] for v in ("different", "equivalent", "undecided", "too few")}
    parts = []
    for verdict, part in found.items():
        if not len(part):
            continue
        name = "too few to say" if verdict == "too few" else verdict
        if verdict == "different":  # which way, counted where both occur
            up, down = int((part["difference"] > 0).sum()), int((part["difference"] < 0).sum())
            name = " and ".join(f"{w} like it{f' in {k}' if up and down else ''}"
                                for w, k in (("more", up), ("less", down)) if k)  # fmt: skip
        parts.append(name if len(part) == n else f"{name} in {len(part)} of {n}")
    low, high = rows["difference"].min(), rows["difference"].max()
    wide = rows.dropna(subset=["lo", "hi"])
    sure = int((rows["p_holm"] <= 0.05).sum())
    text = (f"{region}: attention minus plain {_from_to(low, high)} over {count(n, 'comparison')}"
            + (f", 95 % intervals within {number(wide['lo'].min())} to {number(wide['hi'].max())}" if len(wide) else
               ", no interval")
            + (f", smallest Holm p {p_value(rows['p_holm'].min())}, smallest Benjamini-Hochberg p "
               f"{p_value(rows['p_bh'].min())}, Holm p at most 0.05 in {sure} of {n}"
               if rows["p_holm"].notna().any() else ", no p")
            + ".")  # fmt: skip
    return region, ", ".join(parts), text


def multiplicity(rows: pd.DataFrame) -> str:
    """How many comparisons there are, over what, with what margin, and that many of them share networks."""
    margins = sorted(set(rows["margin"].dropna()))
    within = f", equivalence within ±{' or ±'.join(f'{m:g}' for m in margins)}" if margins else ""
    notes = sorted({part for note in rows["note"] for part in note.split("; ") if part})
    return (f"Attention minus plain, raw scores, {count(len(rows), 'comparison')} (one an area, recording, metric, "
            f"training and kind of attention), {span(rows['n_networks'])} networks of {span(rows['n_seeds'])} "
            f"seeds{within}. One network's comparisons share its weights, so they are not independent."
            + (f" Notes: {'; '.join(notes)}." if notes else ""))  # fmt: skip


def detail(effects: pd.DataFrame) -> list[str]:
    """Sentences on single networks, on the weight of the objects and on class pairs."""
    out = []
    single = effects[(effects["level"] == "network") & (effects["quantity"] == _SEEN)
                     & (effects["training"] != "untrained")]  # fmt: skip
    for _, part in single.groupby(["training", "attention_kind", "heads"], sort=True):
        first = part.iloc[0].to_dict()
        each = "; ".join(f"{s.label(r['network'])} {points(r['difference'])} ({numbers(r)}), {r['verdict']}"
                         for r in part.to_dict("records"))  # fmt: skip
        out.append(f"By network, {where(first, effects)}, both objects named: {each}.")
    for family, words, top in (("alpha", "weights of the objects", "alpha"), ("pair", "class pairs", "pair")):
        rows = overall(effects, family)
        for _, part in rows.groupby(["training", "attention_kind", "heads"], sort=True):
            best, worst = part.loc[part["difference"].idxmax()], part.loc[part["difference"].idxmin()]
            verdicts = ", ".join(f"{v} {int((part['verdict'] == v).sum())}"
                                 for v in ("different", "equivalent", "undecided", "too few"))  # fmt: skip
            holm, bh = int((part["p_holm"] <= 0.05).sum()), int((part["p_bh"] <= 0.05).sum())
            out.append(
                f"Over {len(part)} {words}, {where(part.iloc[0].to_dict(), effects)}: {verdicts}; corrected p at most "
                f"0.05 in {holm} by Holm, in {bh} by Benjamini-Hochberg. Largest difference "
                f"{points(best['difference'])} ({top} {_last(best['quantity'])}), smallest "
                f"{points(worst['difference'])} ({top} {_last(worst['quantity'])}), picked from all {len(part)}."
            )
    return out


def effects_summary(effects: pd.DataFrame) -> pd.DataFrame:
    """The comparisons over all networks of accuracy and brain score, without those by weight and class pair."""
    rows = overall(effects)
    rows = rows[rows["family"].isin(("accuracy", "score"))]
    keep = ["quantity", "training", "attention_kind", "heads", "plain", "attention", "difference", "lo", "hi", "p",
            "p_holm", "p_bh", "effect", "margin", "p_equivalent", "verdict", "n_networks", "n_seeds"]  # fmt: skip
    area_of = {region: i for i, region in enumerate(s.REGIONS)}
    key = rows["quantity"].map(lambda q: area_of.get(q.split(":")[1], -1) if q.startswith("score:") else -2)
    return rows.assign(_order=key).sort_values(["_order", "quantity"], kind="stable", ignore_index=True)[keep]


def few(effects: pd.DataFrame) -> list[str]:
    """The caveat on few networks, [] where there are enough."""
    rows = overall(effects)
    most = rows["n_networks"].max() if len(rows) else 0
    if not len(rows) or most >= FEW_NETWORKS:
        return []
    drawn = rows["resampled"].str.contains("network").any()
    only = "" if drawn else " (networks were not drawn again in any interval)"
    return [f"There are at most {count(most, 'architecture')}: this describes the networks here{only} and not what "
            "attention would do to another."]  # fmt: skip


def by_region(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of family 'score', whose quantity is score:<region>:<recording>:<metric>, by area in the house's order."""
    region = rows["quantity"].str.split(":").str[1]
    return [(r, rows[region == r]) for r in s.REGIONS if (region == r).any()]


def where(row: Mapping[str, Any], effects: pd.DataFrame) -> str:
    """'trained on blended images', with the kind of attention where the table has several."""
    several = len(effects[["attention_kind", "heads"]].drop_duplicates()) > 1
    kind = f", {s.twin(row['attention_kind'], row['heads'])}" if several else ""
    return s.trained_on(row["training"]) + kind


def together(items: list[tuple[str, str]]) -> str:
    """(name, verdict) pairs in a line: 'Undecided.' of one, 'undecided (trained on ...); better (...).' of several."""
    if len(items) == 1:
        return f"{items[0][1][:1].upper()}{items[0][1][1:]}."
    return "; ".join(f"{verdict} ({name})" for name, verdict in items) + "."


def count(n: Any, one: str, many: str = "") -> str:
    """'1 network', '3 networks'."""
    return f"{int(n)} {one if int(n) == 1 else many or one + 's'}" if pd.notna(n) else f"an unknown number of {one}s"


def _margin(row: Mapping[str, Any]) -> str:
    if pd.isna(row["margin"]):
        return "an unknown margin"
    return f"{row['margin']:g}" if row["family"] == "score" else f"{100 * row['margin']:.3g} points"


def _from_to(low: float, high: float) -> str:
    return number(low) if low == high else f"from {number(low)} to {number(high)}"


def _last(quantity: str) -> str:
    return quantity.rpartition("=")[2]
