"""Reading a checkpoint of the original repository: tensors and numbers, and nothing that could run."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blendnet.errors import BlendnetError


class _DroppedLoss:
    """What stands in for the loss function that the original pickled beside its weights, the one global there that
    weights_only refuses. It has no code, and is thrown away."""


# A tuple maps the name in the file to our empty class: PyTorch's own class is never looked up for it.
_STAND_INS: list[Any] = [(_DroppedLoss, "torch.nn.modules.loss.BCELoss")]


def read(path: Path) -> dict[str, Any]:
    """The numbers of a checkpoint and, as 'state_dict', its tensors by name, on the CPU; all else is left out.

    The pickle is read with weights_only=True, which builds tensors and plain containers and calls no function of the
    file's choice. Raises BlendnetError, one line, for a missing, truncated or foreign file, for a pickle that asks
    for more than that (it names what was asked for), and for values that are not finite.
    """
    head = b""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise BlendnetError(f"{path} is no file but a pipe or a device; give the path of a .pth file")
        with open(path, "rb") as handle:
            head = handle.read(64).lstrip()
        _as_saved(path)
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; give the path of a .pth file") from error
    except IsADirectoryError as error:
        raise BlendnetError(f"{path} is a folder; give the path of a .pth file") from error
    except PermissionError as error:
        raise BlendnetError(f"{path} may not be read; check its permissions") from error
    except BlendnetError:
        raise
    except Exception as error:  # bytes from a stranger can make the reader raise anything
        raise _unreadable(path, head, error) from error
    try:
        return _content(path, content)
    except RecursionError as error:
        raise BlendnetError(f"{path} is nested as deep as no checkpoint; get it again") from error


def _as_saved(path: Path) -> None:
    """Raise for an archive that PyTorch did not write: it never compresses, so that what unpacks to more is a bomb, and
    its members lie below one folder. Nothing is unpacked here."""
    if not zipfile.is_zipfile(path):
        return  # the format before 1.6, or none at all
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed, size = path.stat().st_size, sum(member.file_size for member in members)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or size > packed:
        raise BlendnetError(
            f"{path} unpacks from {packed} to {size} bytes, and PyTorch packs nothing; it will not be loaded"
        )
    bad = next((m.filename for m in members if m.filename.startswith("/") or ".." in m.filename.split("/")), None)
    if bad is not None:
        raise BlendnetError(f"{path} has a member {bad[:80]!r} that leaves its folder; it will not be loaded")


def _unreadable(path: Path, head: bytes, error: Exception) -> BlendnetError:
    found = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if found:
        return BlendnetError(
            f"{path} asks for {found.group(1).rstrip('.')}, which is no tensor and may be code; it will not be loaded"
        )
    if "Only persistent_load of storage" in str(error):
        return BlendnetError(
            f"{path} holds a module with its source (the format before PyTorch 1.6), which may be code; it will not be "
            "loaded, save its tensors alone"
        )
    if head.startswith(b"<"):
        return BlendnetError(f"{path} is a web page, not a checkpoint; download the file itself")
    return BlendnetError(f"{path} is not a whole PyTorch checkpoint (truncated, or another kind of file); get it again")


def _content(path: Path, content: Any) -> dict[str, Any]:
    """Only what is known and of the right kind."""
    tensors = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(tensors, dict):
        held = _shown(list(content)[:4], 80) if isinstance(content, dict) else type(content).__name__
        raise BlendnetError(
            f"{path} has no 'state_dict' (it holds: {held}); give a checkpoint of the original repository"
        )
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name) or not isinstance(tensor, Tensor):
            raise BlendnetError(f"{path} has something in its state_dict that is no named tensor: {_shown(name)}")
        if problem := _no_numbers(tensor):
            raise BlendnetError(f"{path}: {name[:80]} {problem}; it is no checkpoint of the original repository")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BlendnetError(
                f"{path}: {name[:80]} has values that are not finite; this training went astray, use another"
            )
    found: dict[str, Any] = {"state_dict": dict(tensors)}
    for name, least in (("epoch", 0), ("batch_size", 1), ("num_classes", 1), ("num_train_imgs", 1)):
        found[name] = int(_number(path, content, name, (int,), least))
    found["learning_rate"] = float(_number(path, content, "learning_rate", (int, float), 1e-12))
    return found


def _no_numbers(tensor: Tensor) -> str:
    """What keeps a tensor from being plain numbers in memory, '' if nothing. A few bytes can claim any shape: with
    steps of 0 between its numbers a tensor of 4 TB is a view of one number, until somebody asks for all of them."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_complex():
        return f"is a {tensor.layout} tensor of {tensor.dtype} on {tensor.device.type}, not of plain numbers"
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        return f"claims {tensor.numel()} numbers in {held} bytes"
    return ""


def _shown(value: Any, most: int = 40) -> str:
    """A value of a stranger's on one line, cut."""
    try:
        return " ".join(repr(value).split())[:most]
    except Exception:  # a number of more than 4300 digits has no repr, nor has a list within itself nested too deep
        return type(value).__name__


def _number(path: Path, content: dict[str, Any], name: str, kinds: tuple[type, ...], least: float) -> Any:
    value: Any = content.get(name)
    right = type(value) in kinds and least <= value < 1e12  # type(): True is an int to isinstance
    if not right:
        raise BlendnetError(f"{path} says {name} is {_shown(value)}, no such number; is it the original's file?")
    return value
