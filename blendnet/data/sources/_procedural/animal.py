"""What cats and dogs share: a trunk, legs and tail of chains in four postures, and a head that looks at
the viewer."""

from typing import NamedTuple

import numpy as np

from blendnet.data.sources._procedural.solid import Colour, Paint, Shape, chain, hsv, moved, rotation, shade


class Build(NamedTuple):
    """Proportions, in units of half the trunk's length."""

    chest: float
    waist: float
    leg: float
    paw: float
    neck: float
    head: float


def coat(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Fur and the colour of its markings: white, cream, ginger, brown, grey, black."""
    fur = (
        hsv(0.09, rng.uniform(0.02, 0.15), rng.uniform(0.8, 0.98)),
        hsv(rng.uniform(0.07, 0.11), rng.uniform(0.25, 0.5), rng.uniform(0.65, 0.9)),
        hsv(rng.uniform(0.05, 0.08), rng.uniform(0.55, 0.8), rng.uniform(0.5, 0.85)),
        hsv(rng.uniform(0.04, 0.08), rng.uniform(0.4, 0.65), rng.uniform(0.25, 0.5)),
        hsv(rng.uniform(0.5, 0.7), rng.uniform(0.02, 0.15), rng.uniform(0.35, 0.65)),
        hsv(0.7, rng.uniform(0.0, 0.15), rng.uniform(0.1, 0.2)),
    )
    first, second = rng.permutation(len(fur))[:2]
    return fur[first], fur[second]


def body(
    rng: np.random.Generator, posture: str, b: Build, fur: Paint, tail: np.ndarray, tail_radii: np.ndarray, socks: Paint
) -> tuple[list[Shape], np.ndarray]:
    """Trunk along x with the head's end at +x, and where the head belongs (3,). tail: (n, 3) from its root.

    posture: standing, sitting, lying or walking."""
    far = fur._replace(colour=shade(fur.colour, 0.72), alt=shade(fur.alt, 0.72))
    shapes: list[Shape] = []
    z = b.chest * 0.55

    def limb(points: list, s: int, wide: float) -> None:
        paint = fur if s > 0 else far
        at = np.array(points, float)
        shapes.append(chain(at, np.linspace(wide, b.paw, len(at)), paint, 0.02 * s))
        toe = at[-1] + [b.paw * 1.1, -b.paw * 0.1, 0]
        shapes.append(chain([at[-1], toe], b.paw * 1.1, socks if s > 0 else far, 0.03 * s))

    if posture in ("standing", "walking"):
        shapes.append(
            chain(
                [(-0.75, 0.02, 0), (-0.2, -0.02, 0), (0.35, -0.03, 0), (0.7, 0.05, 0)],
                [b.waist * 1.08, b.waist, b.chest, b.chest * 0.95],
                fur,
            )
        )
        stride = rng.uniform(0.05, 0.12) if posture == "standing" else rng.uniform(0.2, 0.38)
        for s in (-1, 1):
            step = stride * s * rng.choice((-1, 1))
            limb(
                [(0.68, -0.1, s * z), (0.68 + step * 0.6, -0.5 * b.leg, s * z), (0.66 + step, -b.leg, s * z)],
                s,
                b.chest * 0.5,
            )
            limb(
                [
                    (-0.75, -0.05, s * z),
                    (-0.66 - step * 0.3, -0.45 * b.leg, s * z),
                    (-0.86 - step * 0.6, -0.68 * b.leg, s * z),
                    (-0.8 - step, -b.leg, s * z),
                ],
                s,
                b.waist * 0.8,
            )
        head = np.array([0.78 + b.neck * 0.75, 0.1 + b.neck * rng.uniform(0.7, 1.1), 0])
        shapes.append(chain([(0.68, 0.05, 0.0), tuple(head)], [b.chest * 0.85, b.head * 0.75], fur, 0.03))
        root = np.array([-0.9, 0.12, 0])
    elif posture == "sitting":
        rump, chest = np.array([-0.35, -0.55, 0]), np.array([0.2, 0.32, 0])
        shapes.append(
            chain([tuple(rump), (-0.15, -0.1, 0.0), tuple(chest)], [b.waist * 1.3, b.waist * 1.15, b.chest * 0.9], fur)
        )
        base = -0.55 - b.waist * 1.15
        for s in (-1, 1):
            limb([(0.26, 0.12, s * z), (0.4, -0.35, s * z), (0.42, base + b.paw, s * z)], s, b.chest * 0.5)
            shapes.append(
                chain(
                    [(-0.3, -0.55, s * z * 1.3), (0.0, -0.72, s * z * 1.5)],
                    [b.waist * 1.0, b.waist * 0.7],
                    fur if s > 0 else far,
                    0.05 * s,
                )
            )
            shapes.append(
                chain(
                    [(0.0, base + b.paw, s * z * 1.7), (0.22, base + b.paw, s * z * 1.7)],
                    b.paw * 1.15,
                    socks,
                    0.06 * s,
                )
            )
        head = chest + [b.neck * 0.35, b.neck * 1.0 + 0.12, 0]
        shapes.append(chain(np.stack([chest, head]), [b.chest * 0.85, b.head * 0.8], fur, 0.03))
        root = np.array([-0.6, base + 0.12, 0])
    else:  # lying
        shapes.append(
            chain(
                [(-0.7, -0.12, 0), (-0.1, -0.1, 0), (0.55, -0.02, 0)],
                [b.waist * 1.3, b.waist * 1.1, b.chest],
                fur,
            )
        )
        base = -0.12 - b.waist * 1.0
        for s in (-1, 1):
            limb(
                [(0.55, -0.15, s * z), (0.55, base + b.paw, s * z * 1.4), (0.95, base + b.paw, s * z * 1.4)],
                s,
                b.chest * 0.5,
            )
            limb(
                [
                    (-0.7, -0.15, s * z * 1.3),
                    (-0.3, base + b.paw, s * z * 1.7),
                    (-0.1, base + b.paw, s * z * 1.7),
                ],
                s,
                b.waist * 0.95,
            )
        head = np.array([0.68 + b.neck * 0.5, 0.1 + b.neck * 0.9, 0])
        shapes.append(chain([(0.55, 0.0, 0.0), tuple(head)], [b.chest * 0.85, b.head * 0.8], fur, 0.03))
        root = np.array([-0.95, -0.12, 0])
    shapes.append(chain(tail + root, tail_radii, fur, -0.05))
    return shapes, head


def mounted(
    head: list[Shape], at: np.ndarray, size: float, gaze: tuple[float, float, float], body_yaw: float
) -> list[Shape]:
    """The head (built looking along +z) at its place, turned so that it looks by gaze (yaw, pitch, roll in
    degrees) away from the viewer whatever the body does, and in front of the neck."""
    yaw, pitch, roll = gaze
    placed = moved(head, at, rotation(yaw - body_yaw, pitch, roll), size)
    return [s._replace(bias=s.bias + 0.6) for s in placed]
