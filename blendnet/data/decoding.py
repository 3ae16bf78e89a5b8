"""Decoding photographs: in threads, to one size, grouped by identity, kept in a cache that knows what it rests on."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from blendnet.data import crops
from blendnet.data import identity as same
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.files import atomic, sha256_of

_VERSION = 1  # of decoding and grouping; a change of either makes old cache files unused


def read_all(photos: Sequence[Photo], work: Callable[[int, Photo], Any], progress: bool) -> tuple[list[Any], list[str]]:
    """work(i, photo) for all, in threads (Pillow lets go of the interpreter lock); results and error lines."""

    def one(item: tuple[int, Photo]) -> Any:
        try:
            return work(*item)
        except BlendnetError as error:
            return error

    n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(n_threads) as pool:
        results: Iterable[Any] = pool.map(one, enumerate(photos))
        bar = tqdm(results, total=len(photos), desc="photographs", disable=not progress, file=sys.stderr)
        listed = list(bar)
    broken = [str(r) for r in listed if isinstance(r, BlendnetError)]
    return [None if isinstance(r, BlendnetError) else r for r in listed], broken


def _stamp(_: int, photo: Photo) -> str:
    read: Any = photo.read
    return read.stamp()


def group(photos: Sequence[Photo], thumbnails: list[np.ndarray], sketches: list[np.ndarray]) -> np.ndarray:
    """Identities of photographs, int64 (n,), from their thumbnails and sketches; all in this one place."""
    if not photos:
        return np.zeros(0, np.int64)
    classes, collections = [p.class_name for p in photos], [p.collection for p in photos]
    cut = crops.cut_pairs(sketches, classes, collections, lambda i: photos[i].read())
    return same.group(len(photos), same.same_pairs(np.stack(thumbnails)), cut)


def pixels(
    photos: list[Photo], size: int, colour: str, cache: Path | None, progress: bool
) -> tuple[torch.Tensor, np.ndarray]:
    """Pixels (n, 3, size, size) uint8 and identities (n,), from the cache where it holds exactly these.

    Identities have a file of their own: they are the slow part and the same at every size.
    """
    pixel_file, identity_file = _cache_files(photos, size, colour, cache)
    held, who = _read_cache(pixel_file), _read_cache(identity_file)
    if held is not None and who is not None:
        return held, who.numpy()
    images = np.empty((len(photos), 3, size, size), np.uint8)

    def work(i: int, photo: Photo) -> tuple[np.ndarray, np.ndarray]:
        image = photo.read()
        picture = Image.fromarray(image).convert("L").convert("RGB") if colour == "grey" else Image.fromarray(image)
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        images[i] = np.asarray(picture).transpose(2, 0, 1)
        return same.thumbnail(image), crops.sketch(image)

    parts, broken = read_all(photos, work, progress)
    _refuse(broken, len(photos))
    tensor = torch.from_numpy(images)
    _write_cache(pixel_file, tensor)
    if who is None:
        who = torch.from_numpy(group(photos, [t for t, _ in parts], [s for _, s in parts]))
        _write_cache(identity_file, who)
    return tensor, who.numpy()


def _cache_files(photos: list[Photo], size: int, colour: str, cache: Path | None) -> tuple[Path | None, Path | None]:
    """Where pixels and identities belong, named by all that they depend on; None where nothing can be kept."""
    # A source whose read has no stamp cannot say that its pixels changed, so it is read every time.
    if cache is None or not all(hasattr(p.read, "stamp") for p in photos):
        return None, None
    stamps, broken = read_all(photos, _stamp, progress=False)
    _refuse(broken, len(photos))
    rows = [[p.image_id, p.class_name, p.collection, stamp] for p, stamp in zip(photos, stamps)]
    of_pixels = sha256_of([_VERSION, size, colour, rows])[:16]
    of_identity = sha256_of([_VERSION, same.THRESHOLD, crops.THRESHOLD, rows])[:16]
    return (
        Path(cache) / f"photos-{size}-{colour}-{of_pixels}.safetensors",
        Path(cache) / f"identity-{of_identity}.safetensors",
    )


def _write_cache(file: Path | None, tensor: torch.Tensor) -> None:
    if file is not None:
        with atomic(file) as partial:
            save_file({"held": tensor}, partial, {"sha256": sha256_pixels(tensor)})


def _refuse(broken: list[str], n: int) -> None:
    if broken:
        raise BlendnetError(
            f"{len(broken)} of {n} images are broken, first: {broken[0]}; `blendnet data check` lists all"
        )


def _read_cache(file: Path | None) -> torch.Tensor | None:
    if file is None or not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as held:
            tensor = held.get_tensor("held")
            if (held.metadata() or {}).get("sha256") == sha256_pixels(tensor):
                return tensor
    except (SafetensorError, OSError):
        pass
    print(f"{file} is damaged: reading the photographs again", file=sys.stderr)
    return None


def sha256_pixels(images: torch.Tensor) -> str:
    digest = hashlib.sha256(json.dumps(list(images.shape)).encode())
    digest.update(images.contiguous().numpy().data)
    return digest.hexdigest()
