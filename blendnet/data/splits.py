"""Which photograph trains, which validates, which tests: decided once for each identity, for good."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from blendnet.errors import BlendnetError

SPLITS = ("train", "val", "test")
FLOOR = 0.8


def chance(seed: int, name: str) -> float:
    """A number in [0, 1) that depends on seed and name alone, the same in every process and for every set."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def assign(
    image_ids: Sequence[str],
    labels: np.ndarray,
    identity: np.ndarray,
    classes: Sequence[str],
    *,
    seed: int,
    fractions: tuple[float, float, float],
) -> np.ndarray:
    """The split of every photograph, array of str of shape (n,); photographs of one identity get the same.

    Each identity is hashed by (seed, its smallest image id) to a number in [0, 1), which falls into the part of
    train, val or test: so a split hardly changes when other photographs are added. Only where a class would have
    less than FLOOR of its share of a split (always at least one identity), the nearest of its identities are moved
    there. Raises BlendnetError for fractions that are not three positive numbers that sum to 1, and for a class with
    fewer than three identities.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise BlendnetError(f"split fractions {fractions} are not three positive numbers (train, val, test) with sum 1")
    n_identities = int(identity.max(initial=-1)) + 1
    smallest: list[str] = [""] * n_identities
    for name, group in zip(image_ids, identity):
        if not smallest[group] or name < smallest[group]:
            smallest[group] = name
    number = np.array([chance(seed, name) for name in smallest])
    edges = np.cumsum([0.0, *fractions])
    part = np.searchsorted(edges[1:-1], number, side="right")

    members = [np.unique(identity[labels == c]) for c in range(len(classes))]
    floors = [_floors(len(m), fractions) for m in members]
    of_identity: list[list[int]] = [[] for _ in range(n_identities)]
    for c, mine in enumerate(members):
        for g in mine:
            of_identity[g].append(c)

    def can_leave(g: int) -> bool:
        return all((part[members[k]] == part[g]).sum() > floors[k][part[g]] for k in of_identity[g])

    for c, class_name in enumerate(classes):
        if len(members[c]) < len(SPLITS):
            raise BlendnetError(
                f"class {class_name!r} has {len(members[c])} different photographs, too few for train, val and test; "
                "add photographs or leave the class out"
            )
        for s, name in enumerate(SPLITS):
            middle = (edges[s] + edges[s + 1]) / 2
            for g in sorted(members[c], key=lambda g: abs(number[g] - middle)):
                if (part[members[c]] == s).sum() >= floors[c][s]:
                    break
                if part[g] != s and can_leave(g):
                    part[g] = s
            if not (part[members[c]] == s).any():
                raise BlendnetError(
                    f"class {class_name!r} has no photograph for {name} that another class does not need where it "
                    "is; add photographs of it or choose another split seed"
                )
    return np.array(SPLITS)[part[identity]]


def _floors(n: int, fractions: tuple[float, float, float]) -> list[int]:
    """The fewest of n identities that each split must hold."""
    wanted = [max(1, int(FLOOR * f * n)) for f in fractions]
    return wanted if sum(wanted) <= n else [1, 1, 1]


def take_given(
    image_ids: Sequence[str], identity: np.ndarray, given: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Splits that come with a source: (split, keep), str and bool arrays of shape (n,).

    Test photographs stay as given; a copy of one under another name in val or train, and a copy of a val photograph
    in train, is not kept, since it would carry an identity across splits. Raises BlendnetError for a photograph
    without a split and for an unknown split.
    """
    for name in image_ids:
        if name not in given:
            raise BlendnetError(f"image {name!r} is in no split of its source; add it to a CSV or leave it out")
        if given[name] not in SPLITS:
            raise BlendnetError(f"image {name!r} has split {given[name]!r}; it must be one of {', '.join(SPLITS)}")
    split = np.array([given[name] for name in image_ids], dtype="<U5")
    rank = np.array([SPLITS.index(s) for s in split], np.int64)
    highest = np.zeros(int(identity.max(initial=-1)) + 1, np.int64)
    np.maximum.at(highest, identity, rank)
    return split, rank == highest[identity]
