"""Cars: saloon, hatchback, estate, van, pickup and sports car, from every side."""

import numpy as np

from blendnet.data.sources._procedural.solid import (
    Model,
    Paint,
    Shape,
    View,
    any_colour,
    hsv,
    prism,
    ring,
    shade,
    sheet,
)

# Front is +x. Heights, and the cabin's base and roof along x, in units of half the length.
_MAKES = {
    # name: (bonnet height, boot height, cabin base rear/front, roof rear/front, roof height, width)
    "saloon": (0.30, 0.32, -0.72, 0.52, -0.42, 0.18, 0.60, 0.38),
    "hatchback": (0.31, 0.38, -0.93, 0.55, -0.72, 0.20, 0.66, 0.40),
    "estate": (0.30, 0.36, -0.96, 0.52, -0.86, 0.20, 0.62, 0.38),
    "van": (0.36, 0.44, -0.98, 0.82, -0.95, 0.50, 0.86, 0.42),
    "pickup": (0.36, 0.38, -0.12, 0.52, -0.06, 0.24, 0.72, 0.42),
    "sports": (0.25, 0.30, -0.70, 0.42, -0.34, 0.04, 0.47, 0.40),
}


def _wheel(x: float, z: float, r: float, side: int, rim: Paint, spokes: int) -> list[Shape]:
    tyre, inner = Paint((0.06, 0.06, 0.07), grain=0.1), z - side * 0.14
    z0, z1 = min(z, inner), max(z, inner)
    circle = ring((x, r, 0), r)[:, :2]
    # The body hides the tyres' upper halves; the discs lie on its sides, where culling keeps them.
    shapes = prism(circle, z0, z1, tyre, tyre, bias=-2.0)
    face = z + side * 0.005
    hub = Paint((0.15, 0.15, 0.16))
    for radius, paint, bias in ((r, tyre, 0.08), (0.66 * r, rim, 0.1), (0.2 * r, hub, 0.14)):
        disc = ring((x, r, face), radius)
        shapes.append(sheet(disc if side > 0 else disc[::-1], paint, bias, True))
    for a in np.linspace(0, 2 * np.pi, spokes, endpoint=False):  # gaps between the spokes
        mid = np.array([x + 0.43 * r * np.cos(a), r + 0.43 * r * np.sin(a), face])
        hole = ring(mid, 0.11 * r, sides=5)
        shapes.append(sheet(hole if side > 0 else hole[::-1], Paint((0.08, 0.08, 0.09)), 0.12, True))
    return shapes


def build(rng: np.random.Generator) -> Model:
    """A car of one of six makes on its wheels, seen from street height or a little above."""
    make = tuple(_MAKES)[rng.integers(len(_MAKES))]
    jitter = rng.normal(0, 0.02, 8)
    bonnet, boot, base0, base1, roof0, roof1, top, w = (v + j for v, j in zip(_MAKES[make], jitter))
    sill, r = 0.12 + rng.uniform(-0.02, 0.03), rng.uniform(0.16, 0.2)
    colour = any_colour(rng)
    body = Paint(colour, grain=0.03, gloss=rng.uniform(0.2, 0.6))
    glass = Paint(hsv(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.4), rng.uniform(0.12, 0.5)), grain=0.02, gloss=0.5)
    trim = Paint(hsv(0.6, 0.1, rng.uniform(0.06, 0.2)))
    metal = Paint(hsv(0.6, 0.05, rng.uniform(0.5, 0.9)), gloss=0.4)
    belt = (bonnet + boot) / 2 + 0.03
    outline = [
        (-0.97, sill),
        (0.95, sill),
        (1.0, sill + 0.08),
        (0.97, bonnet - 0.04),
        (0.86, bonnet),
        (base1, belt),
        (base0, belt),
        (-0.95, boot),
        (-1.0, boot - 0.08),
    ]
    shapes = prism(outline, -w, w, body, body)
    n = w * rng.uniform(0.76, 0.86)  # the roof is narrower than the body
    low = [(base0, belt), (base1, belt)]
    high = [(roof0, top), (roof1, top)]
    roof = [(roof0, top, n), (roof1, top, n), (roof1, top, -n), (roof0, top, -n)]
    shapes.append(sheet(roof, body, 0.03, True))
    (b0, yb), (b1, _), (t0, yt), (t1, _) = *low, *high
    windscreen = ((b1, yb, w), (b1, yb, -w), (t1, yt, -n), (t1, yt, n))
    rear = ((b0, yb, -w), (b0, yb, w), (t0, yt, n), (t0, yt, -n))
    left = ((b0, yb, w), (b1, yb, w), (t1, yt, n), (t0, yt, n))
    for pane in (windscreen, rear, left, tuple((x, y, -z) for x, y, z in left[::-1])):
        face = np.asarray(pane)
        shapes.append(sheet(face, body, 0.02, True))
        centre = face.mean(0)
        shapes.append(sheet(centre + (face - centre) * np.array([0.86, 0.82, 0.86]) + [0, 0.01, 0], glass, 0.06, True))
    for s in (1, -1):
        z = s * (w + 0.004)
        order = slice(None, None, s)
        for x in np.linspace(b0, b1, 4)[1:3] if make not in ("pickup", "sports") else [(b0 + b1) / 2]:
            top_x = t0 + (x - b0) / (b1 - b0) * (t1 - t0)
            pillar = [
                (x - 0.02, yb, z),
                (x + 0.02, yb, z),
                (top_x + 0.02, yt, s * n),
                (top_x - 0.02, yt, s * n),
            ]
            shapes.append(sheet(pillar[order], body, 0.09, True))
            seam = [(x - 0.006, sill, z), (x + 0.006, sill, z), (x + 0.006, yb, z), (x - 0.006, yb, z)]
            shapes.append(sheet(seam[order], Paint(shade(colour, 0.5)), 0.05, True))
            grip = [
                (x - 0.1, belt - 0.08, z),
                (x - 0.03, belt - 0.08, z),
                (x - 0.03, belt - 0.06, z),
                (x - 0.1, belt - 0.06, z),
            ]
            shapes.append(sheet(grip[order], metal, 0.06, True))
        if make == "van" and rng.random() < 0.5:
            panel = [
                (b0 + 0.03, yb - 0.02, z),
                (0.2, yb - 0.02, z),
                (0.2, yt - 0.02, s * (n + 0.01)),
                (b0 + 0.05, yt - 0.02, s * (n + 0.01)),
            ]
            shapes.append(sheet(panel[order], body, 0.1, True))
        skirt = [
            (-0.95, sill - 0.02, z),
            (0.95, sill - 0.02, z),
            (0.95, sill + 0.05, z),
            (-0.95, sill + 0.05, z),
        ]
        shapes.append(sheet(skirt[order], trim, 0.04, True))
        for x in (-0.62, 0.62):
            arch = ring((x, r, z), r * 1.22)
            shapes.append(sheet(arch[order], trim, 0.06, True))
    spokes = int(rng.integers(4, 8))
    wheels = [_wheel(x, s * (w + 0.015), r, s, metal, spokes) for x in (-0.62, 0.62) for s in (-1, 1)]
    for front, x in ((1, 1.004), (-1, -1.004)):
        lamp = Paint((0.98, 0.96, 0.85) if front > 0 else (0.75, 0.08, 0.06), grain=0.0, gloss=0.5)
        y1 = (bonnet if front > 0 else boot) - 0.07
        for s in (-1, 1):
            a, b = sorted((s * 0.95 * w, s * 0.6 * w))
            corners = [(x, y1 - 0.09, b), (x, y1 - 0.09, a), (x, y1, a), (x, y1, b)]
            shapes.append(sheet(corners[::front], lamp, 0.1, True))
            zs = s * (w + 0.006)
            side = [
                (x * 0.9, y1 - 0.08, zs),
                (x * 0.99, y1 - 0.08, zs),
                (x * 0.97, y1, zs),
                (x * 0.9, y1, zs),
            ]
            shapes.append(sheet(side[:: s * front], lamp, 0.1, True))
        for paint, y0, h, z in (
            (trim, y1 - 0.08, 0.07, 0.5 * w),
            (trim, sill, 0.07, 0.96 * w),
            (Paint((0.9, 0.9, 0.85)), sill + 0.05, 0.05, 0.22 * w),
        ):
            bar = [(x, y0, z), (x, y0, -z), (x, y0 + h, -z), (x, y0 + h, z)]
            shapes.append(sheet(bar[::front], paint, 0.11, True))
    shapes += [s for wheel in wheels for s in wheel]
    yaw = rng.uniform(0, 360)
    return Model(shapes, View(yaw, rng.uniform(2, 20), rng.normal(0, 4)), "metal")
