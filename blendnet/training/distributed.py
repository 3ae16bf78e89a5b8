"""Several processes that train one network: started by torchrun, one GPU each, or CPU processes over gloo.

    torchrun --nproc-per-node 2 -m pipelines.cli train --profile photos

Every process draws the same whole batch and prepares its slice of it; gradients are averaged, BatchNorm's statistics
are those of the whole batch, so that the loss curve is that of one process. Only the first process (rank 0) speaks and
writes; the results folder must be one that all of them see. Dropout draws other masks than in one process: networks
with dropout agree in distribution only.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from blendnet._meeting import meet  # enters no number
from blendnet.errors import BlendnetError
from blendnet.training.shared_norm import SharedBatchNorm

T = TypeVar("T")

TIMEOUT_S = 600  # after which a process gives up waiting for another
_GOODBYE_S = 5  # for which a failed first process keeps the store open, so that the others learn why

# The store of the running group, and how often first_goes_first has been entered.
_store: Any = None
_turn = 0


def asked_for() -> int:
    """How many processes torchrun started (WORLD_SIZE), 1 without it."""
    try:
        return int(os.environ.get("WORLD_SIZE") or 1)
    except ValueError as error:
        raise BlendnetError(f"WORLD_SIZE={os.environ['WORLD_SIZE']!r} is no number; start with torchrun") from error


def speaks() -> bool:
    """True in the process that prints and writes: the first of several, or the only one. Needs no process group."""
    return asked_for() == 1 or os.environ.get("RANK", "0") == "0"


def world() -> int:
    """Processes of the running group, 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number in the running group, 0 without one."""
    return dist.get_rank() if dist.is_initialized() else 0


def device_of(device: torch.device) -> torch.device:
    """This process's device: with several processes on CUDA the GPU of its LOCAL_RANK. Raises where there is none."""
    if asked_for() == 1 or device.type != "cuda":
        return device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        raise BlendnetError(
            f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            "start torchrun with --nproc-per-node of that many, or add --device cpu"
        )
    return torch.device("cuda", local)


class _PeerFailed(RuntimeError):
    """Another process has failed and says so itself."""


@contextmanager
def processes(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """The process group of a torchrun start (nothing without one), ended on leaving.

    A process that fails says so to the others through the store, and they end with status 1 and without a line of
    their own: the user reads one line, that of the failure. One that is killed is found by its broken connection, or
    by the time limit (s).
    """
    if asked_for() == 1:
        yield
        return
    _start(device, timeout_s)
    try:
        meet(_store, dist.get_rank(), asked_for(), timeout_s)  # enters no number
        yield
        dist.barrier()
    except BaseException as error:
        _leave_failed(error, device)
    dist.destroy_process_group()


def _start(device: torch.device, timeout_s: float) -> None:
    global _store, _turn
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise BlendnetError(f"WORLD_SIZE is {asked_for()} but {', '.join(missing)} is not set; start with torchrun")
    limit = timedelta(seconds=timeout_s)
    try:
        # By hand, so that the store outlives the group: it carries the news of a failure.
        _store, number, size = next(iter(dist.rendezvous("env://", timeout=limit)))
        _turn = 0
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", _store), rank=number, world_size=size, timeout=limit
        )
    except (RuntimeError, ValueError) as error:
        raise BlendnetError(
            f"the {asked_for()} processes did not find each other within {timeout_s:.0f} s "
            f"({str(error).splitlines()[0]}); start them together with torchrun"
        ) from error


def _leave_failed(error: BaseException, device: torch.device) -> NoReturn:
    """Part from the group after an error; raises it here, or SystemExit where another process says what is wrong."""
    # Said before the connections close: whoever finds one closed finds the news, too.
    first = _failures(1) == 1
    if device.type != "cuda":
        # Closes the connections: whoever waits for this process learns it now. NCCL's would wait for the others.
        dist.destroy_process_group()
    if speaks():
        until = time.monotonic() + _GOODBYE_S
        while time.monotonic() < until and _failures(0) < asked_for():
            time.sleep(0.05)
    if not first or isinstance(error, _PeerFailed):
        raise SystemExit(1) from error
    if isinstance(error, RuntimeError) and _is_broken_connection(error):
        raise BlendnetError(
            "another process of this training ended without a word (killed, or out of memory?); "
            "the same command goes on where it was"
        ) from error
    raise error


def _failures(more: int) -> int:
    """How many processes have failed, after adding some; as many as there are where the store died with the first."""
    try:
        return int(_store.add("failed", more))
    except RuntimeError:
        return asked_for() if not more else 1


def _is_broken_connection(error: RuntimeError) -> bool:
    """True for what a collective raises when a peer is gone or late."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        sign in text for sign in ("gloo", "nccl", "connection closed", "connection reset", "timed out")
    )


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first process goes through the block before the others do, e.g. to fill a cache that they then read. They
    wait without a limit, since that may take long."""
    global _turn
    if world() == 1:
        yield
        return
    _turn += 1
    key = f"turn{_turn}"
    while rank() and not _store.check([key]):
        if _failures(0):
            raise _PeerFailed("the first process failed")
        time.sleep(0.1)
    yield
    if not rank():
        _store.set(key, "over")


def from_first(make: Callable[[], T]) -> T:
    """What make() gives in the first process, in all of them: one process decides, all do the same."""
    if world() == 1:
        return make()
    held: list[Any] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def total(values: np.ndarray, device: torch.device) -> np.ndarray:
    """The sum over the processes of arrays of equal shape, in all of them."""
    if world() == 1:
        return values
    tensor = torch.from_numpy(values).to(device)
    dist.all_reduce(tensor)
    return tensor.cpu().numpy()


def shared(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as several processes train it: gradients averaged, BatchNorm over the whole batch; the model itself in
    one process. Train what is returned; `model` keeps its parameters and their names, and is what is saved.

    Raises BlendnetError for a kind of BatchNorm that brings its own forward.
    """
    if world() == 1:
        return model
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm | nn.SyncBatchNorm):
            if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, SharedBatchNorm):
                raise BlendnetError(
                    f"{name} is a {type(module).__name__}, whose statistics cannot be shared between processes; "
                    "train this network in one process"
                )
            module.__class__ = SharedBatchNorm
    return DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )
