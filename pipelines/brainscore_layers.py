"""blendnet brainscore-layers: the layers that Brain-Score itself would commit on its four public benchmarks."""

from dataclasses import replace

from blendnet.data.brain import _brainscore_images
from blendnet.errors import BlendnetError
from pipelines import _brainscore_pca, recordings, score
from pipelines._brainscore_layers import OF_BRAIN_SCORE
from pipelines.context import Context, say


def brainscore_layers(context: Context) -> None:
    """Compute them for every selected run, layer by layer, and enter them in scores.csv; what is stored and up to date
    is reused. Raises BlendnetError where none of Brain-Score's recordings is asked for."""
    runs = context.select(context.profile.scored_runs())
    found = recordings.load(asked(context))
    for run in context.each("brainscore-layers", runs):
        for (name, _), row in _brainscore_pca.compute(context, run, found, store=True).items():
            say(f"  {name}: {row['brain_score_pca_layer']}, raw {row['brain_score_pca_raw']:.3f}")
    if context.gathers:
        with context.gathering():
            gather(context)


def asked(context: Context) -> Context:
    """The same with Brain-Score's recordings alone; BlendnetError where none of them is asked for."""
    names = tuple(name for name in recordings.names(context) if name in OF_BRAIN_SCORE)
    if not names:
        raise BlendnetError(
            f"profile {context.profile.name} lists none of Brain-Score's benchmarks; name one with --recording "
            f"{OF_BRAIN_SCORE[0]} or {OF_BRAIN_SCORE[1]}"
        )
    named = tuple(r for r in context.recording if r.split("-")[0] in names)
    return replace(context, recording=named or names)


def images(context: Context) -> str:
    """The hash of the images on which principal components are fitted, fetched where they are not there."""
    return _brainscore_images.images(context.data).sha256


def gather(context: Context) -> None:
    """Enter what is stored in scores.csv, where there is one."""
    if not (context.tables / "scores.csv").exists():
        say("  they enter scores.csv when blendnet score makes it")
        return
    score.gather(context)
