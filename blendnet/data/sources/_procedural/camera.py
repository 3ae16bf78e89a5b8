"""Put the object before its background and take the photograph: shadow, light tint, vignette, focus,
noise, contrast."""

import numpy as np
from PIL import Image, ImageFilter

from blendnet.data.sources._procedural import textures
from blendnet.data.sources._procedural.render import Light


def _focused(scene: np.ndarray, softness: float) -> np.ndarray:
    """Blurred by the three-tap kernel (k, 1 - 2k, k) both ways, as often as gives the same blur at every
    size."""
    for _ in range(max(round((len(scene) / 96) ** 2), 1)):
        for axis in (0, 1):
            swapped = scene.swapaxes(0, axis)
            soft = swapped * np.float32(1 - 2 * softness)
            soft[1:] += np.float32(softness) * swapped[:-1]
            soft[:-1] += np.float32(softness) * swapped[1:]
            soft[0] += np.float32(softness) * swapped[0]
            soft[-1] += np.float32(softness) * swapped[-1]
            scene = soft.swapaxes(0, axis)
    return scene


def _shadow(cover: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1: on a wall behind the object, or on the ground below it. The same for every
    class."""
    coarse = cover[::2, ::2]  # a shadow is soft: half the resolution will do
    size = len(coarse)
    reach = rng.uniform(0.02, 0.1) * size
    slant, drop = float(light.direction[0]), float(light.direction[1])
    image = Image.fromarray((coarse * 255).astype(np.uint8))
    if rng.random() < 0.6:
        filled = np.flatnonzero(coarse.any(1))
        foot = float(filled[-1]) if len(filled) else size / 2
        squash = rng.uniform(3, 6)
        lean = slant * 0.6 * squash
        matrix = (1, lean, -lean * foot, 0, squash, foot - squash * (foot + 1))
    else:
        matrix = (1, 0, slant * reach, 0, 1, -drop * reach)
    image = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.015, 0.045) * size))
    return np.asarray(image.resize((len(cover), len(cover)), Image.Resampling.BILINEAR), np.float32) / 255


def _apart(
    colour: np.ndarray, cover: np.ndarray, behind: np.ndarray, least: float, rng: np.random.Generator
) -> np.ndarray:
    """The background made lighter or darker where it would hide the object: the luminances of the two
    differ by `least` on average over the object, each pixel counting for 0.3 at most."""
    grey = np.array([0.3, 0.59, 0.11], np.float32)
    there = cover > 0.9
    front, rear = colour[there] @ grey, behind[there] @ grey

    def distance(gain: float) -> float:
        return float(np.minimum(np.abs(front - gain * rear), 0.3).mean()) if front.size else 1.0

    gains = [1.0, *rng.permutation((0.4, 0.6, 1.5, 1.9)).tolist()]
    enough = next((g for g in gains if distance(g) >= least), None)
    return behind * np.float32(max(gains, key=distance) if enough is None else enough)


def photograph(
    colour: np.ndarray, cover: np.ndarray, light: Light, behind: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """colour (size, size, 3), multiplied by cover (size, size), in front of behind (size, size, 3), all
    about 0..1; returns uint8 (size, size, 3)."""
    size = len(cover)
    shade = 1 - rng.uniform(0.1, 0.55) * _shadow(cover, light, rng)
    behind = _apart(colour, cover, behind, rng.uniform(0.1, 0.18), rng)
    scene = behind * (shade * (1 - cover))[..., None] + colour
    tint = 1 + rng.normal(0, 0.07, 3)
    if rng.random() < 0.08:  # a black and white photograph
        scene = scene @ np.array([[0.3], [0.59], [0.11]], np.float32) * np.ones(3, np.float32)
    exposure = rng.uniform(0.85, 1.4)
    ramp = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    vignette = 1 - rng.uniform(0, 0.3) * (ramp[:, None] + ramp[None]) / 2
    scene = scene * vignette[..., None] * (tint * exposure).astype(np.float32)
    contrast, middle = rng.uniform(0.75, 1.15), rng.uniform(0.4, 0.5)
    scene = (scene - middle) * np.float32(contrast) + np.float32(middle)
    scene = _focused(scene, rng.uniform(0.0, 0.17))
    sensor, values = textures.sensor_tile(), size * size * 3
    start = rng.integers(len(sensor)) if values >= len(sensor) else rng.integers(len(sensor) - values)
    grain = sensor.take(np.arange(start, start + values), mode="wrap").reshape(size, size, 3)
    grain = grain * np.float32(rng.uniform(0.005, 0.025))
    return np.clip((scene + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
