"""Boats: sailing boats with one or two masts, ferries and cargo ships, motor boats, fishing boats."""

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
    shade,
    sheet,
    tube,
)


def _hull(
    rng: np.random.Generator,
    width: float,
    height: float,
    paint: Paint,
    deck: Paint,
    stripe: Paint,
    stern: float = 0.75,
    sheer: float = 0.12,
) -> list[Shape]:
    """From stern x = -1 to bow x = 1, waterline at y = 0."""
    x = np.array([-1.0, -0.6, -0.1, 0.35, 0.7, 0.9, 1.0])
    half = width * np.array([stern, 0.95, 1.0, 0.88, 0.55, 0.22, 0.015])
    lift = height * (1 + sheer * 2.2 * np.clip(x, -0.4, 1) ** 2 * np.where(x > 0, 1.6, 0.6))
    rake = np.array([0, 0, 0, 0, 0.02, 0.06, 0.12])

    def row(level: float, narrow: float) -> list[np.ndarray]:
        y = lift * level
        xs = x + rake * level
        return [np.stack([xs, y, half * narrow], 1), np.stack([xs, y, -half * narrow], 1)]

    (low_l, low_r), (mid_l, mid_r), (top_l, top_r) = row(0, 0.72), row(0.72, 0.95), row(1, 1)
    rings = np.stack([low_r, low_l, mid_l, top_l, top_r, mid_r], 1)
    skin = loft(rings, paint)
    quads = skin.points.reshape(len(x) - 1, 6, 4, 3)
    shapes = [
        skin._replace(points=quads[:, [0, 1, 5]].reshape(-1, 4, 3)),
        skin._replace(points=quads[:, [2, 4]].reshape(-1, 4, 3), paint=stripe, bias=0.001),
        skin._replace(points=quads[:, 3], paint=deck, bias=0.002),
        sheet(rings[0][::-1], paint, 0.003, True),
    ]
    return shapes


def _water(rng: np.random.Generator, width: float) -> list[Shape]:
    """Foam and ripples round the waterline: part of the boat, not of the background."""
    foam = Paint(hsv(rng.uniform(0.5, 0.6), rng.uniform(0, 0.25), rng.uniform(0.75, 1)), grain=0.2)
    sea = Paint(hsv(rng.uniform(0.45, 0.65), rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.6)), grain=0.25, gloss=0.2)
    shapes = []
    a = np.linspace(0, 2 * np.pi, 26, endpoint=False)
    for reach, paint, bias in ((1.0, sea, -3.0), (0.86, foam, -2.9), (0.8, sea, -2.8)):
        wobble = 1 + rng.normal(0, 0.04, len(a))
        patch = np.stack(
            [1.35 * reach * np.cos(a) * wobble, -0.01 + 0 * a, (width + 0.42 * reach) * np.sin(a) * wobble], 1
        )
        shapes.append(sheet(patch, paint, bias))
    for _ in range(rng.integers(3, 8)):
        x, z, n = (
            rng.uniform(-1.1, 1.1),
            rng.uniform(width, width + 0.35) * rng.choice((-1, 1)),
            rng.uniform(0.08, 0.3),
        )
        shapes.append(sheet([(x - n, 0, z), (x, 0, z + 0.025), (x + n, 0, z), (x, 0, z - 0.025)], foam, -2.7))
    return shapes


def _sails(rng: np.random.Generator, deck: float) -> list[Shape]:
    cloth = Paint(
        any_colour(rng)
        if rng.random() < 0.45
        else hsv(rng.uniform(0.08, 0.6), rng.uniform(0, 0.15), rng.uniform(0.8, 1)),
        any_colour(rng),
        0.6 if rng.random() < 0.3 else 0.0,
        0.06,
    )
    jib = cloth if rng.random() < 0.6 else Paint(any_colour(rng))
    wood = Paint(hsv(0.08, 0.5, rng.uniform(0.2, 0.6)))
    shapes: list[Shape] = []
    masts = (0.15,) if rng.random() < 0.6 else (-0.35, 0.3)
    belly, tall = rng.uniform(0.05, 0.22) * rng.choice((-1, 1)), rng.uniform(1.3, 2.1)
    for i, x in enumerate(masts):
        top = tall * (1 if i == len(masts) - 1 else rng.uniform(0.7, 0.95))
        shapes.append(chain([(x, deck, 0), (x, deck + top, 0)], 0.022, wood, 0.01))
        boom = 0.95 if len(masts) == 1 else 0.55
        foot = deck + 0.12
        curve = np.linspace(0, 1, 6)
        leech = [
            (x - boom * (1 - t) - 0.06 * np.sin(np.pi * t), foot + (top - 0.15) * t, belly * (1 - t)) for t in curve
        ]
        shapes.append(sheet([(x, foot, 0), *leech, (x, deck + top, 0)], cloth))
        shapes.append(chain([(x, foot, 0), (x - boom, foot, belly)], 0.018, wood, 0.01))
    x, tack = masts[-1], rng.uniform(0.95, 1.1)
    clew = (x + 0.1, deck + 0.1, belly * 0.8)
    shapes.append(
        sheet([(tack, deck + 0.05, 0), (x + 0.02, deck + tall * rng.uniform(0.75, 0.95), 0), clew], jib, 0.01)
    )
    return shapes


def _ferry(rng: np.random.Generator, deck: float, width: float) -> list[Shape]:
    white = Paint(hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.75, 1)), grain=0.03)
    dark, funnel = Paint((0.1, 0.13, 0.2), grain=0.0, gloss=0.3), Paint(any_colour(rng))
    shapes, y, x0, x1 = [], deck, -0.9, 0.55
    cargo = rng.random() < 0.35
    if cargo:
        x0, x1 = -0.92, -0.5
        for x in np.arange(-0.4, 0.6, 0.2):
            for level in range(rng.integers(1, 4)):
                tone = Paint(any_colour(rng))
                shapes.append(box((x, y + 0.09 + 0.15 * level, 0), (0.185, 0.145, 1.5 * width), tone, 0.05 * level))
    for floor in range(rng.integers(2, 4) + cargo):
        h, w = rng.uniform(0.13, 0.19), width * (0.86 - 0.1 * floor)
        shapes.append(box(((x0 + x1) / 2, y + h / 2, 0), (x1 - x0, h, 2 * w), white, 0.1 * floor))
        for s in (-1, 1):
            z = s * (w + 0.004)
            for x in np.arange(x0 + 0.04, x1 - 0.06, 0.12):
                pane = [
                    (x, y + 0.3 * h, z),
                    (x + 0.07, y + 0.3 * h, z),
                    (x + 0.07, y + 0.75 * h, z),
                    (x, y + 0.75 * h, z),
                ]
                shapes.append(sheet(pane[::s], dark, 0.15 + 0.1 * floor, True))
        front = [
            (x1 + 0.004, y + 0.35 * h, w * 0.9),
            (x1 + 0.004, y + 0.35 * h, -w * 0.9),
            (x1 + 0.004, y + 0.8 * h, -w * 0.9),
            (x1 + 0.004, y + 0.8 * h, w * 0.9),
        ]
        shapes.append(sheet(front, dark, 0.2 + 0.1 * floor, True))
        y, x0, x1 = y + h, x0 + rng.uniform(0.02, 0.15), x1 - rng.uniform(0.08, 0.2) * (0.3 if cargo else 1)
    for x in ((x0 + x1) / 2,) if rng.random() < 0.6 else (x0 + 0.15, x1 - 0.15):
        stack = tube((0, 0.2, 0.21, 0.28), (0.08, 0.08, 0.085, 0.085), funnel, sides=8)
        points = stack.points[..., [1, 0, 2]] * [1, 1, -1] + [x, y, 0]
        shapes.append(stack._replace(points=points, bias=0.4))
    shapes.append(chain([(x1, y, 0), (x1, y + rng.uniform(0.2, 0.45), 0)], 0.012, dark, 0.4))
    return shapes


def _motor(rng: np.random.Generator, deck: float, width: float) -> list[Shape]:
    white, dark = Paint(any_colour(rng)), Paint((0.1, 0.14, 0.2), gloss=0.6)
    fishing = rng.random() < 0.5
    h, x0, x1 = rng.uniform(0.25, 0.45), *((-0.75, -0.25) if fishing else (-0.35, 0.3))
    lean = 0.05 if fishing else 0.22
    w = width * 0.7
    low = [(x0, deck, w), (x1, deck, w), (x1, deck, -w), (x0, deck, -w)]
    high = [
        (x0 + 0.04, deck + h, w * 0.85),
        (x1 - lean, deck + h, w * 0.85),
        (x1 - lean, deck + h, -w * 0.85),
        (x0 + 0.04, deck + h, -w * 0.85),
    ]
    cabin = loft(np.array([low, high]), white, 0.1)
    shapes = [cabin, sheet(high, white, 0.12, True)]
    centre = cabin.points.mean(1, keepdims=True)
    panes = centre + (cabin.points - centre) * 0.72 + [0, 0.02, 0]
    shapes.append(cabin._replace(points=panes, paint=dark, bias=0.14))
    if fishing:
        mast = rng.uniform(0.6, 1.0)
        shapes.append(chain([(0.05, deck, 0), (0.05, deck + mast, 0)], 0.025, dark, 0.1))
        shapes.append(chain([(0.05, deck + 0.2, 0), (0.7, deck + mast * 0.8, 0)], 0.016, dark, 0.1))
    else:
        shapes.append(
            chain(
                [(0.4, deck + 0.08, -w), (0.85, deck + 0.16, 0), (0.4, deck + 0.08, w)],
                0.012,
                Paint((0.8, 0.8, 0.85)),
                0.1,
            )
        )
    return shapes


def build(rng: np.random.Generator) -> Model:
    """A boat on a patch of its own water."""
    paint = Paint(any_colour(rng), grain=0.04, gloss=0.2)
    stripe = paint if rng.random() < 0.4 else Paint(any_colour(rng), gloss=0.2)
    deck = Paint(hsv(rng.uniform(0.06, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.85)))
    kind = rng.integers(5)
    if kind < 2:
        width, height = rng.uniform(0.22, 0.3), rng.uniform(0.16, 0.26)
        shapes = _hull(rng, width, height, paint, deck, stripe, rng.uniform(0.4, 0.7)) + _sails(rng, height)
    elif kind < 4:
        width, height = rng.uniform(0.18, 0.26), rng.uniform(0.18, 0.28)
        shapes = _hull(rng, width, height, paint, deck, stripe, 0.9, 0.08) + _ferry(rng, height, width)
    else:
        width, height = rng.uniform(0.28, 0.36), rng.uniform(0.2, 0.3)
        shapes = _hull(rng, width, height, paint, Paint(shade(deck.colour, 0.9)), stripe, 0.85, 0.2)
        shapes += _motor(rng, height, width)
    if rng.random() < 0.85:
        shapes = _water(rng, width) + shapes
    yaw = rng.choice((0, 180)) + rng.uniform(-60, 60)
    return Model(shapes, View(yaw, rng.uniform(4, 20), rng.normal(0, 5)), "smooth", "stripes")
