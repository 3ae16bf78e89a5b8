"""Small solids in object coordinates: x to the right, y up, z towards the viewer, about one unit in
radius.

A model is a list of shapes. A shape is either a set of flat faces or a chain of balls (limbs, heads,
hair); every shape has one paint. Everything here is plain arithmetic on numpy arrays, so that a model
costs well under 2 ms.
"""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Colour = tuple[float, float, float]


class Paint(NamedTuple):
    """colour and alt: RGB in 0..1; pattern: how far the pattern field moves colour towards alt (0..1);
    grain: relative contrast of the surface texture; gloss: strength of the highlight; lit: False for
    things that shine or are holes."""

    colour: Colour
    alt: Colour = (0.0, 0.0, 0.0)
    pattern: float = 0.0
    grain: float = 0.06
    gloss: float = 0.0
    lit: bool = True


class Shape(NamedTuple):
    """points: (faces, corners, 3), or (balls, 3) where radii (balls,) is given. bias: added to the depth
    by which shapes are sorted. cull: faces that look away are not drawn. loose: faces are sorted one by
    one."""

    points: np.ndarray
    radii: np.ndarray | None
    paint: Paint
    bias: float = 0.0
    cull: bool = False
    loose: bool = False


class View(NamedTuple):
    """Angles in degrees: yaw about the vertical, pitch (positive looks down on the object), roll in the
    picture."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


class Model(NamedTuple):
    """What a class's build() returns: shapes, the view, and the names of its texture and pattern
    (textures.py)."""

    shapes: list[Shape]
    view: View
    texture: str = "smooth"
    pattern: str = "patches"


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(3, 3) matrix for degrees: first yaw about y, then pitch about x, then roll about z."""
    y, p, r = np.deg2rad((yaw, pitch, roll))
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    turn_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return turn_z @ turn_x @ turn_y


def moved(
    shapes: Sequence[Shape],
    shift: ArrayLike = (0, 0, 0),
    turn: np.ndarray | None = None,
    scale: float = 1.0,
) -> list[Shape]:
    """The shapes scaled, then turned, then shifted."""
    matrix = scale * (np.eye(3) if turn is None else turn)
    offset = np.asarray(shift, float)
    return [
        s._replace(
            points=s.points @ matrix.T + offset,
            radii=None if s.radii is None else s.radii * scale,
            bias=s.bias * scale,
        )
        for s in shapes
    ]


def sheet(corners: ArrayLike, paint: Paint, bias: float = 0.0, cull: bool = False) -> Shape:
    """One flat face, seen from both sides unless cull (then only where its corners run anticlockwise)."""
    return Shape(np.asarray(corners, float)[None], None, paint, bias, cull)


def box(centre: ArrayLike, size: Sequence[float], paint: Paint, bias: float = 0.0) -> Shape:
    """A box of the given full side lengths."""
    x, y, z = (0.5 * s for s in size)
    corner = np.array([[i * x, j * y, k * z] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) + np.asarray(centre)
    faces = [[1, 5, 7, 3], [4, 0, 2, 6], [5, 4, 6, 7], [0, 1, 3, 2], [3, 7, 6, 2], [0, 4, 5, 1]]
    return Shape(corner[faces], None, paint, bias, True)


def prism(
    outline: ArrayLike,
    z0: float,
    z1: float,
    side: Paint,
    rim: Paint,
    bias: float = 0.0,
) -> list[Shape]:
    """An outline in x, y (anticlockwise) drawn out from z0 to z1 > z0: two caps and the rim."""
    flat = np.asarray(outline, float)
    back = np.column_stack([flat, np.full(len(flat), z0)])
    front = np.column_stack([flat, np.full(len(flat), z1)])
    round_back, round_front = np.roll(back, -1, 0), np.roll(front, -1, 0)
    walls = np.stack([back, round_back, round_front, front], 1)
    return [
        Shape(walls, None, rim, bias, True),
        Shape(np.stack([front, back[::-1]]), None, side, bias + 0.001, True),
    ]


def loft(rings: np.ndarray, paint: Paint, bias: float = 0.0, cull: bool = True) -> Shape:
    """Skin over rings (sections, corners, 3), each ring closed, anticlockwise seen from the last section's
    end."""
    near, far = rings[:-1], rings[1:]
    quads = np.stack([near, np.roll(near, -1, 1), np.roll(far, -1, 1), far], 2)
    return Shape(quads.reshape(-1, 4, 3), None, paint, bias, cull)


def tube(
    x: ArrayLike,
    radius: ArrayLike,
    paint: Paint,
    *,
    sides: int = 10,
    y: ArrayLike = 0.0,
    flat: float = 1.0,
    bias: float = 0.0,
) -> Shape:
    """A body of revolution along x; flat: height over width of its section."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    xs, rs = np.asarray(x, float)[:, None], np.asarray(radius, float)[:, None]
    ys = np.broadcast_to(np.asarray(y, float), (len(xs),))[:, None]
    rings = np.stack([xs + 0 * angle, ys + rs * flat * np.cos(angle), rs * np.sin(angle)], -1)
    return loft(rings, paint, bias)


def ring(centre: ArrayLike, radius: float, axis: str = "z", sides: int = 14, squash: float = 1.0) -> np.ndarray:
    """(sides, 3) corners of a circle, anticlockwise seen from the positive end of its axis."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    a, b, zero = radius * np.cos(angle), radius * squash * np.sin(angle), 0 * angle
    planes = {"z": (a, b, zero), "x": (zero, a, b), "y": (b, zero, a)}
    return np.stack(planes[axis], 1) + np.asarray(centre)


def chain(
    points: ArrayLike,
    radii: ArrayLike,
    paint: Paint,
    bias: float = 0.0,
) -> Shape:
    """Balls joined by straight limbs, drawn as one piece."""
    at = np.atleast_2d(np.asarray(points, float))
    return Shape(at, np.broadcast_to(np.asarray(radii, float), (len(at),)).astype(float), paint, bias)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a colour given as hue, saturation and value in 0..1 (the hue wraps)."""
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))


def any_colour(rng: np.random.Generator) -> Colour:
    """A colour of made things: mostly saturated, one in three grey, white or black."""
    if rng.random() < 0.33:
        return hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.08, 0.97))
    return hsv(rng.random(), rng.uniform(0.35, 0.95), rng.uniform(0.25, 0.95))


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter, kept in 0..1."""
    return (min(colour[0] * factor, 1.0), min(colour[1] * factor, 1.0), min(colour[2] * factor, 1.0))
