"""MATLAB files: version 7.3 is HDF5 (h5py), older ones are read by SciPy. Neither can carry code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from blendnet.data.brain import _strangers, _trial  # enters no number
from blendnet.data.brain._checked import not_as_published


@contextmanager
def open_v73(path: Path, dataset: str) -> Iterator[h5py.File]:
    """A MATLAB v7.3 file, open for reading. Its axes are those of MATLAB in reverse order.

    Raises BlendnetError where it is no such file.
    """
    _trial.survives(path, dataset)  # enters no number
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise not_as_published(path, "not a readable MATLAB v7.3 file (cut short?)", dataset) from error
    with file:
        _strangers.inside(file, path, dataset)  # enters no number
        yield file


def text(dataset: h5py.Dataset) -> str:
    """A MATLAB character row: uint16 codes of shape (n, 1)."""
    return "".join(map(chr, np.asarray(dataset).ravel()))


def texts(file: h5py.File, cell: h5py.Dataset) -> list[str]:
    """A MATLAB cell array of character rows: references of shape (n, 1) or (1, n)."""
    return [text(file[reference]) for reference in np.asarray(cell).ravel()]


def load_v5(path: Path, dataset: str) -> dict[str, Any]:
    """Variables of a MATLAB file before v7.3; raises BlendnetError where it is no such file."""
    from scipy.io import loadmat

    try:
        return loadmat(path)
    except Exception as error:  # SciPy raises whatever its parser stumbles over
        raise not_as_published(path, f"not a readable MATLAB file ({type(error).__name__})", dataset) from error
