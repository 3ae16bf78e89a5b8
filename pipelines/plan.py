"""`--budget 30m`: measure every chosen run here, plan one number of epochs for all, and keep to it afterwards.

The plan lies in results/<profile>/plan.json. A checkpoint carries its recipe and is compared with the sheet's; so every
later verb takes the planned recipe, by `planned`, and says so.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from blendnet import stored
from blendnet._kinds import unlike
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from blendnet.keys import difference
from blendnet.training import budget as budgets
from pipelines.sheet import Profile

PLAN = "plan.json"


def read(results: Path) -> dict[str, Any] | None:
    """The plan of a profile's results folder, None where there is none; a broken file is one clear line."""
    path = results / PLAN
    if not path.exists():
        return None
    found: dict[str, Any] = read_json(path)
    wrong = unlike(found, stored.PLAN) or ("it has no epoch" if found["epochs"] < 1 else "")
    if wrong:
        raise BlendnetError(f"{path} is no plan; delete it, and plan again with --budget ({wrong})")
    return found


def planned(profile: Profile, results: Path, *, say=print) -> Profile:
    """The profile with the planned epochs where plan.json has some, and one line that says so; else the profile.

    A plan that was made for another recipe than the sheet now has is not used, which is said, too.
    """
    found = read(results)
    if found is None:
        return profile
    differs = difference(found["sheet_recipe"], profile.recipe.asdict())
    if differs:
        say(f"  {results / PLAN} is not used: the sheet's recipe differs in {'; '.join(differs[:3])}")
        return profile
    sheet = profile.recipe.epochs
    say(
        f"  {found['epochs']} epochs, as planned for {budgets.words(found['budget_s'])} "
        f"(the sheet has {sheet}; delete {results / PLAN} to go back to it)"
    )
    return replace(profile, recipe=budgets.scaled(profile.recipe, found["epochs"]))


def plan(context, budget: str) -> Profile:
    """The profile with so many epochs that training all selected runs takes no longer than `budget` ('30m').

    context.profile is the sheet's. An existing plan stays where the budget is the same, its recipe is the sheet's and
    it holds all selected runs, so that a killed training goes on to the same end; else it is replaced, and the line
    says why. Raises BlendnetError for a budget that is no time or too short, and with several processes.
    """
    wanted = budgets.seconds(budget)
    runs = context.select(context.profile.trained_runs())
    old = read(context.results)
    if old is not None:
        reasons = _reasons(old, wanted, context.profile, [r.id for r in runs])
        if not reasons:
            return planned(context.profile, context.results)
        print(f"  planned anew: {'; '.join(reasons)}", flush=True)
    made = _make(context, runs, wanted)
    write_json(context.results / PLAN, made)
    took = budgets.words(sum(r["planned_s"] for r in made["runs"].values()))
    print(
        f"  budget {budgets.words(wanted)}: {made['epochs']} epochs for each of {len(runs)} runs, expected {took} "
        f"(measured here in {budgets.words(made['measuring_s'])}; the sheet has {context.profile.recipe.epochs})",
        flush=True,
    )
    return replace(context.profile, recipe=budgets.scaled(context.profile.recipe, made["epochs"]))


def _reasons(old: dict[str, Any], wanted: float, profile: Profile, runs: list[str]) -> list[str]:
    out = []
    if old["budget_s"] != wanted:
        out.append(f"the plan was for {budgets.words(old['budget_s'])}")
    out += [f"the sheet's recipe differs in {d}" for d in difference(old["sheet_recipe"], profile.recipe.asdict())[:2]]
    more = sorted(set(runs) - set(old["runs"]))
    if more:
        out.append(f"it holds {len(old['runs'])} runs and not {more[0]}")
    return out


def _make(context, runs: list, wanted: float) -> dict[str, Any]:
    # Here and not above: drawing and the report read the plan, and must not need torch.
    from blendnet.checkpoint import surroundings
    from blendnet.training import distributed, schedule
    from pipelines import trial
    from pipelines.context import say
    from pipelines.data import bring

    if distributed.asked_for() > 1:
        raise BlendnetError(
            f"--budget measures in one process, and {distributed.asked_for()} were started; plan first without "
            "torchrun (blendnet plan), every later training keeps to it"
        )
    bring(context)
    began = time.perf_counter()  # downloads are not training
    recipe, device = context.profile.recipe, context.torch_device()
    steps = schedule.steps_per_epoch(recipe)
    measured: dict[tuple, budgets.Pace] = {}
    paces = {}
    for run in runs:
        alike = (run.network, run.attention, run.heads, run.training)  # seeds cost the same
        if alike not in measured:

            def prepare(run=run):
                step, end_epoch = trial.begin(context, run)
                return lambda i: step(i, schedule.learning_rate(recipe, i, steps)), end_epoch

            pace = measured[alike] = budgets.measure(prepare, most=min(50, steps))
            say(f"  {run.id}: {pace.step_s:.3g} s a step, {pace.epoch_s(steps):.3g} s an epoch of {steps} steps "
                f"with {pace.end_s:.3g} s of validation and saving")  # fmt: skip
        paces[run.id] = measured[alike]
    measuring = time.perf_counter() - began
    n_epochs = budgets.epochs(wanted, paces, steps, used_s=measuring)
    spent = budgets.spent(paces, steps, n_epochs)
    return {
        "budget_s": wanted, "epochs": n_epochs, "margin": budgets.MARGIN, "measuring_s": round(measuring, 1),
        "sheet_recipe": recipe.asdict(), "planned_recipe": budgets.scaled(recipe, n_epochs).asdict(),
        "steps_per_epoch": steps, "runs": {
            run: {"setup_s": round(p.setup_s, 3), "step_s": round(p.step_s, 5), "epoch_s": round(p.epoch_s(steps), 3),
                  "end_s": round(p.end_s, 3), "planned_s": round(spent[run], 1)}
            for run, p in paces.items()
        },
        "surroundings": surroundings(device),
    }  # fmt: skip
