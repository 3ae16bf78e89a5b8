"""provenance.json: what the committed numbers rest on: code, lock, data, hardware, threads, Python.

It says nothing of which command wrote it last, so that it is the same whatever the order of the steps; times and
hardware are those of the machine, so that two machines write different ones.
"""

import os
import platform
from pathlib import Path
from typing import Any

from analysis import tables
from blendnet import checkpoint, stored
from blendnet._kinds import must_be
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_file, write_json
from blendnet.keys import code_version
from pipelines._anew import SURROUNDINGS
from pipelines.context import Context

PACKAGES = ("torchvision", "scipy", "xarray", "pandas", "scikit-learn", "safetensors", "pillow", "brainscore-vision",
            "rsatoolbox")  # fmt: skip


def write(context: Context) -> None:
    """Versions, hardware, commit, photographs, recordings and trainings of a profile, beside its tables."""
    write_json(context.tables / "provenance.json", collect(context))


def collect(context: Context) -> dict[str, Any]:
    """The same as a dict; what is not there yet is left out.

    surroundings: of the process that gathered the tables (git_commit ends with '+changes' where files differed from
    the commit); code: hash of all source files, also where there is no git; trained: one entry a finished training,
    with what `blendnet reproduce` needs where the checkpoint itself is gone; photographs: hashes of the photo sets
    that trainings and predictions rest on.
    """
    lock = _root() / "requirements.lock"
    trained = _trained(context)
    return {
        "surroundings": checkpoint.surroundings(context.torch_device()) | {
            "packages": _versions(), "system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "code": code_version("blendnet", "analysis", "pipelines"),
        },
        "lock_sha256": sha256_file(lock) if lock.exists() else "not found",
        "trained": trained,
        "photographs": _photographs(context, trained),
        "recordings": recordings_of(context),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _trained(context: Context) -> dict[str, Any]:
    found = {}
    for run in context.profile.trained_runs():
        folder = context.folder("checkpoints", run.id)
        if not checkpoint.is_finished(folder):
            continue
        meta = checkpoint.load_meta(folder)
        must_be(folder / checkpoint.META, meta, stored.TOLD, "delete its folder and train the run again")
        # An imported checkpoint has no surroundings and no seconds of ours.
        about = meta.get("surroundings", {})
        found[run.id] = {
            "weights_sha256": meta["weights_sha256"], "best_epoch": meta["epoch"] + 1, "seconds": meta["seconds"],
            "processes": meta.get("processes", 1), "recipe": meta["recipe"],
            "photos_sha256": meta["key"]["photos_sha256"],
        } | {name: about.get(name) for name in SURROUNDINGS}  # fmt: skip
    return found


def _photographs(context: Context, trained: dict[str, Any]) -> dict[str, list[str]]:
    """{hash of a photo set: ids of the runs that rest on it}, sorted."""
    found: dict[str, set[str]] = {}
    for name, entry in trained.items():
        found.setdefault(entry["photos_sha256"], set()).add(name)
    for run in context.profile.trained_runs() + context.profile.untrained_runs():
        path = context.folder("predictions", run.id, "key.json")
        if path.exists():
            found.setdefault(read_object(path, stored.PREDICTION)["key"]["photos"], set()).add(run.id)
    return {digest: sorted(runs) for digest, runs in sorted(found.items())}


def recordings_of(context: Context) -> dict[str, Any]:
    """What the profile's recordings are, where they can be read here, and the hash of all that scores were made with:
    also of invented responses, and of what is not here any more."""
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
    for name, digests in _scored(context).items():
        entry = found.setdefault(name, {"sha256": digests[0]} if len(digests) == 1 else {})
        if entry.get("sha256") is None or digests != [entry["sha256"]]:
            entry["scored_with_sha256"] = digests
    return found


def _scored(context: Context) -> dict[str, list[str]]:
    """{'recording region': hashes of the responses that its scores rest on, sorted}; of tables that are there."""
    path = context.tables / "scores.csv"
    if not path.exists():
        return {}
    rows = tables.read(path, "scores", context.profile.name)[["recording", "region", "recording_sha256"]]
    found: dict[str, set[str]] = {}
    for recording, region, digest in rows.drop_duplicates().itertuples(index=False):
        found.setdefault(f"{recording} {region}", set()).add(str(digest))
    return {name: sorted(digests) for name, digests in sorted(found.items())}


def _root() -> Path:
    return Path(__file__).resolve().parent.parent
