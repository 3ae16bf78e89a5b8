"""Budgets: times read and written, the largest number of epochs that fits, scaled recipes, and plans that are kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from analysis import tables
from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from blendnet.training import budget, schedule
from blendnet.training.budget import Pace
from blendnet.training.loop import Batches
from blendnet.training.recipes import MODERN, STUDY, recipe
from pipelines import find_lr, networks, photographs, plan, sheet, training_table, trial
from pipelines import report as report_step
from pipelines.context import Context

RUN = "cornet_z-none-blended-s0"
TINY = replace(
    sheet.DEMO, networks=("cornet_z",), trainings=("blended", "regular"), image_size=32, n_per_class=24,
    recipe=recipe("modern", epochs=40, epoch_size=64, batch_size=32), val_per_pair=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [("45s", 45), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), (" 1H2m3s ", 3723), ("90m", 5400)],
)
def test_times_are_read(text, expected):
    assert budget.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "1m2h", "-5m", "0s", "1.2.3h", "nan", "30min", "1d"])
def test_what_is_no_time_is_one_line(text):
    with pytest.raises(BlendnetError, match="is no time; write 45s, 30m, 2h or 1h30m") as error:
        budget.seconds(text)
    assert "\n" not in str(error.value)


def test_times_are_written_as_they_are_read():
    for n in (1, 59, 60, 61, 3599, 3600, 5400, 3723, 86400):
        assert budget.seconds(budget.words(n)) == n
    assert budget.words(5400) == "1h30m"
    assert budget.words(0.2) == "1s"


def test_the_plan_is_the_largest_that_fits_by_counting():
    """An independent count: add epochs one by one until the next would not fit."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        paces = {str(i): Pace(*rng.uniform(0.01, 3, 3)) for i in range(rng.integers(1, 6))}
        steps, given, used = int(rng.integers(1, 30)), float(rng.uniform(1000, 5000)), float(rng.uniform(0, 50))
        left, n = (given - used) * 0.9 - sum(p.setup_s for p in paces.values()), 0
        while True:
            cost = sum(p.step_s for p in paces.values() for _ in range(steps))
            cost += sum(p.end_s for p in paces.values())
            if cost > left:
                break
            left -= cost
            n += 1
        assert budget.epochs(given, paces, steps, used_s=used) == n
        spent = budget.spent(paces, steps, n)
        assert set(spent) == set(paces)
        assert sum(spent.values()) <= 0.9 * (given - used) + 1e-6


def test_too_short_a_budget_names_the_least_that_works():
    paces = {"a": Pace(2.0, 0.5, 4.0), "b": Pace(3.0, 0.1, 4.0)}
    with pytest.raises(BlendnetError, match="--budget 10s is too short: one epoch of 2 runs needs about 22s") as error:
        budget.epochs(10, paces, 10, used_s=0.5)  # (2 + 3 + 10 * .6 + 8) / .9 + .5 = 21.6
    assert "\n" not in str(error.value)
    assert budget.epochs(22, paces, 10, used_s=0.5) == 1


def test_measuring_takes_means_of_steps_after_the_first_ones():
    now = 0.0

    def prepare():
        nonlocal now
        now += 7.0

        def step(i):
            nonlocal now
            now += 5.0 if i < 2 else 0.1 if i % 2 else 0.3

        def end_epoch():
            nonlocal now
            now += 2.5

        return step, end_epoch

    pace = budget.measure(prepare, clock=lambda: now, least_s=1.0)
    assert pace.setup_s == pytest.approx(17)
    assert pace.step_s == pytest.approx(0.2, rel=0.3)
    assert pace.end_s == pytest.approx(2.5)
    assert pace.epoch_s(10) == pytest.approx(10 * pace.step_s + 2.5)


def test_a_scaled_recipe_goes_through_the_same_rates_in_another_time():
    for base, n in ((MODERN, 25), (MODERN, 400), (STUDY, 35), (STUDY, 7)):
        other = budget.scaled(base, n)
        assert other.epochs == n
        # The rate at the same share of the training is the same, sampled off the edges of steps and warm-up.
        for share in (0.05, 0.11, 0.35, 0.5, 0.8, 0.95):
            a = schedule.learning_rate(base, int(share * base.epochs * 1000), 1000)
            b = schedule.learning_rate(other, int(share * n * 1000), 1000)
            assert b == pytest.approx(a, rel=5e-3)
    other = budget.scaled(replace(MODERN, patience=10, curriculum_epochs=20.0, ema=0.99), 10)
    assert (other.patience, other.curriculum_epochs, other.ema) == (1, 2.0, 0.99)
    assert budget.scaled(MODERN, 3).patience == 0
    assert budget.scaled(STUDY, 1).step_epochs == 1
    assert budget.scaled(STUDY, STUDY.epochs) == STUDY


@pytest.fixture
def context(tmp_path):
    return Context(profile=TINY, results=tmp_path / "demo", data=tmp_path, device="cpu", progress=False)


@pytest.mark.slow
def test_a_plan_is_measured_written_kept_and_replaced(context, capsys):
    planned = plan.plan(context, "5m")
    said = capsys.readouterr().out
    made = read_json(context.results / "plan.json")
    assert set(made["runs"]) == {r.id for r in TINY.trained_runs()}
    assert planned.recipe == budget.scaled(TINY.recipe, made["epochs"])
    assert made["planned_recipe"] == planned.recipe.asdict()
    assert sum(r["planned_s"] for r in made["runs"].values()) <= 0.9 * 300
    assert made["surroundings"]["hardware"]
    assert f"{made['epochs']} epochs for each of 4 runs" in said
    assert [p.name for p in context.results.iterdir() if p.name not in ("cache", "manifests")] == ["plan.json"]
    # The same budget, as after a kill: kept to the byte, and every later verb has it.
    before = (context.results / "plan.json").read_bytes()
    assert plan.plan(replace(context, only="*none*"), "300s").recipe == planned.recipe
    assert (context.results / "plan.json").read_bytes() == before
    assert plan.planned(TINY, context.results).recipe == planned.recipe
    assert f"{made['epochs']} epochs, as planned for 5m (the sheet has 40" in capsys.readouterr().out
    # Another budget replaces it, and says so.
    other = plan.plan(replace(context, only=RUN), "3m")
    assert "planned anew: the plan was for 5m" in capsys.readouterr().out
    assert set(read_json(context.results / "plan.json")["runs"]) == {RUN}
    assert plan.planned(TINY, context.results).recipe == other.recipe
    # More runs than were planned for would not fit.
    old = read_json(context.results / "plan.json")
    reasons = plan._reasons(old, 180.0, TINY, [RUN, "cornet_z-aacn4-blended-s0"])
    assert reasons == ["it holds 1 runs and not cornet_z-aacn4-blended-s0"]
    assert plan._reasons(old, 180.0, TINY, [RUN]) == []


def test_a_plan_for_another_recipe_is_not_used_and_a_broken_one_is_one_line(context, capsys):
    assert plan.planned(TINY, context.results) is TINY
    made = {"budget_s": 60.0, "epochs": 5, "sheet_recipe": TINY.recipe.asdict(), "runs": {}}
    write_json(context.results / "plan.json", made)
    assert plan.planned(TINY, context.results).recipe.epochs == 5
    changed = replace(TINY, recipe=replace(TINY.recipe, lr=0.5))
    capsys.readouterr()
    assert plan.planned(changed, context.results) is changed
    said = capsys.readouterr().out
    assert "is not used: the sheet's recipe differs in" in said
    assert "lr" in said
    (context.results / "plan.json").write_text("[]")
    with pytest.raises(BlendnetError, match="is no plan; delete it"):
        plan.planned(TINY, context.results)


def test_several_processes_are_told_to_plan_first(context, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BlendnetError, match="plan first without torchrun"):
        plan.plan(context, "5m")


def test_the_plan_stands_in_the_settings_of_the_report(context):
    made = {"budget_s": 60.0, "epochs": 5, "sheet_recipe": TINY.recipe.asdict(), "runs": {}}
    write_json(context.results / "plan.json", made)
    assert report_step.settings(plan.planned(TINY, context.results), context.results)["plan"]["epochs"] == 5
    assert "plan" not in report_step.settings(TINY, context.results)
    assert "plan" not in report_step.settings(TINY)


def test_a_trial_step_is_the_step_of_training(context):
    """The loss of the first trial steps is that of the first epoch in the log of a training at the same rates."""
    from pipelines.train import train

    short = replace(TINY, recipe=replace(TINY.recipe, epochs=1, warmup_epochs=0.0))
    one = replace(context, profile=short, only=RUN, tracker="none")
    train(one)
    steps = schedule.steps_per_epoch(short.recipe)
    step, end_epoch = trial.begin(one, short.trained_runs()[0])
    losses = [step(i, schedule.learning_rate(short.recipe, i, steps)) for i in range(steps)]
    log = pd.read_csv(context.folder("checkpoints", RUN, "log.csv")).iloc[0]
    assert np.mean(losses) == pytest.approx(log["train_loss"], rel=1e-5)
    assert end_epoch()["val_loss"] == pytest.approx(log["val_loss"], rel=1e-5)

    training_table.gather(one)
    table = tables.read(context.tables / "training.csv")
    meta = checkpoint.load_meta(context.folder("checkpoints", RUN))
    (row,) = table.to_dict("records")
    assert (row["run"], row["epoch"], row["kept"], row["stopped_early"]) == (RUN, 1, True, False)
    assert row["val_both"] == pytest.approx(meta["validation"]["val_both"], abs=1e-5)
    assert row["hardware"] == meta["surroundings"]["hardware"]


@pytest.mark.slow
def test_the_range_test_writes_its_table_and_no_checkpoint(context, capsys):
    find_lr.find_lr(replace(context, only="*none-blended*"), steps=30)
    first = tables.read(context.tables / "lr_finder.csv")
    assert set(first["run"]) == {RUN}
    assert list(first["step"]) == list(range(len(first)))
    assert first["lr"].iloc[0] == pytest.approx(find_lr.LOW)
    run = TINY.trained_runs()[0]
    photos = photographs.load(context, 32)
    x, y = Batches(photos, run, TINY.recipe, frozenset(), "pixel", torch.device("cpu"))(0, 32)
    untrained = binary_cross_entropy_with_logits(networks.fresh(context, run).train()(x), y)
    assert first["loss"].iloc[0] == pytest.approx(untrained.item(), rel=1e-5)
    assert f"{RUN}:" in capsys.readouterr().out
    assert not (context.results / "checkpoints").exists()
    # Other runs are added; the rows of this one stay as they are.
    find_lr.find_lr(replace(context, only="*none-regular*"), steps=30)
    both = tables.read(context.tables / "lr_finder.csv")
    assert both["run"].nunique() == 2
    pd.testing.assert_frame_equal(both[both["run"] == RUN].reset_index(drop=True), first)
    # A changed recipe makes them another experiment.
    changed = replace(TINY, recipe=replace(TINY.recipe, batch_size=16))
    find_lr.find_lr(replace(context, profile=changed, only="*none-regular*"), steps=30)
    assert set(tables.read(context.tables / "lr_finder.csv")["run"]) == {"cornet_z-none-regular-s0"}
