"""Cats: round head, short muzzle, upright pointed ears, slit pupils, whiskers, long thin tail."""

import numpy as np

from blendnet.data.sources._procedural.animal import Build, body, coat, mounted
from blendnet.data.sources._procedural.solid import Model, Paint, Shape, View, chain, hsv, ring, shade, sheet


def _head(rng: np.random.Generator, fur: Paint, white: Paint) -> list[Shape]:
    """A head of radius one, looking along +z."""
    wide = rng.uniform(0.95, 1.12)
    shapes = [
        chain([(-0.32 * wide, -0.12, 0), (0.32 * wide, -0.12, 0)], 0.72, fur),
        chain([(0, 0.15, 0)], 0.82, fur),
    ]
    tall, spread = rng.uniform(1.35, 1.65), rng.uniform(0.75, 0.9)
    pink = Paint(hsv(0.98, rng.uniform(0.2, 0.45), rng.uniform(0.55, 0.85)))
    for s in (-1, 1):
        ear = np.array([(s * 0.95, 0.3, -0.05), (s * spread, tall, 0), (s * 0.14, 0.82, 0.05)])
        shapes.append(sheet(ear, fur, -0.05))
        inner = ear.mean(0) + (ear - ear.mean(0)) * 0.6 + [0, -0.03, 0.03]
        shapes.append(sheet(inner, pink, -0.02))
    for s in (-1, 1):
        shapes.append(chain([(s * 0.17, -0.36, 0.78)], 0.25, white, 0.1))
    shapes.append(chain([(0, -0.55, 0.7)], 0.18, white, 0.05))
    nose = Paint(hsv(0.99, 0.45, rng.uniform(0.2, 0.8)))
    shapes.append(sheet([(-0.13, -0.16, 1.0), (0.13, -0.16, 1.0), (0, -0.32, 1.04)], nose, 0.25))
    dark = Paint((0.05, 0.04, 0.05), grain=0, lit=False)
    shapes.append(
        chain(
            [
                (-0.26, -0.44, 0.96),
                (-0.14, -0.52, 0.99),
                (0, -0.38, 1.03),
                (0.14, -0.52, 0.99),
                (0.26, -0.44, 0.96),
            ],
            0.025,
            dark,
            0.24,
        )
    )
    iris = Paint(
        hsv(
            rng.choice((0.12, 0.17, 0.28, 0.33, 0.55)) + rng.normal(0, 0.02),
            rng.uniform(0.5, 0.9),
            rng.uniform(0.6, 0.95),
        ),
        grain=0,
    )
    pupil, open_ = rng.uniform(0.04, 0.12), rng.uniform(0.6, 0.95)
    for s in (-1, 1):
        eye = np.array([s * 0.36, 0.08, 0.76])
        shapes.append(sheet(ring(eye, 0.25, squash=open_), dark, 0.2))
        shapes.append(sheet(ring(eye + [0, 0, 0.01], 0.21, squash=open_), iris, 0.22))
        shapes.append(
            sheet(ring(eye + [0, 0, 0.02], 0.17 * open_, squash=1.0) * [1, 1, 1], dark, 0.24)
            if pupil > 0.1
            else chain([eye + [0, -0.1 * open_, 0.02], eye + [0, 0.1 * open_, 0.02]], pupil, dark, 0.24)
        )
        shapes.append(chain([eye + [0.06, 0.08, 0.05]], 0.035, Paint((1, 1, 1), grain=0, lit=False), 0.26))
        hair = Paint(shade(fur.colour, 1.6) if rng.random() < 0.5 else (0.85, 0.85, 0.85), grain=0, lit=False)
        for lift in (-0.18, -0.02, 0.12):
            tip = (s * 1.25, -0.4 + lift * 2.2, 0.6)
            shapes.append(chain([(s * 0.25, -0.36 + lift * 0.4, 0.98), tip], [0.014, 0.008], hair, 0.27))
    return shapes


def _tail(rng: np.random.Generator, posture: str) -> np.ndarray:
    t = np.linspace(0, 1, 7)
    if posture == "sitting":
        swing = rng.uniform(0.5, 1.0)
        return np.stack([-0.45 * np.sin(np.pi * t * 0.8) + 0.5 * t * swing, 0.02 * t, 0.75 * t], 1)
    if posture == "lying":
        return np.stack([-0.3 * np.sin(np.pi * t) + 0.5 * t, -0.2 * t, 0.7 * t], 1)
    curl, up = rng.uniform(-0.35, 0.5), rng.uniform(0.6, 1.15)
    return np.stack([-0.45 * np.sin(np.pi * t * 0.5) - curl * t**3, up * t**1.4, 0 * t], 1)


def build(rng: np.random.Generator) -> Model:
    """A cat that sits, stands, walks or lies, or its head alone."""
    base, other = coat(rng)
    marking = ("stripes", "stripes", "patches", "plain")[rng.integers(4)]
    alt = shade(base, rng.uniform(0.4, 0.65)) if marking == "stripes" else other
    fur = Paint(base, alt, rng.uniform(0.5, 1.0), 0.14)
    white = Paint(hsv(0.09, 0.08, 0.92), grain=0.1) if rng.random() < 0.6 else Paint(shade(base, 1.3), grain=0.1)
    head = _head(rng, fur, white)
    gaze = (rng.normal(0, 22), rng.normal(4, 9), rng.normal(0, 9))
    posture = ("sitting", "sitting", "standing", "walking", "lying", "head")[rng.integers(6)]
    view_yaw = rng.choice((0, 180)) + rng.uniform(-75, 75)
    if posture == "sitting":
        view_yaw = rng.uniform(-90, -20) if rng.random() < 0.5 else rng.uniform(-160, -90)
    pitch = rng.uniform(0, 18)
    if posture == "head":
        shoulders = chain([(0, -0.9, -0.5), (0, -1.75, -0.5)], [0.75, rng.uniform(0.95, 1.2)], fur, -1)
        ruff = Paint(white.colour, grain=0.14)
        shapes = [shoulders, chain([(0, -1.25, 0.05)], 0.5, ruff, -0.6), *head]
        return Model(shapes, View(gaze[0], gaze[1] + 4, gaze[2]), "fur", marking)
    b = Build(
        rng.uniform(0.26, 0.32),
        rng.uniform(0.25, 0.33),
        rng.uniform(0.62, 0.78),
        rng.uniform(0.07, 0.09),
        rng.uniform(0.18, 0.28),
        0.36,
    )
    tail_radii = np.linspace(0.075, 0.055, 7) * rng.uniform(0.9, 1.5)
    shapes, at = body(rng, posture, b, fur, _tail(rng, posture), tail_radii, white)
    shapes += mounted(head, at, rng.uniform(0.34, 0.42), gaze, view_yaw)
    return Model(shapes, View(view_yaw, pitch, rng.normal(0, 5)), "fur", marking)
