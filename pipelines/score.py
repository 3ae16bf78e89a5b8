"""activations -> scores.csv and layers.csv: commit a layer on half A of the stimuli, report it on half B."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from analysis.stats.layers import REGRESSIONS
from blendnet import activations, assembly, models
from blendnet.data.brain.recording import Recording
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from blendnet.keys import code_version, difference, imported, stale
from blendnet.run import Run
from pipelines import extract, networks, provenance, recordings, scoring
from pipelines.context import Context, say

# What every score runs through; the metric's own files come to it, so that a new metric leaves the others' scores be.
CODE = (
    "pipelines/scoring.py", "analysis/stats/layers.py", "analysis/stats/intervals.py", "analysis/similarity/_splits.py",
    "analysis/similarity/_arrays.py", "analysis/similarity/_ceiling.py",
)  # fmt: skip
# The whitened comparison solves a system of the size of the stimuli in every resample.
WHITENED_STIMULI = 300


def score(context: Context) -> None:
    """Score every selected run, and the pixels, on every recording; then gather the tables."""
    runs: list[Run | None] = [*context.select(context.profile.scored_runs())]
    if context.only in ("*", extract.PIXELS):
        runs.append(None)
    found = recordings.load(context)
    for i in context.turns("score", [run.id if run else extract.PIXELS for run in runs]):
        for recording in found:
            score_run(context, runs[i], recording)
    if context.gathers:
        with context.gathering():
            gather(context)


def metrics_for(context: Context, recording: Recording) -> tuple[str, ...]:
    """The profile's metrics that this recording admits: only RSA where only RDMs were published."""
    chosen = context.profile.metrics
    if recording.rdm_only:
        chosen = tuple(m for m in chosen if m in ("rsa", "rsa_whitened"))
    if len(recording.stimuli) > WHITENED_STIMULI:
        chosen = tuple(m for m in chosen if m != "rsa_whitened")
    if not chosen:
        raise BlendnetError(f"{recording.name} admits none of the profile's metrics; add 'rsa' to them in the sheet")
    return chosen


def inputs(context: Context, run: Run | None, recording: Recording) -> tuple[dict[str, np.ndarray], str, str]:
    """{layer: features (n_stimuli, width)} in the recording's order, the hash of their key, the hash of the weights.

    Activations that are missing, or rest on other weights, stimuli or settings than the sheet's, are refused.
    """
    if run is None:
        features, digest = extract.pixels(context, recording.stimuli)
        return {extract.PIXELS: features}, digest, ""
    again = f"run blendnet extract --profile {context.profile.name}"
    folder = extract.folder(context, run, recording.stimuli)
    if not activations.is_stored(folder):
        raise BlendnetError(f"{run.id} has no activations on {recording.stimuli.name}; {again}")
    stored = read_json(folder / activations.KEY)
    if not isinstance(stored, dict) or not {"key", "sha256", "stimulus_id"} <= set(stored):
        raise BlendnetError(f"{folder / activations.KEY} is no key of activations; {again}")
    differs = difference(stored["key"], extract.key_of(context, run, recording.stimuli))
    if differs:
        raise BlendnetError(f"the activations of {run.id} on {recording.stimuli.name} are old ({differs[0]}); {again}")
    order = assembly.match(recording.stimuli.ids, stored["stimulus_id"])
    xs = {}
    for layer in models.layers(run.network):
        found = activations.load_layer(folder, layer)
        if found.ndim != 2 or len(found) != len(order) or found.dtype != np.float32 or not np.isfinite(found).all():
            raise BlendnetError(
                f"{folder / layer}.npy is {found.dtype} of shape {found.shape}, not finite float32 numbers of "
                f"{len(order)} stimuli; {again} --force"
            )
        xs[layer] = found[order]
    return xs, stored["sha256"], networks.weights(context, run)


def code_of(metric: str) -> str:
    """Hash of the source that a metric's scores depend on."""
    if metric.startswith("rsa"):
        own = imported("analysis/similarity/rsa_bootstrap.py", "analysis/similarity/rdm_ceiling.py")
    elif metric in REGRESSIONS:
        own = imported(f"analysis/similarity/{metric}.py")
    else:
        base = metric.removesuffix("_reverse")
        files = [
            f"analysis/similarity/{base}.py",
            "analysis/similarity/self_ceiling.py",
            "analysis/stats/half_samples.py",
        ]
        own = imported(*files)
    return code_version(*sorted({*CODE, *own}))


def settings_of(context: Context, metric: str) -> dict[str, Any]:
    """The part of a score's key that is the same for all networks and recordings: rows of others are not gathered."""
    p = context.profile
    return {
        "n_splits": p.n_splits, "split_test": p.split_test, "seed": p.score_seed, "n_bootstrap": p.n_bootstrap,
        "normalisation": scoring.NORMALISATION, "metric": metric, "code": code_of(metric),
    }  # fmt: skip


def key_of(context: Context, activations_key: str, recording: Recording, metric: str) -> dict[str, Any]:
    """Everything that a score depends on."""
    own = f"blendnet/data/brain/{recording.name.split('-')[0]}.py"
    return settings_of(context, metric) | {
        "activations": activations_key, "recording": recording.sha256, "recording_name": recording.name,
        "brain_code": code_version(*imported(own)),
    }  # fmt: skip


def score_run(context: Context, run: Run | None, recording: Recording) -> None:
    """All metrics of one run on one recording, one stored piece each; reused if everything under it is equal."""
    name = run.id if run else extract.PIXELS
    xs, activations_key, weights = inputs(context, run, recording)
    said, dead = [], set()
    for metric in metrics_for(context, recording):
        path = context.folder("scores", name, f"{recording.name}-{recording.region}-{metric}.json")
        key = key_of(context, activations_key, recording, metric)
        differs = stale(path, key)
        if differs == [] and not context.force:
            continue
        if differs:
            say(f"  {recording.name}, {metric}: computed anew, differs in {'; '.join(differs[:3])}")
        piece = scoring.compute(context, run, recording, xs, metric)
        hashes = {
            "weights_sha256": weights, "activations_key": activations_key, "recording_sha256": recording.sha256,
            "code_version": key["code"],
        }  # fmt: skip
        for row in piece["scores"]:
            row.update(hashes)
        write_json(path, {"key": key, **piece})
        said += [f"{metric} {r['score']:.3f} ({r['layer']})" for r in piece["scores"] if r["kind"] != "shuffled"]
        dead |= {r["layer"] for r in piece["layers"] if r["score"] is None}
    if said:
        say(f"  {recording.name} {recording.region}: {', '.join(said)}")
    if dead:
        say(f"  no score for {', '.join(sorted(dead))}: the layer gives the same answer to different stimuli")


def _belongs(context: Context, piece: dict[str, Any], names: set[str]) -> bool:
    """Is a stored piece about a recording that the profile lists, or that was asked for? A planted one must be of the
    present design, too: its name says nothing of what it was made from."""
    name = piece["key"]["recording_name"].split("-")[0]
    if name not in names:
        return False
    if name != "planted":
        return True
    design = recordings.planted_design(context)
    made_from = {f"{design.source}:{layer}" for layer in design.layers.values()}
    return all(r["region"] in design.layers and r["planted_layer"] in made_from for r in piece["scores"])


def read_piece(path: Path) -> dict[str, Any]:
    """A stored score; one that is none, or whose scores are no numbers of a score's range, is one clear line."""
    piece, again = read_json(path), "delete it and score again"
    if not isinstance(piece, dict) or not isinstance(piece.get("key"), dict) or "recording_name" not in piece["key"]:
        raise BlendnetError(f"{path} is no stored score; {again}")
    for kind in ("scores", "layers"):
        rows = piece.get(kind)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BlendnetError(f"{path} holds no rows of {kind}; {again}")
        try:
            tables.from_rows(rows, kind)
        except BlendnetError as error:
            raise BlendnetError(f"{path}: {str(error).removesuffix('; make the table again')}; {again}") from error
    return piece


def gather(context: Context) -> None:
    """scores.csv and layers.csv from the pieces of every run and recording of the sheet that are there."""
    names = [r.id for r in context.profile.scored_runs()] + [extract.PIXELS]
    wanted = {metric: settings_of(context, metric) for metric in context.profile.metrics}
    asked = recordings.names(context)
    pieces, old, there = [], [], set()
    for name in names:
        for path in sorted(context.folder("scores", name).glob("*.json")):
            piece = read_piece(path)
            if not _belongs(context, piece, {*asked, *context.profile.recordings}):
                continue
            own = wanted.get(piece["key"].get("metric", ""))
            if own is None or difference({k: piece["key"].get(k) for k in own}, own):
                old.append(f"{name}/{path.stem}")
                continue
            pieces.append(piece)
            there.add(name)
    if not pieces:
        raise BlendnetError("no network of this profile has been scored; run blendnet score without --only")
    for kind in ("scores", "layers"):
        rows = [row for piece in pieces for row in piece[kind]]
        tables.write(pd.DataFrame(rows), context.tables / f"{kind}.csv")
    provenance.write(context)
    missing = [n for n in names if n not in there]
    say(f"  scores.csv: {sum(len(p['scores']) for p in pieces)} rows of {len(there)} networks")
    for what, which in (("not scored yet", missing), ("left out, since scored by other settings", old)):
        if which:
            say(f"  {what}: {', '.join(which[:4])}{' and more' if len(which) > 4 else ''}")
