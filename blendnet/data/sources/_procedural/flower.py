"""Flowers: daisies and sunflowers, tulips, roses, lotus, poppies; one large bloom or several in a bed."""

import numpy as np

from blendnet.data.sources._procedural.solid import (
    Colour,
    Model,
    Paint,
    Shape,
    View,
    chain,
    hsv,
    moved,
    ring,
    rotation,
    shade,
    sheet,
)


def _petals(
    rng: np.random.Generator,
    count: int,
    start: float,
    length: float,
    width: float,
    cup: float,
    tip: float,
    paint: Paint,
    bias: float = 0.0,
    offset: float = 0.0,
) -> Shape:
    """A whorl about +z. cup: degrees by which petals rise from flat; tip: 0 pointed .. 1 round."""
    t = np.array([0.0, 0.3, 0.62, 0.85, 1.0])
    half = width * np.array([0.28, 0.75, 1.0, 0.45 + 0.45 * tip, 0.12 + 0.4 * tip])
    r = start + length * t
    outline = np.concatenate([np.stack([r, half], 1), np.stack([r, -half], 1)[::-1]])
    turns = offset + np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.06, count)
    lengths = 1 + rng.normal(0, 0.06, count)
    rise = np.deg2rad(cup + rng.normal(0, 5, count))
    radial = outline[None, :, 0] * lengths[:, None]
    out, up = radial * np.cos(rise)[:, None], radial * np.sin(rise)[:, None] - start * np.sin(rise)[:, None]
    c, s = np.cos(turns)[:, None], np.sin(turns)[:, None]
    side = np.broadcast_to(outline[None, :, 1], out.shape)
    points = np.stack([out * c - side * s, out * s + side * c, up], -1)
    return Shape(points, None, paint, bias, False, True)


def _colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    petal = hsv(rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.6, 1.0))
    if rng.random() < 0.25:
        petal = hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.85, 1.0))
    heart = hsv(rng.uniform(0.04, 0.17), rng.uniform(0.5, 0.95), rng.uniform(0.2, 0.95))
    return petal, heart


def _bloom(rng: np.random.Generator, kind: str, petal: Colour, heart: Colour) -> list[Shape]:
    """A flower of radius one that looks along +z."""
    paint = Paint(petal, shade(petal, 0.7), 0.4, 0.08)
    inner = Paint(shade(petal, 0.72), grain=0.08)
    if kind == "daisy":
        n, disc = int(rng.integers(10, 22)), rng.uniform(0.22, 0.45)
        shapes = [
            _petals(
                rng,
                n,
                disc * 0.8,
                1 - disc * 0.8,
                rng.uniform(2.2, 3.0) / n,
                rng.uniform(-8, 18),
                rng.random(),
                paint,
            )
        ]
        shapes.append(
            _petals(
                rng,
                n,
                disc * 0.8,
                0.8 - disc * 0.8,
                2.2 / n,
                16,
                0.5,
                paint._replace(colour=shade(petal, 0.9)),
                0.05,
                np.pi / n,
            )
        )
        centre = Paint(heart, shade(heart, 0.4), 0.9, 0.35)
        return [
            *shapes,
            chain([(0, 0, 0.03)], disc, centre, 0.4),
            chain([(0, 0, 0.1)], disc * 0.5, Paint(shade(heart, 0.6), grain=0.35), 0.5),
        ]
    if kind == "tulip":
        shapes = []
        for i, (cup, bias) in enumerate(((62, 0.0), (72, 0.1))):
            shapes.append(_petals(rng, 3, 0.12, 1.25, 0.52, cup, 0.35, paint if i else inner, bias, i * np.pi / 3))
        return [*shapes, chain([(0, 0, 0.12)], 0.25, inner, -0.2)]
    if kind == "rose":
        shapes = []
        for i, reach in enumerate((1.0, 0.82, 0.64, 0.46, 0.3)):
            tone = paint._replace(colour=shade(petal, (0.8, 1.05, 0.82, 1.0, 0.7)[i]))
            whorl = _petals(
                rng, 6 - i // 2, 0.02, reach, reach * 0.6, 8 + 9 * i, 0.75, tone, 0.25 * i, rng.uniform(0, 2)
            )
            shapes += moved([whorl], (0, 0, 0.07 * i))
        a = np.linspace(0, 1.6 * np.pi, 9) + rng.uniform(0, 6)
        spiral = np.stack([0.02 * a * np.cos(a), 0.02 * a * np.sin(a), 0.5 + 0 * a], 1)
        return [*shapes, chain(spiral, 0.03, Paint(shade(petal, 0.45)), 1.3)]
    if kind == "lotus":
        shapes = []
        for i, (reach, cup) in enumerate(((1.0, 8), (0.85, 32), (0.66, 55))):
            tone = paint._replace(colour=shade(petal, 0.85 + 0.12 * i))
            shapes.append(
                _petals(rng, 8, 0.06, reach - 0.06, 0.24, cup + rng.normal(0, 4), 0.0, tone, 0.1 * i, i * 0.39)
            )
        return [*shapes, chain([(0, 0, 0.1)], 0.17, Paint(heart, grain=0.3), 0.35)]
    n = int(rng.integers(4, 7))  # poppy, anemone
    shapes = [_petals(rng, n, 0.04, 0.96, 2.5 / n, rng.uniform(5, 30), 1.0, paint, 0, 0.3)]
    shapes.append(
        _petals(
            rng,
            n,
            0.04,
            0.42,
            1.0 / n,
            20,
            0.6,
            Paint(shade(heart, 0.35) if rng.random() < 0.6 else inner.colour),
            0.1,
            0.3,
        )
    )
    shapes.append(chain([(0, 0, 0.1)], 0.17, Paint(heart, grain=0.3), 0.3))
    for a in np.linspace(0, 2 * np.pi, 9, endpoint=False):
        shapes.append(chain([(0.27 * np.cos(a), 0.27 * np.sin(a), 0.14)], 0.035, Paint(shade(heart, 0.5)), 0.35))
    return shapes


def _plant(
    rng: np.random.Generator, kind: str, colours: tuple[Colour, Colour], green: Paint, stem: float
) -> list[Shape]:
    """A bloom at the origin on a stem that goes down."""
    up = kind == "tulip"
    tilt = rotation(rng.uniform(-38, 38), rng.uniform(-78, -55) if up else rng.uniform(-48, 18))
    shapes = moved(_bloom(rng, kind, *colours), turn=tilt)
    if stem <= 0:
        return shapes
    bend = rng.uniform(-0.4, 0.4)
    path = np.array([(0, 0, -0.15), (bend * 0.3, -0.5 * stem, -0.25), (bend, -stem, -0.3)])
    shapes.append(chain(path, [0.06, 0.065, 0.07], green, -1.2))
    for s in rng.choice((-1, 1), rng.integers(1, 4)):
        y, n, lift = -stem * rng.uniform(0.45, 0.95), rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.6)
        x = bend * (-y / stem)
        leaf = [
            (x, y, -0.2),
            (x + s * n * 0.45, y + lift * 0.6 + 0.14, 0),
            (x + s * n, y + lift, 0.05),
            (x + s * n * 0.55, y + lift * 0.3 - 0.1, 0),
        ]
        shapes.append(sheet(leaf, green, -0.8))
    return shapes


def build(rng: np.random.Generator) -> Model:
    """One bloom with or without its stem, or a bed of two to six plants of one kind."""
    kind = ("daisy", "daisy", "tulip", "rose", "lotus", "poppy")[rng.integers(6)]
    colours = _colours(rng)
    leaf = hsv(rng.uniform(0.22, 0.4), rng.uniform(0.35, 0.8), rng.uniform(0.2, 0.6))
    green = Paint(leaf, shade(leaf, 0.6), 0.5, 0.1)
    if rng.random() < 0.62:
        stem = rng.uniform(1.0, 2.4) if kind == "tulip" or rng.random() < 0.55 else 0.0
        shapes = _plant(rng, kind, colours, green, stem)
        if stem == 0 and rng.random() < 0.7:
            for a in rng.uniform(0, 2 * np.pi, rng.integers(2, 6)):
                far = rng.uniform(1.1, 1.4)
                blade = ring((0, 0, 0), 1, sides=10)
                blade = blade * [0.5, 0.22, 0] + [far - 0.5, 0, -0.3]
                shapes += moved([sheet(blade, green, -1)], turn=rotation(roll=np.rad2deg(a)))
    else:
        shapes, second = [], _colours(rng)
        count = rng.integers(2, 7)
        for i in range(count):
            x = (i - (count - 1) / 2) * rng.uniform(1.1, 1.5)
            place = (x * 0.85, rng.uniform(-0.9, 0.9), rng.uniform(-0.6, 0.6))
            plant = _plant(rng, kind, colours if rng.random() < 0.7 else second, green, rng.uniform(1.6, 2.4))
            shapes += moved(plant, place, scale=rng.uniform(0.75, 1.0))
        shapes = moved(shapes, scale=0.5)
    return Model(shapes, View(rng.uniform(-15, 15), rng.uniform(-5, 15), rng.normal(0, 8)), "smooth", "stripes")
