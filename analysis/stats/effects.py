"""The effect of attention, attention minus its plain twin, with what a claim about it needs: an interval that carries
seeds, networks, stimuli and neuroids, p adjusted for the number of comparisons, an effect size, each architecture left
out, and a test of equivalence, so that "no difference" can be said and not only "no difference found".

The interval (hierarchical.py, paired.py) and the sign-flip p answer different questions. p asks whether these seeds or
networks agree on these stimuli; it is exact for that, but twins that are tested on the same stimuli go with these
stimuli alike, so it says nothing of others. The interval draws the stimuli again, too; verdicts go by it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import tables
from analysis.stats import accuracy as rates_of
from analysis.stats import hierarchical, multiplicity, paired, twins
from analysis.stats.correlation import QUANTITIES
from analysis.stats.layers import REGRESSIONS
from blendnet.errors import BlendnetError, unknown

# About a tenth of what training brings: blends .04 -> .45 both correct and photographs .13 -> .79 (results/photos),
# raw r with V4 .36 -> .55 (MobileNetV2, cowley2023). A smaller change is not what the study's question is about.
MARGINS = {"accuracy": 0.05, "score": 0.02}
_CELL = ["quantity", "family", "training", "attention_kind", "heads"]
_ABOUT = ["run", "network", "training", "seed", "attention", "heads"]
_FAMILY = ["family", "training", "attention_kind", "level"]
_ALPHA = 0.05
Samples = Mapping[tuple[str, str, str, str], np.ndarray]
Outcomes = Mapping[str, Mapping[str, pd.DataFrame]]


class Images(NamedTuple):
    """The test images of one quantity and run, sorted by ids (n,): correct (n,), photographs (n, 2) or None."""

    ids: np.ndarray
    correct: np.ndarray
    photographs: np.ndarray | None


class Stimuli(NamedTuple):
    """What drawing the stimuli again does to the differences of some pairs: covariance (n_pairs, n_pairs), df + 1, and
    in words what was drawn."""

    covariance: np.ndarray
    n: int
    words: str


def compute(
    scores: pd.DataFrame | None,
    accuracy: pd.DataFrame | None,
    outcomes: Outcomes | None = None,
    samples: Samples | None = None,
    *,
    margins: Mapping[str, float] = MARGINS,
    seed: int = 0,
) -> pd.DataFrame:
    """The effects table.

    scores, accuracy: the tables of those names, either may be None. outcomes: {run: {'blended': frame, 'regular':
    frame}} as `correct` makes them; samples: {(run, recording, region, metric): (n_boot,)} the score in resamples that
    are the same for all runs. Without them, or where twins do not have them alike, stimuli are not resampled, and
    `resampled` says so. margins: half width of what counts as no difference, for 'accuracy' (rates) and 'score'
    (correlations). seed: of the random sign flips with more than 16 differences.

    quantity: 'accuracy:blended_both', 'accuracy:regular_top1' (family accuracy), 'accuracy:blended_both@alpha=0.3'
    (alpha), 'accuracy:blended_both@pair=boat+car' (pair), 'score:REGION:RECORDING:METRIC' (score, raw). level
    'network': one architecture over its seeds; 'all': mean over architectures, each the mean of its seeds, and with 3
    of them or more a row for each left out. Architectures are drawn with 3 or more only; else `note` says that they
    are fixed. With one seed the interval is over stimuli alone, of these very networks, and the verdict stays 'too
    few', as it does where all differences are alike. n_seeds: the fewest of any network; n_stimuli: test images, or
    stimuli of the reported half.

    p: two-sided sign flip over seeds (network) or networks (all), never below p_floor; p_holm, p_bh: over all rows of
    a family, training, attention kind and level, no left-out ones. effect: Hedges' g of the paired differences (n >=
    3). p_equivalent: two one-sided tests at the margin. verdict: 'different' where the 95 % interval leaves 0 out
    (also where it lies within the margin: the note then says so), else 'equivalent' where p_equivalent < .05, else
    'undecided'; it is of one comparison by itself: among many, up to 1 in 20 is 'different' by chance. Raises
    BlendnetError for a margin of another name, or one that is not positive.
    """
    for name, margin in margins.items():
        if name not in MARGINS:
            raise unknown("margin", name, MARGINS)
        if not margin > 0:
            raise BlendnetError(f"margin {margin:g} of {name} is not positive; give half the width of no difference")
    values = _values(scores, accuracy)
    pairs = twins.pairs(values) if len(values) else values
    if not len(pairs):
        return tables.empty("effects")
    pairs["family"] = pairs["quantity"].map(family)
    images = _images(outcomes or {})
    rows = []
    for cell, part in pairs.groupby(_CELL, sort=True):
        base = dict(zip(_CELL, cell))
        margin = {**MARGINS, **margins}["score" if base["family"] == "score" else "accuracy"]
        for where, own in _selections(part):
            found = _stimuli(own, str(base["quantity"]), images, samples or {})
            rows.append(base | where | _row(own, where["level"], found, margin, seed))
    table = pd.DataFrame(rows)
    table["p_holm"] = table["p_bh"] = np.nan
    for _, part in table[table["left_out"] == ""].groupby(_FAMILY):
        table.loc[part.index, "p_holm"] = multiplicity.holm(part["p"].to_numpy(float))
        table.loc[part.index, "p_bh"] = multiplicity.benjamini_hochberg(part["p"].to_numpy(float))
    return tables.check(table, "effects")


def correct(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row for each test image, from the outputs for each (results/PROFILE/predictions): id, correct (bool).

    Blends: correct is both named; further image_a, image_b, pair ('boat+car', in the order of the classes, as in
    accuracy.csv) and alpha. Images of one object: correct is top-1.
    """
    classes = rates_of.classes_of(predictions)
    outputs = rates_of.outputs(predictions, classes)
    if "blend_id" not in predictions:
        labels = rates_of.index(predictions["class_name"], classes)
        return pd.DataFrame({"id": predictions["image_id"], "correct": rates_of.top1(outputs, labels)})
    a, b = (rates_of.index(predictions[c], classes) for c in ("class_a", "class_b"))
    labels = np.zeros(outputs.shape, dtype=bool)
    labels[np.arange(len(a)), a] = labels[np.arange(len(a)), b] = True
    names = np.array(classes, dtype=object)
    return pd.DataFrame({
        "id": predictions["blend_id"], "correct": rates_of.outcome(outputs, labels) == "both",
        "image_a": predictions["image_a"], "image_b": predictions["image_b"],
        "pair": names[np.minimum(a, b)] + "+" + names[np.maximum(a, b)],
        "alpha": [f"{w:g}" for w in np.round(predictions["alpha"].to_numpy(float), 6)],
    })  # fmt: skip


def _values(scores: pd.DataFrame | None, accuracy: pd.DataFrame | None) -> pd.DataFrame:
    """One value a row: _ABOUT, quantity, value, n_stimuli, n_neuroids, n_subjects."""
    parts = []
    if accuracy is not None:
        for name, (test, outcome) in QUANTITIES.items():
            rows = accuracy[(accuracy["test"] == test) & (accuracy["outcome"] == outcome)]
            for by in ("all", "alpha", "pair"):
                own = rows[rows["by"] == by]
                quantity = f"accuracy:{name}" + ("" if by == "all" else f"@{by}=" + own["group"])
                parts.append(own[_ABOUT].assign(quantity=quantity, value=own["rate"], n_stimuli=own["n"]))
    if scores is not None:
        own = scores[scores["kind"].isin(("network", "untrained"))]
        quantity = "score:" + own["region"] + ":" + own["recording"] + ":" + own["metric"]
        parts.append(own[_ABOUT].assign(quantity=quantity, value=own["score"], n_stimuli=own["n_report"],
                                        n_neuroids=own["n_neuroids"], n_subjects=own["n_subjects"]))  # fmt: skip
    filled = [part.astype({"quantity": object}) for part in parts if len(part)]
    if not filled:
        return pd.DataFrame()
    values = pd.concat(filled, ignore_index=True).dropna(subset=["value"])
    return values.reindex(columns=[*_ABOUT, "quantity", "value", "n_stimuli", "n_neuroids", "n_subjects"])


def family(quantity: str) -> str:
    """The comparisons that a quantity is counted among: 'accuracy', 'alpha', 'pair' or 'score'."""
    if quantity.startswith("score:"):
        return "score"
    return quantity.partition("@")[2].partition("=")[0] or "accuracy"


def _selections(part: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    names = sorted(part["network"].unique())
    for name in names:
        yield {"level": "network", "network": name, "left_out": ""}, part[part["network"] == name]
    yield {"level": "all", "network": "", "left_out": ""}, part
    if len(names) >= hierarchical.FEWEST_NETWORKS:
        for name in names:
            yield {"level": "all", "network": "", "left_out": name}, part[part["network"] != name]


def _row(part: pd.DataFrame, level: str, stimuli: Stimuli | None, margin: float, seed: int) -> dict[str, Any]:
    groups = part.groupby("network", sort=True)
    means = groups[["plain", "attention", "difference"]].mean()
    by_network = [own["difference"].to_numpy(float) for _, own in groups]
    units = means["difference"].to_numpy() if level == "all" else by_network[0]
    covariance, n = (None, 0) if stimuli is None else (stimuli.covariance, stimuli.n)
    found = hierarchical.estimate(by_network, covariance, n)
    lo, hi = paired.interval(found.value, found.parts)
    if part["family"].iloc[0] != "score":
        lo, hi = float(np.maximum(lo, -1)), float(np.minimum(hi, 1))  # these keep NaN
    told = bool(found.parts) and found.drawn != ("stimuli",)
    p_equivalent = paired.tost_p(found.value, found.parts, margin) if told else float("nan")
    drawn = [stimuli.words if name == "stimuli" and stimuli else name for name in found.drawn]
    effect = paired.hedges_g(units)
    row = {
        "plain": means["plain"].mean(), "attention": means["attention"].mean(), "difference": found.value,
        "lo": lo, "hi": hi, "p": paired.sign_flip_p(units, seed=seed), "p_floor": paired.sign_flip_floor(len(units)),
        "effect": effect[0], "effect_lo": effect[1], "effect_hi": effect[2],
        "margin": margin, "p_equivalent": p_equivalent, "verdict": verdict(lo, hi, p_equivalent, told),
        "n_networks": len(means), "n_seeds": min(map(len, by_network)), "n_stimuli": part["n_stimuli_plain"].min(),
        "n_neuroids": part["n_neuroids_plain"].min(), "resampled": ", ".join(drawn) or "nothing",
    }  # fmt: skip
    return row | {"note": "; ".join(_notes(row, level, found, told))}


def verdict(lo: float, hi: float, p_equivalent: float, told: bool = True) -> str:
    """'different', 'equivalent', 'undecided' or 'too few', as `compute` describes; told: were units drawn at all."""
    if not told or not np.isfinite(lo + hi):
        return "too few"
    if lo > 0 or hi < 0:
        return "different"
    return "equivalent" if p_equivalent < _ALPHA else "undecided"


def _notes(row: dict[str, Any], level: str, found: hierarchical.Estimate, told: bool) -> Iterator[str]:
    if found.flat:
        yield "no interval: the differences are all alike"
    elif not told:
        yield "one seed: the interval speaks of these very networks" if found.parts else "one seed: no interval"
    if level == "all" and row["n_networks"] < hierarchical.FEWEST_NETWORKS:
        yield f"the {row['n_networks']} networks are fixed, not drawn"
    if row["verdict"] == "different" and row["p_equivalent"] < _ALPHA:
        yield "different, by less than the margin"
    if np.isfinite(row["p_floor"]) and row["p_floor"] > _ALPHA:
        yield f"p cannot fall below {row['p_floor']:g}"


def _stimuli(
    part: pd.DataFrame, quantity: str, images: Callable[[str, str], Images | None], samples: Samples
) -> Stimuli | None:
    """The stimuli's share for the pairs of `part`, in the order of `_row` (by network, then as they stand); None where
    a run lacks its images or samples, or twins have others."""
    ordered = part.sort_values("network", kind="stable")
    runs = [(str(a), str(b)) for a, b in zip(ordered["attention_run"], ordered["plain_run"])]
    kind, *rest = quantity.split(":")
    if kind == "score":
        region, recording, metric = rest
        found = [tuple(samples.get((run, recording, region, metric)) for run in pair) for pair in runs]
        kept = [(a, b) for a, b in found if a is not None and b is not None]
        if len(kept) < len(runs) or len({len(s) for pair in kept for s in pair}) != 1:
            return None
        covariance = hierarchical.samples_covariance(np.stack([np.subtract(a, b) for a, b in kept], axis=1))
        if covariance is None:
            return None
        words = "stimuli" + (", neuroids" if metric in REGRESSIONS else "")
        if metric.startswith("rsa") and int(ordered["n_subjects_plain"].fillna(1).min()) > 1:
            words = "stimuli, subjects"
        return Stimuli(covariance, min(int(ordered["n_stimuli_plain"].min()), len(kept[0][0])), words)
    own = [tuple(images(run, quantity) for run in pair) for pair in runs]
    there = [(a, b) for a, b in own if a is not None and b is not None]
    if len(there) < len(runs):
        return None
    first = there[0][0]
    if len(first.ids) < 2 or not all(np.array_equal(one.ids, first.ids) for pair in there for one in pair):
        return None
    difference = np.stack([a.correct - b.correct for a, b in there], axis=1)
    return Stimuli(hierarchical.blends_covariance(difference, first.photographs), len(difference), "stimuli")


def _images(outcomes: Outcomes) -> Callable[[str, str], Images | None]:
    """(run, quantity) -> its images, None where there are none. Of one quantity at a time: with another, those of the
    last are let go, since by quantity and run they are copies of the names of every photograph."""
    held: dict[str, Images | None] = {}
    last = ""

    def images(run: str, quantity: str) -> Images | None:
        nonlocal last
        if quantity != last:
            held.clear()
            last = quantity
        if run not in held:
            held[run] = _of_quantity(outcomes.get(run, {}), quantity)
        return held[run]

    return images


def _of_quantity(frames: Mapping[str, pd.DataFrame], quantity: str) -> Images | None:
    """The images of one quantity of one run: of an alpha, or of the even blends all and by pair."""
    name, _, group = quantity.removeprefix("accuracy:").partition("@")
    test = QUANTITIES[name][0]
    if test not in frames:
        return None
    own = frames[test]
    by, _, value = group.partition("=")
    if by == "alpha":
        own = own[own["alpha"] == value]
    elif test == "blended":
        own = own[own["alpha"] == "0.5"]
        own = own[own["pair"] == value] if by == "pair" else own
    if not len(own):
        return None
    own = own.sort_values("id")
    photographs = own[["image_a", "image_b"]].to_numpy(str) if test == "blended" else None
    return Images(own["id"].to_numpy(), own["correct"].to_numpy(float), photographs)
