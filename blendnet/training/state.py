"""The state of an unfinished training: one safetensors file, replaced atomically after every epoch.

Random streams are pure functions of (seed, step), so that weights, optimiser and log are all there is to keep,
and a training that was killed at any moment ends with the same bits as one that was not.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from blendnet import stored as kinds  # enters no number
from blendnet._kinds import must_hold  # enters no number
from blendnet.checkpoint import load_strictly, save_tensors
from blendnet.errors import BlendnetError

STATE = "state.safetensors"


@dataclass
class Progress:
    """What has been done: the next epoch, the best epoch so far with its criterion, one log row an epoch."""

    epoch: int = 0
    best_epoch: int = -1
    best: tuple[float, float] | None = None
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path,
    key: dict[str, Any],
    progress: Progress,
    model: nn.Module,
    best: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write everything that is needed to go on. average: the moving average of the weights, where there is one."""
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    tensors |= {f"average/{k}": v for k, v in (average or {}).items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in slots.items() if v is not None}
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    about = {"key": json.dumps(key), "progress": json.dumps(vars(progress))}
    save_tensors(folder / STATE, tensors, about | {"sha256": _sha256(tensors, about)})


def load_key(folder: Path) -> dict[str, Any] | None:
    """The key of the stored state, None where there is none; a damaged file is one clear line."""
    path = folder / STATE
    if not path.exists():
        return None
    with _open(path) as handle:
        about = handle.metadata() or {}
    try:
        key = json.loads(about["key"])
    except (KeyError, ValueError, RecursionError) as error:
        raise BlendnetError(
            f"{path} is no state of a training; delete it, the training starts from its beginning"
        ) from error
    return key if isinstance(key, dict) else {}


def load(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor] | None = None,
) -> tuple[Progress, dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
    """Put the stored state into model and optimiser; returns the progress, the best weights so far, and the averaged
    weights, on the devices of `average`, which is None where none are kept."""
    path = folder / STATE
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}, "average": {}}
    tensors, about = _read(path)
    must_hold(path, about["progress"], kinds.EPOCHS, kinds.BEGIN)  # enters no number
    progress = Progress(**json.loads(about["progress"]))
    for name, tensor in tensors.items():
        kind, rest = name.split("/", 1)
        parts[kind][rest] = tensor
    progress.best = tuple(progress.best) if progress.best else None  # type: ignore[assignment]
    load_strictly(model, parts["model"], path)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, slot = name.split("/", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        average = {name: parts["average"][name].to(tensor.device) for name, tensor in average.items()}
    return progress, parts["best"], average


def check(folder: Path) -> None:
    """Raise BlendnetError where the stored state changed after it was written; nothing where there is none."""
    if (folder / STATE).exists():
        _read(folder / STATE)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors and words of a state file, whose hash is checked where it has one."""
    with _open(path) as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no dict
        about = dict(handle.metadata() or {})
    seal = about.pop("sha256", None)
    if "progress" not in about or (seal is not None and seal != _sha256(tensors, about)):
        raise BlendnetError(f"{path} changed after it was written; delete it, the training starts from its beginning")
    return tensors, about


def _sha256(tensors: dict[str, torch.Tensor], about: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(array.shape)}|{array.dtype}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _open(path: Path):
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise BlendnetError(
            f"{path} is damaged ({error}); delete it, the training starts from its beginning"
        ) from error
