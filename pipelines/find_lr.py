"""The learning-rate range test of the sheet's runs -> lr_finder.csv. No checkpoint is read or written."""

import numpy as np
import pandas as pd

from analysis import tables
from blendnet.files import sha256_of
from blendnet.run import Run
from blendnet.training import lr_finder
from pipelines import trial
from pipelines.context import Context, say
from pipelines.data import bring

LOW, HIGH, STEPS = 1e-7, 10.0, 120


def find_lr(context: Context, *, steps: int = STEPS) -> None:
    """Test every selected run of the sheet's first seed and say what it suggests; the rows of other runs stay in the
    table if the sheet still has them with this recipe."""
    profile = context.profile
    bring(context)
    candidates = [r for r in profile.trained_runs() if r.seed == profile.seeds[0]]
    recipe = sha256_of(profile.recipe.asdict())
    path = context.tables / "lr_finder.csv"
    old = tables.read(path) if path.exists() else tables.empty("lr_finder")
    old = old[(old["recipe_sha256"] == recipe) & old["run"].isin([r.id for r in candidates])]
    for run in context.each("find-lr", context.select(candidates)):
        step, _ = trial.begin(context, run)
        curve = lr_finder.range_test(step, low=LOW, high=HIGH, steps=steps)
        found = lr_finder.suggestion(curve.lrs, curve.smoothed)
        rows = _rows(run, curve, found).assign(recipe_lr=profile.recipe.lr, recipe_sha256=recipe)
        old = pd.concat([old[old["run"] != run.id], rows], ignore_index=True)
        tables.write(old, path)  # after each run: a kill loses one curve
        say(f"  {run.id}: {_words(curve, found)} (the recipe has {profile.recipe.lr:g})")


def _rows(run: Run, curve: lr_finder.Curve, found: lr_finder.Suggestion | None) -> pd.DataFrame:
    marks = np.full(len(curve.lrs), "", dtype=object)
    if found is not None:
        marks[found.tenth] = "tenth"
        marks[found.steepest] = "both" if found.tenth == found.steepest else "steepest"
    return pd.DataFrame({
        "run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
        "training": run.training, "seed": run.seed, "step": np.arange(len(curve.lrs)), "lr": curve.lrs,
        "loss": curve.losses, "smoothed": curve.smoothed, "suggested": marks,
    })  # fmt: skip


def _words(curve: lr_finder.Curve, found: lr_finder.Suggestion | None) -> str:
    if found is None:
        return "the loss never fell; is the network or the lowest rate right?"
    end = f"diverged at {curve.lrs[-1]:.2g}" if curve.diverged else f"not diverged at {curve.lrs[-1]:.2g}"
    return (
        f"steepest fall at lr {curve.lrs[found.steepest]:.2g}, a tenth of the lowest loss's "
        f"{curve.lrs[found.tenth]:.2g}, {end}"
    )
