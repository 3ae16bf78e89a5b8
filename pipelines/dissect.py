"""checkpoints -> superposition.csv, decoding.csv, attention_maps.csv: what blending does inside the trained networks.

Every trained run is measured as it is, and attention twins once more with the attention half silenced
(blendnet.attention.set_lesion). All that is shown is fixed and the same for all runs.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from tqdm import tqdm

from analysis import tables
from blendnet import attention, checkpoint, models, stored
from blendnet.data import manifest as manifests
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_of, write_json
from blendnet.keys import code_version, difference, stale
from blendnet.run import Run
from pipelines import _inside, networks, photographs
from pipelines.context import Context, say

TABLES = ("superposition", "decoding", "attention_maps")
# Equal weights, and a first object that is weaker and stronger by as much; those of them that the profile blends at.
ALPHAS = (0.3, 0.5, 0.7)
# Pairs of photographs whose blends are taken apart: mean weights are then known to 0.01 to 0.03, a network of 64 px
# takes 10 to 20 s on one CPU core.
N_BLENDS = 200
# Readouts: about as many blends as columns of the projection, so that the penalty decides.
N_TRAIN = 450
N_TEST = 600
WIDTH = 500
N_MAPS = 4
LESIONS = ("", "attention")
# What has nothing to lesion: the plain twin, and a network's own attention, whose ablation is the plain twin.
NOT_LESIONED = ("none", "self")
CODE = (
    "pipelines/_inside.py", "analysis/superposition.py", "analysis/decoding_layers.py", "analysis/stats/accuracy.py",
    "blendnet/activations.py", "blendnet/projection.py", "blendnet/data/manifest.py", "blendnet/data/mixing.py",
    "blendnet/training/augment.py",
)  # fmt: skip
MAPS_CODE = ("blendnet/attention_maps.py", "blendnet/attention/_explicit.py")  # of the maps, and of nothing else
Pieces = dict[str, dict[str, Any]]


def dissect(context: Context) -> None:
    """Measure the selected trained runs, one stored piece a run and lesion; then gather the tables of all runs."""
    materials: dict[int, _inside.Material] = {}
    for run in context.each("dissect", context.select(context.profile.trained_runs())):
        _dissect_run(context, run, _material(context, run, materials))
    if context.gathers:
        with context.gathering():
            gather(context, materials)


def _dissect_run(context: Context, run: Run, material: _inside.Material) -> None:
    model = networks.ready(context, run)
    reused = True
    for name, key in _keys(context, run, material).items():
        path = context.folder("inside", run.id, f"{name}.json")
        differs = stale(path, key)
        if differs == [] and not context.force:
            continue
        reused = False
        if differs:
            say(f"  {name}: computed anew, differs in {'; '.join(differs[:3])}")
        write_json(path, {"key": key, **_piece(context, run, model, material, name)})
    if reused:
        say("  reused: all pieces are up to date")


def _piece(
    context: Context, run: Run, model: nn.Module, material: _inside.Material, name: str
) -> dict[str, list[dict[str, Any]]]:
    """The rows of one piece: 'whole' or 'attention' (layers of the intact or lesioned network) or 'maps'."""
    device = context.torch_device()
    if name == "maps":
        middle = material.blends[material.alphas.index(0.5)]
        chosen = middle.iloc[np.linspace(0, len(middle) - 1, N_MAPS).round().astype(int)]
        rows = _inside.map_rows(model, material.photos, chosen, device=device)
        if not rows:
            say(f"  no attention map: {run.attention!r} gives no place more or less than another")
        return {"attention_maps": rows}
    lesion = "attention" if name == "attention" else ""
    if lesion:
        attention.set_lesion(model, lesion)
    try:
        with tqdm(total=material.n_shown, desc=f"  {run.id} {name}", unit="image", disable=not context.progress,
                  leave=False) as bar:  # fmt: skip
            found = _inside.layer_rows(
                model, models.layers(run.network), material, width=WIDTH, seed=context.profile.projection_seed,
                device=device, tick=bar.update,
            )  # fmt: skip
    finally:
        if lesion:
            attention.set_lesion(model, None)
    return {table: [_plain(row | {"lesion": lesion}) for row in rows] for table, rows in found.items()}


def gather(context: Context, materials: dict[int, _inside.Material] | None = None) -> None:
    """The three tables from the pieces of every run of the sheet whose pieces are all there and up to date."""
    materials = {} if materials is None else materials
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    missing: list[str] = []
    runs = context.profile.trained_runs()
    for run in runs:
        pieces = _stored(context, run, _material(context, run, materials))
        if pieces is None:
            missing.append(run.id)
            continue
        about = asdict(run) | {"run": run.id}
        for piece in pieces:
            for table in found:
                found[table] += [about | row for row in piece.get(table, [])]
    if missing:
        there = f"{len(runs) - len(missing)} of {len(runs)} runs"
        say(f"  the tables hold {there}; not dissected yet, or by other settings: {', '.join(missing[:4])}")
    if len(missing) == len(runs):
        raise BlendnetError("no run of this profile has been dissected; run blendnet dissect without --only")
    for name, rows in found.items():
        table = tables.from_rows(rows, name) if rows else tables.empty(name)
        tables.write(table, context.tables / f"{name}.csv")


def _stored(context: Context, run: Run, material: _inside.Material) -> list[dict[str, Any]] | None:
    """The pieces of a run, None where one is missing or rests on something else than what is wanted now."""
    pieces = []
    for name, wanted in _keys(context, run, material).items():
        path = context.folder("inside", run.id, f"{name}.json")
        piece = read_object(path, stored.INSIDE) if path.exists() else {}
        if not piece or difference({k: piece["key"].get(k) for k in wanted}, wanted):
            return None
        pieces.append(piece)
    return pieces


def _keys(context: Context, run: Run, material: _inside.Material) -> Pieces:
    """Name of each piece that the run has, and everything that it depends on; without the weights where there is no
    checkpoint any more."""
    profile = context.profile
    key: dict[str, Any] = {
        "run": run.id, "photos": material.photos.sha256, "image_size": profile.size_of(run),
        "blends": [_sha256(rows) for rows in material.blends],
        "layers": list(models.layers(run.network)), "code": code_version(*CODE, *networks.source(context, run)),
    }  # fmt: skip
    if checkpoint.is_finished(context.folder("checkpoints", run.id)):
        key["weights"] = networks.weights(context, run)
    readout = {"width": WIDTH, "seed": profile.projection_seed} | {
        name: _sha256(getattr(material, name)) for name in ("train", "choice", "test")
    }
    found: Pieces = {"whole": key | {"lesion": "", "readout": readout}}
    if run.attention not in NOT_LESIONED:
        found["attention"] = key | {"lesion": "attention", "readout": readout}
    # One network of each kind is enough to look at: seeds differ, and a mean over them would blur the maps.
    if run.attention != "none" and run.seed == min(profile.seeds):
        code = code_version(*CODE, *MAPS_CODE, *networks.source(context, run))
        found["maps"] = key | {"n_maps": N_MAPS, "code": code}
    return found


def _material(context: Context, run: Run, made: dict[int, _inside.Material]) -> _inside.Material:
    """What the run is shown; made once a size."""
    profile = context.profile
    size = profile.size_of(run)
    if size in made:
        return made[size]
    alphas = tuple(a for a in ALPHAS if np.isclose(a, profile.alphas).any())
    if 0.5 not in alphas:
        raise BlendnetError(f"profile {profile.name} has no test blends at alpha 0.5; add it to alphas in the sheet")
    photos = photographs.load(context, size)
    test = photographs.manifest(context, photos, "test")
    n_pairs = math.comb(len(photos.classes), 2)
    train = manifests.manifest(
        photos, "train", n_per_pair=_per_pair(photos, N_TRAIN // n_pairs), seed=profile.split_seed, space=profile.space
    )
    held = {frozenset(pair) for pair in profile.held_out}
    train = train[[frozenset(p) not in held for p in zip(train["class_a"], train["class_b"])]]
    made[size] = _inside.Material(
        photos=photos, alphas=alphas, blends=_inside.choose(test, alphas, N_BLENDS),
        train=train, choice=photographs.manifest(context, photos, "val"), test=_inside.choose(test, (0.5,), N_TEST)[0],
    )  # fmt: skip
    return made[size]


def _per_pair(photos: PhotoSet, most: int) -> int:
    """Blends a pair of classes: no more than there are different pairs of training photographs, with room for
    identities that may not meet."""
    fewest = min(np.bincount(photos.labels.numpy()[photos.indices("train")]))
    return max(1, min(most, int(fewest) ** 2 // 2))


def _sha256(rows: pd.DataFrame) -> str:
    return sha256_of(rows.to_csv(index=False, lineterminator="\n"))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
