"""Files of strangers: what their parsers stumble over is one line, and what they point to elsewhere is not followed.

The recordings whose checksums we know are what was published; a session or a population beyond them is read all the
same, and may be anything. Nothing here enters a number.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import h5py
import numpy as np

from blendnet.data.brain._checked import not_as_published
from blendnet.errors import BlendnetError

T = TypeVar("T")
P = ParamSpec("P")
LONGEST = 600  # characters of a line
MAX_BYTES = 2**30  # of one data set; no recording here has one of 100 MB
MAX_RATIO, SMALL = 1100, 2**24  # HDF5's gzip packs to 1/1032 at most; below SMALL bytes nobody minds


def one_line(dataset: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """For a recording's load(root, ...): whatever its parsers raise on a broken file becomes one BlendnetError that
    names the data set's folder and what was raised. Errors of the call itself (a wrong argument) stay what they are."""

    def wrap(load: Callable[..., T]) -> Callable[..., T]:
        @wraps(load)
        def guarded(root: Path, *args: Any, **kwargs: Any) -> T:
            inspect.signature(load).bind(root, *args, **kwargs)
            try:
                return load(root, *args, **kwargs)
            except BlendnetError as error:
                line = str(error)
                if len(line) <= LONGEST and "\n" not in line:
                    raise
                # Parsers quote what they stumble over, however long.
                raise BlendnetError(" ".join(f"{line[:300]} … {line[-200:]}".split())) from error
            except Exception as error:
                said = " ".join(str(error).split())[:160] or "no reason given"
                problem = f"a file is not readable ({type(error).__name__}: {said})"
                raise not_as_published(Path(root) / dataset, problem, dataset) from error

        return guarded

    return wrap


def else_false(check: Callable[P, bool]) -> Callable[P, bool]:
    """For a question about a stranger's file: whatever its parser stumbles over (zipfile raises NotImplementedError and
    IndexError for a few changed bytes) is the answer no."""

    @wraps(check)
    def answered(*args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            return check(*args, **kwargs)
        except Exception:
            return False

    return answered


def numbers(values: np.ndarray, path: Path, dataset: str) -> None:
    """Raise BlendnetError for responses that are no real numbers (a cast would cut imaginary parts off without a word),
    for none at all, and where every one is NaN."""
    if values.dtype.kind not in "fiu":
        raise not_as_published(path, f"responses are {values.dtype}, not real numbers", dataset)
    if not values.size:
        raise not_as_published(path, f"responses are of shape {values.shape}: there is none", dataset)
    if values.dtype.kind == "f" and np.isnan(values).all():
        raise not_as_published(path, "every unit is NaN in all repeats", dataset)
    if np.nanmax(values) > np.finfo(np.float32).max or np.nanmin(values) < np.finfo(np.float32).min:
        raise not_as_published(path, "a count is negative or infinite, or too large to be one", dataset)


def inside(file: h5py.File, path: Path, dataset: str) -> None:
    """Raise BlendnetError where an HDF5 file points out of itself: a link to another file, numbers stored in another
    file, or a virtual data set made of others. Visits every group and data set once, and reads none."""
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        # Hard links may make circles.
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink):
                raise not_as_published(path, f"{where!r} is a link to another file, {link.filename!r}", dataset)
            if isinstance(link, h5py.SoftLink):
                continue  # to a place in this file, which is visited by its own name, or to none
            held = group[name]
            if isinstance(held, h5py.Group):
                waiting.append(held)
            elif isinstance(held, h5py.Dataset):
                _own_numbers(held, path, where, dataset)


def _own_numbers(held: h5py.Dataset, path: Path, where: str, dataset: str) -> None:
    made = held.id.get_create_plist()
    if made.get_external_count():
        raise not_as_published(
            path, f"{where!r} keeps its numbers in another file, {made.get_external(0)[0]!r}", dataset
        )
    if held.is_virtual and any(source.file_name not in (".", path.name) for source in held.virtual_sources()):
        raise not_as_published(path, f"{where!r} is put together from other files", dataset)
    # HDF5 makes a chunk of zeros for what was never written: 4 TB of them fit into a kilobyte.
    if held.size and held.nbytes > min(MAX_BYTES, max(SMALL, MAX_RATIO * path.stat().st_size)):
        raise not_as_published(path, f"{where!r} claims {held.nbytes / 2**30:.3g} GiB", dataset)
