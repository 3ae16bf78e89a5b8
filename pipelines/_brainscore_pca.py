"""The layer that Brain-Score itself would commit to a region, from all units of every layer: its own PCA path.

A layer is seen through its first 1000 principal components, fitted on 1000 of ImageNet's validation images, which
Brain-Score's own code fetches. That takes a pass over these images and over the stimuli for every layer, and hours of
linear algebra for wide ones, so it is a verb of its own (brainscore_layers.py). Each layer's number is stored as soon
as it is there.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.similarity import pls
from analysis.similarity._splits import shuffle_splits
from analysis.stats.intervals import aggregate
from blendnet import models
from blendnet._kinds import unlike
from blendnet.data.brain import _brainscore_images
from blendnet.data.brain._brainscore import splits_of
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import BlendnetError
from blendnet.files import read_json, sha256_of, write_json
from blendnet.keys import code_version, imported, stale
from blendnet.run import Run
from pipelines import extract, networks, recordings
from pipelines._brainscore_layers import N_COMPONENTS, best, components
from pipelines.context import Context, say

CODE = ("pipelines/_brainscore_pca.py", "pipelines/_brainscore_layers.py", "blendnet/data/brain/_brainscore_images.py",
        "analysis/stats/intervals.py", "analysis/similarity/_splits.py")  # fmt: skip
BATCH = 256  # stimuli whose raw answers are held at once


def path_of(context: Context, run_id: str, recording: str, region: str) -> Path:
    """Where the numbers of one run and recording lie."""
    return context.folder("brainscore_layers", run_id, f"{recording}-{region}.json")


def key_of(activations_key: str, recording_sha256: str) -> dict[str, Any]:
    """What these numbers rest on and a row of scores.csv can say; with the hash of the images it is the whole key."""
    return {"activations": activations_key, "recording": recording_sha256, "n_components": N_COMPONENTS,
            "code": code_version(*imported("analysis/similarity/pls.py"), *CODE)}  # fmt: skip


def columns(context: Context, row: dict[str, Any]) -> dict[str, Any]:
    """The two columns for a row of scores.csv, {} where they are not stored, not all computed, or of other weights,
    stimuli, settings or code than the row."""
    if row["metric"] != "pls" or row["kind"] in ("shuffled", "pixels"):
        return {}
    path = path_of(context, row["run"], row["recording"], row["region"])
    if not path.exists():
        return {}
    stored = _read(path)
    wanted = key_of(row["activations_key"], row["recording_sha256"])
    if {name: stored["key"].get(name) for name in wanted} != wanted or not stored["whole"]:
        return {}
    return _columns(stored["raw"])


def compute(
    context: Context, run: Run, found: list[Recording], *, store: bool = False
) -> dict[tuple[str, str], dict[str, Any]]:
    """{(recording, region): {'brain_score_pca_layer', 'brain_score_pca_raw'}} of a run; found: recordings that are
    benchmarks of Brain-Score. store: keep every layer's number as soon as it is there, and reuse those that are kept
    and rest on what they would rest on now (all are computed anew with --force). One layer's answers to the images and
    to BATCH stimuli are held at once. Raises BlendnetError where the images cannot be had."""
    images = _brainscore_images.images(context.data)
    raw: dict[tuple[str, str], dict[str, float | None]] = {}
    keys = {}
    for recording in found:
        which = recording.name, recording.region
        activations_key = sha256_of(extract.key_of(context, run, recording.stimuli))
        keys[which] = key_of(activations_key, recording.sha256) | {"images": images.sha256}
        raw[which] = _kept(context, run, recording, keys[which]) if store else {}
    layers, network = models.layers(run.network), None
    for layer in layers:
        missing = [recording for recording in found if layer not in raw[recording.name, recording.region]]
        if not missing:
            continue
        network = network or networks.ready(context, run)
        basis = _answers(context, run, network, layer, images)
        pca = components(layer, basis.shape[1], basis)
        del basis
        for stimuli in extract.stimulus_sets(missing):
            x = _answers(context, run, network, layer, stimuli, pca)
            for recording in (r for r in missing if r.stimuli.sha256 == stimuli.sha256):
                which = recording.name, recording.region
                r = aggregate(pls.score(x, recording.mean(), shuffle_splits(len(x), **splits_of(recording))))
                raw[which][layer] = float(r) if np.isfinite(r) else None
                if store:
                    piece = {"key": keys[which], "raw": raw[which], "whole": set(raw[which]) == set(layers)}
                    write_json(path_of(context, run.id, *which), piece)
        say(f"  {layer}: " + ", ".join(f"{w[1]} {raw[w][layer]:.3f}" for w in raw if raw[w][layer] is not None))
    return {which: _columns({layer: raw[which][layer] for layer in layers}) for which in raw}


def _kept(context: Context, run: Run, recording: Recording, key: dict[str, Any]) -> dict[str, float | None]:
    path = path_of(context, run.id, recording.name, recording.region)
    differs = stale(path, key)
    if differs:
        say(f"  {recording.name}: computed anew, differs in {'; '.join(differs[:3])}")
    return dict(_read(path)["raw"]) if differs == [] and not context.force else {}


def _read(path: Path) -> dict[str, Any]:
    stored = read_json(path)
    wrong = unlike(stored, {"key": dict, "raw": {str: (float, None)}})
    if wrong or "whole" not in stored:
        raise BlendnetError(f"{path} holds no scores of layers; delete it and run blendnet brainscore-layers again")
    return stored


def _columns(raw: dict[str, float | None]) -> dict[str, Any]:
    layer = best(raw)
    return {"brain_score_pca_layer": layer, "brain_score_pca_raw": raw[layer]}


def _answers(context: Context, run: Run, network: Any, layer: str, stimuli: Stimuli, pca: Any = None) -> np.ndarray:
    """One layer's answers to the stimuli, (n_stimuli, units), or (n_stimuli, components) where a PCA is given."""
    from pipelines.brain_model import features

    show, rows = recordings.show(context, run, stimuli), []

    def part(first: int, start: int, stop: int) -> Any:
        return show(first + start, first + stop)

    for first in range(0, len(stimuli), BATCH):
        n = min(BATCH, len(stimuli) - first)
        x = features(network, layer, partial(part, first), n, None, context.torch_device())
        rows.append(x if pca is None else pca.transform(x))
    return np.concatenate(rows)
