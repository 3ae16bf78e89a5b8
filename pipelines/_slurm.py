"""Units as a SLURM job array, through submitit; and what SLURM says of jobs. Imports no torch."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from blendnet.errors import BlendnetError
from pipelines._job import Unit
from pipelines._units import WHOLE
from pipelines.resources import Resources, sbatch

# A time limit is no failure: what is not finished is requeued as often as it takes (not a verb that is one unit and
# begins from nothing each time).
TIMEOUTS = 1_000_000
WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING", "SUSPENDED", "STOPPED")
# Why jobs wait in the ordinary course of things; other reasons are for the user to know.
ORDINARY = ("", "None", "Resources", "Priority", "BeginTime", "Dependency", "JobArrayTaskLimit", "Cleaning")
ADVICE = {
    "OUT_OF_MEMORY": "raise --slurm mem_gb",
    "TIMEOUT": "killed at its limit without having been heard; the same command goes on from what it has saved, and "
    "--slurm signal_s tells the next one earlier, minutes gives it longer",
    "DEADLINE": "raise --slurm minutes",
    "CANCELLED": "somebody cancelled it; the same command submits it again",
    "NODE_FAIL": "the same command submits it again",
    "BOOT_FAIL": "the same command submits it again",
    "PREEMPTED": "the same command submits it again",
}
# What sbatch refuses, by a part of its line, and what to do; {asked}: what the job asked for.
REFUSALS = {
    "Requested node configuration is not available": "no node of the partition has {asked}; ask for less, name another "
    "partition, or --device cpu for no GPU",
    "Invalid generic resource": "this cluster has no such GPU ({asked}); sinfo -o '%P %G' lists what it has, "
    "--device cpu asks for none",
    "Invalid feature": "no node has {asked}; sinfo -o '%P %f' lists what nodes have",
}
# Reasons to wait that no waiting ends.
FOR_EVER = "nothing of the partition fits; scancel the jobs and lower --slurm cpus, gpus, mem_gb, nodes or minutes"
HOPELESS = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")


def check() -> None:
    """Raise where jobs cannot be submitted from here."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise BlendnetError(
            "--executor slurm: there is no sbatch on this machine; start it on a login node of a cluster, or use "
            "--executor local"
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise BlendnetError("--executor slurm needs the package submitit; install requirements.lock") from error


def submit(units: Sequence[Unit], asked: Resources, folder: Path) -> dict[str, str]:
    """Submit units of one verb as arrays of jobs; {run: job id}. folder: for the jobs' files. Raises BlendnetError with
    sbatch's own line where it refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    jobs: dict[str, str] = {}
    executor = SlurmExecutor(folder, max_num_timeout=0 if units[0].verb in WHOLE else TIMEOUTS)
    executor.update_parameters(**sbatch(units[0].verb, asked, os.getcwd()))
    most = largest_array()
    for i in range(0, len(units), most):
        part = [
            replace(unit, processes=asked.each, nodes=asked.nodes, gpu=asked.any_gpu and unit.device != "cpu")
            for unit in units[i : i + most]
        ]
        try:
            submitted = executor.submit_array(part)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise BlendnetError(_refused(str(error), asked)) from error
        jobs |= {unit.run: job.job_id for unit, job in zip(part, submitted)}
    return jobs


def _refused(said: str, asked: Resources) -> str:
    """One line on a refusal: sbatch's own, and what to do."""
    lines = [line.strip() for line in said.splitlines() if "error:" in line] or said.splitlines() or [""]
    for known, advice in REFUSALS.items():
        line = next((line for line in lines if known in line), None)
        if line is not None:
            keys = ("gpus", "gres", "constraint", "nodelist", "cpus", "mem_gb", "nodes", "partition")
            words = ", ".join(f"{key}={getattr(asked, key)}" for key in keys if getattr(asked, key))
            return f"sbatch refused the jobs: {line}: {advice.format(asked=words)}"
    return f"sbatch refused the jobs: {lines[0]}; put it right with --slurm KEY=VALUE"


def waits(reason: str) -> str:
    """SLURM's reason why a job waits, with what to do where it would wait for ever."""
    return f"{reason} ({FOR_EVER})" if reason in HOPELESS else reason


def log_path(folder: Path, job: str) -> Path:
    """What a job of ours wrote."""
    return folder / f"{job}_0_log.out"


def queue() -> dict[str, tuple[str, str]] | None:
    """{job id: (state, reason)} of the user's jobs that are not over; None where SLURM does not answer now."""
    found = _ask("squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i|%T|%r")
    if found is None:
        return None
    rows = (line.split("|", 2) for line in found.splitlines() if line.count("|") >= 2)
    return {job.strip(): (state, reason.strip()) for job, state, reason in rows}


def ending(job: str) -> str:
    """Why a job that is over ended without a note, in words: SLURM's state and what to do."""
    shown = _ask("scontrol", "show", "job", "-o", job) or ""
    state = next((word.partition("=")[2] for word in shown.split() if word.startswith("JobState=")), "")
    if not state:
        listed = (_ask("sacct", "-n", "-X", "-P", "-o", "State", "-j", job) or "").split()
        state = listed[0] if listed else ""
    if not state:
        return "ended, and SLURM does not know the job any more; the same command submits it again"
    return f"ended by SLURM ({state}); {ADVICE.get(state, 'see its log')}"


def largest_array() -> int:
    """How many jobs an array may have on this cluster."""
    for line in (_ask("scontrol", "show", "config") or "").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return max(1, int(value) - 1)
    return 1000


def _ask(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
