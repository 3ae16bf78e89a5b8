"""The profile's recordings, and how their stimuli are shown to a network."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from blendnet import activations, models
from blendnet.data import brain
from blendnet.data.brain import planted as planting
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.data.sources import procedural
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of
from blendnet.keys import code_version
from blendnet.run import Run
from blendnet.training.augment import normalise
from pipelines import networks
from pipelines.context import Context, say
from pipelines.placing import placed
from pipelines.sheet import Planted

PLANTED_SEED = 20_000_000  # far from every training photograph's seed


def names(context: Context) -> tuple[str, ...]:
    """Files in blendnet/data/brain to load: the profile's, or those named with --recording."""
    known = (*brain.names(), "planted")
    chosen = context.recording or context.profile.recordings
    for name in chosen:
        if name.split("-")[0] not in known:
            raise unknown("recording", name, known)
    return tuple(dict.fromkeys(n.split("-")[0] for n in chosen))


def load(context: Context) -> list[Recording]:
    """All recordings that are to be scored. The planted one comes last: it needs its source network's checkpoint."""
    found: list[Recording] = []
    for name in names(context):
        found += planted(context) if name == "planted" else load_one(name, context.data)
    if context.recording:
        found = [r for r in found if any(r.name == n or r.name.startswith(n + "-") for n in context.recording)]
    if not found:
        raise BlendnetError(f"no recording fits --recording {', '.join(context.recording)}")
    return found


@cache
def load_one(name: str, data: Path) -> list[Recording]:
    """The recordings of one file in blendnet/data/brain, read once a process."""
    return brain.load(name, data)


def planted_stimuli(context: Context) -> Stimuli:
    """Procedural photographs that no network was trained on."""
    n, size = planted_design(context).n_stimuli, context.profile.image_size
    classes = procedural.CLASSES
    pick = [(classes[i % len(classes)], PLANTED_SEED + i) for i in range(n)]
    code = code_version("blendnet/data/sources/procedural.py", "blendnet/data/sources/_procedural")
    return Stimuli(
        name="planted",
        ids=tuple(f"planted/{c}/{s}" for c, s in pick),
        read=lambda i: procedural.draw(*pick[i], size=size),
        groups=np.arange(n),
        degrees=None,
        sha256=sha256_of({"pick": [list(p) for p in pick], "size": size, "code": code}),
    )


def planted_design(context: Context) -> Planted:
    """The planted design: the profile's, or a made-up one where 'planted' was asked for by name. An invented recording
    is never part of a profile by default: only the demo's lists it."""
    if context.profile.planted is not None:
        return context.profile.planted
    source = context.profile.trained_runs()[0]
    names = models.layers(source.network)
    at = (len(names) * (2 * i + 1) // 8 for i in range(4))
    return Planted(source=source.id, layers=dict(zip(("V1", "V2", "V4", "IT"), (names[i] for i in at))))


def planted(context: Context) -> list[Recording]:
    """Invented responses made from layers of the planted design's source run."""
    design = planted_design(context)
    run = Run.from_id(design.source)
    stimuli = planted_stimuli(context)
    layers = tuple(dict.fromkeys(design.layers.values()))
    # Another projection than the scores use, or the neurons would be exact functions of what is scored.
    folder = context.folder("activations", run.id, "planted-source")
    say(f"  planted recording from {run.id}: " + ", ".join(f"{r} = {la}" for r, la in design.layers.items()))
    activations.extract(
        folder, networks.ready(context, run), layers, show(context, run, stimuli), stimuli.ids,
        key=preprocessing(context, run, stimuli) | {"weights": networks.weights(context, run)},
        width=context.profile.width, seed=context.profile.projection_seed + 1,
        device=context.torch_device(), say=say, progress=context.progress,
    )  # fmt: skip
    return planting.plant(
        {layer: activations.load_layer(folder, layer) for layer in layers},
        design.layers,
        stimuli,
        n_neuroids=design.n_neuroids,
        n_repetitions=design.n_repetitions,
        ceiling=design.ceiling,
        seed=PLANTED_SEED,
        source_run=run.id,
    )


def preprocessing(context: Context, run: Run, stimuli: Stimuli) -> dict:
    """Everything about how the stimuli reach the network and its code; part of the key of its activations."""
    profile = context.profile
    return {
        "code": activations.code(run.network, networks.source(context, run)),
        "run": run.id,
        "stimuli": stimuli.sha256,
        "stimulus_degrees": stimuli.degrees,
        "model_degrees": profile.model_degrees,
        "image_size": profile.size_of(run),
        "colour": profile.colour_of(run),
        "normalisation": "imagenet mean and std",
        "code_of_placing": code_version("pipelines/placing.py", "pipelines/recordings.py"),
    }


def show(context: Context, run: Run, stimuli: Stimuli):
    """Reader of normalised float32 batches of shape (stop - start, 3, size, size)."""
    size, colour = context.profile.size_of(run), context.profile.colour_of(run)

    def images(start: int, stop: int) -> torch.Tensor:
        batch = placed(context, stimuli, size, colour, start, stop)
        return normalise(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)

    return images
