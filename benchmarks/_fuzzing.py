"""Readers, valid files for them, and changed bytes: what the property tests and the long fuzzing runs share."""

import json
import pickle
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis import predictions, tables
from benchmarks._fuzzing_bytes import mutated
from blendnet import assembly, checkpoint, legacy
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.brain import cowley2023, henaff2021
from blendnet.data.photos import Photo
from blendnet.data.sources import blendeduibk, cifar10
from blendnet.data.sources._image import decode
from blendnet.errors import BlendnetError
from blendnet.files import read_json


@dataclass(frozen=True)
class Target:
    """A reader: file is the valid file to be changed, below a folder of which read() reads everything."""

    name: str
    file: Path
    read: Callable[[], object]


def complaint(target: Target, content: bytes) -> str:
    """'' where the reader took the bytes, or refused them in one line of bearable length; else what it did."""
    target.file.write_bytes(content)
    try:
        target.read()
    except BlendnetError as error:
        line = str(error)
        return "" if "\n" not in line and len(line) < 1200 else f"not one line: {line[:300]!r}"
    except Exception:
        return traceback.format_exc()[-1500:]
    return ""


def fuzz(seconds: float, seed: int, say: Callable[[str], object] = print) -> dict[str, tuple[int, int, list[str]]]:
    """{target: (executions, how many were taken as valid, complaints)}; every target gets an equal part of the time."""
    import time

    found: dict[str, tuple[int, int, list[str]]] = {}
    with made() as targets:
        for target in targets:
            rng, valid = random.Random(f"{seed} {target.name}"), target.file.read_bytes()
            n = taken = 0
            complaints: dict[str, str] = {}
            until = time.monotonic() + seconds / len(targets)
            while time.monotonic() < until:
                content = mutated(valid, rng)
                target.file.write_bytes(content)
                n += 1
                try:
                    target.read()
                    taken += 1
                except BlendnetError as error:
                    if "\n" in str(error) or len(str(error)) > 1200:
                        complaints.setdefault("not one line", str(error)[:500])
                except Exception as error:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    complaints.setdefault(
                        f"{type(error).__name__} {where.filename}:{where.lineno}", traceback.format_exc()
                    )
            target.file.write_bytes(valid)
            found[target.name] = (n, taken, list(complaints.values()))
            say(f"{target.name}: {n} executions, {taken} read as valid, {len(complaints)} kinds of complaint")
            for text in complaints.values():
                say(text)
    return found


@contextmanager
def made() -> Iterator[list[Target]]:
    """All readers with a small valid file each, in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="blendnet-fuzz-"))
    try:
        yield [*_tables(folder), _manifest(folder), *_weights(folder), *_brain(folder), *_photographs(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _tables(folder: Path) -> list[Target]:
    from tests.bad_inputs_tables import scores as right_scores

    scores = _put(folder / "scores.csv", right_scores())
    outputs = _put(folder / "blended.csv", "blend_id,class_a,class_b,alpha,z_cat,z_dog\n" + "".join(
        f"b{i},cat,dog,0.5,{i}.25,-{i}\n" for i in range(6)))  # fmt: skip
    labels = {"car_1.jpg": "0,1,0,0,0,0,0,0", "cat_1.jpg": "0,0,1,0,0,0,0,0"}
    home = folder / "study" / "blendeduibk"
    header = "image," + ",".join(blendeduibk.CLASSES)
    for split in ("train", "val", "test"):
        rows = [f"{split}_{name},{row}" for name, row in labels.items()]
        _put(home / "csv" / "reg" / f"{split}.csv", "\n".join([header, *rows]) + "\n")
        for row in rows:
            _put(home / "reg" / row.split(",")[0], b"")
    note = _put(folder / "note.json", json.dumps({"key": {"a": [1, 2.5, "x"]}, "scores": [{"score": 0.25}]}))
    return [
        Target("table", scores, lambda: tables.read(scores, "scores")),
        Target("predictions", outputs, lambda: predictions.read(outputs)),
        Target("study's CSV", home / "csv" / "reg" / "val.csv", lambda: blendeduibk.index(folder / "study")),
        Target("JSON", note, lambda: read_json(note)),
    ]


def _manifest(folder: Path) -> Target:
    rng = np.random.default_rng(0)
    photos = [
        Photo(f"made/{c}/{i}", c, "made", rng.integers(0, 255, (16, 16, 3), np.uint8).copy)
        for c in ("cat", "dog")
        for i in range(9)
    ]
    held = photoset.load(photos, image_size=16, classes=("cat", "dog"), progress=False, fractions=(0.34, 0.33, 0.33))
    rows = manifests.manifest(held, "test", n_per_pair=2, alphas=(0.3, 0.5))
    path = _put(folder / "manifest" / "test.csv", rows.to_csv(index=False, lineterminator="\n"))
    return Target("manifest", path, lambda: manifests.load_manifest(path, held))


def _weights(folder: Path) -> list[Target]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    run = folder / "run"
    checkpoint.save(run, model, {"run": "r", "classes": ["a", "b"], "image_size": 8})
    from tests.bad_inputs_legacy import small

    content = small(loss=torch.nn.BCELoss())
    content["state_dict"] = {k: v.flatten()[:6].clone() for k, v in content["state_dict"].items()}
    zipped, old = folder / "zip.pth", folder / "old.pth"
    torch.save(content, zipped)
    # The format before PyTorch 1.6 keeps the source of a pickled module beside it, which weights_only refuses.
    torch.save(content | {"loss": None}, old, _use_new_zipfile_serialization=False)
    stored = folder / "a.npz"
    assembly.save(assembly.make(np.ones((2, 3)), ("s0", "s1"), {"neuroid_id": ["a", "b", "c"]}), stored)

    def imported(path: Path) -> object:
        found = legacy.read(path)
        tensors = legacy.renamed(found["state_dict"])
        return legacy.recognise(tensors, path)

    return [
        Target("safetensors", run / checkpoint.WEIGHTS, lambda: checkpoint.load_tensors(run / checkpoint.WEIGHTS)),
        Target("checkpoint", run / checkpoint.WEIGHTS, lambda: checkpoint.load(run, model)),
        Target("meta.json", run / checkpoint.META, lambda: checkpoint.load(run, model)),
        Target("legacy zip", zipped, lambda: imported(zipped)),
        Target("legacy pickle", old, lambda: imported(old)),
        Target("assembly", stored, lambda: assembly.load(stored)),
    ]


def _brain(folder: Path) -> list[Target]:
    from tests.bad_inputs_recordings import SESSION, population, session

    images, counts = session(folder / "cowley2023", n=2)
    spikes = population(folder / "henaff2021" / "responses")

    def read_session() -> Any:
        return cowley2023.load(folder, sessions=(SESSION,))

    return [
        Target("npy", counts, read_session),
        Target("zip of JPEG", images, read_session),
        Target("HDF5", spikes, lambda: henaff2021.load(folder)),
    ]


def _photographs(folder: Path) -> list[Target]:
    from tests.bad_inputs_photographs import animation, picture

    batch = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]}, protocol=3)
    batches = folder / "cifar" / "cifar-10-batches-py"
    for name in cifar10.BATCHES:
        _put(batches / name, batch)
    found = [Target("CIFAR-10 pickle", batches / "test_batch", lambda: cifar10.index(folder / "cifar"))]
    kinds = {"PNG": picture(), "JPEG": picture(kind="JPEG"), "WEBP": picture(kind="WEBP"), "TIFF": picture(kind="TIFF"),
             "BMP": picture(kind="BMP"), "GIF": animation(), "PPM": picture(kind="PPM")}  # fmt: skip
    for kind, content in kinds.items():
        path = _put(folder / f"x.{kind.lower()}", content)
        found.append(Target(kind, path, lambda path=path: decode(path)))  # type: ignore[misc]
    return found
