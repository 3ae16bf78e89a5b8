"""`blendnet status`: what is done, running, queued and failed, and why, and the time left.

Read from the files of a results folder and from SLURM; loads no torch, no photographs and no weights. Whether a result
is up to date is found out by the verb itself, which says so: here done means that it is there.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from blendnet import locks
from blendnet._kinds import AMOUNT
from blendnet.errors import BlendnetError
from blendnet.files import read_object
from blendnet.training import budget as budgets
from pipelines import _slurm, _units
from pipelines.sheet import PROFILES, Profile

STATES = ("done", "running", "queued", "failed", "not started")
# 'running' and 'queued' in SLURM's words, as far as they are not plainly one of them.
Queue = dict[str, tuple[str, str]]
_WHOLE = {"whole": bool}
_TOOK = {"seconds?": (AMOUNT, None)}  # all that is read of a meta.json, whose module would load torch


def status(profile: Profile, results: Path, *, as_json: bool = False) -> None:
    """Print the state of all verbs of a profile; results: its own folder."""
    found = collect(profile, results)
    print(json.dumps(found, indent=2, sort_keys=True) if as_json else "\n".join(lines(found)), flush=True)


def collect(profile: Profile, results: Path) -> dict[str, Any]:
    """{profile, results, verbs: {verb: {units: {run: {state, ...}}, counts, seconds_left}}, whole: {verb: {state,
    ...}}, seconds_left, slurm}.

    whole: verbs that are one unit, those alone that were given to a process or job of their own. seconds_left: None
    where nothing has been measured yet. slurm: whether SLURM was asked and answered, None where nothing was submitted
    to it.
    """
    if profile.name not in PROFILES:
        raise BlendnetError(f"profile {profile.name!r} is not in pipelines/sheet.py")
    books = {verb: _units.read_book(results, verb) for verb in (*_units.DIVIDED, *_units.WHOLE)}
    submitted = any(books.values())
    queued = _slurm.queue() if submitted else {}
    verbs = {}
    beside = [verb for verb in _units.BESIDE if books[verb] or any((results / "jobs").glob(f"{verb}-*.json"))]
    for verb in (*_units.VERBS, *beside):
        units = _states(profile, results, verb, books[verb], queued or {})
        verbs[verb] = {
            "units": units,
            "counts": {state: sum(u["state"] == state for u in units.values()) for state in STATES},
            "seconds_left": _left(units),
        }
    whole = {}
    for verb in _units.WHOLE:
        if books[verb] or _units.note_path(results, verb, _units.ALL).exists():
            whole[verb] = _states(profile, results, verb, books[verb], queued or {})[_units.ALL]
    # Of the chain alone: nobody need do the others for all runs.
    parts = [verbs[verb]["seconds_left"] for verb in _units.VERBS]
    return {
        "profile": profile.name, "results": str(results), "verbs": verbs, "whole": whole,
        "seconds_left": None if None in parts else sum(parts),
        "slurm": (queued is not None) if submitted else None,
    }  # fmt: skip


def _states(
    profile: Profile, results: Path, verb: str, book: dict[str, dict[str, str]], queued: Queue
) -> dict[str, dict[str, Any]]:
    names = _units.names(profile, verb)
    there = {run: _units.state_of(results, verb, run) for run in names}
    complete = _complete(results, verb, there) if verb in _units.DIVIDED else set()
    if verb in _units.WHOLE:
        there = {_units.ALL: _left_by(results, verb)}
        note = _units.read_note(results, verb, _units.ALL)
        # The note of an earlier submission says nothing of the last; a failure counts until it is put right, below.
        of_the_last = note.get("token") == book.get(_units.ALL, {}).get("token", note.get("token"))
        complete = {_units.ALL} if note and of_the_last else set()
    found: dict[str, dict[str, Any]] = {}
    for run in names:
        note = _units.read_note(results, verb, run)
        lock = results / "locks" / f"{verb}-{run}.lock"
        about = locks.read(lock)
        job = book.get(run, {}).get("job", "")
        made = max((when for _, when in there[run].values()), default=0)
        # A failure that is older than what the same run left later has been put right.
        failed = note.get("status") in ("failed", "stopped") and made < _written(results, verb, run)
        if about is not None and not locks.dead(lock, about):
            found[run] = {"state": "running", "where": locks.owner(lock)}
        elif _units.in_flight(results, verb, run, book.get(run, {}), queued):
            state, reason = queued[job]
            waits = state in _slurm.WAITING
            found[run] = {"state": "queued" if waits else "running", "job": job, "slurm": state}
            if waits and reason not in _slurm.ORDINARY:
                found[run]["reason"] = _slurm.waits(reason)
        elif failed:
            why = note.get("error") or "stopped before its end; the same command goes on"
            found[run] = {"state": "failed", "error": why, "job": note.get("job", ""), "host": note.get("host", "")}
        elif run in complete:
            found[run] = {"state": "done"} | _took(results, verb, run, note)
        elif job and note.get("token") != book[run].get("token"):
            found[run] = {"state": "failed", "error": _slurm.ending(job), "job": job}
        else:
            found[run] = {"state": "not started"}
    return found


def _left_by(results: Path, verb: str) -> dict[str, list[int]]:
    """What a verb that is one unit leaves, with or without a job: {path: [bytes, mtime in ns]}."""
    paths = [results / name for name in _units.WHOLE[verb]]
    return {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in paths if p.exists()}


def _complete(results: Path, verb: str, there: dict[str, dict[str, list[int]]]) -> set[str]:
    """The runs whose products are all there. How many pieces of extract and score there should be is only known with
    the recordings at hand: as many as any run has."""
    if verb == "extract":
        there = {run: {p: s for p, s in files.items() if "/planted-source/" not in p} for run, files in there.items()}
    if verb == "brainscore-layers":  # written anew after every layer
        there = {run: files if all(_whole(results / p) for p in files) else {} for run, files in there.items()}
    if verb == "dissect":
        return {run for run, files in there.items() if any(p.endswith("whole.json") for p in files)}
    least = len(_units.PRODUCTS[verb])
    if verb in ("extract", "score", "brainscore-layers"):
        least = max(least, max(map(len, there.values()), default=0))
    return {run for run, files in there.items() if len(files) >= least}


def _whole(path: Path) -> bool:
    """Does a piece hold all layers? Not where it is damaged, which `blendnet doctor` says, or gone."""
    try:
        return bool(read_object(path, _WHOLE)["whole"])
    except (BlendnetError, OSError):
        return False


def _written(results: Path, verb: str, run: str) -> int:
    """When the note was written, by the clock of the file server, as the products' times are; ns."""
    try:
        return _units.note_path(results, verb, run).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _took(results: Path, verb: str, run: str, note: dict[str, Any]) -> dict[str, float]:
    """How long the unit took; a training that was no unit says it in its meta.json."""
    seconds = note.get("seconds") if note.get("status") == "done" else None
    if seconds is None and verb == "train":
        seconds = read_object(results / "checkpoints" / run / "meta.json", _TOOK).get("seconds")
    return {"seconds": seconds} if seconds is not None else {}


def _left(units: dict[str, dict[str, Any]]) -> float | None:
    """Seconds until the verb is done if as many go on at once as run now, from what units of the same network and
    attention took, else from all that are measured; what runs is taken to be half done. None: nothing is measured."""
    took: dict[str, list[float]] = {}
    for run, about in units.items():
        if "seconds" in about:
            took.setdefault(_kind(run), []).append(about["seconds"])
    every = [s for some in took.values() for s in some]
    rest = [run for run, about in units.items() if about["state"] != "done"]
    if not rest:
        return 0.0
    if not every:
        return None
    expected = 0.0
    for run in rest:
        own = took.get(_kind(run), every)
        whole = sum(own) / len(own)
        expected += whole / 2 if units[run]["state"] == "running" else whole
    at_once = max(1, sum(about["state"] == "running" for about in units.values()))
    return round(expected / min(at_once, len(rest)), 1)


def _kind(run: str) -> str:
    """'resnet18-aacn4' of 'resnet18-aacn4-blended-s0': what the time depends on."""
    return run.rsplit("-", 2)[0]


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    out = [f"profile {found['profile']}, {found['results']}"]
    if found["slurm"] is False:
        out.append("SLURM does not answer: what it has queued is not known")
    width = 2 + max(map(len, found["verbs"]))
    out.append("".join([f"{'':{width}}", *(f"{state:>13}" for state in STATES), f"{'time left':>13}"]))
    for verb, about in found["verbs"].items():
        out.append("".join([f"{verb:{width}}", *(f"{about['counts'][s]:>13}" for s in STATES), f"{_words(about):>13}"]))
    if found["seconds_left"]:
        out.append(f"about {_words(found)} left in all, with what runs now")
    for verb, units in _units_of(found):
        for run, unit in units.items():
            if unit["state"] == "running":
                out.append(f"running: {verb} {run}: {unit.get('where') or 'job ' + unit['job']}")
        reasons = Counter(u["reason"] for u in units.values() if "reason" in u)
        out += [f"queued: {verb}, {n} units wait: {reason}" for reason, n in reasons.items()]
        if verb in found["whole"] and "reason" not in units[_units.ALL] and units[_units.ALL]["state"] == "queued":
            out.append(f"queued: {verb} {_units.ALL}: job {units[_units.ALL]['job']}")
        for run, unit in units.items():
            if unit["state"] == "failed":
                out.append(f"failed: {verb} {run}: {unit['error']}")
    return out


def _units_of(found: dict[str, Any]) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """[(verb, {run: its state})] of all verbs; a verb that is one unit has no line in the table of counts."""
    every = [(verb, about["units"]) for verb, about in found["verbs"].items()]
    return every + [(verb, {_units.ALL: about}) for verb, about in found["whole"].items()]


def _words(about: dict[str, Any]) -> str:
    seconds = about["seconds_left"]
    if seconds is None:
        return "not known"
    return budgets.words(seconds if seconds < 90 else 60 * -(-seconds // 60))
