"""A real SLURM of one or two nodes on this machine, for tests: munged, slurmctld and slurmd on loopback, in a folder of
their own, with ports and a munge socket of their own; all are ended in the end. Jobs of the partition 'urgent' preempt
those of 'main'.

    python -m tests.slurm_cluster sinfo        # a command inside a cluster

The nodes are daemons of one host: that SLURM knows two does not make the machine faster. Their GPUs are devices that
every machine has, which SLURM counts, gives to jobs and names to them as it does with real ones.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
# cred_expire is also how long a requeued job waits before it starts again: 120 s by default, 5 at least.
CONF = """
ClusterName=blendnet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
ReturnToService=2
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
KillWait=5
MinJobAge=3600
InactiveLimit=0
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=9 PreemptMode=OFF
"""
# What stands for GPUs: SLURM wants character devices, and does nothing with them here.
GPUS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


class CannotStartError(Exception):
    """Why there is no cluster here; tests are skipped with it."""


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that nobody listens on, different ones."""
    held = [socket.socket() for _ in range(n)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


@contextmanager
def cluster(nodes: int = 1, cpus: int = 2, gpus: int = 0) -> Iterator[Path]:
    """Start a cluster; gpus: of the first node, the others have none. Gives its folder, with SLURM_CONF set for this
    process and its children meanwhile. Raises CannotStartError where the programs are missing or do not start."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    programs = {name: shutil.which(name, path=path) for name in DAEMONS}
    missing = [name for name, found in programs.items() if found is None]
    if missing:
        raise CannotStartError(f"{', '.join(missing)} not installed (apt-get install slurm-wlm munge)")
    # Short: the path of a socket has room for about 100 letters.
    folder = Path(tempfile.mkdtemp(prefix="bnslurm-", dir="/tmp"))
    folder.chmod(0o755)
    before = os.environ.get("SLURM_CONF")
    started: list[subprocess.Popen] = []

    def start(name: str, *arguments: str) -> None:
        log = (folder / f"{name}-{len(started)}.out").open("wb")
        started.append(subprocess.Popen([str(programs[name]), *arguments], stdout=log, stderr=log, cwd=folder,
                                        stdin=subprocess.DEVNULL, start_new_session=True))  # fmt: skip

    try:
        conf = _configure(folder, nodes, cpus, gpus)
        os.environ["SLURM_CONF"] = str(conf)
        key, lock = folder / "munge.key", folder / "munge.socket"
        start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={lock}",
              f"--pid-file={folder / 'munged.pid'}", f"--log-file={folder / 'munged.log'}",
              f"--seed-file={folder / 'munge.seed'}", "--num-threads=2")  # fmt: skip
        _wait(lock.exists, started, folder, "munged")
        start("slurmctld", "-D", "-i", "-f", str(conf))
        for i in range(nodes):
            start("slurmd", "-D", "-f", str(conf), "-N", f"n{i + 1}")
        _wait(lambda: _idle() == nodes, started, folder, "slurm")
        yield folder
    finally:
        if len(started) > 1:
            subprocess.run(["scancel", "--signal=KILL", "--full", "--state=RUNNING", f"--user={_user()}"], check=False,
                           capture_output=True, timeout=30)  # fmt: skip
            subprocess.run(["scancel", f"--user={_user()}"], check=False, capture_output=True, timeout=30)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _end_steps(folder)
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, nodes: int, cpus: int, gpus: int) -> Path:
    host = socket.gethostname().split(".")[0]
    ports = free_ports(1 + nodes)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    text = CONF.format(folder=folder, host=host, ports=ports, user=_user())
    if gpus:
        text += "GresTypes=gpu\n"
        lines = [f"NodeName=n1 Name=gpu File={device}\n" for device in GPUS[:gpus]]
        (folder / "gres.conf").write_text("AutoDetect=off\n" + "".join(lines))
    for i in range(nodes):
        (folder / f"spool-n{i + 1}").mkdir()
        # A machine with fewer cores is to have them all the same: SlurmdParameters=config_overrides.
        text += (f"NodeName=n{i + 1} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1 + i]} CPUs={cpus} "
                 f"RealMemory=4000 {f'Gres=gpu:{gpus} ' if gpus and i == 0 else ''}State=UNKNOWN\n")  # fmt: skip
    text += "SlurmdParameters=config_overrides\n"
    conf = folder / "slurm.conf"
    conf.write_text(text)
    return conf


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _idle() -> int:
    """How many nodes wait for work."""
    found = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "main", "-o", "%t"], capture_output=True, text=True, check=False, timeout=30
    )
    return found.stdout.split().count("idle")


def _wait(ready, started: list[subprocess.Popen], folder: Path, what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not ready():
        ended = next((p for p in started if p.poll() is not None), None)
        if ended is not None or time.monotonic() > until:
            said = [f"{f.name}: {f.read_text(errors='replace').strip()[-300:]}" for f in sorted(folder.glob("*.out"))]
            said += [line for f in folder.glob("*.log") for line in f.read_text(errors="replace").splitlines()
                     if "error" in line or "fatal" in line][-5:]  # fmt: skip
            if ended is None:
                why = f"not ready in {seconds:.0f} s"
            else:
                why = f"{Path(ended.args[0]).name} ended with status {ended.returncode}"  # type: ignore[index,arg-type]
            raise CannotStartError(f"{what} does not start ({why}): {' | '.join(said)}")
        time.sleep(0.1)


def _end_steps(folder: Path) -> None:
    """End what slurmd leaves behind: the supervisors of steps (slurmstepd) that name this cluster in SLURM_CONF."""
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes() and b"slurm" in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue


if __name__ == "__main__":
    with cluster(nodes=int(os.environ.get("NODES", "1")), gpus=int(os.environ.get("GPUS", "0"))):
        sys.exit(subprocess.run(sys.argv[1:] or ["sinfo"], check=False).returncode)
