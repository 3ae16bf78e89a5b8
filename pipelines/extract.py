"""checkpoints -> activations: every readout layer of every run on every recording's stimuli."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from blendnet import activations, models
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import sha256_of
from blendnet.keys import code_version
from blendnet.run import Run
from pipelines import networks, recordings
from pipelines.context import Context, say

PIXELS = "pixels"
PIXEL_SIDE = 16
BATCH = 64  # stimuli at a time, as in blendnet.activations


def extract(context: Context) -> None:
    """One pass a run and stimulus set; several recordings of the same stimuli share it."""
    runs = context.select(context.profile.scored_runs())
    found = recordings.load(context)
    for run in context.each("extract", runs):
        for stimuli in stimulus_sets(found):
            extract_run(context, run, stimuli)


def stimulus_sets(found: list[Recording]) -> list[Stimuli]:
    """The different stimulus sets of the recordings."""
    return list({r.stimuli.sha256: r.stimuli for r in found}.values())


def folder(context: Context, run: Run, stimuli: Stimuli):
    """Where the activations of a run on a stimulus set lie."""
    return context.folder("activations", run.id, stimuli.name)


def key_of(context: Context, run: Run, stimuli: Stimuli) -> dict[str, Any]:
    """The key that the run's activations on these stimuli must have."""
    return activations.wanted_key(
        _key(context, run, stimuli), models.layers(run.network), stimuli.ids,
        width=context.profile.width, seed=context.profile.projection_seed,
    )  # fmt: skip


def _key(context: Context, run: Run, stimuli: Stimuli) -> dict[str, Any]:
    return recordings.preprocessing(context, run, stimuli) | {"weights": networks.weights(context, run)}


def extract_run(context: Context, run: Run, stimuli: Stimuli, into: Path | None = None) -> str:
    """Extract one run on one stimulus set, or reuse it; returns the hash of its key."""
    return activations.extract(
        into or folder(context, run, stimuli), networks.ready(context, run), models.layers(run.network),
        recordings.show(context, run, stimuli), stimuli.ids,
        key=_key(context, run, stimuli), width=context.profile.width, seed=context.profile.projection_seed,
        device=context.torch_device(), force=context.force, say=say, progress=context.progress,
    )  # fmt: skip


def pixels(context: Context, stimuli: Stimuli) -> tuple[np.ndarray, str]:
    """The chance row 'pixels': stimuli averaged down to 16 x 16 x 3, float32 (n_stimuli, 768), and their key's hash."""
    profile = context.profile
    small = np.empty((len(stimuli), 3 * PIXEL_SIDE**2), np.float32)
    for start in range(0, len(stimuli), BATCH):
        images = recordings.placed(context, stimuli, profile.image_size, profile.colour, start, start + BATCH)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        shrunk = F.interpolate(x, size=(PIXEL_SIDE, PIXEL_SIDE), mode="area")
        small[start : start + BATCH] = shrunk.flatten(1).numpy()
    code = code_version(
        "pipelines/extract.py", "pipelines/placing.py", "pipelines/recordings.py", "blendnet/data/brain/placement.py"
    )
    key = {"pixels": PIXEL_SIDE, "stimuli": stimuli.sha256, "degrees": stimuli.degrees,
           "image_size": profile.image_size, "colour": profile.colour, "model_degrees": profile.model_degrees,
           "code": code}  # fmt: skip
    return small, sha256_of(key)
