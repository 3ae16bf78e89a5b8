"""Files that are to be the original repository's checkpoints."""

import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.bad_inputs import Bad, Room

C = "legacy checkpoints"


class Runs:
    """Pickled, it asks its reader to run a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def small(n_classes: int = 8, **changes: Any) -> dict[str, Any]:
    """A plain CORnet-Z in the original's layout."""
    tensors = {
        "V1.conv.weight": torch.zeros(64, 3, 7, 7), "V1.conv.bias": torch.zeros(64),
        "V2.conv.weight": torch.zeros(128, 64, 3, 3), "V2.conv.bias": torch.zeros(128),
        "V4.conv.weight": torch.zeros(256, 128, 3, 3), "V4.conv.bias": torch.zeros(256),
        "IT.conv.weight": torch.zeros(512, 256, 3, 3), "IT.conv.bias": torch.zeros(512),
        "decoder.linear.weight": torch.zeros(n_classes, 512), "decoder.linear.bias": torch.zeros(n_classes),
    }  # fmt: skip
    return {
        "epoch": 4, "learning_rate": 0.1, "batch_size": 64,
        "state_dict": {"module." + k: v for k, v in tensors.items()},
        "num_classes": n_classes, "num_train_imgs": 99,
    } | changes  # fmt: skip


def tensors(**changes: torch.Tensor) -> dict[str, Any]:
    """The same with tensors replaced; '_' stands for '.' in their names."""
    found = small()
    found["state_dict"] |= {"module." + k.replace("_", "."): v for k, v in changes.items()}
    return found


def one(what: str, content: Callable[[Path], object], *says: str, more: tuple[str, ...] = ()) -> Bad:
    """content(path) saves its file at the path, or returns what is to be saved with torch.save."""

    def make(room: Room) -> list[str]:
        path = room.folder / "blended_best.pth"
        held = content(path)
        if held is not None:
            torch.save(held, path)
        return room.command("import-legacy", str(path), "--training", "blended", *more)

    return Bad(C, what, make, ("blended_best.pth", *says))


def raw(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _cut(path: Path) -> None:
    torch.save(small(), path)
    path.write_bytes(path.read_bytes()[:5000])


def _bomb(path: Path) -> None:
    """A PyTorch archive whose numbers were compressed: 40 MB of zeros in a few kB."""
    torch.save({"state_dict": {"a": torch.zeros(10_000_000)}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _climbs(path: Path) -> None:
    torch.save(small(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped.txt", "out")


def _script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age: such files are there all the same
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


MORE = (
    one("a pickle that runs a command", lambda p: small(loss=Runs("touch pwned")), "system", "not be loaded"),
    one("a plain pickle that runs a command", raw(pickle.dumps(Runs("touch pwned"))), "not a whole PyTorch"),
    one("a checkpoint cut in half", _cut, "not a whole PyTorch checkpoint"),
    one("a file of no bytes", raw(b""), "not a whole PyTorch checkpoint"),
    one("a web page", raw(b"<!DOCTYPE html><title>404</title>"), "web page"),
    one("a zip bomb", _bomb, "PyTorch packs nothing"),
    one("an archive that climbs out of its folder", _climbs, "leaves its folder"),
    one("a whole network instead of its weights", lambda p: torch.nn.Linear(2, 2), "Linear", "not be loaded"),
    one("a TorchScript archive", _script, "not be loaded"),
    one("a list", lambda p: [1, 2], "no 'state_dict'"),
    one("other keys", lambda p: {"model": {}, "optimizer": {}}, "no 'state_dict'", "model"),
    one("no tensors", lambda p: small(state_dict={}), "none of"),
    one("tensors of another network", lambda p: small(state_dict={"features.0.weight": torch.zeros(2)}), "features.0"),
    one("a name with a line break", lambda p: small(state_dict={"a\nb": torch.zeros(2)}), "no named tensor"),
    one("a tensor that is a word", lambda p: small(state_dict={"a": "b"}), "no named tensor"),
    one("tensors of another shape", lambda p: tensors(V2_conv_weight=torch.zeros(7, 64, 3, 3)), "V2.conv.weight"),
    one("a tensor of NaN", lambda p: tensors(V1_conv_bias=torch.full((64,), float("nan"))), "not finite"),
    one("complex tensors", lambda p: tensors(V1_conv_bias=torch.zeros(64, dtype=torch.complex64)), "complex64"),
    one("sparse tensors", lambda p: tensors(V1_conv_bias=torch.zeros(64).to_sparse()), "plain numbers"),
    one("a tensor that claims 4 TB and holds 4 bytes", lambda p: tensors(V1_conv_bias=torch.zeros(1).expand(10**12)),
        "claims 1000000000000 numbers"),
    one("5 classes instead of 8", lambda p: small(5), "5 classes"),
    one("an epoch that is a word", lambda p: small(epoch="last"), "epoch"),
    one("a learning rate of NaN", lambda p: small(learning_rate=float("nan")), "learning_rate"),
    one("a number of 5000 digits", lambda p: small(epoch=10**5000)),
    one("taken for another network", lambda p: small(), "resnet50", more=("--network", "resnet50")),
    one("taken for a network that the repository had not", lambda p: small(), "vgg", more=("--network", "vgg")),
    one("imported with a negative seed", lambda p: small(), "--seed -1", more=("--seed", "-1")),
    one("imported at 0 px", lambda p: small(), "--image-size 0", more=("--image-size", "0")),
    one("imported with an unknown normalisation", lambda p: small(), "imagenett",
        more=("--normalisation", "imagenett")),
    one("a folder", lambda p: p.mkdir(), "is a folder"),
    one("nothing", lambda p: None, "is missing"),
    one("a pipe, which would wait for ever", lambda p: os.mkfifo(p), "pipe"),
)  # fmt: skip
_OF_THE_CALL = ("vgg", "--seed -1", "--image-size 0", "imagenett")
MORE = tuple(Bad(b.category, b.what, b.make, b.says[1:]) if any(w in b.says for w in _OF_THE_CALL) else b for b in MORE)
