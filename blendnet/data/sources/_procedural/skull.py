"""The front of a head, and what grows or sits on it: hair, beards, hats."""

import numpy as np

from blendnet.data.sources._procedural.solid import Paint, Shape, any_colour, chain, ring, shade, sheet


class Skull:
    """The front of an ellipsoid: places features given in the picture plane onto the skin."""

    def __init__(self, width: float, height: float, depth: float) -> None:
        self.axes = np.array([width, height, depth])

    def on(self, x: np.ndarray | float, y: np.ndarray | float, out: float = 1.01) -> np.ndarray:
        """(..., 3) points over x, y on the skin; out: how far they stand off it, as a factor on depth."""
        a, b, c = self.axes
        x, y = np.asarray(x, float), np.asarray(y, float)
        z = c * np.sqrt(np.clip(1 - (x / a) ** 2 - (y / b) ** 2, 0.02, None))
        return np.stack([x, y, z], -1) * [1, 1, out]

    def patch(self, x: np.ndarray, y: np.ndarray, paint: Paint, bias: float) -> Shape:
        """A face of the outline x, y that lies on the skin and goes out of sight when the head turns."""
        return sheet(self.on(x, y), paint, bias, True)


def hair_on(rng: np.random.Generator, skull: Skull, hair: Paint) -> list[Shape]:
    """Short, long, curled or tied hair with a hairline, or none."""
    a, b, _ = skull.axes
    style = rng.integers(6)
    if style == 5:
        return []  # bald
    shapes = [chain([(0, 0.3 * b, -0.25)], a * rng.uniform(1.06, 1.16), hair, -0.8)]
    if style in (1, 2):  # long
        end, r = rng.uniform(0.5, 1.2), rng.uniform(0.22, 0.34)
        for s in (-1, 1):
            shapes.append(
                chain(
                    [
                        (s * a * 0.75, 0.4 * b, -0.2),
                        (s * a * 1.02, -0.1 * b, -0.15),
                        (s * a * rng.uniform(0.8, 1.1), -end * b, -0.2),
                    ],
                    [r, r, r * 1.1],
                    hair,
                    rng.choice((-0.7, 0.3)),
                )
            )
        shapes.append(chain([(0, 0, -0.5), (0, -end * b * 0.9, -0.5)], a * 0.95, hair, -1.5))
    if style == 3:  # curls
        for angle in np.linspace(-0.35, np.pi + 0.35, 11):
            r = rng.uniform(0.2, 0.34)
            shapes.append(
                chain(
                    [(a * 1.0 * np.cos(angle), 0.3 * b + b * 0.72 * np.sin(angle), -0.05)],
                    r,
                    hair,
                    rng.uniform(-0.3, 0.4),
                )
            )
    if style == 4:
        shapes.append(chain([(rng.uniform(-0.2, 0.2), b * 1.15, -0.3)], rng.uniform(0.25, 0.38), hair, -0.9))
    # the hairline: a band over the brow, parted somewhere
    t = np.linspace(-1, 1, 11)
    part, low = rng.uniform(-0.8, 0.8), rng.uniform(0.42, 0.72)
    edge = b * (low + 0.1 * np.abs(t - part) * rng.uniform(-1.5, 0.5)) - b * 0.42 * t**4
    edge = np.clip(edge, -0.1, 0.93 * b)
    x = a * 0.99 * t * np.sqrt(np.clip(1 - (edge / b) ** 2, 0.05, 1))
    top_x, top_y = (
        a * 1.1 * np.cos(np.linspace(0.1, np.pi - 0.1, 11)),
        0.15 * b + b * 0.98 * np.sin(np.linspace(0.1, np.pi - 0.1, 11)),
    )
    low_edge = skull.on(x, edge, 1.02)
    crown = np.stack([top_x, top_y, np.full(11, 0.15)], 1)
    shapes.append(sheet(np.vstack([low_edge, crown]), hair, 0.9))
    return shapes


def beard_on(rng: np.random.Generator, skull: Skull, hair: Paint) -> list[Shape]:
    """A full beard with a moustache, on about one face in five."""
    if rng.random() >= 0.22:
        return []
    shapes: list[Shape] = []
    a, _, _ = skull.axes
    t = np.linspace(-1, 1, 9)
    shapes.append(
        chain(
            [
                (-a * 0.82, -0.35, 0.35),
                (-0.45, -0.75, 0.45),
                (0, -0.88, 0.5),
                (0.45, -0.75, 0.45),
                (a * 0.82, -0.35, 0.35),
            ],
            [0.08, 0.18, 0.22, 0.18, 0.08],
            hair,
            0.85,
        )
    )
    shapes.append(chain(skull.on(t * 0.26, -0.38 - 0.08 * t**2), 0.05, hair, 1.25))
    return shapes


def hat_on(rng: np.random.Generator, skull: Skull) -> list[Shape]:
    """A hat with a brim, on about one face in seven."""
    if rng.random() >= 0.14:
        return []
    shapes: list[Shape] = []
    a, b, _ = skull.axes
    felt = Paint(any_colour(rng), grain=0.15)
    shapes.append(chain([(0, 0.75 * b, 0), (0, 1.05 * b, -0.05)], [a * 0.98, a * 0.7], felt, 1.8))
    brim = ring((0, 0.62 * b, 0.15), a * rng.uniform(1.15, 1.6), "y")
    shapes.append(sheet(brim, Paint(shade(felt.colour, 0.85), grain=0.15), 1.9))
    return shapes
