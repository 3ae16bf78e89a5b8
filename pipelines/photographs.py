"""The profile's photographs and its fixed blends, loaded once a process and size."""

from functools import cache
from pathlib import Path

import pandas as pd

from blendnet.data import manifest as manifests
from blendnet.data import photoset, sources
from blendnet.data.photos import Photo
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import make_folder
from pipelines.context import Context
from pipelines.sheet import Profile


def index(profile: Profile, data: Path) -> list[Photo]:
    """All photographs of the profile's sources and classes."""
    photos: list[Photo] = []
    for name in profile.sources:
        source = sources.load(name)
        if name == "procedural":
            photos += source.index(n_per_class=profile.n_per_class, size=profile.image_size, seed=profile.split_seed)
        else:
            photos += source.index(data)
    photos = [p for p in photos if p.class_name in profile.classes]
    missing = sorted(set(profile.classes) - {p.class_name for p in photos})
    if missing:
        raise BlendnetError(
            f"no photograph of {', '.join(missing)} in {', '.join(profile.sources)} below {data}; "
            f"fetch them (blendnet data fetch) or point --data at them"
        )
    return photos


def fixed_splits(profile: Profile, data: Path) -> dict[str, str] | None:
    """image id -> split, where a source of the profile brings its own division (blendeduibk); else None."""
    fixed: dict[str, str] = {}
    for name in profile.sources:
        splits = getattr(sources.load(name), "splits", None)
        if splits is not None:
            fixed |= splits(data)
    return fixed or None


def load(context: Context, image_size: int | None = None) -> PhotoSet:
    """The photo set at one size, decoded once and cached under results/<profile>/cache."""
    return _load(context.profile.name, context.data, context.results, image_size or context.profile.image_size,
                 context.progress, _Profile(context.profile))  # fmt: skip


class _Profile:
    """Carries a profile through the cache, which needs something hashable; equal names are equal profiles."""

    def __init__(self, profile: Profile):
        self.profile = profile

    def __hash__(self) -> int:
        return hash(self.profile.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Profile) and self.profile == other.profile


@cache
def _load(_name: str, data: Path, results: Path, image_size: int, progress: bool, holder: _Profile) -> PhotoSet:
    profile = holder.profile
    return photoset.load(
        index(profile, data),
        image_size=image_size,
        classes=profile.classes,
        colour=profile.colour,
        split_seed=profile.split_seed,
        fractions=profile.fractions,
        cache=results / "cache",
        limit_per_class=profile.limit_per_class,
        progress=progress,
        fixed_splits=fixed_splits(profile, data),
    )


def manifest(context: Context, photos: PhotoSet, split: str) -> pd.DataFrame:
    """The fixed blends of 'val' (alpha 0.5) or 'test' (all alphas); made once, then read back and checked."""
    profile = context.profile
    path = make_folder(context.folder("manifests")) / f"{split}.csv"
    made = manifests.manifest(
        photos,
        split,
        n_per_pair=profile.val_per_pair if split == "val" else profile.test_per_pair,
        alphas=(0.5,) if split == "val" else profile.alphas,
        seed=profile.split_seed,
        space=profile.space,
    )
    if split == "val":
        # The best epoch is chosen on these: pairs that are kept from training are kept from that choice, too.
        held = {frozenset(pair) for pair in profile.held_out}
        made = made[[frozenset(p) not in held for p in zip(made["class_a"], made["class_b"])]]
    if not path.is_file() or path.read_bytes() != made.to_csv(index=False, lineterminator="\n").encode():
        manifests.save_manifest(made, path)
    return manifests.load_manifest(path, photos)
