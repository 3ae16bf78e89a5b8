"""Texture and pattern fields, cut from fixed tiles that are made once a process.

A picture cuts its own window (place, zoom, turn, mirror) out of a tile, so that the same seed gives the
same picture at every size and no picture pays for a Fourier transform.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

TILE = 768


class Frame(NamedTuple):
    """A part of a square picture of `side` pixels: where it starts and how far it goes, in pixels."""

    side: int
    left: int
    top: int
    columns: int
    rows: int


def whole(side: int) -> Frame:
    """All of a square picture."""
    return Frame(side, 0, 0, side, side)


def _tile(field: np.ndarray) -> Image.Image:
    """(TILE, TILE[, 3]) with mean 0 and sd 1 as bytes: 128 is the mean, 45 one sd."""
    return Image.fromarray(np.clip(128 + 45 * field, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def pink_tile() -> Image.Image:
    """RGB tile of 1/f noise, the amplitude spectrum of natural scenes (Field 1987, doi
    10.1364/JOSAA.4.002379)."""
    rng = np.random.default_rng(1987)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    channels = []
    for _ in range(3):
        phase = rng.standard_normal((TILE, TILE // 2 + 1)) + 1j * rng.standard_normal((TILE, TILE // 2 + 1))
        field = np.fft.irfft2(phase / radius, s=(TILE, TILE))
        channels.append(field / field.std())
    return _tile(np.stack(channels, -1))


@lru_cache(maxsize=1)
def sensor_tile() -> np.ndarray:
    """(2**20,) float32 of white noise, sd 1, for the grain of the sensor."""
    return np.random.default_rng(1969).standard_normal(2**20, dtype=np.float32)


@lru_cache(maxsize=8)
def surface_tile(name: str) -> Image.Image:
    """Grey tile of a surface: smooth, fur, cloth, metal, wood. White noise through a filter of that shape."""
    rng = np.random.default_rng(len(name) + 10)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None]
    if name == "fur":  # short strokes
        band = np.exp(-((fx * 7) ** 2) / 2 - (fy * 26) ** 2 / 2)
    elif name == "metal":
        band = np.exp(-((fx * 60) ** 2) / 2 - (fy * 6) ** 2 / 2)
    elif name == "wood":
        band = np.exp(-((fx * 90) ** 2) / 2 - (fy * 11) ** 2 / 2)
    elif name == "cloth":
        band = np.exp(-(((np.abs(fx) - 0.16) * 30) ** 2) / 2) + np.exp(-(((np.abs(fy) - 0.16) * 30) ** 2) / 2)
    else:
        band = np.exp(-((np.hypot(fx, fy) * 9) ** 2) / 2)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((TILE, TILE))) * band).real
    return _tile(field / field.std())


@lru_cache(maxsize=4)
def pattern_tile(name: str) -> Image.Image:
    """Grey tile of a two-colour pattern: stripes, spots or patches."""
    warp = np.asarray(pink_tile(), float) / 45.0
    y, x = np.mgrid[0:TILE, 0:TILE].astype(float)
    if name == "stripes":
        field = np.sin(x / 2.6 + 3.0 * warp[..., 0]) + 0.15
    elif name == "spots":
        field = 2.5 * (np.sin(x / 3.4 + 1.6 * warp[..., 0]) * np.sin(y / 3.4 + 1.6 * warp[..., 1]) - 0.3)
    else:
        field = 3.0 * (warp[..., 2] - 128 / 45)
    return Image.fromarray(np.clip(127.5 + 127.5 * field, 0, 255).astype(np.uint8))


def window(
    tile: Image.Image, rng: np.random.Generator, zoom: tuple[float, float], frame: Frame, turn: float = 0.3
) -> np.ndarray:
    """The frame's part of a random square of zoom[0]..zoom[1] tile pixels, turned by up to `turn` radians and
    mirrored at random, as (rows, columns[, 3]) uint8."""
    side, angle = rng.uniform(*zoom), rng.uniform(-turn, turn)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    reach = side * 0.75
    place = rng.uniform(reach, TILE - reach, 2)
    step = side / frame.side
    a, b = step * np.cos(angle), step * np.sin(angle)
    left, top = frame.left - frame.side / 2, frame.top - frame.side / 2
    matrix = (
        mirror * a,
        b,
        place[0] + mirror * a * left + b * top,
        -mirror * b,
        a,
        place[1] - mirror * b * left + a * top,
    )
    cut = tile.transform((frame.columns, frame.rows), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(cut)


def noise(
    tile: Image.Image, rng: np.random.Generator, zoom: tuple[float, float], frame: Frame, turn: float = 0.3
) -> np.ndarray:
    """A window as float32 with mean about 0 and sd about 1."""
    return (window(tile, rng, zoom, frame, turn).astype(np.float32) - np.float32(128)) * np.float32(1 / 45)


def pattern(name: str, rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """(rows, columns) float32 in 0..1, the field that mixes a paint's two colours: patches, stripes, spots
    or saddle (the upper part of the picture in the other colour, with a ragged edge)."""
    if name == "saddle":
        height = (frame.top + np.arange(frame.rows, dtype=np.float32)) / np.float32(frame.side)
        edge = np.float32(rng.uniform(0.35, 0.5))
        ragged = noise(pink_tile(), rng, (120, 200), frame)[..., 0]
        return np.clip(0.5 + 8 * (edge - height)[:, None] + np.float32(0.8) * ragged, 0, 1)
    zoom = (130.0, 260.0) if name == "patches" else (150.0, 300.0)
    return window(pattern_tile(name), rng, zoom, frame, 0.5).astype(np.float32) * np.float32(1 / 255)
