"""From a model to pixels: view, fit into the frame, paint the shapes from back to front, light them.

Shapes are painted as numbers into one map at twice the size; colour, shading, pattern and grain are then
looked up in tables, so that the cost hardly depends on the number of shapes.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from blendnet.data.sources._procedural import textures
from blendnet.data.sources._procedural.solid import Model, Shape, rotation

OVERSAMPLING = 2
FOCAL = 4.5  # distance of the eye in object units: mild perspective


class Light(NamedTuple):
    """direction: unit vector towards the lamp, in viewer's coordinates; ambient and diffuse: relative
    strengths."""

    direction: np.ndarray
    ambient: float
    diffuse: float


class Pieces(NamedTuple):
    """What is painted, back to front. first, length (n,): where a piece's corners or balls lie in at
    (points, 2) and radii (points,), in picture units; ball (n,): a chain, not a face; shape (n,): the
    number of its shape; loose (n,): sorted by itself; level, slope (n,): brightness at its middle and how
    much it varies to its edge; order (m,): what to paint."""

    at: np.ndarray
    radii: np.ndarray
    first: np.ndarray
    length: np.ndarray
    ball: np.ndarray
    shape: np.ndarray
    loose: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    order: np.ndarray


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp somewhere above and in front, hard or soft."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(0.25, 1), rng.uniform(0.25, 0.9)])
    ambient = rng.uniform(0.42, 0.7)
    return Light(direction / np.linalg.norm(direction), ambient, rng.uniform(1.0, 1.35) - ambient * 0.7)


def _sizes(shape: Shape) -> tuple[int, int]:
    """Number of pieces of a shape, and of points in each."""
    return (1, len(shape.points)) if shape.radii is not None else (shape.points.shape[0], shape.points.shape[1])


def pieces_of(model: Model, light: Light, rng: np.random.Generator) -> Pieces:
    """Turn, project and light all shapes, and sort them by depth; faces that look away are left out where
    culled."""
    shapes = model.shapes
    sizes = np.array([_sizes(s) for s in shapes])
    solid = np.concatenate([s.points.reshape(-1, 3) for s in shapes]) @ rotation(*model.view).T
    radii = np.concatenate([np.zeros(n * k) if s.radii is None else s.radii for s, (n, k) in zip(shapes, sizes)])
    near = FOCAL / (FOCAL - solid[:, 2])
    at = solid[:, :2] * near[:, None]
    shape = np.repeat(np.arange(len(shapes)), sizes[:, 0])
    count = sizes[shape, 1]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    ball = np.array([s.radii is not None for s in shapes])[shape]
    bias, cull, loose, gloss, lit = np.array([(s.bias, s.cull, s.loose, s.paint.gloss, s.paint.lit) for s in shapes]).T
    cull, loose, lit = cull > 0, loose > 0, lit > 0

    own = np.add.reduceat(solid[:, 2], first) / count
    start = np.concatenate([[0], np.cumsum(sizes[:, 0])[:-1]])
    whole = np.add.reduceat(own, start) / sizes[:, 0] + bias
    depth = np.where(loose[shape], own + bias[shape], whole[shape] + 1e-4 * own)

    one, two, three = (first + np.minimum(i, count - 1) for i in range(3))
    normal = np.cross(solid[two] - solid[one], solid[three] - solid[two])
    a, b = at[two] - at[one], at[three] - at[two]
    away = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    normal *= (np.where(away, -1, 1) / (np.sqrt((normal**2).sum(1)) + 1e-9))[:, None]
    half = light.direction + np.array([0.0, 0.0, 1.0])
    half /= np.sqrt(half @ half)
    face = (
        np.clip(normal @ light.direction, 0, None)
        + (gloss[shape] / light.diffuse) * np.clip(normal @ half, 0, None) ** 12
    )
    facing = np.where(ball, 0.25 + 0.55 * light.direction[2], face)
    level = (light.ambient + light.diffuse * facing) * (
        1 + np.where(loose[shape], 0.1, 0.03) * rng.uniform(-1, 1, len(count))
    )
    level = np.where(lit[shape], level, 1.0)
    slope = np.where(lit[shape], np.where(ball, 0.35 * light.diffuse, 0.12 + 0.3 * gloss[shape]), 0.0)

    seen = np.flatnonzero(ball | ~(away & cull[shape]))
    order = seen[np.argsort(depth[seen], kind="stable")]
    return Pieces(at, radii * near, first, count, ball, shape, loose[shape], level, slope, order)


def fitted(pieces: Pieces, rng: np.random.Generator, pixels: int) -> Pieces:
    """Into the frame: the longer side takes a random share of it, the place is random, up to a slight
    crop."""
    low = (pieces.at - pieces.radii[:, None]).min(0)
    high = (pieces.at + pieces.radii[:, None]).max(0)
    scale = pixels * rng.uniform(0.7, 0.97) / float((high - low).max())
    room = np.maximum(pixels - (high - low) * scale, 0) * 0.5
    centre = pixels / 2 + rng.uniform(-0.8, 0.8, 2) * room
    at = (pieces.at - (low + high) / 2) * np.array([scale, -scale]) + centre
    return pieces._replace(at=at, radii=pieces.radii * scale)


def painted(pieces: Pieces, pixels: int) -> np.ndarray:
    """(pixels, pixels) map: 0 where nothing is, else one more than the place in pieces.order of what is in
    front."""
    image = Image.new("I", (pixels, pixels), 0)
    pen = ImageDraw.Draw(image)
    flat, radii = pieces.at.ravel().tolist(), pieces.radii.tolist()
    first, count, ball = pieces.first.tolist(), pieces.length.tolist(), pieces.ball.tolist()
    for number, i in enumerate(pieces.order.tolist(), start=1):
        start, stop = first[i], first[i] + count[i]
        if not ball[i]:
            pen.polygon(flat[2 * start : 2 * stop], fill=number)
            continue
        for j in range(start, stop):
            x, y, r = flat[2 * j], flat[2 * j + 1], radii[j]
            pen.ellipse((x - r, y - r, x + r, y + r), fill=number)
            if j + 1 < stop:
                x1, y1, r1 = flat[2 * j + 2], flat[2 * j + 3], radii[j + 1]
                length = max(((x1 - x) ** 2 + (y1 - y) ** 2) ** 0.5, 1e-6)
                nx, ny = (y - y1) / length, (x1 - x) / length
                pen.polygon(
                    [
                        x + nx * r,
                        y + ny * r,
                        x1 + nx * r1,
                        y1 + ny * r1,
                        x1 - nx * r1,
                        y1 - ny * r1,
                        x - nx * r,
                        y - ny * r,
                    ],
                    fill=number,
                )
    return np.asarray(image)


def _tables(pieces: Pieces, model: Model, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """By label: (n, 7) colour, way to the other colour, grain; and (n, 3) brightness as a plane over the
    picture."""
    paints = [s.paint for s in model.shapes]
    colour = np.array([p.colour for p in paints])
    way = np.array([p.alt for p in paints]) - colour
    pattern, grain = np.array([(p.pattern, p.grain) for p in paints]).T
    looks = np.zeros((len(pieces.order) + 1, 7), np.float32)
    looks[1:] = np.column_stack([colour, way * pattern[:, None], grain])[pieces.shape[pieces.order]]
    low = np.minimum.reduceat(pieces.at - pieces.radii[:, None], pieces.first)
    high = np.maximum.reduceat(pieces.at + pieces.radii[:, None], pieces.first)
    gradient = (pieces.slope * 2 / ((high - low).max(1) + 1e-6))[:, None] * light.direction[:2] * [1, -1]
    plane = np.zeros((len(pieces.order) + 1, 3), np.float32)
    flat = np.column_stack([pieces.level - (gradient * (low + high) / 2).sum(1), gradient])
    plane[1:] = flat[pieces.order]
    return looks, plane


def _halved(field: np.ndarray) -> np.ndarray:
    rows = field[0::2] + field[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)


def _frame(pieces: Pieces, side: int) -> textures.Frame:
    """The part of the picture that the object takes, with some air for the blur of the relief; even
    numbers."""
    air = side // 24
    low = (pieces.at - pieces.radii[:, None]).min(0) - air
    high = (pieces.at + pieces.radii[:, None]).max(0) + air
    left, top = (int(max(v, 0)) // 2 * 2 for v in low)
    right, bottom = (min(int(v) // 2 * 2 + 2, side) for v in high)
    return textures.Frame(side, left, top, right - left, bottom - top)


def _relief(pieces: Pieces, labels: np.ndarray, light: Light, size: int) -> np.ndarray:
    """Shading of rounded edges: the painter's order as a height, blurred, its slope seen from the lamp."""
    _, place = np.unique(pieces.shape[pieces.order], return_index=True)
    rank = np.zeros(len(pieces.order) + 1, np.uint8)
    nth = np.zeros(pieces.shape.max() + 1)
    nth[pieces.shape[pieces.order][np.sort(place)]] = np.linspace(0, 1, len(place))
    rank[1:] = 150 + 75 * nth[pieces.shape[pieces.order]]
    rank[1:] += np.where(pieces.loose[pieces.order], np.arange(len(pieces.order)) % 3 * 15, 15).astype(np.uint8)
    image = Image.fromarray(rank[labels]).filter(ImageFilter.GaussianBlur(size * 0.022))
    soft = np.asarray(image, np.float32)
    emboss = np.zeros_like(soft)
    emboss[:, 1:-1] = (soft[:, :-2] - soft[:, 2:]) * np.float32(light.direction[0])
    emboss[1:-1] += (soft[2:] - soft[:-2]) * np.float32(light.direction[1])
    return np.clip(1 + np.float32(light.diffuse * size * 0.03 / 255) * emboss, 0.45, 1.6)


def render(model: Model, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, Light]:
    """The object alone: colour (size, size, 3) float32 about 0..1 multiplied by its coverage, coverage
    (size, size), and the lamp that lit it."""
    light = draw_light(rng)
    side = size * OVERSAMPLING
    pieces = fitted(pieces_of(model, light, rng), rng, side)
    frame = _frame(pieces, side)
    labels = painted(pieces, side)
    labels = labels[frame.top : frame.top + frame.rows, frame.left : frame.left + frame.columns].astype(np.intp)
    looks, plane = _tables(pieces, model, light)
    bright = plane[:, 0][labels]
    bright += plane[:, 1][labels] * (frame.left + np.arange(frame.columns, dtype=np.float32))
    bright += plane[:, 2][labels] * (frame.top + np.arange(frame.rows, dtype=np.float32))[:, None]
    grain = textures.noise(textures.surface_tile(model.texture), rng, (150, 280), frame, 0.6)
    grain *= looks[:, 6][labels]
    bright *= 1 + grain
    colour = looks[:, :3][labels]
    if model.pattern != "plain" and looks[:, 3:6].any():
        colour += looks[:, 3:6][labels] * textures.pattern(model.pattern, rng, frame)[..., None]
    colour *= bright[..., None]
    small = _halved(colour) * _relief(pieces, labels[::2, ::2], light, size)[..., None]
    scene, cover = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    inside = (
        slice(frame.top // 2, (frame.top + frame.rows) // 2),
        slice(frame.left // 2, (frame.left + frame.columns) // 2),
    )
    scene[inside] = small
    cover[inside] = _halved((labels > 0).astype(np.float32))
    return scene, cover, light
