"""Image files: how they are found in a folder and decoded, the same for every source."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from blendnet.errors import BlendnetError
from blendnet.files import sha256_file

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})


@dataclass(frozen=True)
class ImageFile:
    """The `read` of a Photo that lies in a file. Calling it decodes; `stamp` names the content for the cache."""

    path: Path

    def __call__(self) -> np.ndarray:
        """uint8 array of shape (height, width, 3); raises BlendnetError that names the file."""
        return decode(self.path)

    def stamp(self) -> str:
        """Hex sha256 of the file's bytes; raises BlendnetError where it cannot be read."""
        try:
            return sha256_file(self.path)
        except OSError as error:
            raise BlendnetError(f"cannot read {self.path}: {error.strerror or error}") from error


def decode(path: Path) -> np.ndarray:
    """The image as uint8 array of shape (height, width, 3), stored orientation, alpha channel dropped.

    Grey images get three equal channels; 16-bit grey is scaled to 8 bits (Pillow alone would clip it).
    Raises BlendnetError that names the file where it is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                wide = np.asarray(image, dtype=np.float64)
                grey = np.clip(np.round(wide / 257), 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, Image.DecompressionBombError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise BlendnetError(f"cannot read the image {path}: {reason}; replace or remove it") from error


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; hidden files and other kinds are passed over.

    Raises BlendnetError where the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise BlendnetError(f"{folder} is missing; check --data (or BLENDNET_DATA), or fetch the images")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise BlendnetError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); copy the images there")
    return found


def first_folder(root: Path, candidates: tuple[str, ...], what: str) -> Path:
    """The first of root/candidate that is a folder; raises BlendnetError that lists what was looked for."""
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    raise BlendnetError(f"no {what} at {root}: looked for {' and '.join(candidates)}; check --data (BLENDNET_DATA)")
