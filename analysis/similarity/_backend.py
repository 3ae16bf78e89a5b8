"""One formula in numpy and in torch: where the arrays lie decides, no global setting does.

The metrics use only what both libraries call alike (`xp.linalg.svd`, `@`, `.sum(axis=0)`); what they call
differently is here. All sums are float64, also on a GPU.
"""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError

# np.ndarray or torch.Tensor; torch is imported only where a device is named, for who holds a tensor has imported it.
Array = Any
# A column whose spread is below this fraction of its size differs from a constant by rounding only.
_CONSTANT = 1e-12


def together(*arrays: Array) -> tuple[ModuleType, list[Array]]:
    """(numpy or torch, the arrays in it): torch on the device of the tensors where there is one, else numpy.

    Arrays keep their precision (whole numbers become float64). Raises BlendnetError for a device without
    float64.
    """
    torch = sys.modules.get("torch")
    tensors = [] if torch is None else [a for a in arrays if isinstance(a, torch.Tensor)]
    if torch is None or not tensors:
        return np, [_floating(np.asarray(a)) for a in arrays]
    device = next((t.device for t in tensors if t.device.type != "cpu"), tensors[0].device)
    if device.type == "mps":
        raise BlendnetError("device mps has no float64, which the metrics need; give the tensors as .cpu()")
    moved = []
    for a in arrays:
        # from_numpy takes neither read-only arrays without a warning nor negative strides
        t = (
            a.detach()
            if isinstance(a, torch.Tensor)
            else torch.from_numpy(np.require(_floating(np.asarray(a)), None, ["C", "W"]))
        )
        moved.append((t if t.is_floating_point() else t.double()).to(device))
    return torch, moved


def on_device(a: Array, device: str | None) -> Array:
    """`a` as a tensor on the device, e.g. 'cuda'; as it is for None."""
    if device is None:
        return a
    import torch

    return torch.as_tensor(np.ascontiguousarray(a), device=device)


def double(a: Array) -> Array:
    """A float64 copy, which may be changed in place."""
    if isinstance(a, np.ndarray):
        return a.astype(np.float64)
    return a.to(sys.modules["torch"].float64, copy=True)


def host(a: Array) -> np.ndarray:
    """The array in numpy."""
    return a if isinstance(a, np.ndarray) else a.cpu().numpy()


def rows(a: Array, index: np.ndarray | None) -> Array:
    """Rows of a; index None: all of them, without a copy."""
    if index is None:
        return a
    return a[index] if isinstance(a, np.ndarray) else a[sys.modules["torch"].as_tensor(index, device=a.device)]


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..n-1."""
    for start in range(0, n, max(1, size)):
        yield slice(start, min(n, start + max(1, size)))


def checked(
    x: Array, y: Array, splits: Splits | None, *, n_train: int = 2, n_test: int = 2
) -> tuple[ModuleType, Array, Array]:
    """(numpy or torch, x in its own precision, y in float64), as `_arrays.checked` for either library.

    splits None: none are used, all stimuli must then be at least n_test. Raises BlendnetError for shapes that
    do not match, NaN or infinity, and splits that are too small, overlap or point outside the stimuli.
    """
    xp, (x, y) = together(x, y)
    if x.ndim != 2 or y.ndim != 2:
        raise BlendnetError(
            f"features {tuple(x.shape)} and responses {tuple(y.shape)} must both be (n_stimuli, ...), 2 dimensions"
        )
    if len(x) != len(y):
        raise BlendnetError(f"{len(x)} stimuli in the features, {len(y)} in the responses; align them by stimulus_id")
    if x.shape[1] == 0 or y.shape[1] == 0:
        raise BlendnetError(
            f"features {tuple(x.shape)} or responses {tuple(y.shape)} are empty; check the layer and the recording"
        )
    for what, array in (("feature", x), ("neuroid", y)):
        place = not_finite(xp, array)
        if place is not None:
            stimulus, column = place
            raise BlendnetError(
                f"{what} {column} is {float(array[place])} at stimulus {stimulus}; leave the {what} or the stimulus out"
            )
    n = len(x)
    if splits is None:
        if n < n_test:
            raise BlendnetError(f"{n} stimuli are too few; this metric needs at least {n_test}")
        return xp, x, double(y)
    if not splits:
        raise BlendnetError("no splits were given; make them with shuffle_splits")
    for number, (train, test) in enumerate(splits):
        if len(train) < n_train or len(test) < n_test:
            raise BlendnetError(
                f"split {number} has {len(train)} training and {len(test)} test stimuli; "
                f"at least {n_train} and {n_test} are needed: use more stimuli or a larger test_size"
            )
        both = np.concatenate([train, test])
        if both.min() < 0 or both.max() >= n or len(np.unique(both)) != len(both):
            raise BlendnetError(
                f"split {number} repeats a stimulus or points outside the {n} stimuli; "
                "make splits for these stimuli with shuffle_splits"
            )
    return xp, x, double(y)


def not_finite(xp: ModuleType, a: Array, width: int = 4096) -> tuple[int, int] | None:
    """Row and column of a number of `a` that is NaN or infinite, None where there is none; width: columns at a time."""
    for columns in blocks(a.shape[1], width):
        finite = xp.isfinite(a[:, columns])
        if not bool(finite.all()):
            row, column = np.argwhere(~host(finite))[0]
            return int(row), columns.start + int(column)
    return None


def unit_columns(xp: ModuleType, a: Array) -> tuple[Array, Array]:
    """(columns of a (n, m) minus their means, with length 1; which are constant up to rounding, bool (m,)).

    Products of such columns are Pearson correlations. A constant column, which has none, is all zeros.
    """
    a = double(a)
    largest = xp.amax(a, 0)
    smallest = xp.amin(a, 0)
    constant = largest - smallest <= _CONSTANT * xp.maximum(abs(largest), abs(smallest))
    a -= a.mean(axis=0)
    length = xp.sqrt((a * a).sum(axis=0))
    a *= ~constant / xp.where(constant, 1.0, length)
    return a, constant


def _floating(a: np.ndarray) -> np.ndarray:
    return a if a.dtype.kind == "f" and a.dtype.itemsize <= 8 else a.astype(np.float64)
