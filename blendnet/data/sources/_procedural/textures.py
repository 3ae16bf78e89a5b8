"""Texture and pattern fields, cut from fixed tiles that are made once a process.

A picture cuts its own window (place, zoom, mirror) out of a tile and scales it, so that the same seed gives the same
picture at every size and no picture pays for a Fourier transform.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

TILE = 768


@lru_cache(maxsize=1)
def pink_tile() -> Image.Image:
    """RGB tile of 1/f noise, the amplitude spectrum of natural scenes (Field 1987, doi 10.1364/JOSAA.4.002379)."""
    rng = np.random.default_rng(1987)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    channels = []
    for _ in range(3):
        phase = rng.standard_normal((TILE, TILE // 2 + 1)) + 1j * rng.standard_normal((TILE, TILE // 2 + 1))
        field = np.fft.irfft2(phase / radius**1.1, s=(TILE, TILE))
        channels.append(field / field.std())
    return Image.fromarray(np.clip(128 + 45 * np.stack(channels, -1), 0, 255).astype(np.uint8))


@lru_cache(maxsize=8)
def surface_tile(name: str) -> Image.Image:
    """Grey tile of a surface: smooth, fur, cloth, metal, wood."""
    rng = np.random.default_rng(len(name) + 10)
    noise = rng.standard_normal((TILE, TILE))
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None]
    if name == "fur":  # short strokes that lean to one side
        shape = np.exp(-(((fx + 0.35 * fy) * 6) ** 2) / 2 - ((fy - 0.35 * fx) * 22) ** 2 / 2)
    elif name == "metal":
        shape = np.exp(-((fx * 60) ** 2) / 2 - (fy * 5) ** 2 / 2)
    elif name == "wood":
        shape = np.exp(-((fx * 40) ** 2) / 2 - ((np.abs(fy) - 0.05) * 40) ** 2 / 2)
    elif name == "cloth":
        shape = np.exp(-(((np.abs(fx) - 0.16) * 30) ** 2) / 2) + np.exp(-(((np.abs(fy) - 0.16) * 30) ** 2) / 2)
    else:
        shape = np.exp(-((np.hypot(fx, fy) * 8) ** 2) / 2)
    field = np.fft.ifft2(np.fft.fft2(noise) * shape).real
    return Image.fromarray(np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8))


def window(tile: Image.Image, rng: np.random.Generator, zoom: tuple[float, float], size: int) -> np.ndarray:
    """A random window of zoom[0]..zoom[1] tile pixels, as (size, size[, 3]) float32 with mean about 0, sd about 1."""
    side = rng.uniform(*zoom)
    x, y = rng.uniform(0, TILE - side, 2)
    cut = tile.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    field = np.asarray(cut, np.float32)
    if rng.random() < 0.5:
        field = field[:, ::-1]
    return (field - 128.0) / 45.0


def pattern(name: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) float32 in 0..1, the field that mixes a paint's two colours: patches, stripes, spots or saddle."""
    if name == "plain":
        return np.zeros((size, size), np.float32)
    warp = window(pink_tile(), rng, (120, 260), size)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if name == "stripes":
        angle = rng.uniform(-0.5, 0.5)
        field = np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(70, 120) + 2.5 * warp[..., 0]) + 0.2
    elif name == "spots":
        count, a = rng.uniform(45, 75), 0.9 * warp
        field = 2.2 * (np.sin(x * count + a[..., 0]) * np.sin(y * count + a[..., 1]) - 0.35)
    elif name == "saddle":
        field = 8 * (rng.uniform(0.35, 0.5) - y) + 0.8 * warp[..., 0]
    else:
        field = 3.0 * (warp[..., 0] + rng.uniform(-0.6, 0.6))
    return np.clip(0.5 + field, 0, 1)
