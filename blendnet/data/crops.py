"""Photographs that are cut out of other photographs at equal scale.

Found by looking: most planes of Natural Images are bounding boxes cut out of Caltech-101's planes, pixel for pixel,
so a split by file name would test on what it trained on. They are searched between collections, within a class, by
normalised cross-correlation (Lewis 1995, "Fast normalized cross-correlation") of grey sketches at an eighth and a
quarter of the size, and confirmed on the photographs themselves. A cut that was also rescaled is not found.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from PIL import Image
from scipy import fft

REDUCTION = 4  # pixels of a photograph in one of its sketch
LARGEST = 640  # pixels: larger photographs are not searched
SMALLEST = 48  # pixels: smaller ones say too little
# Correlation that is worth a look at the next size. Among 3,388 real photographs cuts reach .97 or more at full size
# and the best false pair .80, while at a quarter both lie at .81 to .86, where a cut falls between two sketch pixels.
AT_EIGHTH, AT_QUARTER, THRESHOLD = 0.70, 0.78, 0.90
BATCH = 256


def sketch(image: np.ndarray) -> np.ndarray:
    """Grey uint8 sketch, a quarter of the width and height of image (height, width, 3); (0, 0) if not searched."""
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        return np.zeros((0, 0), np.uint8)
    return np.asarray(Image.fromarray(image).convert("L").reduce(REDUCTION))


def cut_pairs(
    sketches: Sequence[np.ndarray],
    classes: Sequence[str],
    collections: Sequence[str],
    read: Callable[[int], np.ndarray],
) -> np.ndarray:
    """Pairs (i, j), i < j, of one class and two collections where one is a cut of the other; int64 (n_pairs, 2).

    sketches: what `sketch` made of each; read(i): photograph i again, uint8 (height, width, 3), for the few that
    come near.
    """
    found = []
    for name in sorted(set(classes)):
        mine = [i for i, c in enumerate(classes) if c == name and sketches[i].size]
        for small, large in permutations(sorted({collections[i] for i in mine}), 2):
            pieces = [i for i in mine if collections[i] == small]
            wholes = [i for i in mine if collections[i] == large]
            halves = {i: np.asarray(Image.fromarray(sketches[i]).reduce(2)) for i in (*pieces, *wholes)}
            for t, j in _matches(pieces, wholes, halves, AT_EIGHTH):
                if not _matches([t], [j], {t: sketches[t], j: sketches[j]}, AT_QUARTER):
                    continue
                full = {k: np.asarray(Image.fromarray(read(k)).convert("L")) for k in (t, j)}
                if _matches([t], [j], full, THRESHOLD):
                    found.append(sorted((t, j)))
    return np.unique(np.array(found, np.int64).reshape(-1, 2), axis=0)


def _matches(
    pieces: Sequence[int], wholes: Sequence[int], images: dict[int, np.ndarray], threshold: float
) -> list[tuple[int, int]]:
    """(piece, whole) whose best normalised cross-correlation over all places is at least `threshold`."""
    found = []
    for start in range(0, len(wholes), BATCH):
        batch = wholes[start : start + BATCH]
        heights = np.array([images[j].shape[0] for j in batch])
        widths = np.array([images[j].shape[1] for j in batch])
        size = (
            fft.next_fast_len(int(heights.max()), real=True),
            fft.next_fast_len(int(widths.max()), real=True),
        )
        stack = np.zeros((len(batch), *size), np.float32)
        for k, j in enumerate(batch):
            stack[k, : heights[k], : widths[k]] = images[j] / np.float32(255)
        spectrum = fft.rfft2(stack)
        # Integral images: the sum over any window in four look-ups.
        sums = np.pad(stack.astype(np.float64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
        squares = np.pad((stack.astype(np.float64) ** 2).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
        for t in pieces:
            piece = images[t] / np.float32(255)
            h, w = piece.shape
            fits = np.flatnonzero((heights >= h) & (widths >= w))
            piece = piece - piece.mean()
            norm = float(np.linalg.norm(piece))
            if not len(fits) or norm < 0.02 * np.sqrt(h * w):
                continue
            top, left = int(heights[fits].max()) - h + 1, int(widths[fits].max()) - w + 1
            product = spectrum[fits] * np.conj(fft.rfft2(piece / norm, s=size))
            shared = fft.irfft2(product, s=size)[:, :top, :left]
            total, square = _window(sums[fits], h, w, top, left), _window(squares[fits], h, w, top, left)
            spread = np.sqrt(np.maximum(square - total**2 / (h * w), (0.02**2) * h * w))
            value = shared / spread
            # Places where the window would leave this photograph.
            value[np.broadcast_to(np.arange(top)[:, None] > (heights[fits] - h)[:, None, None], value.shape)] = -1
            value[np.broadcast_to(np.arange(left) > (widths[fits] - w)[:, None, None], value.shape)] = -1
            best = value.reshape(len(fits), -1).max(axis=1)
            found += [(t, batch[k]) for k in fits[best >= threshold]]
    return found


def _window(integral: np.ndarray, h: int, w: int, top: int, left: int) -> np.ndarray:
    """Sums over windows of h x w at every place; shape (n, top, left)."""
    low, high = integral[:, :top], integral[:, h : h + top]
    return high[:, :, w : w + left] - high[:, :, :left] - low[:, :, w : w + left] + low[:, :, :left]
