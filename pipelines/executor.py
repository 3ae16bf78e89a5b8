"""`--executor local|slurm`: the runs of a verb as units, each the same program in a process or job of its own. A verb
that is not divided into runs is one unit.

The command prepares what all units share, submits what is neither done nor in flight, waits, and makes the tables from
the units' pieces. Every unit is locked while it is worked on and goes on from what it finds, so that a unit which is
submitted twice, killed, requeued or started again is done once, and to the same bytes.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import sha256_of
from blendnet.keys import code_version, imported
from blendnet.training import state
from pipelines import _attach, _local, _slurm, _units, photographs, recordings
from pipelines._follow import Pace, follow
from pipelines._job import PROGRAM, Unit
from pipelines.context import Context, say
from pipelines.data import bring
from pipelines.resources import resources

EXECUTORS = ("here", "local", "slurm")
PACE = Pace()
# Verbs whose units go on within a run, from these files of its folder.
LONG = {
    "train": ("checkpoints", (checkpoint.META, state.STATE)),
    "brainscore-layers": ("brainscore_layers", ("*.json",)),
}
STARTERS = ("submitit ", "srun: ", "slurmstepd: ")


def run(
    context: Context, verb: str, *, executor: str, jobs: int | None = None, slurm: Sequence[str] = (),
    own: Sequence[str] = (), program: str = PROGRAM, pace: Pace = PACE,
) -> int:  # fmt: skip
    """Do a verb, or the whole chain ('all'), by units; the exit status: 0, or 1 where units failed; of a verb that is
    one unit its own.

    executor: 'local' or 'slurm'; jobs: processes at once (local); slurm: changes to what jobs ask for, see
    resources.resources; own: arguments that no other verb has, for a verb that is one unit; program: the module whose
    main a unit calls. Raises BlendnetError for verbs that are about the machine they are started on, for options of the
    other executor, and where SLURM is not there or refuses.
    """
    from pipelines.cli import CHAIN, run_step

    if verb not in (*_units.DIVIDED, *_units.WHOLE, "all"):
        raise BlendnetError(f"--executor {executor}: {verb} is for the machine at hand; run it without --executor")
    if jobs is not None and (executor != "local" or jobs < 1):
        raise BlendnetError(f"--jobs {jobs}: give a number from 1 up, with --executor local")
    if slurm and executor != "slurm":
        raise BlendnetError(f"--slurm {slurm[0]}: goes with --executor slurm only")
    verbs = CHAIN if verb == "all" else (verb,)
    if executor == "slurm":
        for one in (verb,) if verb in _units.WHOLE else set(verbs) & set(_units.DIVIDED):
            resources(one, slurm, device=context.device)  # a mistake is better known before the first hour
        _slurm.check()
    here = _here(context)
    if verb in _units.WHOLE:
        return _whole(context, here, verb, executor, jobs, slurm, own, program, pace)
    for one in verbs:
        if one not in _units.DIVIDED:
            run_step(here, one)
        elif not _step(context, here, one, executor, jobs, slurm, program, pace):
            return 1
    return 0


def _whole(
    context: Context, here: Context, verb: str, executor: str, jobs: int | None, slurm: Sequence[str],
    own: Sequence[str], program: str, pace: Pace,
) -> int:  # fmt: skip
    """A verb that is one unit: submit or attach, wait, say its last word; its exit status."""
    if verb in ("find-lr", "plan"):
        bring(here)  # a node of a cluster has no network
    results = context.results.absolute()
    unit = _unit(context, verb, _units.ALL, "", program, own)
    failed = _by(executor, context, verb, [unit], jobs, slurm, pace)
    token, log = unit.token, _local.log_path(_logs(context), unit)
    if executor == "slurm":  # attached to, it is an earlier submission's
        token, log = _attach.submission(results, verb, _units.ALL)
    note = _units.read_note(results, verb, _units.ALL)
    note = note if note.get("token") == token else {}  # a job that was killed has left none, or that of an earlier one
    if not failed:
        say(f"[{verb}] {note.get('said', '')}")
        return 0
    why = failed[_units.ALL]
    say(f"[{verb}] failed: {why}")
    last = _last_line(log)
    if last and last.removeprefix("blendnet: error: ") not in why:
        say(f"[{verb}] its log ends: {last}")
    return int(note.get("exit") or 1)


def _last_line(log: Path) -> str:
    """The last line of a log that is the program's, not of those who started it."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith(STARTERS)), "")


def _by(
    executor: str, context: Context, verb: str, units: list[Unit], jobs: int | None, slurm: Sequence[str], pace: Pace
) -> dict[str, str]:
    """Have units done; {run: what is wrong} of those that failed."""
    if executor == "slurm":
        asked = resources(verb, slurm, device=context.device)
        return _attach.by_slurm(context, verb, units, asked, lambda unit: _forget(context, unit), pace)
    return _by_processes(context, verb, units, jobs, pace)


def _here(context: Context) -> Context:
    """The context for this process: a login node has not the GPU that --device cuda names."""
    try:
        context.torch_device()
    except BlendnetError:
        return replace(context, device="auto")
    return context


def _step(
    context: Context, here: Context, verb: str, executor: str, jobs: int | None, slurm: Sequence[str], program: str,
    pace: Pace,
) -> bool:  # fmt: skip
    """One verb: submit, wait, gather; whether all units are done."""
    runs = selected(context, verb)
    if not runs:
        return True
    basis = prepare(here, verb)
    results = context.results.absolute()
    todo = [r for r in runs if context.force or not _units.is_done(results, verb, r, basis)]
    say(f"[{verb}] {len(runs)} units: {len(runs) - len(todo)} were done before, {len(todo)} to do")
    units = [_unit(context, verb, r, basis, program) for r in todo]
    failed = _by(executor, context, verb, units, jobs, slurm, pace) if units else {}
    for name, why in failed.items():
        say(f"[{verb}] {name} failed: {why}")
    if failed:
        say(f"[{verb}] {len(failed)} of {len(runs)} units failed; the same command goes on where it was")
    if len(failed) < len(runs):
        gather(here, verb)
    return not failed


def selected(context: Context, verb: str) -> list[str]:
    """The units of a verb that --only names; raises BlendnetError where there are none."""
    pixels = [_units.PIXELS] if verb == "score" and context.only in ("*", _units.PIXELS) else []
    return [r.id for r in context.select(_units.runs(context.profile, verb))] + pixels


def prepare(context: Context, verb: str) -> str:
    """What all units of a verb share, made once before hundreds of them make it at a time: photographs decoded,
    manifests written, recordings there. Returns the hash of what the units' results rest on beside each other."""
    profile = context.profile
    if not context.whole_chain:  # a whole chain has brought its data before its first step
        bring(context)
    # What is imported by name only lies in the two folders.
    code = code_version("blendnet", "analysis/similarity", *imported(f"pipelines/{verb.replace('-', '_')}.py"))
    about: dict[str, Any] = {"sheet": repr(profile), "code": code}
    if verb in ("train", "predict", "dissect"):
        for size in sorted({profile.size_of(r) for r in profile.trained_runs()}):
            photos = photographs.load(context, size)
            about[f"photos {size}"] = photos.sha256
            for split in ("val", "test"):
                about[f"{split} {size}"] = photographs.manifest(context, photos, split).attrs["sha256"]
    else:
        if verb == "brainscore-layers":
            from pipelines import brainscore_layers

            context, about["images"] = brainscore_layers.asked(context), brainscore_layers.images(context)
        about["recordings"] = [[r.name, r.region, r.sha256, r.stimuli.sha256] for r in recordings.load(context)]
    return sha256_of(about)


def _unit(context: Context, verb: str, name: str, basis: str, program: str, own: Sequence[str] = ()) -> Unit:
    results = context.results.absolute()
    only = context.only if verb in _units.WHOLE else name
    arguments = [
        verb, *own, "--profile", context.profile.name, "--results", str(results.parent),
        "--data", str(context.data.absolute()), "--device", context.device, "--only", only,
    ]  # fmt: skip
    for recording in context.recording:
        arguments += ["--recording", recording]
    if verb == "train":
        arguments += ["--tracker", context.tracker]
    if context.force and verb not in LONG:
        arguments += ["--force"]
    return Unit(verb, name, str(results), tuple(arguments), basis, secrets.token_hex(8), program)


def _forget(context: Context, unit: Unit) -> None:
    """--force for units that take long: once, here. In the unit it would start a requeued one from its beginning
    again."""
    if context.force and unit.verb in LONG:
        folder, patterns = LONG[unit.verb]
        with context.lock(unit.verb, unit.run):
            for path in (p for pattern in patterns for p in context.folder(folder, unit.run).glob(pattern)):
                path.unlink(missing_ok=True)


def _logs(context: Context) -> Path:
    """Where local processes write."""
    return context.folder("jobs", "logs")


def _by_processes(context: Context, verb: str, units: list[Unit], jobs: int | None, pace: Pace) -> dict[str, str]:
    devices = _local.gpus(context.device)
    if verb == "brainscore-layers" and not devices:
        jobs = jobs or 1  # one holds the answers of a layer's every unit to a thousand images
    n = jobs or len(devices) or (1 if context.device.startswith("cuda") else _local.cores())
    for unit in units:
        _forget(context, unit)
    pool = _local.Pool(units, jobs=min(n, len(units)), devices=devices, logs=_logs(context))
    logs = {unit.run: _local.log_path(pool.logs, unit) for unit in units}
    with _local.running(pool):
        tokens = {unit.run: unit.token for unit in units}
        return follow(context.results.absolute(), verb, tokens, pool.look, logs, pace)


def gather(context: Context, verb: str) -> None:
    """The tables of a verb from the pieces of all runs, as the verb itself makes them in its end."""
    from pipelines import brainscore_layers, dissect, predict, score, training_table

    made = {"train": training_table.gather, "predict": predict.gather, "dissect": dissect.gather, "score": score.gather,
            "brainscore-layers": brainscore_layers.gather}  # fmt: skip
    if verb in made:
        with context.gathering():
            made[verb](context)
