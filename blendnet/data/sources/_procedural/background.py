"""Backgrounds with natural statistics. The family is drawn without a look at the class, so that it cannot
give the class away: a cat may sit before the sea and a plane before a bookshelf."""

import numpy as np
from PIL import Image, ImageDraw

from blendnet.data.sources._procedural import textures
from blendnet.data.sources._procedural.solid import hsv

FAMILIES = ("noise", "horizon", "room", "clutter", "foliage")


def _colour(rng: np.random.Generator, saturation: float = 0.6, low: float = 0.2, high: float = 0.95) -> np.ndarray:
    return np.array(hsv(rng.random(), saturation * rng.random() ** 1.5, rng.uniform(low, high)), np.float32)


def _ink(colour: np.ndarray) -> tuple[int, int, int]:
    r, g, b = np.clip(colour * 255, 0, 255).astype(int).tolist()
    return r, g, b


def _ramp(top: np.ndarray, bottom: np.ndarray, rows: int) -> np.ndarray:
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    return (1 - t) * top + t * bottom


def _horizon(rng: np.random.Generator, n: int) -> Image.Image:
    line = int(rng.uniform(0.3, 0.75) * n)
    hue = rng.choice((0.58, 0.6, 0.08, 0.62)) + rng.normal(0, 0.03)
    top = np.array(hsv(hue, rng.uniform(0.05, 0.7), rng.uniform(0.4, 0.95)), np.float32)
    low = np.clip(top * rng.uniform(0.9, 1.4) + rng.uniform(0, 0.2), 0, 1)
    ground = np.array(
        hsv(rng.choice((0.1, 0.28, 0.55, 0.6)) + rng.normal(0, 0.03), rng.uniform(0.05, 0.6), rng.uniform(0.2, 0.8)),
        np.float32,
    )
    field = np.empty((n, n, 3), np.float32)
    field[:line] = _ramp(top, low, line)
    field[line:] = _ramp(ground * rng.uniform(0.8, 1.2), ground * rng.uniform(0.6, 1.2), n - line)
    image = Image.fromarray(np.clip(field * 255, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    kind = rng.integers(3)
    dark = _ink(ground * rng.uniform(0.35, 0.9))
    if kind == 0:  # hills
        xs = np.linspace(-5, n + 5, 9)
        ys = line - rng.uniform(0, 0.22) * n * rng.random(9)
        pen.polygon([*np.column_stack([xs, ys]).ravel().tolist(), n + 5, line, -5, line], fill=dark)
    elif kind == 1:  # trees or houses
        for _ in range(rng.integers(4, 10)):
            x, w, h = rng.uniform(0, n), rng.uniform(0.03, 0.17) * n, rng.uniform(0.03, 0.27) * n
            tone = _ink(_colour(rng, 0.5, 0.1, 0.8))
            (pen.rectangle if rng.random() < 0.5 else pen.ellipse)((x, line - h, x + w, line), fill=tone)
    return image


def _room(rng: np.random.Generator, n: int) -> Image.Image:
    line, unit = int(rng.uniform(0.5, 0.85) * n), n / 96
    field = np.empty((n, n, 3), np.float32)
    wall, floor = _colour(rng, 0.45, 0.3), _colour(rng, 0.5, 0.15, 0.8)
    field[:line] = _ramp(wall, wall * rng.uniform(0.7, 1.1), line)
    field[line:] = _ramp(floor * 0.8, floor, n - line)
    image = Image.fromarray(np.clip(field * 255, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):  # pictures, windows, shelves
        x, y = rng.uniform(-10, 96) * unit, rng.uniform(-0.1, 0.9) * line
        w, h = rng.uniform(8, 40) * unit, rng.uniform(5, 36) * unit
        pen.rectangle((x, y, x + w, min(y + h, line)), fill=_ink(_colour(rng)), outline=_ink(_colour(rng)))
    if rng.random() < 0.5:
        pen.line((0, line, n, line), fill=_ink(wall * 0.6), width=max(round(rng.uniform(1, 4) * unit), 1))
    return image


def _clutter(rng: np.random.Generator, n: int, leaves: bool) -> Image.Image:
    unit = n / 96
    hue = rng.uniform(0.15, 0.42) if leaves or rng.random() < 0.2 else rng.random()
    base = np.array(hsv(hue, rng.uniform(0.05, 0.65), rng.uniform(0.25, 0.7)))
    spread = rng.uniform(0.03, 0.12) if leaves else rng.uniform(0.06, 0.3)  # how motley the scene is
    image = Image.new("RGB", (n, n), _ink(base * rng.uniform(0.5, 1.1)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(22, 40) if leaves else rng.integers(8, 26)):
        x, y = rng.uniform(-8, 104, 2) * unit
        reach = unit * (rng.uniform(3, 13) if leaves else 3 * 9 ** rng.random())
        colour = _ink(base * rng.uniform(0.4, 1.7) + spread * rng.normal(0, 0.7, 3))
        angle = rng.uniform(0, np.pi)
        ax, ay = reach * np.cos(angle), reach * np.sin(angle)
        wide = rng.uniform(0.2, 0.5) if leaves else rng.uniform(0.3, 1)
        if not leaves and rng.random() < 0.4:
            pen.ellipse((x - reach, y - reach * wide, x + reach, y + reach * wide), fill=colour)
        elif leaves:
            bx, by = -ay * wide, ax * wide
            pen.polygon([x + ax, y + ay, x + bx, y + by, x - ax, y - ay, x - bx, y - by], fill=colour)
        else:
            bx, by = -ay * wide, ax * wide
            pen.polygon(
                [
                    x + ax + bx,
                    y + ay + by,
                    x - ax + bx,
                    y - ay + by,
                    x - ax - bx,
                    y - ay - by,
                    x + ax - bx,
                    y + ay - by,
                ],
                fill=colour,
            )
    return image


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) float32 in 0..1: a random family, out of focus to a random degree, with 1/f noise in
    colour."""
    detail = 2 * int(rng.uniform(28, 96))  # drawn at this size, halved, and scaled up: out of focus
    family = FAMILIES[rng.integers(len(FAMILIES))]
    noise = textures.noise(textures.pink_tile(), rng, (90, 230), textures.whole(size), np.pi)
    mixing = rng.normal(0, 0.17, (3, 3)).astype(np.float32)
    mixing[0] = rng.uniform(0.4, 1.0) + 0.3 * mixing[0]  # mostly one luminance field, some colour
    noise = noise @ mixing
    if family == "noise":
        base: np.ndarray = _ramp(_colour(rng), _colour(rng), size)
        strength = rng.uniform(0.1, 0.3)
    else:
        if family == "horizon":
            draft = _horizon(rng, detail)
        elif family == "room":
            draft = _room(rng, detail)
        else:
            draft = _clutter(rng, detail, family == "foliage")
        draft = draft.reduce(2).resize((size, size), Image.Resampling.BICUBIC)
        base = np.asarray(draft, np.float32) / 255
        strength = rng.uniform(0.04, 0.14)
    field = base * (1 + 0.6 * strength * noise) + strength * 0.5 * noise
    if family != "horizon" and family != "room":  # light falling off to one side
        slope = rng.uniform(-0.35, 0.35, 2).astype(np.float32)
        ramp = np.linspace(-1, 1, size, dtype=np.float32)
        field *= (1 + slope[0] * ramp[:, None] + slope[1] * ramp[None])[..., None]
    return np.clip(field, 0, 1).astype(np.float32)
