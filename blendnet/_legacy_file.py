"""Reading a checkpoint of the original repository: tensors and numbers, and nothing that could run."""

import pickle
import re
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
    try:
        with open(path, "rb") as handle:
            head = handle.read(64).lstrip()
        with torch.serialization.safe_globals(_STAND_INS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; give the path of a .pth file") from error
    except IsADirectoryError as error:
        raise BlendnetError(f"{path} is a folder; give the path of a .pth file") from error
    except PermissionError as error:
        raise BlendnetError(f"{path} may not be read; check its permissions") from error
    except MemoryError:
        raise
    except Exception as error:  # bytes from a stranger can make the reader raise anything
        raise _unreadable(path, head, error) from error
    return _content(path, content)


def _unreadable(path: Path, head: bytes, error: Exception) -> BlendnetError:
    found = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if found:
        return BlendnetError(
            f"{path} asks for {found.group(1).rstrip('.')}, which is no tensor and may be code; it will not be loaded"
        )
    if head.startswith(b"<"):
        return BlendnetError(f"{path} is a web page, not a checkpoint; download the file itself")
    return BlendnetError(f"{path} is not a whole PyTorch checkpoint (truncated, or another kind of file); get it again")


def _content(path: Path, content: Any) -> dict[str, Any]:
    """Only what is known and of the right kind."""
    tensors = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(tensors, dict):
        held = repr(list(content)[:4])[:80] if isinstance(content, dict) else type(content).__name__
        raise BlendnetError(
            f"{path} has no 'state_dict' (it holds: {held}); give a checkpoint of the original repository"
        )
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name) or not isinstance(tensor, Tensor):
            raise BlendnetError(f"{path} has something in its state_dict that is no named tensor: {repr(name)[:40]}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BlendnetError(
                f"{path}: {name} has values that are not finite; this training went astray, use another"
            )
    found: dict[str, Any] = {"state_dict": dict(tensors)}
    for name, least in (("epoch", 0), ("batch_size", 1), ("num_classes", 1), ("num_train_imgs", 1)):
        found[name] = int(_number(path, content, name, (int,), least))
    found["learning_rate"] = float(_number(path, content, "learning_rate", (int, float), 1e-12))
    return found


def _number(path: Path, content: dict[str, Any], name: str, kinds: tuple[type, ...], least: float) -> Any:
    value: Any = content.get(name)
    right = type(value) in kinds and least <= value < 1e12  # type(): True is an int to isinstance
    if not right:
        raise BlendnetError(f"{path} says {name} is {repr(value)[:40]}, no such number; is it the original's file?")
    return value
