"""Units of work, one verb for one run each: which there are, what they leave behind, and whether they are done.

The note of a unit, results/<profile>/jobs/<verb>-<run>.json, says how it ended. Imports no torch: `blendnet status`
reads the notes of hundreds of units.
"""

import contextlib
from collections.abc import Container
from pathlib import Path
from typing import Any

from blendnet import stored
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_of
from blendnet.run import Run
from pipelines.sheet import Profile

VERBS = ("train", "predict", "dissect", "extract", "score")
# Divided into runs as well, but no step of the chain.
BESIDE = ("brainscore-layers",)
DIVIDED = (*VERBS, *BESIDE)
PIXELS = "pixels"
# Verbs that are one unit, ALL: it is never 'done before', for what they read may be anybody's. And what they leave: a
# failure that is older than it has been put right, whoever did.
ALL = "all"
WHOLE = {
    "correlate": ("tables/mixed.csv",),
    "draw": ("figures/drawn.json",),
    "report": ("report.html",),
    "power": ("tables/power.csv",),
    "verify": (),
    "reproduce": (),
    "find-lr": ("tables/lr_finder.csv",),
    "plan": ("plan.json",),
}
# What a verb leaves of a run, below the profile's results.
PRODUCTS = {
    "train": ("checkpoints/{run}/meta.json", "checkpoints/{run}/weights.safetensors"),
    "predict": ("predictions/{run}/key.json",),
    "dissect": ("inside/{run}/*.json",),
    "extract": ("activations/{run}/*/key.json",),
    "score": ("scores/{run}/*.json",),
    "brainscore-layers": ("brainscore_layers/{run}/*.json",),
}
RESTS_ON = {
    "train": (), "predict": ("train",), "dissect": ("train",), "extract": ("train",), "score": ("extract",),
    "brainscore-layers": ("train",),
}  # fmt: skip


def runs(profile: Profile, verb: str) -> list[Run]:
    """The runs that a verb goes through, in the sheet's order."""
    if verb in ("train", "dissect"):
        return profile.trained_runs()
    if verb == "predict":
        return profile.trained_runs() + profile.untrained_runs()
    return profile.scored_runs()


def names(profile: Profile, verb: str) -> list[str]:
    """All units of a verb: ids of its runs; score has 'pixels', too; 'all' of a verb that is one unit."""
    if verb in WHOLE:
        return [ALL]
    return [run.id for run in runs(profile, verb)] + ([PIXELS] if verb == "score" else [])


def note_path(results: Path, verb: str, run: str) -> Path:
    """Where a unit's note lies."""
    return results / "jobs" / f"{verb}-{run}.json"


def read_note(results: Path, verb: str, run: str) -> dict[str, Any]:
    """How the unit last ended; empty where it never did, or its note is damaged (it is then as good as not done)."""
    try:
        return read_object(note_path(results, verb, run), stored.NOTE)
    except (BlendnetError, OSError):
        return {}


def book_path(results: Path, verb: str) -> Path:
    """Where the jobs of a verb are written down: {units: {run: {job, token, about}}}; about: its arguments."""
    return results / "jobs" / f"{verb}.json"


def read_book(results: Path, verb: str) -> dict[str, dict[str, str]]:
    """The jobs of a verb's units, {run: {job, token, about}}; empty where none was submitted. A damaged file is one
    clear line: the jobs in it may be queued still."""
    path = book_path(results, verb)
    again = "look with squeue for jobs of it, wait for them or end them, then delete it"
    units: dict[str, dict[str, str]] = read_object(path, stored.BOOK, again)["units"] if path.exists() else {}
    return units


def state_of(results: Path, verb: str, run: str) -> dict[str, list[int]]:
    """The unit's products as they are: {path: [bytes, mtime in ns]}."""
    found = {}
    for pattern in PRODUCTS.get(verb, ()):
        for path in sorted(results.glob(pattern.format(run=run))):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found[str(path.relative_to(results))] = [stat.st_size, stat.st_mtime_ns]
    return found


def is_done(results: Path, verb: str, run: str, basis: str) -> bool:
    """Did the unit end well, on the same basis (sheet, code, data: executor.basis), and are its products and what they
    rest on as they were then? In doubt no: the unit then finds out itself, and says 'reused'."""
    note = read_note(results, verb, run)
    return (
        note.get("status") == "done"
        and note.get("basis") == basis
        and bool(note.get("products"))
        and note["products"] == state_of(results, verb, run)
        and note.get("rests_on") == rests_on(results, verb, run)
    )


def rests_on(results: Path, verb: str, run: str) -> str:
    """Hash of the state of what the unit's own verb reads of its run."""
    return sha256_of([state_of(results, other, run) for other in RESTS_ON.get(verb, ())])


def in_flight(results: Path, verb: str, run: str, about: dict[str, str], queued: Container[str]) -> bool:
    """Will the job still do this unit? about: its number and token, as they are written down; queued: what SLURM lists.
    Not where the unit has said its last word: SLURM may list its job for a minute more (srun waits for its messages),
    and that word may be of what has changed since."""
    note = read_note(results, verb, run)
    over = note.get("token") == about.get("token") and note.get("status") in ("done", "failed")
    return about.get("job", "") in queued and not over
