"""Stimuli as a network sees them, a batch at a time: what is held in memory does not grow with the stimuli.

Placing costs more than many a small network, and several networks see the same stimuli alike. So what was placed is
kept, in a file without a name in the results' cache folder that ends with the process: nobody else sees it, nothing has
to be checked or tidied. Where there is no room for it, stimuli are placed anew for each network.
"""

import os
import shutil
import tempfile
from typing import BinaryIO, NamedTuple

import numpy as np

from blendnet.data.brain.placement import place
from blendnet.data.brain.recording import Stimuli
from blendnet.errors import BlendnetError
from blendnet.files import make_folder
from pipelines.context import Context

# Sets of stimuli kept at a time, the oldest goes first: each is an open file.
MOST = 9
# Of the free space, what a set may take at most: the rest is for what is asked for.
SHARE = 1 / 4
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as the photographs were made grey


class Kept(NamedTuple):
    """Where the stimuli of a set lie once they are placed. file: n images of size x size x 3 bytes one after the other;
    there: bool (n,), which of them are in it."""

    file: BinaryIO
    there: np.ndarray


_KEPT: dict[tuple, Kept | None] = {}


def placed(
    context: Context, stimuli: Stimuli, size: int, colour: str, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Stimuli start to stop as a network sees them, uint8 of shape (stop - start, size, size, 3); all by default.

    size: px of the side; colour: 'rgb' or 'grey'. Memory: the images that are returned, one stimulus, and where they
    are made grey one image in float64. Raises BlendnetError as `place`.
    """
    stop = len(stimuli) if stop is None else min(stop, len(stimuli))
    images = np.empty((max(0, stop - start), size, size, 3), np.uint8)
    if not len(images):
        return images
    key = (stimuli.sha256, len(stimuli), stimuli.degrees, size, colour, context.profile.model_degrees)
    kept = _kept(context, key, len(stimuli), images[0].nbytes)
    there = np.zeros(len(images), bool) if kept is None else kept.there[start:stop].copy()
    if kept is not None and there.any() and not _read(kept, images, start):
        there[:] = False
    if there.all():
        return images
    for i in np.flatnonzero(~there):
        images[i] = _place(context, stimuli, start + int(i), size, colour)
    if kept is not None and not _write(kept, images, start):
        _KEPT[key] = None
    return images


def _place(context: Context, stimuli: Stimuli, i: int, size: int, colour: str) -> np.ndarray:
    """One stimulus, uint8 (size, size, 3)."""
    seen = place(stimuli.read(i), image_size=size, degrees=stimuli.degrees, model_degrees=context.profile.model_degrees)
    image = np.rint(seen).astype(np.uint8)  # a cast alone would darken every image by half a grey level
    if colour == "grey":
        image[:] = np.rint(image @ _LUMA)[..., None].astype(np.uint8)
    return image


def _kept(context: Context, key: tuple, n: int, each: int) -> Kept | None:
    """The set's file, opened when it is first asked for; None where there is no room for n images of `each` bytes."""
    if key not in _KEPT:
        while len(_KEPT) >= MOST:
            oldest = _KEPT.pop(next(iter(_KEPT)))
            if oldest is not None:
                oldest.file.close()
        _KEPT[key] = None
        try:
            folder = make_folder(context.folder("cache"))
            if n * each <= SHARE * shutil.disk_usage(folder).free:
                file = tempfile.TemporaryFile(dir=folder, prefix=".placed-", buffering=0)  # noqa: SIM115
                # The room is claimed now, so that what comes next sees what is left.
                os.posix_fallocate(file.fileno(), 0, max(1, n * each))
                _KEPT[key] = Kept(file, np.zeros(n, bool))
        except (OSError, BlendnetError):  # a full disk, a folder that is only read
            pass
    return _KEPT[key]


def _read(kept: Kept, images: np.ndarray, start: int) -> bool:
    """Fill `images` from the file; False where it does not hold them any more."""
    view, done = images.data.cast("B"), 0
    at = start * images[0].nbytes
    while done < len(view):
        try:
            n = os.preadv(kept.file.fileno(), [view[done:]], at + done)
        except OSError:
            return False
        if n == 0:
            return False
        done += n
    return True


def _write(kept: Kept, images: np.ndarray, start: int) -> bool:
    """Keep `images`; False where that is not possible."""
    view, done = images.data.cast("B"), 0
    at = start * images[0].nbytes
    try:
        while done < len(view):
            done += os.pwrite(kept.file.fileno(), view[done:], at + done)
    except OSError:
        return False
    kept.there[start : start + len(images)] = True
    return True
