"""Aeroplanes: airliners, propeller planes, biplanes and jets, in the air or on the ground, from many
sides."""

import numpy as np

from blendnet.data.sources._procedural.solid import (
    Model,
    Paint,
    Shape,
    View,
    any_colour,
    chain,
    hsv,
    moved,
    ring,
    sheet,
    tube,
)


def _wing(
    root: float,
    chord: float,
    span: float,
    sweep: float,
    taper: float,
    y: float,
    rise: float,
    paint: Paint,
    start: float = 0.05,
) -> list[Shape]:
    """Both wings: leading edge at x = root, swept back; rise lifts the tips."""
    wings = []
    for s in (-1, 1):
        tip = root - sweep
        corners = [
            (root, y, s * start),
            (tip, y + rise, s * span),
            (tip - taper * chord, y + rise, s * span),
            (root - chord, y, s * start),
        ]
        wings.append(sheet(corners, paint))
        # Seen along its plane a wing is still a line.
        wings.append(chain(corners[:2], [0.02, 0.01], paint))
    return wings


def _fin(x: float, chord: float, height: float, sweep: float, y: float, paint: Paint, z: float = 0.0) -> Shape:
    return sheet(
        [(x, y, z), (x - chord, y, z), (x - sweep - 0.55 * chord, y + height, z), (x - sweep, y + height, z)],
        paint,
    )


def _airliner(rng: np.random.Generator, skin: Paint, accent: Paint) -> list[Shape]:
    r = rng.uniform(0.085, 0.12)
    x = (-1.0, -0.75, -0.5, 0.7, 0.86, 0.96, 1.0)
    shapes = [
        tube(
            x, (0.02 * r, 0.5 * r, r, r, 0.82 * r, 0.45 * r, 0.05 * r), skin, y=(0.06, 0.04, 0, 0, -0.01, -0.02, -0.03)
        )
    ]
    sweep, span = rng.uniform(0.35, 0.6), rng.uniform(0.8, 1.05)
    shapes += _wing(0.28, rng.uniform(0.32, 0.42), span, sweep, 0.3, -0.4 * r, rng.uniform(0.03, 0.12), skin)
    tail = rng.random() < 0.25  # T-tail
    height = rng.uniform(0.26, 0.36)
    shapes.append(_fin(-0.7, 0.26, height, 0.2, 0.05, accent))
    shapes += _wing(-0.88 if tail else -0.76, 0.18, 0.36, 0.16, 0.5, height if tail else 0.06, 0.03, skin, 0.0)
    engine = Paint(accent.colour if rng.random() < 0.4 else hsv(0.6, 0.05, rng.uniform(0.4, 0.8)), gloss=0.4)
    for z in (0.3,) if rng.random() < 0.65 else (0.26, 0.52):
        back = sweep * z / span
        for s in (-1, 1):
            pod = tube((-0.12, -0.06, 0.1, 0.13), (0.03, 0.055, 0.055, 0.045), engine, sides=8)
            pod_at = (0.25 - back, -0.4 * r - 0.075, s * z) if not tail else (-0.5, 0.05, s * (r + 0.07))
            shapes += moved([pod, sheet(ring((0.131, 0, 0), 0.044, "x"), Paint((0.1, 0.1, 0.12)), 0.03, True)], pod_at)
    dark = Paint((0.1, 0.12, 0.18), grain=0.0)
    for s in (-1, 1):
        z, y = s * r * 0.98, 0.22 * r
        for wx in np.linspace(-0.5, 0.68, 15):
            pane = [
                (wx, y, z),
                (wx + 0.035, y, z),
                (wx + 0.035, y + 0.3 * r, z * 0.92),
                (wx, y + 0.3 * r, z * 0.92),
            ]
            shapes.append(sheet(pane[::s], dark, 0.08, True))
        stripe = [(-0.6, -0.3 * r, z), (0.72, -0.3 * r, z), (0.72, 0.02, z * 1.01), (-0.6, 0.02, z * 1.01)]
        if rng.random() < 0.6:
            shapes.append(sheet(stripe[::s], accent, 0.05, True))
        cockpit = [
            (0.84, 0.3 * r, s * 0.72 * r),
            (0.92, 0.25 * r, s * 0.5 * r),
            (0.9, 0.55 * r, s * 0.36 * r),
            (0.83, 0.65 * r, s * 0.5 * r),
        ]
        shapes.append(sheet(cockpit, dark, 0.1))
    return shapes


def _light(rng: np.random.Generator, skin: Paint, accent: Paint, biplane: bool) -> list[Shape]:
    r = rng.uniform(0.11, 0.15)
    shapes = [
        tube(
            (-0.95, -0.4, 0.1, 0.55, 0.72, 0.76),
            (0.03, 0.55 * r, r, r, 0.75 * r, 0.3 * r),
            skin,
            flat=1.15,
            y=(0.04, 0.02, 0, 0, 0, 0),
        )
    ]
    span, chord = rng.uniform(0.8, 1.05), rng.uniform(0.26, 0.34)
    levels: tuple[float, ...] = (-0.8 * r, 0.3) if biplane else ((1.15 * r,) if rng.random() < 0.5 else (-0.8 * r,))
    for y in levels:
        shapes += _wing(
            0.4,
            chord,
            span,
            rng.uniform(-0.02, 0.08),
            rng.uniform(0.6, 1.0),
            y,
            0.04,
            accent if biplane else skin,
            0.0,
        )
    strut = Paint((0.25, 0.2, 0.15))
    if biplane:
        for s in (-1, 1):
            for x in (0.34, 0.18):
                shapes.append(chain([(x, levels[0], s * 0.6), (x, levels[1], s * 0.6)], 0.012, strut))
                shapes.append(chain([(x, 0, s * 0.1), (x, levels[1], s * 0.15)], 0.012, strut))
    shapes.append(_fin(-0.74, 0.24, rng.uniform(0.22, 0.32), 0.1, 0.03, accent))
    shapes += _wing(-0.72, 0.2, 0.36, 0.05, 0.7, 0.05, 0, skin, 0.0)
    glass = Paint((0.2, 0.28, 0.38), gloss=0.6)
    shapes.append(chain([(0.02, r, 0), (0.2, 1.25 * r, 0), (0.3, r, 0)], 0.55 * r, glass, 0.02))
    blade, a = Paint((0.15, 0.13, 0.12)), rng.uniform(0, np.pi)
    for spin in (0, np.pi) if rng.random() < 0.6 else (0, 2.1, 4.2):
        tip = (0.79, 0.3 * np.cos(a + spin), 0.3 * np.sin(a + spin))
        shapes.append(chain([(0.79, 0, 0), tip], [0.03, 0.018], blade, 0.05))
    shapes.append(chain([(0.77, 0, 0)], 0.05, accent, 0.06))
    if rng.random() < 0.7:
        for x, z in ((0.42, -0.2), (0.42, 0.2)):
            shapes.append(chain([(x, -r, z * 0.5), (x, -r - 0.15, z)], 0.015, strut, -0.05))
            shapes.append(chain([(x, -r - 0.17, z)], 0.06, Paint((0.07, 0.07, 0.08)), -0.03))
    return shapes


def _jet(rng: np.random.Generator, skin: Paint, accent: Paint) -> list[Shape]:
    r = rng.uniform(0.09, 0.12)
    shapes = [tube((-0.9, -0.7, 0.2, 0.55, 0.85, 1.05), (0.8 * r, r, r, 0.85 * r, 0.4 * r, 0.01), skin)]
    span = rng.uniform(0.5, 0.7)
    shapes += _wing(0.3, rng.uniform(0.7, 0.9), span, rng.uniform(0.55, 0.75), 0.2, -0.02, 0, skin, 0.04)
    shapes += _wing(-0.6, 0.3, 0.38, 0.25, 0.4, 0, 0, skin, 0.04)
    twin = rng.random() < 0.5
    for z in (-0.09, 0.09) if twin else (0.0,):
        shapes.append(_fin(-0.5, 0.36, rng.uniform(0.25, 0.34), 0.25, 0.05, accent, z))
    shapes.append(
        chain(
            [(0.3, 0.9 * r, 0), (0.5, 1.0 * r, 0), (0.64, 0.6 * r, 0)],
            0.5 * r,
            Paint((0.15, 0.2, 0.3), gloss=0.6),
            0.03,
        )
    )
    shapes.append(
        sheet(
            ring((-0.905, 0, 0), 0.75 * r, "x")[::-1],
            Paint((0.9, 0.45, 0.15) if rng.random() < 0.4 else (0.08, 0.08, 0.08)),
            0.02,
            True,
        )
    )
    return shapes


def build(rng: np.random.Generator) -> Model:
    """A plane of one of four makes. Never straight along its axis, where nobody could tell it."""
    base = hsv(rng.random(), rng.uniform(0, 0.12), rng.uniform(0.6, 0.98)) if rng.random() < 0.5 else any_colour(rng)
    skin, accent = (
        Paint(base, grain=0.04, gloss=rng.uniform(0.1, 0.5)),
        Paint(any_colour(rng), grain=0.04, gloss=0.2),
    )
    kind = rng.integers(5)
    if kind < 2:
        shapes = _airliner(rng, skin, accent)
    elif kind < 4:
        shapes = _light(rng, skin, accent, biplane=rng.random() < 0.45)
    else:
        shapes = _jet(rng, skin, accent)
    yaw = rng.choice((0, 180)) + rng.uniform(-62, 62)
    pitch = rng.uniform(-35, 12) if rng.random() < 0.4 else rng.uniform(10, 65)
    return Model(shapes, View(yaw, pitch, rng.normal(0, 14)), "metal")
