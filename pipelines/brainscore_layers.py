"""blendnet brainscore-layers: the layers that Brain-Score itself would commit on its four public benchmarks."""

from dataclasses import replace

from blendnet.errors import BlendnetError
from pipelines import _brainscore_pca, recordings, score
from pipelines._brainscore_layers import OF_BRAIN_SCORE
from pipelines.context import Context, say


def brainscore_layers(context: Context) -> None:
    """Compute them for every selected run, layer by layer, and enter them in scores.csv; what is stored and up to date
    is reused. Raises BlendnetError where none of Brain-Score's recordings is asked for."""
    runs = context.select(context.profile.scored_runs())
    names = tuple(name for name in recordings.names(context) if name in OF_BRAIN_SCORE)
    if not names:
        raise BlendnetError(
            f"profile {context.profile.name} lists none of Brain-Score's benchmarks; name one with --recording "
            f"{OF_BRAIN_SCORE[0]} or {OF_BRAIN_SCORE[1]}"
        )
    asked = tuple(r for r in context.recording if r.split("-")[0] in names) or names
    found = recordings.load(replace(context, recording=asked))
    for run in context.each("brainscore-layers", runs):
        for (name, _), row in _brainscore_pca.compute(context, run, found, store=True).items():
            say(f"  {name}: {row['brain_score_pca_layer']}, raw {row['brain_score_pca_raw']:.3f}")
    if not (context.tables / "scores.csv").exists():
        say("  they enter scores.csv when blendnet score makes it")
        return
    with context.gathering():
        score.gather(context)
