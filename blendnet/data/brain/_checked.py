"""Files of a recording are read only after they are known to be the published ones, and whole."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from blendnet.data.brain import _trial  # enters no number
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file

MAX_PIXELS = 4096 * 4096  # no recording here has larger images; larger ones are decompression bombs


def not_as_published(path: Path | str, problem: str, dataset: str) -> BlendnetError:
    """The one line for a file that is there and wrong: the value, what is wrong, what to do."""
    return BlendnetError(
        f"{path}: {problem}; delete it and run `blendnet data fetch {dataset}`, "
        "or name with --data the folder that holds the published files"
    )


def missing(path: Path | str, dataset: str) -> BlendnetError:
    """The one line for what is not there."""
    return BlendnetError(
        f"{path} is missing: run `blendnet data fetch {dataset}`, or name with --data the folder that holds {dataset}/"
    )


def checked(path: Path, dataset: str, sha256: str | None = None) -> str:
    """Hex sha256 of the file at `path`, after comparing it with the published one.

    sha256: the expected value, or None where it is not known (then the caller checks counts and shapes, and
    the value returned is recorded). Raises BlendnetError where the file is missing or differs.
    """
    if not path.is_file():
        raise missing(path, dataset)
    try:
        found = sha256_file(path)
    except OSError as error:
        raise BlendnetError(f"{path} cannot be read ({error.strerror or error}); check the disk") from error
    if sha256 is not None and found != sha256:
        size = path.stat().st_size
        problem = f"sha256 is {found[:12]}… ({size} bytes), expected {sha256[:12]}…: cut short or altered"
        raise not_as_published(path, problem, dataset)
    _trial.remember(path, sha256)  # enters no number
    return found


def image(content: bytes, name: str, dataset: str) -> np.ndarray:
    """Decode a PNG or JPEG to a uint8 array of shape (height, width, 3); grey images get three equal
    channels.

    name: what an error calls it. Raises BlendnetError where it cannot be decoded or is absurdly large.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise not_as_published(name, f"{opened.width}x{opened.height} pixels is too large", dataset)
            return np.asarray(opened.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise not_as_published(name, f"not a readable image ({error})", dataset) from error


def pixels_sha256(read: Callable[[int], np.ndarray], n: int) -> str:
    """Hex sha256 over the shapes and pixels of `n` images in order."""
    digest = hashlib.sha256()
    for i in range(n):
        pixels = np.ascontiguousarray(read(i))
        digest.update(repr(pixels.shape).encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()


def vectors(rdms: np.ndarray, path: Path, dataset: str) -> np.ndarray:
    """Upper triangles, row by row, of square RDMs: (n, c, c) -> (n, c * (c - 1) / 2), float64.

    Raises BlendnetError unless every RDM is finite, symmetric and zero on its diagonal.
    """
    rdms = np.asarray(rdms, dtype=np.float64)
    if not np.isfinite(rdms).all():
        raise not_as_published(path, "an RDM holds values that are not finite", dataset)
    # Averages of correlations leave the two triangles apart by a rounding error.
    if not np.allclose(rdms, rdms.transpose(0, 2, 1), atol=1e-6):
        raise not_as_published(path, "an RDM is not symmetric", dataset)
    if np.abs(np.einsum("nii->ni", rdms)).max() > 1e-6:
        raise not_as_published(path, "an RDM is not zero on its diagonal", dataset)
    rows, columns = np.triu_indices(rdms.shape[1], 1)
    return rdms[:, rows, columns]
