"""The part of the answer that is about training: zero-shot superposition, how training went, what it cost.

As in analysis/answer.py, no sentence says more than its numbers.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.answer import evidence, percent, points
from analysis.figures import _style as s
from analysis.stats import trainings


def zero_shot_words(accuracy: pd.DataFrame) -> list[str]:
    """Sentences on zero-shot superposition: networks trained on single objects, or by curriculum, against the same
    networks trained on blends. Empty where there are no such pairs."""
    found = trainings.compare(accuracy)
    guess = accuracy[(accuracy["by"] == "all") & (accuracy["outcome"] == "both")]["chance"].dropna()
    out = []
    names = {"blended_both": "both objects of a blend", "regular_top1": "the object of a single image"}
    for training in s.trainings(found["training"]):
        shot = ", which has never seen a blend" if training == "regular" else ""
        for quantity, words in names.items():
            chance = f" (guessing {percent(guess.iloc[0])})" if quantity == "blended_both" and len(guess) else ""
            mine = found[(found["training"] == training) & (found["quantity"] == quantity) & (found["level"] == "all")]
            for row in mine.to_dict("records"):
                twin = s.twin(row["attention"], row["heads"])
                out.append(
                    f"{words[:1].upper()}{words[1:]} named{chance}: the {twin} network {s.trained_on(training)}{shot}, "
                    f"in {percent(row['value'])}, the same trained on blends in {percent(row['base'])}, difference "
                    f"{points(row['difference'])} {evidence(row, True)}"
                )
    return out


def zero_shot_table(accuracy: pd.DataFrame) -> pd.DataFrame:
    """The table of `zero_shot_words`, by network and over all, rates and differences in percent."""
    found = trainings.compare(accuracy)
    for name in ("value", "base", "difference", "lo", "hi"):
        found[name] = 100 * found[name]
    return found.rename(columns={"base": "trained on blends"}).assign(
        network=[s.label(n) if n else "all" for n in found["network"]]
    )


def training_summary(training: pd.DataFrame) -> pd.DataFrame:
    """One row a network, attention and training: epochs, the kept one, seconds and speed, means over seeds."""
    last = training.sort_values("epoch").groupby("run").tail(1).set_index("run")
    kept = training[training["kept"]].set_index("run")
    per = last.assign(best=kept["epoch"], both=100 * kept["val_both"], top1=100 * kept["val_top1"],
                      spent=training.groupby("run")["seconds"].sum(),
                      speed=training.groupby("run")["images_per_s"].median())  # fmt: skip
    keys = ["network", "attention", "heads", "training"]
    out = per.groupby(keys, dropna=False).agg(
        seeds=("seed", "nunique"), epochs=("epochs_trained", "mean"), stopped_early=("stopped_early", "sum"),
        best=("best", "mean"), both=("both", "mean"), top1=("top1", "mean"), spent=("spent", "mean"),
        speed=("speed", "mean"), hardware=("hardware", lambda v: ", ".join(sorted(set(v)))),
    )  # fmt: skip
    out = out.reset_index().astype({n: float for n in ("epochs", "best", "both", "top1", "spent", "speed")})
    return out.rename(columns={"stopped_early": "stopped early", "best": "epoch kept",
                               "both": "validation: both (%)", "top1": "validation: top-1 (%)",
                               "spent": "seconds", "speed": "images/s"})  # fmt: skip


def lr_words(lr_finder: pd.DataFrame) -> list[str]:
    """One sentence a run on what the learning-rate range test suggests beside what the sheet has."""
    out = []
    for run, part in lr_finder.groupby("run", sort=True):
        marks = part[part["suggested"] != ""]
        has = f"the recipe has {part['recipe_lr'].iloc[0]:g}"
        if not len(marks):
            out.append(f"{run}: the loss never fell in the learning-rate test ({has}).")
            continue
        at = {w: marks[marks["suggested"].isin((w, "both"))]["lr"].iloc[0] for w in ("steepest", "tenth")}
        out.append(f"{run}: the learning-rate test falls fastest at {at['steepest']:.2g}, a tenth of the rate with the "
                   f"lowest loss is {at['tenth']:.2g}; {has}.")  # fmt: skip
    return out


def plan_words(plan: Mapping[str, Any]) -> list[str]:
    """What a time budget planned: epochs for all runs, and what that was measured to take."""
    runs = plan.get("runs", {})
    expected = sum(float(r["planned_s"]) for r in runs.values())
    sheet = plan.get("sheet_recipe", {}).get("epochs", "?")
    machine = plan.get("surroundings", {}).get("hardware", "unknown hardware")
    return [f"The number of epochs comes from a time budget: {plan['epochs']} epochs for each of {len(runs)} runs, "
            f"measured to take {expected / 60:.3g} of {float(plan['budget_s']) / 60:.3g} minutes on "
            f"{machine}. The sheet has {sheet}; warm-up, steps of the learning rate, "
            " curriculum and patience keep their share of the training."]  # fmt: skip
