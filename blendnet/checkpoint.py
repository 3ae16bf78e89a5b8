"""Weights and what they are: weights.safetensors + meta.json in a folder named after the run.

safetensors holds tensors and nothing else, so a checkpoint from a stranger cannot run code. meta.json is
written last and carries the sha256 of the weights: a folder without it is an unfinished training.
"""

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from blendnet import __version__, stored, tabular
from blendnet._kinds import must_be
from blendnet.errors import BlendnetError
from blendnet.files import atomic, read_json, sha256_file, write_json

WEIGHTS = "weights.safetensors"
META = "meta.json"
_AGAIN = "delete its folder and train the run again"
_KINDS = {"run": str, "classes": list, "image_size": int, "weights_file_sha256": str, "weights_sha256": str}


def weights_sha256(model: nn.Module) -> str:
    """Hex sha256 over the names, shapes and bytes of all parameters and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(array.shape)}|{array.dtype}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors (any device, any layout) and string metadata into one safetensors file, atomically."""
    # A clone parts tensors that share storage, which the format refuses.
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic(path) as partial:
        save_file(plain, str(partial), metadata=metadata)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file onto the CPU; a missing, truncated or foreign file is one clear line."""
    try:
        return load_file(str(path))
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; train the run first (blendnet train)") from error
    except MemoryError:
        raise
    except Exception as error:  # a made-up header brings its reader to raise more than its own errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BlendnetError(
            f"{path} is not a whole safetensors file ({reason}); delete its folder and train the run again"
        ) from error


def save(folder: Path, model: nn.Module, meta: dict[str, Any]) -> dict[str, Any]:
    """Write a finished checkpoint; returns meta with the hashes added."""
    save_tensors(folder / WEIGHTS, dict(model.state_dict()))
    meta = meta | {
        "weights_file_sha256": sha256_file(folder / WEIGHTS),
        "weights_sha256": weights_sha256(model),
    }
    write_json(folder / META, meta)
    return meta


def is_finished(folder: Path) -> bool:
    """True where a training has ended and its checkpoint is whole."""
    return (folder / META).exists() and (folder / WEIGHTS).exists()


def load_meta(folder: Path) -> dict[str, Any]:
    """The checkpoint's meta.json."""
    if not (folder / META).exists():
        raise BlendnetError(f"{folder} holds no finished checkpoint; train it first (blendnet train)")
    meta = read_json(folder / META)
    if not isinstance(meta, dict):
        raise BlendnetError(f"{folder / META} holds a {type(meta).__name__}; it is not a blendnet checkpoint")
    missing = set(_KINDS) - set(meta)
    if missing:
        raise BlendnetError(f"{folder / META} lacks {', '.join(sorted(missing))}; it is not a blendnet checkpoint")
    for name, kind in [*_KINDS.items(), *([("key", dict)] if "key" in meta else [])]:
        if type(meta[name]) is not kind:
            raise BlendnetError(
                f"{folder / META} says {name} is {tabular.short(meta[name])}, no {kind.__name__}; {_AGAIN}"
            )
    must_be(folder / META, meta, stored.TRAINING, _AGAIN)
    return meta


def load(folder: Path, model: nn.Module) -> dict[str, Any]:
    """Load a checkpoint strictly into a model that was built for it; returns its meta.

    Raises BlendnetError for weights that changed after they were written, and for a checkpoint of another
    network (naming the first tensors that differ).
    """
    meta = load_meta(folder)
    path = folder / WEIGHTS
    tensors = load_tensors(path)
    found = sha256_file(path)
    if found != meta["weights_file_sha256"]:
        raise BlendnetError(
            f"{path} has sha256 {found[:12]}…, its meta.json says {meta['weights_file_sha256'][:12]}…: "
            "the file changed after it was written; delete the folder and train the run again"
        )
    load_strictly(model, tensors, path)
    if (own := weights_sha256(model)) != meta["weights_sha256"]:
        raise BlendnetError(
            f"{path} has weights_sha256 {own[:12]}…, its meta.json says {meta['weights_sha256'][:12]}…: it is of "
            "another training; delete the folder and train the run again"
        )
    return meta


def load_strictly(model: nn.Module, tensors: dict[str, torch.Tensor], source: Path | str) -> None:
    """Copy tensors into a model; any missing, unknown or misshapen tensor is one clear line and changes nothing."""
    own = model.state_dict()
    problems = [f"{k} is missing" for k in own if k not in tensors]
    problems += [f"{k} is not in this network" for k in tensors if k not in own]
    problems += [
        f"{k} is {tuple(tensors[k].shape)}, not {tuple(own[k].shape)}"
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if not problems:
        problems = [p for k in own if (p := _no_weights(k, tensors[k], own[k]))]
        if problems:
            raise BlendnetError(f"{source}: {problems[0]}; these are no weights of a training, get or train others")
    if problems:
        problems = [p if len(p) <= 200 else p[:200] + "…" for p in problems]
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise BlendnetError(
            f"{source} is a checkpoint of another model: {'; '.join(problems[:3])}{more}; "
            "check network, attention, heads, number of classes and image size"
        )
    model.load_state_dict(tensors)


def _no_weights(name: str, tensor: torch.Tensor, own: torch.Tensor) -> str:
    """Why a tensor of the right shape cannot be a network's, '' if it can: copying would cut imaginary parts and
    fractions off without a word, and with one NaN every output is NaN."""
    if (tensor.is_complex(), tensor.is_floating_point()) != (own.is_complex(), own.is_floating_point()):
        return f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not {str(own.dtype).removeprefix('torch.')}"
    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
        return f"{name} has values that are not finite numbers"
    return ""


def surroundings(device: torch.device | str) -> dict[str, Any]:
    """Where a number was made: versions, hardware, git commit (None outside a checkout)."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "blendnet": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "hardware": name,
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _git_commit() -> str | None:
    # Asked once, when the first number of a process is begun: later commits are not what it runs.
    here = Path(__file__).resolve().parent
    try:
        out = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if out.returncode:
        return None
    changed = subprocess.run(
        ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no", "--", "*.py"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return out.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
