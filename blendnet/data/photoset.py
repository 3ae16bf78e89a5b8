"""The photographs of an experiment in memory: decoded once, grouped by identity, divided for good."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from blendnet.data import crops, splits
from blendnet.data import identity as same
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError, unknown
from blendnet.files import atomic, sha256_of

COLOURS = ("rgb", "grey")
FRACTIONS = (0.7, 0.1, 0.2)
_VERSION = 1  # of decoding and grouping; a change of either makes old cache files unused


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """n photographs of one size.

    images: uint8 tensor (n, 3, size, size), RGB; labels: int64 tensor (n,), positions in classes; image_ids,
    collections: n names; identity: int64 array (n,), equal for copies of one photograph; split: str array (n,) of
    'train', 'val', 'test', the same for all of an identity; dropped: ids left out because a copy is in a later given
    split; sha256: of all of this (hex).
    """

    images: torch.Tensor
    labels: torch.Tensor
    image_ids: tuple[str, ...]
    collections: tuple[str, ...]
    identity: np.ndarray
    split: np.ndarray
    classes: tuple[str, ...]
    sha256: str
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)

    def indices(self, split: str) -> np.ndarray:
        """Positions of the photographs of a split, int64 (n_split,); raises BlendnetError for an unknown split."""
        if split not in splits.SPLITS:
            raise unknown("split", split, splits.SPLITS)
        return np.flatnonzero(self.split == split)

    @cached_property
    def position(self) -> dict[str, int]:
        """The position of every image id."""
        return {name: i for i, name in enumerate(self.image_ids)}


def load(
    photos: Sequence[Photo],
    *,
    image_size: int,
    classes: Sequence[str],
    colour: str = "rgb",
    split_seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    cache: Path | None = None,
    limit_per_class: int | None = None,
    progress: bool = True,
    fixed_splits: Mapping[str, str] | None = None,
) -> PhotoSet:
    """Decode, resize, group and divide photographs.

    photos: of one or several sources; those of other classes than `classes` are left out. image_size: pixels, the
    square to which every photograph is brought with antialiasing, aspect lost, as in the study (Portscher et al.
    2022, doi 10.1109/IPAS55744.2022.10052853). colour: 'grey' makes three equal luminance channels. limit_per_class:
    at most so many photographs a class, taken evenly from its collections. cache: folder for the decoded pixels, one
    file named by everything that they depend on. fixed_splits: image id -> split where a source brings its own.
    Raises BlendnetError for a broken image, a class without photographs, and what splits.py refuses.
    """
    if colour not in COLOURS:
        raise unknown("colour", colour, COLOURS)
    if image_size < 8:
        raise BlendnetError(f"image size {image_size} is too small; use at least 8 pixels")
    chosen = _choose(photos, tuple(classes), limit_per_class, split_seed)
    images, identity = _pixels(chosen, image_size, colour, cache, progress)
    labels = np.array([tuple(classes).index(p.class_name) for p in chosen], np.int64)
    ids = [p.image_id for p in chosen]
    keep = np.ones(len(chosen), bool)
    if fixed_splits is None:
        split = splits.assign(ids, labels, identity, classes, seed=split_seed, fractions=fractions)
    else:
        split, keep = splits.take_given(ids, identity, fixed_splits)
        _require_all(labels[keep], split[keep], tuple(classes))
    kept = np.flatnonzero(keep)
    if len(kept) < len(chosen):
        images, labels, split = images[torch.from_numpy(kept)], labels[kept], split[kept]
        _, identity = np.unique(identity[kept], return_inverse=True)
    names = tuple(ids[i] for i in kept)
    collections = tuple(chosen[i].collection for i in kept)
    header = [names, collections, labels.tolist(), identity.tolist(), split.tolist(), list(classes)]
    return PhotoSet(
        images, torch.from_numpy(labels), names, collections, identity, split, tuple(classes),
        sha256_of([header, _sha256_pixels(images)]), tuple(ids[i] for i in np.flatnonzero(~keep)),
    )  # fmt: skip


def check(
    photos: Sequence[Photo],
    *,
    classes: Sequence[str],
    split_seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    fixed_splits: Mapping[str, str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """What is there, for `blendnet data check`: reads every photograph and never stops at a broken one.

    Returns a JSON-able report: n, n_identities, copies (photographs beyond the first of their identity),
    copies_across (of them, those whose identity spans collections), counts (rows of class, collection, train, val,
    test), broken (error lines, one a file), dropped (copies that given splits would carry across), sha256 (of ids,
    classes and content), problem ('' or why the set cannot be divided).
    """
    wanted = [p for p in photos if p.class_name in classes]
    parts, broken = _read_all(wanted, _survey, progress)
    fine = [p for p, part in zip(wanted, parts) if part is not None]
    good = [part for part in parts if part is not None]
    identity = _group(fine, [g[0] for g in good], [g[1] for g in good])
    labels = np.array([tuple(classes).index(p.class_name) for p in fine], np.int64)
    ids = [p.image_id for p in fine]
    problem, keep = "", np.ones(len(fine), bool)
    split = np.full(len(fine), "?")
    try:
        if fixed_splits is None:
            split = splits.assign(ids, labels, identity, classes, seed=split_seed, fractions=fractions)
        else:
            split, keep = splits.take_given(ids, identity, fixed_splits)
            _require_all(labels[keep], split[keep], tuple(classes))
    except BlendnetError as error:
        problem = str(error)
    where = [(p.class_name, p.collection) for p in fine]
    counts = [
        {"class": c, "collection": k, **{s: sum(w == (c, k) and t == s for w, t in zip(where, split)) for s in splits.SPLITS}}
        for c, k in sorted(set(where))
    ]  # fmt: skip
    spans: dict[int, set[str]] = {}
    for g, p in zip(identity.tolist(), fine):
        spans.setdefault(g, set()).add(p.collection)
    sizes = np.bincount(identity) if len(fine) else np.zeros(0, np.int64)
    return {
        "n": len(fine),
        "n_identities": len(sizes),
        "copies": int((sizes - 1).sum()),
        "copies_across": int(sum(sizes[g] - 1 for g, found in spans.items() if len(found) > 1)),
        "counts": counts,
        "broken": broken,
        "dropped": [ids[i] for i in np.flatnonzero(~keep)],
        "sha256": sha256_of([[p.image_id, p.class_name, g[2]] for p, g in zip(fine, good)]),
        "problem": problem,
    }


def _choose(photos: Sequence[Photo], classes: tuple[str, ...], limit: int | None, seed: int) -> list[Photo]:
    """The photographs of the classes, at most `limit` a class, its collections in turn, in the order given."""
    by_class: dict[str, list[Photo]] = {c: [] for c in classes}
    seen: set[str] = set()
    for p in photos:
        if p.class_name in by_class:
            if p.image_id in seen:
                raise BlendnetError(f"image id {p.image_id!r} occurs twice; list each source once")
            seen.add(p.image_id)
            by_class[p.class_name].append(p)
    for c, members in by_class.items():
        if not members:
            there = sorted({p.class_name for p in photos})
            raise BlendnetError(f"no photograph of class {c!r} (there are: {', '.join(there) or 'none'})")
        if limit is not None and len(members) > limit:
            if limit < 3:
                raise BlendnetError(f"limit {limit} a class leaves a split empty; use 3 or more")
            turn: dict[str, int] = {}
            ranked = []
            for p in sorted(members, key=lambda p: splits.chance(seed, p.image_id)):
                turn[p.collection] = turn.get(p.collection, -1) + 1
                ranked.append((turn[p.collection], p.collection, p.image_id))
            taken = {name for *_, name in sorted(ranked)[:limit]}
            by_class[c] = [p for p in members if p.image_id in taken]
    return [p for c in classes for p in by_class[c]]


def _require_all(labels: np.ndarray, split: np.ndarray, classes: tuple[str, ...]) -> None:
    for s in splits.SPLITS:
        for c, name in enumerate(classes):
            if not ((labels == c) & (split == s)).any():
                raise BlendnetError(f"class {name!r} has no photograph in the given split {s!r}; add one to its CSV")


def _read_all(photos: Sequence[Photo], work: Any, progress: bool) -> tuple[list[Any], list[str]]:
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


def _survey(_: int, photo: Photo) -> tuple[np.ndarray, np.ndarray, str]:
    image = photo.read()
    return same.thumbnail(image), crops.sketch(image), hashlib.sha256(image.tobytes()).hexdigest()


def _group(photos: Sequence[Photo], thumbnails: list[np.ndarray], sketches: list[np.ndarray]) -> np.ndarray:
    if not photos:
        return np.zeros(0, np.int64)
    classes, collections = [p.class_name for p in photos], [p.collection for p in photos]
    cut = crops.cut_pairs(sketches, classes, collections, lambda i: photos[i].read())
    return same.group(len(photos), same.same_pairs(np.stack(thumbnails)), cut)


def _pixels(
    photos: list[Photo], size: int, colour: str, cache: Path | None, progress: bool
) -> tuple[torch.Tensor, np.ndarray]:
    """Pixels (n, 3, size, size) uint8 and identities (n,), from the cache where it holds exactly these."""
    file = None
    # A source whose read has no stamp cannot say that its pixels changed, so it is read every time.
    if cache is not None and all(hasattr(p.read, "stamp") for p in photos):
        stamps, broken = _read_all(photos, lambda _, p: p.read.stamp(), progress=False)
        _refuse(broken, len(photos))
        rows = [[p.image_id, p.class_name, p.collection, stamp] for p, stamp in zip(photos, stamps)]
        rules = [_VERSION, size, colour, same.THRESHOLD, crops.THRESHOLD]
        file = Path(cache) / f"photos-{size}-{colour}-{sha256_of([rules, rows])[:16]}.safetensors"
        held = _read_cache(file)
        if held is not None:
            return held
    images = np.empty((len(photos), 3, size, size), np.uint8)

    def work(i: int, photo: Photo) -> tuple[np.ndarray, np.ndarray]:
        image = photo.read()
        picture = Image.fromarray(image).convert("L").convert("RGB") if colour == "grey" else Image.fromarray(image)
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        images[i] = np.asarray(picture).transpose(2, 0, 1)
        return same.thumbnail(image), crops.sketch(image)

    parts, broken = _read_all(photos, work, progress)
    _refuse(broken, len(photos))
    identity = _group(photos, [t for t, _ in parts], [s for _, s in parts])
    pixels = torch.from_numpy(images)
    if file is not None:
        with atomic(file) as partial:
            held_tensors = {"images": pixels, "identity": torch.from_numpy(identity)}
            save_file(held_tensors, partial, {"sha256": _sha256_pixels(pixels)})
    return pixels, identity


def _refuse(broken: list[str], n: int) -> None:
    if broken:
        raise BlendnetError(
            f"{len(broken)} of {n} images are broken, first: {broken[0]}; `blendnet data check` lists all"
        )


def _read_cache(file: Path) -> tuple[torch.Tensor, np.ndarray] | None:
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as held:
            images, identity = held.get_tensor("images"), held.get_tensor("identity")
            if (held.metadata() or {}).get("sha256") == _sha256_pixels(images):
                return images, identity.numpy()
    except (SafetensorError, OSError):
        pass
    print(f"{file} is damaged: decoding the photographs again", file=sys.stderr)
    return None


def _sha256_pixels(images: torch.Tensor) -> str:
    digest = hashlib.sha256(json.dumps(list(images.shape)).encode())
    digest.update(images.contiguous().numpy().data)
    return digest.hexdigest()
