"""What a job of each step asks SLURM for, and how `--slurm KEY=VALUE` changes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from blendnet.errors import BlendnetError, unknown
from pipelines._units import DIVIDED, WHOLE


@dataclass(frozen=True)
class Resources:
    """One job. minutes: its time limit, after which it is requeued and goes on; mem_gb: memory of a node in GB; cpus,
    gpus, processes (of torchrun, train only; 0: one a GPU): on each node; parallel: jobs of an array at a time;
    signal_s: seconds before the limit at which the job is told; the rest as sbatch has them. more: sbatch's other
    options, from 'KEY:VALUE' as in --slurm more=reservation:night."""

    minutes: int = 240
    cpus: int = 8
    gpus: int = 1
    mem_gb: float = 32
    nodes: int = 1
    processes: int = 0
    parallel: int = 256
    signal_s: int = 90
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    exclude: str = ""
    nodelist: str = ""
    gres: str = ""
    setup: tuple[str, ...] = field(default=())  # shell lines before the program, e.g. 'module load cuda'
    more: tuple[str, ...] = field(default=())

    @property
    def each(self) -> int:
        """Processes on each node."""
        return self.processes or max(1, self.gpus)

    @property
    def any_gpu(self) -> bool:
        """Is a GPU asked for? gres, where given, is asked for instead of gpus."""
        return "gpu" in self.gres if self.gres else self.gpus > 0


# Starting values for networks of 224 px; a job that needs longer than its minutes is requeued and loses at most the
# epoch that it is in, one that needs more memory says so.
STEPS = {
    "train": Resources(minutes=720, mem_gb=48),
    "predict": Resources(minutes=60),
    "dissect": Resources(minutes=120),
    "extract": Resources(minutes=120),
    "score": Resources(minutes=480, gpus=0, mem_gb=24),  # linear algebra in NumPy
    "brainscore-layers": Resources(minutes=1440, gpus=0, mem_gb=64),  # principal components of all units of a layer
    # One job each, which is not requeued at its limit. Most read tables.
    "correlate": Resources(minutes=240, cpus=2, gpus=0, mem_gb=16),
    "draw": Resources(minutes=60, cpus=2, gpus=0, mem_gb=8),
    "report": Resources(minutes=60, cpus=2, gpus=0, mem_gb=8),
    "power": Resources(minutes=240, cpus=2, gpus=0, mem_gb=8),
    "verify": Resources(minutes=240, gpus=0, mem_gb=24),  # a few scores: read-out on CPU, linear algebra
    "reproduce": Resources(minutes=1440, mem_gb=48),  # trains a run from its beginning, and all that follows
    "find-lr": Resources(minutes=240, mem_gb=48),
    "plan": Resources(minutes=60, mem_gb=48),  # measures training on a node that will train
}
_KINDS: dict[str, Any] = {f.name: f.type for f in fields(Resources)}


def resources(verb: str, changes: Sequence[str] = (), *, device: str = "auto") -> Resources:
    """The step's resources with the changes 'KEY=VALUE', or 'VERB.KEY=VALUE' for one step of a chain; setup and more
    may be given several times. device: 'cpu' asks for no GPU, 'cuda' for one where it is of use. Raises BlendnetError
    for what is no key, no number, or makes no sense for the step."""
    found = STEPS[verb]
    if device == "cpu":
        found = replace(found, gpus=0)
    elif device.startswith("cuda") and verb == "brainscore-layers":  # its forward passes may be on one
        found = replace(found, gpus=1)
    given: dict[str, Any] = {}
    # What is said of this step alone goes before what is said of all.
    for change in sorted(changes, key=lambda c: "." in c.partition("=")[0]):
        name, equals, value = change.partition("=")
        if not equals or not value:
            raise BlendnetError(f"--slurm {change!r} is not of the form KEY=VALUE, e.g. partition=gpu or mem_gb=64")
        step, dot, key = name.rpartition(".")
        if dot and step not in STEPS:
            raise unknown("step in --slurm", step, (*DIVIDED, *WHOLE))
        if key not in _KINDS:
            raise unknown("key in --slurm", key, _KINDS)
        if dot and step != verb:
            continue
        if key in ("setup", "more"):
            given[key] = (*given.get(key, ()), value)
        else:
            given[key] = _number(change, value, _KINDS[key]) if _KINDS[key] in (int, float) else value
    return _checked(verb, replace(found, **given))


def _number(change: str, value: str, kind: type) -> float:
    try:
        found = kind(value)
    except ValueError as error:
        raise BlendnetError(f"--slurm {change!r}: {value!r} is no number") from error
    if not 0 <= found < float("inf"):
        raise BlendnetError(f"--slurm {change!r}: {value} makes no sense; give a number from 0 up")
    return found


def _checked(verb: str, found: Resources) -> Resources:
    for key in ("minutes", "cpus", "mem_gb", "nodes", "parallel"):
        if getattr(found, key) <= 0:
            raise BlendnetError(f"--slurm {key}={getattr(found, key)}: a job of {verb} needs more than 0")
    if found.signal_s >= 60 * found.minutes:
        raise BlendnetError(
            f"--slurm signal_s={found.signal_s} is no shorter than the {found.minutes} minutes of the job, which would "
            "be requeued at once and for ever"
        )
    if verb != "train" and (found.nodes > 1 or found.each > 1):
        raise BlendnetError(
            f"--slurm asks for {found.nodes} nodes, {found.each} processes each, for {verb}, but only training is "
            "shared; write train.nodes=, train.gpus= or train.processes="
        )
    for line in found.more:
        if ":" not in line:
            raise BlendnetError(f"--slurm more={line!r} is not of the form OPTION:VALUE, e.g. more=reservation:night")
    return found


def sbatch(verb: str, found: Resources, folder: str) -> dict[str, Any]:
    """The same as submitit's SlurmExecutor has it; folder: where the job starts."""
    # The user's own threads, if set: the last bits of sums depend on them. Since SLURM 22.05 srun does not take
    # --cpus-per-task from the job any more.
    threads = max(1, found.cpus // found.each)
    options: dict[str, Any] = {
        "job_name": f"blendnet-{verb}", "time": found.minutes, "cpus_per_task": found.cpus, "nodes": found.nodes,
        "ntasks_per_node": 1, "mem": f"{int(found.mem_gb * 1024)}MB", "array_parallelism": found.parallel,
        "signal_delay_s": found.signal_s, "stderr_to_stdout": True, "srun_args": [f"--cpus-per-task={found.cpus}"],
        "setup": [f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}", *found.setup],
        "additional_parameters": {"requeue": True, "chdir": folder}
        | {k.replace("_", "-"): v for k, v in (line.split(":", 1) for line in found.more)},
    }  # fmt: skip
    if found.gpus and not found.gres:
        options["gpus_per_node"] = found.gpus
    for key in ("partition", "account", "qos", "constraint", "exclude", "nodelist", "gres"):
        if getattr(found, key):
            options[key] = getattr(found, key)
    return options
