"""Human faces: skin, hair, expression, age marks, beard, glasses and hats vary; head turned up to 45
degrees."""

import numpy as np

from blendnet.data.sources._procedural.skull import Skull, beard_on, hair_on, hat_on
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


def _oval(x: float, y: float, w: float, h: float, sides: int = 14) -> tuple[np.ndarray, np.ndarray]:
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    return x + w * np.cos(a), y + h * np.sin(a)


def _eyes(rng: np.random.Generator, skull: Skull, hair: Paint, skin: Paint) -> list[Shape]:
    white, dark = Paint((0.95, 0.94, 0.92), grain=0), Paint((0.04, 0.03, 0.03), grain=0, lit=False)
    iris = Paint(
        hsv(*((0.07, 0.7, 0.3), (0.57, 0.5, 0.6), (0.3, 0.4, 0.45), (0.08, 0.6, 0.15))[rng.integers(4)]),
        grain=0,
    )
    gap, y, w, h = (
        rng.uniform(0.3, 0.36),
        rng.uniform(0.06, 0.14),
        rng.uniform(0.15, 0.19),
        rng.uniform(0.065, 0.105),
    )
    look, brow, tilt = rng.uniform(-0.04, 0.04), rng.uniform(0.16, 0.23), rng.normal(0, 0.04)
    thick = rng.uniform(0.02, 0.045)
    shapes = []
    for s in (-1, 1):
        shapes.append(
            skull.patch(*_oval(s * gap, y + 0.02, w * 1.3, h * 1.9), Paint(shade(skin.colour, 0.82), grain=0.03), 1.0)
        )
        shapes.append(skull.patch(*_oval(s * gap, y, w, h), white, 1.1))
        shapes.append(skull.patch(*_oval(s * gap + look, y, h * 0.95, h * 0.95), iris, 1.2))
        shapes.append(skull.patch(*_oval(s * gap + look, y, h * 0.5, h * 0.5), dark, 1.25))
        lid = skull.on(s * gap + w * np.linspace(-1, 1, 5), y + h * np.array([0.1, 0.85, 1.05, 0.85, 0.1]), 1.02)
        shapes.append(chain(lid, 0.018, dark, 1.3))
        line = skull.on(s * (gap + w * np.array([-1.1, 0, 1.2])), y + brow + np.array([-tilt, 0.03, tilt]), 1.02)
        shapes.append(chain(line, [thick, thick, thick * 0.6], hair._replace(grain=0.05), 1.3))
    if rng.random() < 0.22:
        frame = Paint(any_colour(rng) if rng.random() < 0.4 else (0.08, 0.07, 0.07), gloss=0.4)
        for s in (-1, 1):
            rim = skull.on(*_oval(s * gap, y, w * 1.45, h * 2.3, 13), 1.12)
            shapes.append(chain(np.vstack([rim, rim[:1]]), 0.02, frame, 1.5))
        shapes.append(
            chain(skull.on(np.array([-gap + w * 1.4, gap - w * 1.4]), np.array([y, y]), 1.12), 0.02, frame, 1.5)
        )
    return shapes


def _nose_mouth(rng: np.random.Generator, skull: Skull, skin: Paint) -> list[Shape]:
    dark, lip_tone = Paint(shade(skin.colour, 0.45), grain=0), shade(skin.colour, 0.75)
    red = rng.uniform(0, 0.45)
    lip = Paint(
        (min(lip_tone[0] + 0.15 + 0.1 * red, 1), lip_tone[1] * (1 - red), lip_tone[2] * (1 - red * 0.6)),
        grain=0.02,
        gloss=0.2,
    )
    long, wide = rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.15)
    tip = skull.on(0, -long, 1.0) + [0, 0, rng.uniform(0.14, 0.24)]
    bridge = skull.on(0, 0.12, 1.02)
    shapes = []
    for s in (-1, 1):
        wing = skull.on(s * wide, -long - 0.02, 1.03)
        shapes.append(
            sheet([bridge, wing, tip] if s > 0 else [bridge, tip, wing], skin._replace(gloss=0.15), 1.4, False)
        )
        shapes.append(chain([skull.on(s * wide * 0.55, -long - 0.06, 1.08)], 0.028, dark, 1.45))
    shapes.append(chain([tip - [0, 0.0, 0.06]], wide * 0.55, skin, 1.42))
    y, w = -rng.uniform(0.46, 0.54), rng.uniform(0.2, 0.32)
    smile, full = rng.uniform(-0.05, 0.12), rng.uniform(0.035, 0.07)
    t = np.linspace(-1, 1, 9)
    line = y + smile * (t**2 - 0.3)
    bow = 1 - t**2
    if rng.random() < 0.4:  # open, with teeth
        gape = rng.uniform(0.05, 0.15)
        shapes.append(
            skull.patch(np.r_[t, t[::-1]] * w, np.r_[line - bow * (gape + full), (line + bow * full)[::-1]], lip, 1.2)
        )
        shapes.append(
            skull.patch(
                np.r_[t, t[::-1]] * w * 0.9,
                np.r_[line - bow * gape, (line + bow * 0.01)[::-1]],
                Paint((0.25, 0.05, 0.06), grain=0),
                1.3,
            )
        )
        shapes.append(
            skull.patch(
                np.r_[t, t[::-1]] * w * 0.82,
                np.r_[line - bow * gape * 0.55, (line + bow * 0.0)[::-1]],
                Paint((0.95, 0.93, 0.88), grain=0),
                1.35,
            )
        )
    else:
        shapes.append(
            skull.patch(np.r_[t, t[::-1]] * w, np.r_[line - bow * full * 1.2, (line + bow * full)[::-1]], lip, 1.2)
        )
        shapes.append(chain(skull.on(t * w, line, 1.03), 0.014, dark, 1.3))
    return shapes


def build(rng: np.random.Generator) -> Model:
    """Head and shoulders, or the face closer."""
    tone = rng.random()
    skin_rgb = hsv(rng.uniform(0.035, 0.08), 0.25 + 0.35 * tone + rng.normal(0, 0.04), 0.97 - 0.67 * tone)
    skin = Paint(skin_rgb, shade(skin_rgb, 0.88), 0.4, 0.015, 0.1)
    grey = rng.random() < 0.15
    hair_rgb = (
        hsv(rng.uniform(0.02, 0.12), rng.uniform(0.3, 0.75), rng.uniform(0.08, 0.75))
        if not grey
        else hsv(0.1, 0.05, rng.uniform(0.5, 0.9))
    )
    if rng.random() < 0.05:
        hair_rgb = any_colour(rng)
    hair = Paint(hair_rgb, shade(hair_rgb, 0.6), 0.35, 0.17)
    a, b = rng.uniform(0.68, 0.8), rng.uniform(0.92, 1.04)
    skull = Skull(a, b, 0.85)
    jaw = rng.uniform(0.42, 0.6)
    shapes = [chain([(0, 0.25 * b, 0), (0, -0.1 * b, 0), (0, -b + jaw, 0.05)], [a, a * 0.97, jaw], skin)]
    for s in (-1, 1):
        shapes.append(
            chain(
                [(s * a * 0.99, 0.1, -0.1), (s * a * 0.98, -0.15, -0.1)],
                [0.14, 0.1],
                Paint(shade(skin_rgb, 0.9)),
                -0.2,
            )
        )
    shapes.append(
        chain(
            [(0, -0.6, -0.3), (0, -1.3, -0.35)],
            rng.uniform(0.36, 0.46),
            Paint(shade(skin_rgb, 0.78), grain=0.03),
            -0.6,
        )
    )
    cloth = Paint(any_colour(rng), any_colour(rng), 0.6 if rng.random() < 0.3 else 0.0, 0.06)
    w, slope, cut = rng.uniform(0.8, 1.15), rng.uniform(0.1, 0.3), rng.uniform(1.75, 2.3)
    bust = [
        (0.3, -1.12),
        (w * 0.75, -1.12 - slope),
        (w, -1.3 - slope),
        (w * 1.08, -1.55 - slope),
        (w * 1.08, -cut),
    ]
    for z, bias in ((-0.6, -0.62), (-0.15, -0.5)):
        shapes.append(sheet([(s * x, y, z) for s, half in ((1, bust), (-1, bust[::-1])) for x, y in half], cloth, bias))
    neck = rng.uniform(0.2, 0.34)
    if rng.random() < 0.5:  # an open collar
        shapes.append(
            sheet(
                [(-neck, -1.12, -0.1), (neck, -1.12, -0.1), (0, -1.2 - neck, -0.1)],
                Paint(shade(skin_rgb, 0.85)),
                -0.3,
            )
        )
        trim = Paint(shade(cloth.colour, 0.7))
        for s in (-1, 1):
            shapes.append(chain([(s * neck, -1.1, -0.08), (0, -1.22 - neck, -0.08)], 0.05, trim, -0.25))
    shapes += hair_on(rng, skull, hair) + _eyes(rng, skull, hair, skin) + _nose_mouth(rng, skull, skin)
    shapes += beard_on(rng, skull, hair) + hat_on(rng, skull)
    return Model(shapes, View(rng.uniform(-42, 42), rng.normal(2, 8), rng.normal(0, 8)), "fur", "patches")
