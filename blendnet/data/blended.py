"""Blends: two photographs of different classes in one image. Which two, for training; and by name, all the rest.

Training draws pairs without end (here); validation and test have fixed lists (manifest.py); the blend itself is in
mixing.py. The classes and the task are those of Portscher et al. 2022 (doi 10.1109/IPAS55744.2022.10052853).
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch

from blendnet.data.manifest import batches, load_manifest, manifest, positions, render, save_manifest, targets
from blendnet.data.mixing import SPACES, blend, srgb_decode, srgb_encode
from blendnet.errors import BlendnetError

__all__ = [
    "SPACES", "batches", "blend", "draw_pairs", "load_manifest", "manifest", "positions", "render", "save_manifest",
    "srgb_decode", "srgb_encode", "stream", "targets",
]  # fmt: skip

_STREAM = 0xB1E2D  # keeps the pair stream apart from other uses of the same seed


def draw_pairs(
    labels: np.ndarray | torch.Tensor,
    identities: np.ndarray,
    n: int,
    *,
    seed: int,
    step: int,
    alpha: tuple[float, float] = (0.5, 0.5),
    held_out: frozenset[tuple[int, int]] = frozenset(),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Step `step` of an endless stream of training pairs: a pure function of its arguments, so training resumes.

    labels, identities: (n_images,) of the images to draw from, e.g. those of the train split; n: pairs. Every pair
    of classes present and not held out is equally likely, then each image of a class; which of the two comes first
    is a coin toss, alpha uniform between its two bounds. held_out: pairs of labels in any order. Returns (idx_a,
    idx_b, alpha), int64 (n,), int64 (n,), float32 (n,); idx are positions in `labels`. The two images of a pair
    never share an identity. Raises BlendnetError where no pair of classes is left or alpha is not in [0, 1].
    """
    y, who = np.asarray(labels), np.asarray(identities)
    if not 0 <= alpha[0] <= alpha[1] <= 1:
        raise BlendnetError(f"alpha from {alpha[0]} to {alpha[1]} is no range within 0 to 1")
    present, counts = np.unique(y, return_counts=True)
    barred = {tuple(sorted(pair)) for pair in held_out}
    lost = {c for pair in barred for c in pair} - set(present.tolist())
    if lost:
        raise BlendnetError(f"held-out pair with label {min(lost)}, which no image has; labels are {present.tolist()}")
    pairs = [(i, j) for i, j in combinations(range(len(present)), 2) if (present[i], present[j]) not in barred]
    if not pairs:
        raise BlendnetError(
            f"no pair of classes is left to train on: {len(present)} classes, {len(barred)} pairs held out"
        )
    order = np.argsort(y, kind="stable")
    start = np.cumsum(counts) - counts
    rng = np.random.default_rng([_STREAM, seed, step])

    chosen = np.array(pairs)[rng.integers(len(pairs), size=n)]
    swap = rng.random(n) < 0.5
    chosen[swap] = chosen[swap, ::-1]
    weight = rng.uniform(alpha[0], alpha[1], size=n)
    first, second = np.empty(n, np.int64), np.empty(n, np.int64)
    todo = np.arange(n)
    for _ in range(1000):
        for side, out in ((0, first), (1, second)):
            c = chosen[todo, side]
            out[todo] = order[start[c] + (rng.random(len(todo)) * counts[c]).astype(np.int64)]
        # One photograph can lie in two classes under two names; it is not blended with itself.
        todo = todo[who[first[todo]] == who[second[todo]]]
        if not len(todo):
            return (
                torch.from_numpy(first),
                torch.from_numpy(second),
                torch.from_numpy(weight.astype(np.float32)),
            )
    i, j = present[chosen[todo[0]]]
    raise BlendnetError(f"labels {i} and {j} share all their photographs; remove the copies from one of the classes")


def stream(
    *args: object, start: int = 0, **kwargs: object
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """draw_pairs(..., step=start), start + 1, ... without end."""
    step = start
    while True:
        yield draw_pairs(*args, step=step, **kwargs)  # type: ignore[arg-type]
        step += 1
