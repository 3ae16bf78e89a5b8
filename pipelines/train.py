"""blended images -> checkpoints: train the twins of the sheet."""

from blendnet.errors import unknown
from blendnet.training.loop import train as train_run
from pipelines import networks, photographs
from pipelines.context import Context, say
from pipelines.data import bring


def train(context: Context) -> None:
    """Train every selected run that is not trained yet; killed, it goes on where it was."""
    profile = context.profile
    if not context.whole_chain:  # a whole chain has brought its data before its first step
        bring(context)
    runs = context.select(profile.trained_runs())
    for name in {c for pair in profile.held_out for c in pair} - set(profile.classes):
        raise unknown("class in held_out", name, profile.classes)
    held_out = frozenset(
        (profile.classes.index(a), profile.classes.index(b)) for a, b in (sorted(p) for p in profile.held_out)
    )
    for run in context.each("train", runs):
        photos = photographs.load(context, profile.size_of(run))
        meta = train_run(
            context.folder("checkpoints", run.id),
            run,
            profile.recipe,
            networks.fresh(context, run),
            photos,
            photographs.manifest(context, photos, "val"),
            image_size=profile.size_of(run),
            colour=profile.colour,
            held_out=held_out,
            space=profile.space,
            device=context.torch_device(),
            force=context.force,
            say=say,
            progress_bar=context.progress,
        )
        row = meta["validation"]
        say(
            f"  best epoch {meta['epoch'] + 1}/{profile.recipe.epochs}: validation blends both {row['val_both']:.1%} "
            f"(of {row['n_val_blends']}), regular top-1 {row['val_top1']:.1%} (of {row['n_val_regular']})"
        )
