"""Put the object before its background and take the photograph: shadow, light tint, vignette, focus, noise, contrast."""

import numpy as np
from PIL import Image, ImageFilter

from blendnet.data.sources._procedural.render import Light


def _blurred(field: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _shadow(cover: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1: on a wall behind the object, or on the ground below it. The same for every class."""
    size = len(cover)
    reach = rng.uniform(0.02, 0.1) * size
    dx, dy = light.direction[0] * reach, light.direction[1] * reach
    image = Image.fromarray((cover * 255).astype(np.uint8))
    if rng.random() < 0.6:
        filled = np.flatnonzero(cover.any(1))
        foot = float(filled[-1]) if len(filled) else size / 2
        squash = rng.uniform(3, 6)
        matrix = (1, light.direction[0] * 0.6 * squash, -light.direction[0] * 0.6 * squash * foot, 0, squash,
                  foot - squash * (foot + 1))  # fmt: skip
    else:
        matrix = (1, 0, dx, 0, 1, -dy)
    image = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.015, 0.045) * size))
    return np.asarray(image, np.float32) / 255


def photograph(
    colour: np.ndarray, cover: np.ndarray, light: Light, behind: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """colour (size, size, 3), multiplied by cover (size, size), in front of behind (size, size, 3), all about 0..1;
    returns uint8 (size, size, 3)."""
    size = len(cover)
    shade = 1 - rng.uniform(0.1, 0.6) * _shadow(cover, light, rng)
    scene = behind * (shade * (1 - cover))[..., None] + colour
    tint = 1 + rng.normal(0, 0.07, 3)
    if rng.random() < 0.08:  # a black and white photograph
        scene = scene @ np.array([[0.3], [0.59], [0.11]], np.float32) * np.ones(3, np.float32)
    exposure = rng.uniform(0.75, 1.2)
    ramp = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    vignette = 1 - rng.uniform(0, 0.3) * (ramp[:, None] + ramp[None]) / 2
    scene = scene * vignette[..., None] * (tint * exposure).astype(np.float32)
    contrast, middle = rng.uniform(0.75, 1.15), rng.uniform(0.4, 0.5)
    scene = (scene - middle) * np.float32(contrast) + np.float32(middle)
    focus = rng.uniform(0.15, 0.8) * size / 96
    scene = _blurred(scene, focus)
    grain = rng.standard_normal((size, size, 3), dtype=np.float32) * np.float32(rng.uniform(0.006, 0.03))
    return np.clip((scene + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
