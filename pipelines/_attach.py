"""Units of a verb by SLURM: submit those that are not in flight, keep their numbers, and attach to all of them.

The numbers lie in results/<profile>/jobs/<verb>.json, so that a command which was killed finds its jobs again.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blendnet.errors import BlendnetError
from blendnet.files import make_folder, write_json
from pipelines import _follow, _slurm, _units
from pipelines._job import Unit
from pipelines.context import Context, say
from pipelines.resources import Resources


def submission(results: Path, verb: str, run: str) -> tuple[str, Path]:
    """The token of the last submission of a unit, and where its job writes."""
    about = _units.read_book(results, verb).get(run)
    if about is None:
        raise BlendnetError(f"{_units.book_path(results, verb)} has lost the job of {run}; give the same command again")
    return about["token"], _slurm.log_path(jobs_folder(results), about["job"])


def jobs_folder(results: Path) -> Path:
    """Where submitit and SLURM write: submitted units, logs."""
    return results / "jobs" / "slurm"


def by_slurm(
    context: Context, verb: str, units: Sequence[Unit], asked: Resources, before: Callable[[Unit], None],
    pace: _follow.Pace,
) -> dict[str, str]:  # fmt: skip
    """Submit, attach, wait; {run: what is wrong} of those that failed. before: called for each unit that is about to be
    submitted. Raises BlendnetError where SLURM does not answer or refuses."""
    results = context.results.absolute()
    with context.lock("submit", verb):  # of two commands at a time the second attaches to the jobs of the first
        found = _units.read_book(results, verb)
        queued = _slurm.queue()
        if queued is None:
            raise BlendnetError("SLURM does not answer (squeue failed); try again when it does")
        new = [unit for unit in units if not _units.in_flight(results, verb, unit.run, found.get(unit.run, {}), queued)]
        for unit in units:
            if unit not in new:
                _same(unit, found[unit.run])
        if len(new) < len(units):
            say(f"[{verb}] {len(units) - len(new)} of them are queued or running already: attached")
        if new:
            for unit in new:
                before(unit)
            made = _slurm.submit(new, asked, make_folder(jobs_folder(results)))
            found |= {
                unit.run: {"job": made[unit.run], "token": unit.token, "about": shlex.join(unit.arguments)}
                for unit in new
            }
            write_json(_units.book_path(results, verb), {"units": found})
            numbers = sorted({int(job.split("_")[0]) for job in made.values()})
            say(f"[{verb}] submitted to SLURM: {len(new)} units as job {', '.join(map(str, numbers))}")
    jobs = {unit.run: found[unit.run]["job"] for unit in units}
    tokens = {unit.run: found[unit.run]["token"] for unit in units}
    logs = {run: _slurm.log_path(jobs_folder(results), job) for run, job in jobs.items()}
    try:
        return _follow.follow(results, verb, tokens, _Asking(verb, jobs, pace), logs, pace)
    except KeyboardInterrupt:
        say(f"[{verb}] the jobs go on without this command; the same command attaches to them again, scancel ends them")
        raise


def _same(unit: Unit, about: dict[str, str]) -> None:
    """Raise where a verb that is one unit is under way with other arguments: its end would be taken for the end of what
    is asked for now."""
    asked = shlex.join(unit.arguments)
    if unit.verb in _units.WHOLE and about.get("about") != asked:
        raise BlendnetError(
            f"{unit.verb} is under way as job {about['job']} with other arguments: {about.get('about')}; wait for it, "
            f"or end it: scancel {about['job']}"
        )


class _Asking:
    """Asks SLURM now and then; a call gives the units whose jobs are over."""

    def __init__(self, verb: str, jobs: dict[str, str], pace: _follow.Pace) -> None:
        self.verb, self.jobs, self.pace = verb, jobs, pace
        self.asked = float("-inf")
        self.gone: dict[str, float] = {}  # run -> since when
        self.said: set[str] = set()

    def __call__(self) -> _follow.Over:
        now = time.monotonic()
        if now - self.asked < self.pace.ask:
            return {}
        self.asked = now
        queued = _slurm.queue()
        if queued is None:  # a controller that is away for a moment
            return {}
        for run, job in self.jobs.items():
            if job not in queued:
                self.gone.setdefault(run, now)
                continue
            self.gone.pop(run, None)
            state, reason = queued[job]
            if state == "PENDING" and reason not in (*_slurm.ORDINARY, *self.said):
                self.said.add(reason)
                say(f"[{self.verb}] job {job} waits: {_slurm.waits(reason)}")
        return {run: _slurm.ending(self.jobs[run]) for run, t in self.gone.items() if now - t >= self.pace.note}
