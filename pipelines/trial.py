"""A few real training steps of a run that leave nothing behind: for the learning-rate finder and the budget."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from blendnet.errors import unknown
from blendnet.files import make_folder
from blendnet.run import Run
from blendnet.training import augment, averaging, compilation, loop, schedule, state
from pipelines import networks, photographs
from pipelines.context import Context
from pipelines.sheet import Profile

Step = Callable[[int, float], float]
EndEpoch = Callable[[], dict]


def held_out(profile: Profile) -> frozenset[tuple[int, int]]:
    """The pairs of classes that are never blended in training, as positions in the profile's classes."""
    for name in {c for pair in profile.held_out for c in pair} - set(profile.classes):
        raise unknown("class in held_out", name, profile.classes)
    return frozenset(
        (profile.classes.index(a), profile.classes.index(b)) for a, b in (sorted(p) for p in profile.held_out)
    )


def begin(context: Context, run: Run) -> tuple[Step, EndEpoch]:
    """The run as training begins it: step(i, lr) trains its i-th step at that learning rate, waits for the device and
    returns the loss; end_epoch() goes through all of validation and writes a state as after an epoch, which it deletes
    again. Same network, batches, optimiser and precision as `blendnet train`, in this process alone."""
    profile, recipe, device = context.profile, context.profile.recipe, context.torch_device()
    photos = photographs.load(context, profile.size_of(run))
    manifest = photographs.manifest(context, photos, "val")
    model = networks.fresh(context, run).to(device).train()
    if device.type == "cuda" or recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = schedule.optimizer(model, recipe)
    batches = loop.Batches(photos, run, recipe, held_out(profile), profile.space, device)
    called = compilation.compiled(model, recipe)
    average = averaging.start(model) if recipe.ema else None

    def step(i: int, lr: float) -> float:
        for group in optimizer.param_groups:
            group["lr"] = lr
        torch.manual_seed(int(augment.step_generator(run.seed, i, 1).initial_seed() % 2**31))
        with compilation.explained(recipe):
            loss = loop.train_step(called, optimizer, batches(i, recipe.batch_size), recipe, device=device)
        if average is not None:
            averaging.update(average, model, recipe.ema, i)
        return float(loss)

    def end_epoch() -> dict:
        found = loop.validate(model, run, photos, manifest, device)
        best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        # On the disk where the checkpoints will lie: with small photographs this is most of an epoch.
        with tempfile.TemporaryDirectory(dir=make_folder(context.results), prefix=".trial-") as folder:
            state.save(Path(folder), {}, state.Progress(), model, best, optimizer, average)
        model.train()
        return found

    return step, end_epoch
