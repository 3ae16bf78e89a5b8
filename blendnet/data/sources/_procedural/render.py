"""From a model to pixels: view, fit into the frame, paint the shapes from back to front, light them.

Shapes are painted as numbers into one map at twice the size; colour, shading, pattern and grain are then looked up in
tables, so that the cost hardly depends on the number of shapes.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from blendnet.data.sources._procedural import textures
from blendnet.data.sources._procedural.solid import Model, Paint, rotation

OVERSAMPLING = 2
FOCAL = 4.5  # distance of the eye in object units: mild perspective


class Light(NamedTuple):
    """direction: unit vector towards the lamp, in viewer's coordinates; ambient and diffuse: relative strengths."""

    direction: np.ndarray
    ambient: float
    diffuse: float


class _Piece(NamedTuple):
    depth: float
    corners: np.ndarray  # (corners, 2) or (balls, 2)
    radii: np.ndarray | None
    brightness: float
    slope: float  # how much the brightness varies across the piece
    group: int
    paint: Paint


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp somewhere above and in front, hard or soft."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(0.25, 1), rng.uniform(0.25, 0.9)])
    ambient = rng.uniform(0.35, 0.62)
    return Light(direction / np.linalg.norm(direction), ambient, rng.uniform(0.9, 1.2) - ambient * 0.75)


def _pieces(model: Model, light: Light, rng: np.random.Generator) -> list[_Piece]:
    turn = rotation(*model.view).T
    half = light.direction + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    pieces: list[_Piece] = []
    for group, shape in enumerate(model.shapes):
        at = shape.points @ turn
        depth = at[..., 2]
        near = FOCAL / (FOCAL - depth)
        flat = at[..., :2] * near[..., None]
        key = float(depth.mean()) + shape.bias
        if shape.radii is not None:
            level = light.ambient + light.diffuse * (0.25 + 0.55 * light.direction[2])
            slope = 0.35 * light.diffuse if shape.paint.lit else 0.0
            level = level if shape.paint.lit else 1.0
            pieces.append(_Piece(key, flat, shape.radii * near, level, slope, group, shape.paint))
            continue
        edge1, edge2 = at[:, 1] - at[:, 0], at[:, 2] - at[:, 1]
        normal = np.cross(edge1, edge2)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        a, b = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 1]
        away = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
        normal[away] *= -1
        level = light.ambient + light.diffuse * np.clip(normal @ light.direction, 0, None)
        level = level + shape.paint.gloss * np.clip(normal @ half, 0, None) ** 12
        level = level * rng.uniform(0.97, 1.03, len(level)) if shape.paint.lit else np.ones(len(level))
        keys = depth.mean(1) + shape.bias if shape.loose else np.full(len(at), key) + 1e-4 * depth.mean(1)
        slope = 0.12 + 0.3 * shape.paint.gloss if shape.paint.lit else 0.0
        for i in np.flatnonzero(~away) if shape.cull else range(len(at)):
            pieces.append(_Piece(float(keys[i]), flat[i], None, float(level[i]), slope, group, shape.paint))
    pieces.sort(key=lambda piece: piece.depth)
    return pieces


def _fit(pieces: list[_Piece], rng: np.random.Generator, pixels: int) -> list[_Piece]:
    """Into the frame: the longer side takes a random share of it, the place is random, up to a slight crop."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for piece in pieces:
        reach = 0 if piece.radii is None else piece.radii[:, None]
        low = np.minimum(low, (piece.corners - reach).min(0))
        high = np.maximum(high, (piece.corners + reach).max(0))
    extent = float((high - low).max())
    scale = pixels * rng.uniform(0.66, 0.95) / extent
    room = np.maximum(pixels - (high - low) * scale, 0) * 0.5
    centre = pixels / 2 + rng.uniform(-0.8, 0.8, 2) * room
    middle = (low + high) / 2
    flip = np.array([scale, -scale])
    return [
        p._replace(
            corners=(p.corners - middle) * flip + centre, radii=None if p.radii is None else p.radii * scale
        )
        for p in pieces
    ]


def _paint(pieces: list[_Piece], pixels: int) -> np.ndarray:
    """(pixels, pixels) map: 0 where nothing is, else one more than the number of the piece in front."""
    image = Image.new("I", (pixels, pixels), 0)
    pen = ImageDraw.Draw(image)
    for number, piece in enumerate(pieces, start=1):
        if piece.radii is None:
            pen.polygon(piece.corners.ravel().tolist(), fill=number)
            continue
        balls = list(zip(piece.corners.tolist(), piece.radii.tolist()))
        for (x, y), r in balls:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=number)
        for ((x0, y0), r0), ((x1, y1), r1) in zip(balls, balls[1:]):
            length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
            nx, ny = (y0 - y1) / length, (x1 - x0) / length
            pen.polygon(
                [x0 + nx * r0, y0 + ny * r0, x1 + nx * r1, y1 + ny * r1,
                 x1 - nx * r1, y1 - ny * r1, x0 - nx * r0, y0 - ny * r0], fill=number,
            )  # fmt: skip
    return np.asarray(image)


def _tables(pieces: list[_Piece], light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Per piece: (n, 9) colour, way to the other colour, pattern*, grain, lit; and (n, 3) brightness plane."""
    looks = np.zeros((len(pieces) + 1, 8), np.float32)
    plane = np.zeros((len(pieces) + 1, 3), np.float32)
    for i, piece in enumerate(pieces, start=1):
        paint = piece.paint
        looks[i] = (*paint.colour, *(paint.pattern * (a - c) for a, c in zip(paint.alt, paint.colour)),
                    paint.grain, 0.0)  # fmt: skip
        low, high = piece.corners.min(0), piece.corners.max(0)
        reach = 0.0 if piece.radii is None else float(piece.radii.max())
        extent = float((high - low).max()) / 2 + reach + 1e-6
        gx = piece.slope * light.direction[0] / extent
        gy = -piece.slope * light.direction[1] / extent
        middle = (low + high) / 2
        plane[i] = (piece.brightness - gx * middle[0] - gy * middle[1], gx, gy)
    return looks, plane


def render(model: Model, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, Light]:
    """The object alone: colour (size, size, 3) float32 about 0..1 multiplied by its coverage, coverage (size, size),
    and the lamp that lit it."""
    light = draw_light(rng)
    pixels = size * OVERSAMPLING
    pieces = _fit(_pieces(model, light, rng), rng, pixels)
    labels = _paint(pieces, pixels)
    looks, plane = _tables(pieces, light)
    y, x = np.ogrid[0:pixels, 0:pixels]
    bright, gx, gy = (np.take(column, labels) for column in plane.T)
    bright = bright + gx * x.astype(np.float32) + gy * y.astype(np.float32)
    grain = textures.window(textures.surface_tile(model.texture), rng, (150, 300), pixels)
    bright *= 1 + np.take(looks[:, 6], labels) * grain
    colour = np.take(looks[:, :3], labels, axis=0)
    if (looks[:, 3:6] != 0).any():
        mix = textures.pattern(model.pattern, rng, pixels)
        colour = colour + np.take(looks[:, 3:6], labels, axis=0) * mix[..., None]
    colour *= bright[..., None]
    k = OVERSAMPLING
    small = colour.reshape(size, k, size, k, 3).mean((1, 3))
    cover = (labels > 0).reshape(size, k, size, k).mean((1, 3), dtype=np.float32)
    groups = np.array([-1] + [p.group for p in pieces])
    rank = np.zeros(len(groups), np.uint8)
    seen = {g: i for i, g in enumerate(dict.fromkeys(groups[1:].tolist()))}
    rank[1:] = [150 + 105 * seen[g] // max(len(seen), 1) for g in groups[1:].tolist()]
    relief = Image.fromarray(np.take(rank, labels[::k, ::k]))
    soft = np.asarray(relief.filter(ImageFilter.GaussianBlur(size * 0.022)), np.float32) / 255
    dx, dy = np.zeros_like(soft), np.zeros_like(soft)
    dx[:, 1:-1], dy[1:-1] = soft[:, 2:] - soft[:, :-2], soft[2:] - soft[:-2]
    emboss = (-dx * light.direction[0] + dy * light.direction[1]) * size * 0.03
    small *= np.clip(1 + light.diffuse * emboss, 0.45, 1.6)[..., None]
    return small, cover, light
