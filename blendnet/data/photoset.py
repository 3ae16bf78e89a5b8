"""The photographs of an experiment in memory: decoded once, grouped by identity, divided for good."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from blendnet import locks
from blendnet.data import crops, decoding, splits
from blendnet.data import identity as same
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of

COLOURS = ("rgb", "grey")
FRACTIONS = (0.7, 0.1, 0.2)


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
    # Of several processes that begin at once one decodes, the others read what it has kept.
    with nullcontext() if cache is None else locks.holding(Path(cache) / ".photographs.lock"):
        images, identity = decoding.pixels(chosen, image_size, colour, cache, progress)
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
        sha256_of([header, decoding.sha256_pixels(images)]), tuple(ids[i] for i in np.flatnonzero(~keep)),
    )  # fmt: skip


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


@dataclass(frozen=True)
class Report:
    """What `check` found; str() of it is the text that `blendnet data check` prints.

    n: readable photographs; n_identities: different ones; copies: photographs beyond the first of their identity;
    copies_across: those of identities that span collections; counts: rows (class, collection, train, val, test);
    broken: one error line a file; dropped: copies that given splits would carry across; sha256: of ids, classes and
    pixels; problem: '' or why the set cannot be divided.
    """

    n: int
    n_identities: int
    copies: int
    copies_across: int
    counts: tuple[tuple[str, str, int, int, int], ...]
    broken: tuple[str, ...]
    dropped: tuple[str, ...]
    sha256: str
    problem: str

    def __str__(self) -> str:
        lines = [f"{'class':12} {'collection':16} {'train':>6} {'val':>6} {'test':>6}"]
        lines += [f"{c:12} {where:16} {a:6} {b:6} {t:6}" for c, where, a, b, t in self.counts]
        lines.append(
            f"{self.n} photographs, {self.n_identities} different; {self.copies} are copies of another "
            f"({self.copies_across} across collections) and stay in its split"
        )
        if self.dropped:
            lines.append(f"{len(self.dropped)} copies are left out, since the given splits would part them")
        lines.append(f"content sha256 {self.sha256}")
        lines += [f"broken: {line}" for line in self.broken]
        lines += [f"problem: {self.problem}"] if self.problem else []
        return "\n".join(lines)


def check(
    photos: Sequence[Photo],
    *,
    classes: Sequence[str] | None = None,
    split_seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    fixed_splits: Mapping[str, str] | None = None,
    progress: bool = True,
) -> Report:
    """What is there: reads every photograph (of `classes`, or all) and never stops at a broken one."""
    names = tuple(classes) if classes is not None else tuple(sorted({p.class_name for p in photos}))
    wanted = [p for p in photos if p.class_name in names]

    def survey(_: int, photo: Photo) -> tuple[np.ndarray, np.ndarray, str]:
        image = photo.read()
        return same.thumbnail(image), crops.sketch(image), hashlib.sha256(image.tobytes()).hexdigest()

    parts, broken = decoding.read_all(wanted, survey, progress)
    fine = [p for p, part in zip(wanted, parts) if part is not None]
    good = [part for part in parts if part is not None]
    identity = decoding.group(fine, [g[0] for g in good], [g[1] for g in good])
    labels = np.array([names.index(p.class_name) for p in fine], np.int64)
    ids = [p.image_id for p in fine]
    problem, keep, split = "", np.ones(len(fine), bool), np.full(len(fine), "none")
    try:
        if fixed_splits is None:
            split = splits.assign(ids, labels, identity, names, seed=split_seed, fractions=fractions)
        else:
            split, keep = splits.take_given(ids, identity, fixed_splits)
            _require_all(labels[keep], split[keep], names)
    except BlendnetError as error:
        problem = str(error)
    counts: dict[tuple[str, str], list[int]] = {}
    spans: dict[int, set[str]] = {}
    for p, s, kept, g in zip(fine, split, keep, identity.tolist()):
        row = counts.setdefault((p.class_name, p.collection), [0, 0, 0])
        if kept and s in splits.SPLITS:
            row[splits.SPLITS.index(s)] += 1
        spans.setdefault(g, set()).add(p.collection)
    sizes = np.bincount(identity)
    return Report(
        n=len(fine),
        n_identities=len(sizes),
        copies=int((sizes - 1).sum()),
        copies_across=int(sum(sizes[g] - 1 for g, found in spans.items() if len(found) > 1)),
        counts=tuple((*where, row[0], row[1], row[2]) for where, row in sorted(counts.items())),
        broken=tuple(broken),
        dropped=tuple(ids[i] for i in np.flatnonzero(~keep)),
        sha256=sha256_of([[p.image_id, p.class_name, g[2]] for p, g in zip(fine, good)]),
        problem=problem,
    )
