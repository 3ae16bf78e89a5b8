"""blended images -> checkpoints: train the twins of the sheet, in one process or in several that torchrun started."""

import torch

from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.training import distributed
from blendnet.training.loop import train as train_run
from pipelines import networks, photographs, training_table, trial
from pipelines.context import Context, say
from pipelines.data import bring


def train(context: Context) -> None:
    """Train every selected run that is not trained yet; killed, it goes on where it was."""
    if context.whole_chain and distributed.asked_for() > 1:
        raise BlendnetError(
            f"{distributed.asked_for()} processes were started, but only training is shared between processes; "
            "start torchrun with the verb train, then the whole chain in one process: it reuses what is trained"
        )
    device = distributed.device_of(context.torch_device())
    with distributed.processes(device):
        _train(context, device)
        if distributed.speaks() and context.gathers:
            with context.gathering():
                training_table.gather(context)


def _train(context: Context, device: torch.device) -> None:
    profile = context.profile
    if not context.whole_chain:  # a whole chain has brought its data before its first step
        with distributed.first_goes_first():
            bring(context)
    runs = context.select(profile.trained_runs())
    held_out = trial.held_out(profile)
    for run in context.each("train", runs):
        folder = context.folder("checkpoints", run.id)
        stands = checkpoint.load_meta(folder) if checkpoint.is_finished(folder) else {}
        if stands.get("legacy") and not context.force:
            say(f"  kept: {networks.imported(context, run, stands)}")
            continue
        with distributed.first_goes_first():
            photos = photographs.load(context, profile.size_of(run))
            manifest = photographs.manifest(context, photos, "val")
        meta = train_run(
            folder,
            run,
            profile.recipe,
            networks.fresh(context, run),
            photos,
            manifest,
            image_size=profile.size_of(run),
            colour=profile.colour,
            held_out=held_out,
            space=profile.space,
            device=device,
            force=context.force,
            say=say,
            progress_bar=context.progress,
            tracker=context.tracker,
        )
        row = meta["validation"]
        early = ", stopped early" if meta.get("stopped_early") else ""
        say(
            f"  best epoch {meta['epoch'] + 1}/{meta.get('epochs_trained', profile.recipe.epochs)}{early}: "
            f"validation blends both {row['val_both']:.1%} (of {row['n_val_blends']}), "
            f"regular top-1 {row['val_top1']:.1%} (of {row['n_val_regular']})"
        )
