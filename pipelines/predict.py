"""checkpoints -> predictions, accuracy.csv, consistency.csv, psychometric.csv, psychometric_points.csv: what every
network names in the fixed test images."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis import predictions, tables
from analysis.stats import accuracy, consistency, effects, psychometric
from blendnet import integrity, stored
from blendnet.checkpoint import weights_sha256
from blendnet.data import control
from blendnet.data.decoding import sha256_pixels
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_of, write_json, write_text
from blendnet.keys import code_version, difference, stale
from blendnet.models.cost import flops, parameters
from blendnet.run import Run
from blendnet.training import evaluate
from pipelines import networks, photographs, provenance, ready_made
from pipelines.context import Context, say

CODE = (
    "blendnet/training/evaluate.py",
    "blendnet/training/augment.py",
    "blendnet/data/manifest.py",
    "blendnet/data/mixing.py",
    "blendnet/models/cost.py",
)


def predict(context: Context) -> None:
    """Outputs for each blend (all alphas) and each regular test photograph, for trained and untrained twins."""
    profile = context.profile
    for run in context.each("predict", context.select(profile.trained_runs() + profile.untrained_runs())):
        photos = photographs.load(context, profile.size_of(run))
        _predict_run(context, run, photos, photographs.manifest(context, photos, "test"))
    if context.gathers:
        with context.gathering():
            gather(context)


def _predict_run(context: Context, run: Run, photos: PhotoSet, manifest: pd.DataFrame) -> None:
    folder = context.folder("predictions", run.id)
    model = networks.ready(context, run)
    size = context.profile.size_of(run)
    index = np.flatnonzero(photos.split == "test")
    made = ready_made.load(context, size)
    key = {
        "run": run.id,
        "weights": weights_sha256(model),
        "photos": photos.sha256,
        "image_size": size,
        "ready_made": sha256_pixels(made[0]) if made else "none",
        "manifest": manifest.attrs["sha256"],
        "held_out": sorted(sorted(p) for p in context.profile.held_out),
        "code": _code(context, run),
    }
    differs = stale(folder / "key.json", key)
    if differs == [] and not context.force:
        say("  reused: the predictions are up to date")
        return
    if differs:
        say(f"  computed anew: differs in {'; '.join(differs[:3])}")
    device = context.torch_device()
    # Without its key a half-replaced prediction is no prediction.
    (folder / "key.json").unlink(missing_ok=True)
    n_parameters, n_flops = parameters(model), flops(model, size)
    model = model.to(device)
    with tqdm(total=len(manifest) + len(index), desc=f"  {run.id}", unit="image", disable=not context.progress,
              leave=False) as bar:  # fmt: skip
        blends = evaluate.outputs(
            model, evaluate.blend_images(photos, manifest), len(manifest), device=device, tick=lambda k: bar.update(k)
        )
        single = evaluate.outputs(
            model, evaluate.regular_images(photos, index), len(index), device=device, tick=lambda k: bar.update(k)
        )
    collection = dict(zip(photos.image_ids, photos.collections))
    frame = manifest.assign(
        collection_a=manifest["image_a"].map(collection), collection_b=manifest["image_b"].map(collection)
    )
    held = {frozenset(pair) for pair in context.profile.held_out}
    if held:
        frame["held_out"] = [frozenset(p) in held for p in zip(frame["class_a"], frame["class_b"])]
    _write(folder / "blended.csv", frame, blends, photos.classes)
    regular = pd.DataFrame({
        "image_id": [photos.image_ids[i] for i in index],
        "class_name": [photos.classes[photos.labels[i]] for i in index],
        "collection": [photos.collections[i] for i in index],
    })  # fmt: skip
    _write(folder / "regular.csv", regular, single, photos.classes)
    if made is not None:
        images, rows = made
        logits = evaluate.outputs(model, lambda a, b: images[a:b].float() / 255, len(rows), device=device)
        _write(folder / "ready_made.csv", rows, logits, photos.classes)
    write_json(
        folder / "key.json",
        {
            "key": key,
            "sha256": sha256_of(key),
            "parameters": n_parameters,
            "flops": n_flops,
            "files": integrity.hashes(folder.glob("*.csv")),
        },
    )


def _code(context: Context, run: Run) -> str:
    """Hash of the source that a run's predictions depend on, its own network and attention among it."""
    return code_version(*CODE, *networks.source(context, run))


def _write(path: Path, frame: pd.DataFrame, logits: np.ndarray, classes: tuple[str, ...]) -> None:
    """Per-image table with one column of logits a class: sigmoids of large logits would round to ties."""
    columns = pd.DataFrame({f"z_{c}": logits[:, i] for i, c in enumerate(classes)}, index=frame.index)
    write_text(path, pd.concat([frame, columns], axis=1).to_csv(index=False, float_format="%.9g"))


def gather(context: Context) -> None:
    """accuracy.csv, error consistency and psychometric curves from the predictions of every run of the sheet that has
    some, and the source control."""
    rows, missing, fits, points = [], [], [], []
    named: dict[Run, dict[str, pd.DataFrame]] = {}
    runs = context.profile.trained_runs() + context.profile.untrained_runs()
    for run in runs:
        folder = context.folder("predictions", run.id)
        note = folder / "key.json"
        info = read_object(note, stored.PREDICTION) if note.exists() else {"key": {}}
        photos = photographs.load(context, context.profile.size_of(run))
        manifest = photographs.manifest(context, photos, "test")
        wanted = {
            "photos": photos.sha256,
            "manifest": manifest.attrs["sha256"],
            "code": _code(context, run),
        }
        if difference({k: info["key"].get(k) for k in wanted}, wanted):
            missing.append(run.id)
            continue
        for test in ("blended", "regular", "ready_made"):
            again = f"blendnet predict --profile {context.profile.name} --only {run.id} --force"
            integrity.check(folder / f"{test}.csv", f"make it again: {again}", info.get("files", {}))
        made = folder / "ready_made.csv"
        if made.exists():
            found = accuracy.aggregate(
                predictions.read(made, classes=photos.classes), run, parameters=info["parameters"], flops=info["flops"]
            )
            found = found[~found["by"].isin(["alpha", "collection"])]
            rows.append(found.assign(test="ready_made"))
        ids = (manifest["blend_id"], [photos.image_ids[i] for i in photos.indices("test")])
        frames = [
            predictions.read(folder / f"{test}.csv", ids=list(names), classes=photos.classes)
            for test, names in zip(("blended", "regular"), ids)
        ]
        rows.append(accuracy.aggregate(frames, run, parameters=info["parameters"], flops=info["flops"]))
        named[run] = dict(zip(("blended", "regular"), map(effects.correct, frames)))
        curves = psychometric.compute(frames[0], run)
        fits.append(curves[0])
        points.append(curves[1])
    if missing:
        there = f"{len(runs) - len(missing)} of {len(runs)} runs"
        say(f"  accuracy.csv holds {there}; not predicted yet, or by other settings: {', '.join(missing[:4])}")
    if not rows:
        raise BlendnetError("no run of this profile has been predicted; run blendnet predict without --only")
    table = pd.concat(rows, ignore_index=True)
    tables.write(table, context.tables / "accuracy.csv")
    tables.write(consistency.compute(named), context.tables / "consistency.csv")
    tables.write(pd.concat(fits, ignore_index=True), context.tables / "psychometric.csv")
    tables.write(pd.concat(points, ignore_index=True), context.tables / "psychometric_points.csv")
    _source_control(context)
    provenance.write(context)


def _source_control(context: Context) -> None:
    """source_control.csv: what low-level statistics alone say about class and collection."""
    path = context.tables / "source_control.csv"
    photos = photographs.load(context)
    key = {"photos": photos.sha256, "code": code_version("blendnet/data/control.py")}
    note = context.folder("cache", "source_control.json")
    if path.exists() and stale(note, key) == [] and not context.force:
        return
    found = control.source_control(photos)
    write_text(path, pd.DataFrame(found).to_csv(index=False, float_format="%.6g"))
    integrity.note(path)
    write_json(note, {"key": key})
