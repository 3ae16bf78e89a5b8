"""Image files: how they are found in a folder and decoded, the same for every source."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from blendnet.errors import BlendnetError
from blendnet.files import sha256_file

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})
MAX_PIXELS = 100_000_000  # the largest cameras; more is a decompression bomb
MIN_SIDE = 4  # px
STILLS = ("MPO",)  # a camera's JPEG with previews behind it

# Pillow warns of what is refused here in one line, or read all the same, in lines of its own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ImageFile:
    """The `read` of a Photo that lies in a file. Calling it decodes; `stamp` names the content for the cache."""

    path: Path

    def __call__(self) -> np.ndarray:
        """uint8 array of shape (height, width, 3); raises BlendnetError that names the file, as decode does, and where
        it is thinner than MIN_SIDE, so that it shows nothing."""
        image = decode(self.path)
        height, width = image.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise BlendnetError(
                f"cannot read the image {self.path}: {width}x{height} px show nothing (at least {MIN_SIDE} a side); "
                "replace or remove it"
            )
        return image

    def stamp(self) -> str:
        """Hex sha256 of the file's bytes; raises BlendnetError where it cannot be read."""
        try:
            return sha256_file(self.path)
        except OSError as error:
            raise BlendnetError(f"cannot read {self.path}: {error.strerror or error}") from error


def decode(path: Path) -> np.ndarray:
    """The image as uint8 array of shape (height, width, 3), stored orientation, alpha channel dropped.

    Grey images get three equal channels; 16-bit grey is scaled to 8 bits (Pillow alone would clip it).
    Raises BlendnetError that names the file where it is missing, truncated or no image, where its header claims more
    than MAX_PIXELS (before anything of that size is made), and for what has no one picture of 8 or 16 bits in it:
    animations, floating-point and 32-bit images.
    """
    try:
        with Image.open(path) as image:
            if problem := _problem(image):
                raise BlendnetError(f"cannot read the image {path}: {problem}; replace or remove it")
            if image.mode.startswith("I"):
                wide = np.asarray(image, dtype=np.float64)
                if wide.min() < 0 or wide.max() > 65535:
                    raise BlendnetError(
                        f"cannot read the image {path}: its numbers go from {wide.min():.0f} to {wide.max():.0f}, not "
                        "from 0 to 65535; save it with 8 or 16 bits a channel"
                    )
                grey = np.clip(np.round(wide / 257), 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except (BlendnetError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged files
        raise BlendnetError(f"cannot read the image {path}: {_reason(path, error)}; replace or remove it") from error


def _problem(image: Image.Image) -> str:
    """What the header says that cannot be used, '' if nothing."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        return f"{width}x{height} px is too large (at most {MAX_PIXELS / 1e6:.0f} million)"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in STILLS:
        return f"it has {frames} frames and it is not known which is meant"
    if image.mode == "F":
        return "its floating-point numbers have no known range"
    return ""


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be decoded, in a few words of one line."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.DecompressionBombError):
        return f"it is too large (at most {MAX_PIXELS / 1e6:.0f} million px)"
    if isinstance(error, UnidentifiedImageError):
        with open(path, "rb") as handle:
            head = handle.read(64).lstrip()
        kind = "a web page" if head.startswith(b"<") else "no image of a kind that is known here"
        return f"it is {kind}" if head else "it has no bytes"
    return " ".join(str(error).split())[:200] or type(error).__name__


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; hidden files and other kinds are passed over.

    Raises BlendnetError where the folder is missing or holds no image, and for a name that no table can hold or that
    is none of a file (reading a pipe would wait for ever).
    """
    if not folder.is_dir():
        raise BlendnetError(f"{folder} is missing; check --data (or BLENDNET_DATA), or fetch the images")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise BlendnetError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); copy the images there")
    for path in found:
        if not path.name.isprintable():  # line breaks, and bytes that are not UTF-8
            raise BlendnetError(
                f"{folder} has an image with the name {path.name!r}, which no table can hold; rename or remove it"
            )
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise BlendnetError(f"{path} is no file but a pipe or a device; remove it")
    return found


def first_folder(root: Path, candidates: tuple[str, ...], what: str) -> Path:
    """The first of root/candidate that is a folder; raises BlendnetError that lists what was looked for."""
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    raise BlendnetError(f"no {what} at {root}: looked for {' and '.join(candidates)}; check --data (BLENDNET_DATA)")
