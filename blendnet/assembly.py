"""The labelled array that passes between rooms: presentations x neuroids, as in Brain-Score's BrainIO.

xarray.DataArray, float32, dims ('presentation', 'neuroid'); coords stimulus_id on presentation; neuroid_id and
layer (model) or region and animal (brain) on neuroid. Model and brain are matched by stimulus_id in `match`
and nowhere else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blendnet.errors import BlendnetError
from blendnet.files import atomic

if TYPE_CHECKING:
    import xarray as xr

DIMS = ("presentation", "neuroid")
MAX_BYTES, MAX_RATIO = 2**36, 100


def make(
    values: np.ndarray,
    stimulus_id: tuple[str, ...],
    neuroid: dict[str, list[str] | tuple[str, ...]],
    name: str = "",
) -> xr.DataArray:
    """An assembly from an array of shape (n_presentations, n_neuroids); `neuroid` must hold 'neuroid_id'. Raises
    BlendnetError where the numbers of names and of rows or columns differ, and for what `check` and `save` refuse."""
    import xarray as xr  # half a second, and no step of the chain needs it

    with np.errstate(over="ignore"):  # what is too large becomes infinite, which check refuses
        array = np.asarray(values, dtype=np.float32)
    named = {"stimulus_id": stimulus_id, **neuroid}
    shape = (len(stimulus_id), *{len(v) for v in neuroid.values()})
    if array.ndim != 2 or array.shape != shape or "stimulus_id" in neuroid:
        raise BlendnetError(
            f"an array of shape {array.shape} is no assembly of {len(stimulus_id)} stimuli and names of "
            f"{', '.join(f'{len(v)} {k!r}' for k, v in neuroid.items()) or 'no'} neuroids; give each row and column one"
        )
    for coord, names in named.items():
        ended = next((n for n in (coord, name, *names) if "\0" in n), None)
        if ended is not None:  # numpy and zip cut names off there
            raise BlendnetError(f"{coord} {ended!r} holds a zero byte, at which files cut names off; give another name")
    coords = {"stimulus_id": ("presentation", np.asarray(stimulus_id, dtype=str))}
    coords |= {k: ("neuroid", np.asarray(v, dtype=str)) for k, v in neuroid.items()}
    assembly = xr.DataArray(array, dims=DIMS, coords=coords, name=name or None)
    check(assembly)
    return assembly


def check(assembly: xr.DataArray) -> None:
    """Raise BlendnetError unless this is an assembly: dims, ids unique, no value missing or infinite."""
    if tuple(assembly.dims) != DIMS:
        raise BlendnetError(
            f"an assembly has dims {DIMS}, this one has {tuple(assembly.dims)}; name its axes so, in this order"
        )
    if assembly.dtype.kind not in "fiu":
        raise BlendnetError(f"an assembly holds real numbers, this one {assembly.dtype}; give responses as numbers")
    for coord in ("stimulus_id", "neuroid_id"):
        if coord not in assembly.coords:
            raise BlendnetError(f"the assembly has no coordinate {coord!r}; give each of its rows or columns a name")
        ids = assembly[coord].values
        unique, counts = np.unique(ids, return_counts=True)
        if counts.size and counts.max() > 1:
            raise BlendnetError(f"{coord} {unique[counts.argmax()]!r} occurs {counts.max()} times; ids must be unique")
    bad = ~np.isfinite(assembly.values)
    if bad.any():
        neuroids = assembly["neuroid_id"].values[bad.any(axis=0)]
        raise BlendnetError(
            f"neuroid {neuroids[0]!r} (and {len(neuroids) - 1} more) has values that are not finite numbers; "
            "remove it or the presentations without a response"
        )


def match(wanted: Sequence[str], found: Sequence[str]) -> np.ndarray:
    """Positions in `found` of the stimuli `wanted`, int64 (n,): the one place where model and brain are matched.

    Raises BlendnetError where a stimulus of either is not in the other.
    """
    place = {s: i for i, s in enumerate(found)}
    only_a, only_b = sorted(set(wanted) - set(place)), sorted(set(place) - set(wanted))
    if only_a or only_b:
        example = (only_a or only_b)[0]
        raise BlendnetError(
            f"the stimuli of model and brain differ: {len(only_a)} only in the first, {len(only_b)} only in the "
            f"second, for example {str(example)!r}; extract the activations again (blendnet extract --force)"
        )
    if len(place) < len(found):
        raise BlendnetError(
            f"{len(found) - len(place)} stimuli of the second are there twice, so that no row is known by it; "
            "extract the activations again (blendnet extract --force)"
        )
    return np.array([place[s] for s in wanted], dtype=np.int64)


def align(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both assemblies on the stimuli of `a`, in its order; every stimulus of each must be in the other."""
    order = match(list(a["stimulus_id"].values), list(b["stimulus_id"].values))
    return a, b.isel(presentation=order)


def save(assembly: xr.DataArray, path: Path) -> None:
    """Write an assembly to an .npz file, atomically; no pickles in it."""
    check(assembly)
    arrays = {"values": assembly.values, "name": np.asarray(assembly.name or "")}
    for name, coord in assembly.coords.items():
        arrays[f"{coord.dims[0]}/{name}"] = coord.values.astype(str)
    with atomic(path) as partial, open(partial, "wb") as handle:
        # Given an open file numpy adds no suffix, so that the name stays ours.
        np.savez(handle, **arrays)


def load(path: Path) -> xr.DataArray:
    """Read an assembly; a file that is none, or that grows to more than MAX_BYTES or by more than MAX_RATIO when it is
    unpacked, is one clear line. Nothing is unpickled."""
    import xarray as xr

    try:
        _unpacks_within(path)
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
        coords = {k.split("/", 1)[1]: (k.split("/", 1)[0], v) for k, v in content.items() if "/" in k}
        assembly = xr.DataArray(content["values"], dims=DIMS, coords=coords, name=str(content["name"]) or None)
        check(assembly)
        _is_as_saved(assembly)
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; run blendnet extract first") from error
    except Exception as error:  # numpy raises half a dozen types for a broken archive
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BlendnetError(f"{path} is not an assembly ({reason}); delete it and extract again") from error
    return assembly


def _is_as_saved(assembly: xr.DataArray) -> None:
    """Raise where ids are no text, or those of the other axis: they would match nothing, or the wrong rows."""
    for coord, dim in (("stimulus_id", "presentation"), ("neuroid_id", "neuroid")):
        ids = assembly[coord]
        if ids.dims != (dim,) or ids.dtype.kind != "U":
            raise BlendnetError(f"{coord} is {ids.dtype} along {ids.dims}, no text along {dim}")


def _unpacks_within(path: Path) -> None:
    """Raise before anything is unpacked. `save` does not compress, but others may."""
    if not zipfile.is_zipfile(path):
        return  # numpy says what it is
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    packed = path.stat().st_size
    if size > MAX_BYTES or (size > 2**24 and size > MAX_RATIO * packed):
        raise BlendnetError(f"{packed} bytes that unpack to {size / 2**20:.0f} MiB")
