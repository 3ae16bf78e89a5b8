"""Chairs: dining chairs with slats or a solid back, spindle-back chairs, armchairs, office chairs."""

import numpy as np

from blendnet.data.sources._procedural.solid import (
    Model,
    Paint,
    Shape,
    View,
    any_colour,
    box,
    chain,
    hsv,
    loft,
    ring,
    shade,
    sheet,
)


def _frame_paint(rng: np.random.Generator) -> tuple[Paint, str]:
    if rng.random() < 0.6:
        wood = hsv(rng.uniform(0.03, 0.11), rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.8))
        return Paint(wood, shade(wood, 0.6), 0.3, 0.12, 0.1), "wood"
    return Paint(any_colour(rng), grain=0.08, gloss=0.3), "metal"


def _legs(rng: np.random.Generator, paint: Paint, w: float, d: float, height: float) -> list[Shape]:
    thick, splay = rng.uniform(0.03, 0.065), rng.uniform(0, 0.12)
    legs = []
    for sx in (-1, 1):
        for sz in (-1, 1):
            top = (sx * (w - 0.06), 0.0, sz * (d - 0.06))
            foot = (sx * (w - 0.06 + splay), -height, sz * (d - 0.06 + splay))
            legs.append(chain([top, foot], [thick, thick * 0.8], paint, bias=-0.3 + 0.1 * sz))
    if rng.random() < 0.4:
        for sx in (-1, 1):
            y = -height * rng.uniform(0.4, 0.7)
            legs.append(chain([(sx * w, y, -d), (sx * w, y, d)], thick * 0.6, paint, bias=-0.35))
    return legs


def _dining(rng: np.random.Generator, wood: Paint, seat: Paint) -> list[Shape]:
    w, d, leg, tall = (
        rng.uniform(0.34, 0.48),
        rng.uniform(0.34, 0.45),
        rng.uniform(0.65, 0.9),
        rng.uniform(0.6, 1.1),
    )
    shapes = [*_legs(rng, wood, w, d, leg), box((0, 0.03, 0), (2 * w, rng.uniform(0.07, 0.14), 2 * d), seat)]
    tilt, post = rng.uniform(0.02, 0.2), rng.uniform(0.03, 0.06)

    def back(x: float, h: float) -> tuple[float, float, float]:
        return x, 0.03 + h * tall, -d + 0.05 - tilt * h

    shapes += [chain([back(s * (w - 0.05), 0), back(s * (w - 0.05), 1)], post, wood) for s in (-1, 1)]
    style = rng.integers(3)
    if style == 0:  # rails across
        rails = rng.integers(2, 5)
        for h in np.linspace(0.4, 0.97, rails):
            shapes.append(chain([back(-w + 0.05, h), back(w - 0.05, h)], rng.uniform(0.035, 0.07), wood))
    elif style == 1:  # slats or spindles upright
        shapes.append(chain([back(-w + 0.05, 0.97), back(0, 1.06), back(w - 0.05, 0.97)], post * 1.2, wood))
        for x in np.linspace(-w + 0.15, w - 0.15, rng.integers(3, 6)):
            shapes.append(chain([back(x, 0), back(x * 1.05, 1)], rng.uniform(0.014, 0.03), wood))
    else:  # solid back
        low = rng.uniform(0.1, 0.45)
        middle = back(0, (low + 1) / 2)
        shapes.append(box(middle, (2 * w - 0.06, (1 - low) * tall, 0.08), seat, bias=0.01))
    return shapes


def _bow(rng: np.random.Generator, wood: Paint, seat: Paint) -> list[Shape]:
    """A Windsor chair: a bow bent over spindles, round seat."""
    r, leg, tall = rng.uniform(0.4, 0.5), rng.uniform(0.6, 0.85), rng.uniform(0.65, 1.05)
    shapes = _legs(rng, wood, r * 0.85, r * 0.85, leg)
    top = ring((0, 0.06, 0), r, "y", 16, rng.uniform(0.9, 1.1))
    shapes.append(loft(np.stack([top - [0, 0.1, 0], top]), seat))
    shapes.append(sheet(top, seat, 0.02))
    lean, wide = rng.uniform(0.08, 0.3), rng.uniform(0.85, 1.0)

    def bow(a: float, height: float = 1.0) -> tuple[float, float, float]:
        h = height * np.sin(a)
        return wide * r * np.cos(a), 0.06 + tall * h, -0.55 * r - lean * h - 0.3 * r * np.sin(a)

    shapes.append(chain([bow(a) for a in np.linspace(0.0, np.pi, 11)], rng.uniform(0.03, 0.045), wood, 0.02))
    for a in np.linspace(0.0, np.pi, int(rng.integers(6, 10)))[1:-1]:
        foot = (0.8 * wide * r * np.cos(a), 0.06, -0.8 * r)
        shapes.append(chain([foot, bow(a)], rng.uniform(0.014, 0.022), wood, 0.02))
    if rng.random() < 0.35:  # arms
        arm = [(s * r, 0.38 * tall, z) for s, z in ((-1, 0.5 * r), (-1, -0.5 * r), (1, -0.5 * r), (1, 0.5 * r))]
        for a, b in ((arm[0], arm[1]), (arm[3], arm[2])):
            shapes += [
                chain([a, b], 0.035, wood, 0.03),
                chain([a, (a[0] * 0.9, 0.06, a[2])], 0.025, wood, 0.03),
            ]
    return shapes


def _armchair(rng: np.random.Generator, wood: Paint, seat: Paint) -> list[Shape]:
    w, d, h = rng.uniform(0.45, 0.6), rng.uniform(0.42, 0.55), rng.uniform(0.6, 0.95)
    arm, base = rng.uniform(0.12, 0.2), rng.uniform(0.28, 0.4)
    shapes = [box((0, -base / 2, 0), (2 * w, base, 2 * d), seat, bias=-0.2)]
    cushion = seat._replace(colour=shade(seat.colour, rng.uniform(0.85, 1.25)))
    shapes.append(box((0, 0.07, 0.06), (2 * w - 2 * arm, 0.16, 2 * d - 0.1), cushion))
    shapes.append(box((0, h / 2, -d + 0.1), (2 * w - arm, h, 0.22), seat))
    for s in (-1, 1):
        top = rng.uniform(0.26, 0.34)
        shapes.append(box((s * (w - arm / 2), top / 2 - 0.05, 0.04), (arm, top + 0.1, 2 * d - 0.06), seat, bias=0.05))
        for z in (-d + 0.08, d - 0.08):
            shapes.append(chain([(s * (w - 0.08), -base, z), (s * (w - 0.08), -base - 0.22, z)], 0.045, wood, -0.4))
    return shapes


def _office(rng: np.random.Generator, metal: Paint, seat: Paint) -> list[Shape]:
    dark = Paint(hsv(0.6, 0.1, rng.uniform(0.08, 0.3)), gloss=0.3)
    w, tall = rng.uniform(0.38, 0.48), rng.uniform(0.7, 1.05)
    shapes = [
        box((0, 0, 0), (2 * w, 0.13, 2 * w), seat),
        chain([(0, 0, 0), (0, -0.6, 0)], 0.055, metal, -0.3),
    ]
    start = rng.uniform(0, 72)
    for a in np.deg2rad(start + 72 * np.arange(5)):
        end = (0.52 * np.cos(a), -0.72, 0.52 * np.sin(a))
        shapes.append(chain([(0, -0.6, 0), end], [0.05, 0.035], metal, -0.3))
        shapes.append(chain([(end[0], -0.78, end[2])], 0.06, dark, -0.3))
    shapes.append(chain([(0, 0.0, -w), (0, 0.3, -w - 0.08)], 0.05, metal))
    shapes.append(box((0, 0.2 + tall / 2, -w - 0.04), (2 * w - 0.08, tall, 0.1), seat))
    if rng.random() < 0.7:
        for s in (-1, 1):
            rest = [(s * w, 0, -0.1), (s * (w + 0.06), 0.28, -0.1), (s * (w + 0.06), 0.3, 0.25)]
            shapes.append(chain(rest, 0.04, dark))
    return shapes


def build(rng: np.random.Generator) -> Model:
    """A chair of one of four makes, seen from a little above, mostly from the front or the side."""
    frame, texture = _frame_paint(rng)
    make = (_dining, _dining, _bow, _armchair, _office)[rng.integers(5)]
    if make in (_dining, _bow) and rng.random() < 0.45:
        seat = frame
    else:
        seat, texture = Paint(any_colour(rng), any_colour(rng), rng.choice((0.0, 0.5)), 0.12), "cloth"
    # From behind, an armchair is only a block.
    yaw = rng.uniform(-75, 75) if make is _armchair or rng.random() < 0.75 else rng.uniform(75, 285)
    return Model(
        make(rng, frame, seat),
        View(yaw, rng.uniform(6, 30), rng.normal(0, 4)),
        texture,
        ("patches", "stripes")[rng.integers(2)],
    )
