"""Blends: two photographs of different classes in one image, and which two.

The study (Portscher et al. 2022, doi 10.1109/IPAS55744.2022.10052853) superimposes pairs of its eight classes; its
blend rule is not published. Here it is alpha * a + (1 - alpha) * b, in pixel values or in linear light.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch

from blendnet.errors import BlendnetError, unknown

SPACES = ("pixel", "linear")
_STREAM = 0xB1E2D  # keeps the pair stream apart from other uses of the same seed


def blend(
    a: torch.Tensor, b: torch.Tensor, alpha: float | torch.Tensor, *, space: str = "pixel"
) -> torch.Tensor:
    """alpha * a + (1 - alpha) * b, in floating point, on the device of a.

    a, b: equal shape and dtype, values in [0, 1]; uint8 is divided by 255 in float32 first. alpha: in [0, 1], a
    number or a tensor of shape (n,) for a, b of shape (n, ...). space: 'pixel' mixes the stored values, 'linear' the
    light that a screen would give (IEC 61966-2-1 sRGB decoded, mixed, encoded again). Returns float of the shape of
    a, in its dtype (float32 for uint8; half precision is computed in float32). alpha 1 gives a and alpha 0 gives b,
    exactly. Raises BlendnetError for another alpha, unequal shapes or dtypes, and an unknown space.
    """
    if space not in SPACES:
        raise unknown("blend space", space, SPACES)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise BlendnetError(
            f"cannot blend {a.dtype} of shape {tuple(a.shape)} with {b.dtype} of shape {tuple(b.shape)}; "
            "bring both to one size and type"
        )
    if not (a.dtype == torch.uint8 or a.is_floating_point()):
        raise BlendnetError(f"cannot blend {a.dtype} images; use uint8 or floating point in [0, 1]")
    out_dtype = a.dtype if a.is_floating_point() else torch.float32
    work_dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    scale = 255 if a.dtype == torch.uint8 else 1
    x, y = a.to(work_dtype) / scale, b.to(work_dtype) / scale

    weight = torch.as_tensor(alpha, dtype=work_dtype, device=a.device)
    if weight.ndim > 1 or (weight.ndim == 1 and (a.ndim < 2 or len(weight) != len(a))):
        raise BlendnetError(f"alpha of shape {tuple(weight.shape)} does not go with images of shape {tuple(a.shape)}")
    outside = ~((weight >= 0) & (weight <= 1))  # true for NaN as well
    if outside.any():
        raise BlendnetError(f"alpha {weight[outside].flatten()[0].item()} is outside 0 to 1")
    weight = weight.reshape(-1, *[1] * (a.ndim - 1)) if weight.ndim == 1 else weight

    if space == "pixel":
        mixed = weight * x + (1 - weight) * y
    else:
        mixed = srgb_encode(weight * srgb_decode(x) + (1 - weight) * srgb_decode(y))
        # Decoding and encoding again is off by a rounding; the ends are exact by definition.
        mixed = torch.where(weight == 1, x, torch.where(weight == 0, y, mixed))
    return mixed.to(out_dtype)


def srgb_decode(value: torch.Tensor) -> torch.Tensor:
    """Linear light of sRGB values in [0, 1], any shape (IEC 61966-2-1:1999)."""
    return torch.where(value <= 0.04045, value / 12.92, ((value.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_encode(light: torch.Tensor) -> torch.Tensor:
    """sRGB values of linear light in [0, 1], any shape (IEC 61966-2-1:1999)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


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
        raise BlendnetError(f"no pair of classes is left to train on: {len(present)} classes, {len(barred)} pairs held out")
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
            return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(weight.astype(np.float32))
    i, j = present[chosen[todo[0]]]
    raise BlendnetError(f"labels {i} and {j} share all their photographs; remove the copies from one of the classes")


def stream(*args: object, start: int = 0, **kwargs: object) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """draw_pairs(..., step=start), start + 1, ... without end."""
    step = start
    while True:
        yield draw_pairs(*args, step=step, **kwargs)  # type: ignore[arg-type]
        step += 1
