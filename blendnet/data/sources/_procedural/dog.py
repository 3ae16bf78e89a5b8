"""Dogs: long muzzle with a large dark nose, hanging or large folded ears, long legs, deep chest, tongue,
collar."""

import numpy as np

from blendnet.data.sources._procedural.animal import Build, body, coat, mounted
from blendnet.data.sources._procedural.solid import (
    Model,
    Paint,
    Shape,
    View,
    any_colour,
    chain,
    hsv,
    shade,
    sheet,
)


def _head(rng: np.random.Generator, fur: Paint, ear: Paint, muzzle: Paint) -> list[Shape]:
    """A head of radius about one, looking along +z: a skull and a muzzle that stands out well before it."""
    length, deep = rng.uniform(0.95, 1.5), rng.uniform(0.36, 0.48)
    shapes = [chain([(0, 0.25, -0.1), (0, 0.05, 0.15)], [0.78, 0.72], fur)]
    tip = np.array([0, -0.38, 0.45 + length])
    shapes.append(chain([(0.0, -0.2, 0.4), tuple(tip)], [0.52, deep], muzzle, 0.15))
    dark = Paint((0.05, 0.04, 0.05), grain=0, gloss=0.5)
    jaw = chain(
        np.array([(0, -0.6, 0.3), tip + [0, -0.36, -0.2]]),
        [0.36, deep * 0.62],
        Paint(shade(muzzle.colour, 0.8), grain=0.1),
        0.05,
    )
    shapes.append(jaw)
    if rng.random() < 0.55:
        tongue = Paint(hsv(0.97, rng.uniform(0.4, 0.65), 0.85), grain=0.03)
        shapes.append(
            chain(
                [tip + [0, -0.4, -0.08], tip + [rng.uniform(-0.15, 0.15), -0.85, -0.05]],
                [0.16, 0.2],
                tongue,
                0.25,
            )
        )
    shapes.append(chain([tip + [-0.1, 0.16, 0.26], tip + [0.1, 0.16, 0.26]], 0.19, dark, 0.4))
    shapes.append(
        chain([tip + [-0.26, -0.24, 0.2], tip + [0, -0.16, 0.32], tip + [0.26, -0.24, 0.2]], 0.035, dark, 0.38)
    )
    shine = Paint((1, 1, 1), grain=0, lit=False)
    shapes.append(chain([tip + [0.04, 0.24, 0.4]], 0.05, shine, 0.45))
    brown = Paint(hsv(0.06, 0.7, rng.uniform(0.15, 0.4)), grain=0)
    for s in (-1, 1):
        eye = np.array([s * 0.36, 0.3, 0.68])
        shapes += [
            chain([eye], 0.15, dark, 0.2),
            chain([eye + [0, 0, 0.06]], 0.115, brown, 0.22),
            chain([eye + [0, 0, 0.1]], 0.07, dark, 0.23),
            chain([eye + [0.05, 0.06, 0.14]], 0.04, shine, 0.25),
        ]
    style = rng.integers(4)
    for s in (-1, 1):
        if style <= 1:  # hanging
            drop, out = rng.uniform(0.9, 1.5), rng.uniform(0.95, 1.15)
            shapes.append(
                chain(
                    [(s * 0.6, 0.75, -0.1), (s * out, 0.35, 0.0), (s * (out + 0.05), 0.6 - drop, 0.1)],
                    [0.2, 0.3, 0.26],
                    ear,
                    0.1,
                )
            )
        elif style == 2:  # folded over
            corners = [
                (s * 0.35, 0.9, 0.1),
                (s * 0.75, 1.15, 0),
                (s * 1.2, 0.75, 0.2),
                (s * 1.05, 0.25, 0.4),
                (s * 0.75, 0.6, 0.3),
            ]
            shapes.append(sheet(corners, ear, 0.1))
        else:  # upright, as in a shepherd: narrow and high on the skull
            point = np.array([(s * 0.2, 0.85, 0), (s * 0.5, 1.75, -0.1), (s * 0.82, 0.55, -0.1)])
            shapes.append(sheet(point, ear, -0.05))
            shapes.append(
                sheet(
                    point.mean(0) + (point - point.mean(0)) * 0.55 + [0, 0, 0.05],
                    Paint(shade(ear.colour, 0.55)),
                    -0.02,
                )
            )
    return shapes


def _tail(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0, 1, 6)
    kind = rng.integers(3)
    if kind == 0:  # raised sabre
        tail = np.stack([-0.4 * t, 0.6 * t**0.8, 0.05 * t], 1)
    elif kind == 1:  # curled over the back
        tail = np.stack([-0.22 * np.sin(np.pi * t * 1.2), 0.38 * np.sin(np.pi * t * 0.6), 0.05 * t], 1)
    else:  # short, or hanging
        tail = np.stack([-0.3 * t, rng.choice((-0.55, 0.12)) * t**1.2, 0 * t], 1)
    return tail, np.linspace(0.1, 0.03 if rng.random() < 0.6 else 0.1, 6)


def build(rng: np.random.Generator) -> Model:
    """A dog that stands, walks, sits or lies, or its head alone."""
    base, other = coat(rng)
    marking = ("patches", "spots", "saddle", "plain", "plain")[rng.integers(5)]
    fur = Paint(base, other, rng.uniform(0.6, 1.0), 0.12)
    ear = Paint(other if rng.random() < 0.5 else shade(base, rng.uniform(0.5, 0.85)), grain=0.12)
    pale = Paint(hsv(0.09, rng.uniform(0.05, 0.3), rng.uniform(0.75, 0.95)), grain=0.1)
    muzzle = pale if rng.random() < 0.4 else Paint(shade(base, rng.uniform(0.75, 1.2)), grain=0.12)
    head = _head(rng, fur, ear, muzzle)
    side = rng.choice((-1, 1))
    gaze = (side * rng.uniform(12, 75), rng.normal(6, 9), rng.normal(0, 8))
    posture = ("standing", "standing", "walking", "sitting", "lying", "head")[rng.integers(6)]
    collar = Paint(any_colour(rng), gloss=0.3) if rng.random() < 0.6 else None
    if posture == "head":
        shapes = [chain([(0, -0.3, -0.4), (0, -1.8, -0.9)], [0.72, 1.15], fur, -1), *head]
        if collar:
            shapes.append(chain([(-0.62, -1.0, -0.1), (0, -1.2, 0.1), (0.62, -1.0, -0.1)], 0.13, collar, -0.6))
        return Model(shapes, View(gaze[0] * 0.75, gaze[1] + 3, gaze[2]), "fur", marking)
    view_yaw = (
        -50 * side + rng.uniform(-45, 40) if posture == "sitting" else (0 if side > 0 else 180) + rng.uniform(-60, 60)
    )
    if posture == "sitting":
        view_yaw = (-25 if side > 0 else -155) + rng.uniform(-30, 30)
    b = Build(
        rng.uniform(0.3, 0.38),
        rng.uniform(0.22, 0.3),
        rng.uniform(0.85, 1.15),
        rng.uniform(0.075, 0.1),
        rng.uniform(0.3, 0.48),
        0.32,
    )
    tail, radii = _tail(rng)
    shapes, at = body(rng, posture, b, fur, tail, radii, fur if rng.random() < 0.6 else pale)
    if collar:
        throat = at + [-0.12, -0.22, 0]
        shapes.append(chain([throat + [-0.1, 0.06, 0.24], throat + [0.1, -0.02, 0.24]], 0.06, collar, 0.35))
    shapes += mounted(head, at, rng.uniform(0.3, 0.37), gaze, view_yaw)
    return Model(shapes, View(view_yaw, rng.uniform(0, 16), rng.normal(0, 5)), "fur", marking)
