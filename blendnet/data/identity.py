"""Which photographs are the same photograph under different names.

Collections share material, and frames of one scene are nearly equal; if one copy is trained on and the other is
tested on, the test measures memory. So photographs are grouped by content, and a group (an identity) goes to one
split. Three relations join two photographs: equal thumbnails up to small changes (scale, contrast, compression,
grey against colour), the same mirrored (training mirrors images), and one being cut out of the other at equal scale
(blendnet/data/crops.py).
"""

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 32  # pixels of a thumbnail
LOW = 8  # DCT frequencies per axis in the first, exact bound
THRESHOLD = 0.95  # correlation of thumbnails from which they show one photograph; set on looked-at pairs, see the tests
FLAT = 2.0  # grey levels of standard deviation below which a thumbnail has no content to compare
BLOCK = 2048  # photographs a side of one tile of comparisons: 16 MB


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Grey thumbnail, uint8 of shape (32, 32), of an image of shape (height, width, 3) uint8; aspect is dropped."""
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def same_pairs(thumbnails: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Pairs (i, j), i < j, of photographs that are equal as a whole, plain or mirrored.

    thumbnails: uint8 of shape (n, 32, 32). Returns int64 of shape (n_pairs, 2): all pairs whose thumbnails
    correlate at `threshold` or more, and pairs of exactly equal flat thumbnails. No pair is missed: with unit-norm
    thumbnails split into low frequencies and the rest, a.b <= a_low.b_low + |a_rest||b_rest| (Cauchy-Schwarz),
    so the bound is one dot product of 64 numbers, and only pairs above it are compared in full.
    """
    n = len(thumbnails)
    flat = thumbnails.reshape(n, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    has_content = flat.std(axis=1) >= FLAT
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    flat[~has_content] = 0

    low = np.empty((n, LOW * LOW), np.float32)
    for start in range(0, n, BLOCK):
        chunk = flat[start : start + BLOCK].reshape(-1, SIDE, SIDE)
        spectrum = dctn(chunk, axes=(1, 2), norm="ortho")[:, :LOW, :LOW]
        low[start : start + BLOCK] = spectrum.reshape(len(chunk), -1)
    # The first coefficient is the mean, zero here: its place takes what the other frequencies hold.
    low[:, 0] = 0
    low[:, 0] = np.sqrt(np.maximum(has_content - (low**2).sum(axis=1), 0))
    mirror_sign = np.tile(np.where(np.arange(LOW) % 2, -1.0, 1.0), LOW).astype(np.float32)
    mirrored = flat.reshape(n, SIDE, SIDE)[:, :, ::-1].reshape(n, -1)

    found = [_equal_bytes(thumbnails, ~has_content)]
    for other_low, other in ((low, flat), (low * mirror_sign, mirrored)):
        for top in range(0, n, BLOCK):
            for left in range(top, n, BLOCK):
                near = low[top : top + BLOCK] @ other_low[left : left + BLOCK].T > threshold - 1e-4
                if not near.any():
                    continue
                i, j = np.nonzero(near)
                i, j = i + top, j + left
                i, j = i[i < j], j[i < j]
                keep = np.einsum("ij,ij->i", flat[i], other[j]) >= threshold
                found.append(np.stack([i[keep], j[keep]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def group(n: int, *pairs: np.ndarray) -> np.ndarray:
    """Identities of n photographs, int64 of shape (n,), numbered in order of first appearance.

    pairs: arrays of shape (n_pairs, 2); photographs joined by any chain of pairs are one identity.
    """
    joined = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    graph = coo_array((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    _, first, back = np.unique(label, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first, kind="stable")] = np.arange(len(first))
    return order[back.reshape(-1)]


def _equal_bytes(thumbnails: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Pairs (first, other) of exactly equal thumbnails among those chosen by the mask; shape (n_pairs, 2)."""
    first: dict[bytes, int] = {}
    pairs = []
    for i in np.flatnonzero(among):
        key = thumbnails[i].tobytes()
        if first.setdefault(key, int(i)) != i:
            pairs.append((first[key], int(i)))
    return np.array(pairs, np.int64).reshape(-1, 2)
