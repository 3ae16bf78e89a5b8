"""provenance.json: what the committed numbers rest on."""

import sys
from typing import Any

from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file, write_json
from pipelines.context import Context


def write(context: Context) -> None:
    """Versions, hardware, commit, photographs, recordings and trainings of a profile, beside its tables."""
    write_json(context.tables / "provenance.json", collect(context))


def collect(context: Context) -> dict[str, Any]:
    """The same as a dict; what is not there yet is left out."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("torchvision", "scipy", "xarray", "pandas", "scikit-learn", "brainscore-vision", "rsatoolbox"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    lock = next((p for p in [_root() / "requirements.lock"] if p.exists()), None)
    trained = {}
    for run in context.profile.trained_runs():
        folder = context.folder("checkpoints", run.id)
        if checkpoint.is_finished(folder):
            meta = checkpoint.load_meta(folder)
            trained[run.id] = {
                "weights_sha256": meta["weights_sha256"], "best_epoch": meta["epoch"] + 1, "seconds": meta["seconds"],
                "commit": meta["surroundings"]["git_commit"], "hardware": meta["surroundings"]["hardware"],
                "photos_sha256": meta["key"]["photos_sha256"],
            }  # fmt: skip
    return {
        "surroundings": checkpoint.surroundings(context.torch_device()) | {"packages": versions},
        "lock_sha256": sha256_file(lock) if lock else "not found",
        "trained": trained,
        "recordings": recordings_of(context),
        "command": " ".join(sys.argv[1:]),
    }


def recordings_of(context: Context) -> dict[str, Any]:
    """What the scored recordings are, from the pieces of scores that rest on them."""
    from pipelines.recordings import load_one

    found: dict[str, dict[str, Any]] = {}
    for name in context.profile.recordings:
        if name == "planted":
            found[name] = {"planted": True}
            continue
        try:
            loaded = load_one(name, context.data)
        except BlendnetError:
            continue  # predicting needs no recordings; scoring has them
        for r in loaded:
            found[f"{r.name} {r.region}"] = {
                "doi": r.doi, "licence": r.licence, "sha256": r.sha256, "species": r.species, "unit": r.unit,
                "window_ms": list(r.window_ms) if r.window_ms else "not published",
                "degrees": r.stimuli.degrees if r.stimuli.degrees is not None else "not published",
            }  # fmt: skip
    return found


def _root():
    from pathlib import Path

    return Path(__file__).resolve().parent.parent
