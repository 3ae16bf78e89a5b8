"""Checkpoints and activations that are cut, of something else, or lie."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from blendnet.files import sha256_file
from tests.bad_inputs import RUN, Bad, Room, bad

C = "checkpoints and activations"
AGAIN = "predict"


def weights(what: str, change: Callable[[bytes], bytes], *says: str) -> Bad:
    """The weights of a finished training, changed."""

    def make(room: Room) -> list[str]:
        path = room.finished() / "checkpoints" / RUN / "weights.safetensors"
        room.put(path, change(path.read_bytes()))
        return room.command(AGAIN, "--only", RUN, "--force")

    return Bad(C, f"weights: {what}", make, ("weights.safetensors", *says))


def tensors(what: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], *says: str) -> Bad:
    """Other tensors, and a meta.json that vouches for them."""

    def make(room: Room) -> list[str]:
        folder = room.finished() / "checkpoints" / RUN
        path = folder / "weights.safetensors"
        room.put(path, save(change(load_file(str(path)))))
        meta = json.loads((folder / "meta.json").read_text()) | {"weights_file_sha256": sha256_file(path)}
        room.put_json(folder / "meta.json", meta)
        return room.command(AGAIN, "--only", RUN, "--force")

    return Bad(C, f"weights: {what}", make, ("weights.safetensors", *says))


def header(length: int, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", length) + rest


def _lie(content: bytes) -> bytes:
    """The first tensor's end moved beyond the file."""
    n = struct.unpack("<Q", content[:8])[0]
    head = json.loads(content[8 : 8 + n])
    name = next(k for k in head if k != "__metadata__")
    head[name]["data_offsets"][1] += 10**9
    text = json.dumps(head).encode()
    return header(len(text), text) + content[8 + n :]


def _first(found: dict[str, torch.Tensor]) -> str:
    return next(k for k, v in sorted(found.items()) if v.is_floating_point())


def _replaced(found: dict[str, torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]) -> dict:
    return found | {_first(found): change(found[_first(found)]).contiguous()}


MORE: tuple[Bad, ...] = (
    weights("cut in half", lambda b: b[: len(b) // 2], "whole safetensors file"),
    weights("no bytes", lambda b: b"", "whole safetensors file"),
    weights("a header that claims 2^63 bytes", lambda b: header(2**63) + b[8:], "whole safetensors file"),
    weights("a header that claims 90 MB", lambda b: header(90_000_000) + b[8:], "whole safetensors file"),
    weights("a header that is no JSON", lambda b: header(4, b"abcd"), "whole safetensors file"),
    weights("a header nested 100 000 deep", lambda b: header(10**5, b"[" * 10**5), "whole safetensors file"),
    weights("a tensor that ends beyond the file", _lie, "whole safetensors file"),
    weights("one bit flipped", lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], "sha256", "changed"),
    weights("a pickle", lambda b: torch.tensor(0).numpy().dumps(), "whole safetensors file"),
    tensors("of another network", lambda t: {"fc.weight": torch.zeros(3, 3)}, "another model"),
    tensors("without a tensor", lambda t: {k: v for k, v in t.items() if k != _first(t)}, "is missing"),
    tensors("with a tensor more", lambda t: t | {"extra": torch.zeros(2)}, "extra is not in this network"),
    tensors("of another width", lambda t: _replaced(t, lambda v: v[:1]), "another model"),
    tensors("NaN", lambda t: _replaced(t, lambda v: v * float("nan")), "finite"),
    tensors("complex numbers", lambda t: _replaced(t, lambda v: v.to(torch.complex64)), "complex64"),
    tensors("whole numbers", lambda t: _replaced(t, lambda v: v.to(torch.int32)), "int32"),
    tensors("other numbers than meta.json was written for", lambda t: _replaced(t, lambda v: v + 1), "weights_sha256"),
)


def meta(what: str, change: Callable[[dict], object], *says: str, verb: str = AGAIN) -> Bad:
    """The meta.json of a finished training, changed."""

    def make(room: Room) -> list[str]:
        path = room.finished() / "checkpoints" / RUN / "meta.json"
        room.put_json(path, change(json.loads(path.read_text())))
        return room.command(verb, "--only", RUN, "--force")

    return Bad(C, f"meta.json: {what}", make, says)


def _without(found: dict, *names: str) -> dict:
    return {k: v for k, v in found.items() if k not in names}


MORE += (
    meta("no JSON", lambda m: "{", "meta.json", "not valid JSON"),
    meta("no bytes", lambda m: "", "meta.json", "not valid JSON"),
    meta("bytes that are no text", lambda m: b"\xff\xfe\0", "meta.json", "not valid JSON"),
    meta("a list", lambda m: [1], "meta.json", "not a blendnet checkpoint"),
    meta("null", lambda m: None, "meta.json", "not a blendnet checkpoint"),
    meta("without the classes", lambda m: _without(m, "classes"), "meta.json", "lacks classes"),
    meta("without the hash of the weights", lambda m: _without(m, "weights_sha256"), "meta.json", "weights_sha256"),
    meta("a hash that is a number", lambda m: m | {"weights_file_sha256": 7}, "meta.json", "weights_file_sha256"),
    meta("a key that is a list", lambda m: m | {"key": [1]}, "meta.json", "no dict"),
    meta("of other classes", lambda m: m | {"key": m["key"] | {"classes": ["a", "b"]}}, "classes", "train it again"),
    meta("of another recipe", lambda m: m | {"key": m["key"] | {"recipe": {"lr": 3.0}}}, "recipe", "train it again"),
    meta("of another image size", lambda m: m | {"key": m["key"] | {"image_size": 64}}, "image_size", "32"),
    meta("NaN in its key", lambda m: m | {"key": m["key"] | {"image_size": float("nan")}}, "meta.json", "NaN"),
    meta("nested 100 000 deep", lambda m: "[" * 10**5, "meta.json", "not valid JSON"),
)


@bad(C, "a checkpoint of another run, renamed", "resnet18", "not the sheet's")
def renamed(room: Room) -> list[str]:
    path = room.finished() / "checkpoints" / RUN / "meta.json"
    found = json.loads(path.read_text())
    found["key"]["run"] = "resnet18-none-blended-s0"
    room.put_json(path, found)
    return room.command(AGAIN, "--only", RUN, "--force")


@bad(C, "no checkpoint", "no finished checkpoint", "blendnet train")
def missing(room: Room) -> list[str]:
    return room.command("extract", "--recording", "planted")


def resumed_from(room: Room, share: float) -> list[str]:
    """A training that finds this share of a file of weights as its state, and nothing else."""
    folder = room.finished() / "checkpoints" / RUN
    content = (folder / "weights.safetensors").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    room.put(folder / "state.safetensors", content[: int(len(content) * share)])
    return room.command("train", "--only", RUN, "--tracker", "none")


@bad(C, "a state to resume from that is cut in half", "state.safetensors", "delete it")
def state(room: Room) -> list[str]:
    return resumed_from(room, 0.5)


@bad(C, "a state to resume from that has no key", "state.safetensors", "delete it")
def foreign_state(room: Room) -> list[str]:
    return resumed_from(room, 1.0)


def activations(what: str, change: Callable[[Path], tuple[Path, object]], *says: str) -> Bad:
    """Stored activations, changed, and scored."""

    def make(room: Room) -> list[str]:
        folder = room.finished() / "activations" / RUN / "planted"
        path, content = change(folder)
        if not isinstance(content, bytes):
            room.put_json(path, content)
        else:
            room.put(path, content)
            # Without the hash that lies beside them, as results of an older version and of strangers have none.
            (folder / "sha256.json").unlink(missing_ok=True)
        return room.command("score", "--only", RUN, "--force")

    return Bad(C, f"activations: {what}", make, says)


def _key(folder: Path, change: Callable[[dict], object]) -> tuple[Path, object]:
    return folder / "key.json", change(json.loads((folder / "key.json").read_text()))


def _others(found: dict) -> dict:
    return found | {"key": found["key"] | {"stimuli": "0" * 64}}


def _array(folder: Path, array: np.ndarray, pickled: bool = False) -> tuple[Path, bytes]:
    import io

    held = io.BytesIO()
    np.save(held, array, allow_pickle=pickled)
    return folder / "V1.output.npy", held.getvalue()


MORE += (
    activations("of another stimulus set", lambda f: _key(f, _others), "stimuli", "blendnet extract"),
    activations("a key that is a list", lambda f: _key(f, lambda k: [1]), "key.json"),
    activations("stimuli under other names", lambda f: _key(f, lambda k: k | {"stimulus_id": ["a"] * 40}), "stimuli"),
    activations("a layer cut in half", lambda f: (f / "V1.output.npy", (f / "V1.output.npy").read_bytes()[:200]),
                "V1.output.npy", "damaged"),
    activations("a layer of pickled objects", lambda f: _array(f, np.array([{}]), True), "V1.output.npy", "damaged"),
    activations("a layer with fewer stimuli", lambda f: _array(f, np.ones((3, 50), np.float32)), "V1.output"),
    activations("a layer of NaN", lambda f: _array(f, np.full((40, 50), np.nan, np.float32)), "V1.output", "finite"),
    activations("a layer of complex numbers", lambda f: _array(f, np.ones((40, 50), np.complex64)), "V1.output"),
    activations("a layer of three axes", lambda f: _array(f, np.ones((40, 5, 10), np.float32)), "V1.output"),
)  # fmt: skip


def assembly(what: str, arrays: Callable[[], dict[str, np.ndarray]], *says: str) -> Bad:
    """A stored assembly, read by its public function."""

    def make(room: Room) -> Callable[[], object]:
        from blendnet import assembly as assemblies

        path = room.folder / "brain.npz"
        np.savez(path, **arrays())
        return lambda: assemblies.load(path)

    return Bad(C, f"assembly: {what}", make, ("brain.npz", *says))


def _parts(**changes: np.ndarray) -> dict[str, np.ndarray]:
    good = {
        "values": np.ones((2, 3), np.float32), "name": np.array("a"),
        "presentation/stimulus_id": np.array(["s0", "s1"]), "neuroid/neuroid_id": np.array(["n0", "n1", "n2"]),
    }  # fmt: skip
    return {**good, **changes}


MORE += (
    assembly("values of three axes", lambda: _parts(values=np.ones((2, 3, 4)))),
    assembly("coordinates of another length", lambda: _parts(**{"neuroid/neuroid_id": np.array(["n0"])})),
    assembly("no neuroid_id", lambda: {k: v for k, v in _parts().items() if "neuroid_id" not in k}, "neuroid_id"),
    assembly("one stimulus twice", lambda: _parts(**{"presentation/stimulus_id": np.array(["s", "s"])}), "'s'"),
    assembly("a NaN neuroid", lambda: _parts(values=np.array([[1, np.nan, 1]] * 2)), "'n1'", "finite"),
    assembly("complex numbers", lambda: _parts(values=np.ones((2, 3), complex)), "complex128"),
    assembly("words", lambda: _parts(values=np.array([["a"] * 3] * 2)), "<U1"),
    assembly("no values", lambda: {"name": np.array("a")}, "values"),
)
