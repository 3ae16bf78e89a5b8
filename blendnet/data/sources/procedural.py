"""The embedded image source: the eight classes of the study, drawn by code. No files, no downloads.

Objects are small solids seen from a random side under a random lamp, before backgrounds that are drawn
without a look at the class, and photographed with blur, noise, tint and vignette. The drawing is in
`_procedural/`, one file a class.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blendnet import errors, keys
from blendnet.data import classes
from blendnet.data.photos import Photo
from blendnet.data.sources._procedural import (
    background,
    boat,
    camera,
    car,
    cat,
    chair,
    dog,
    face,
    flower,
    plane,
    render,
)

CLASSES = classes.CLASSES
DOI = None
LICENCE = "generated"

_BUILD = {
    "boat": boat.build,
    "car": car.build,
    "cat": cat.build,
    "chair": chair.build,
    "dog": dog.build,
    "face": face.build,
    "flower": flower.build,
    "plane": plane.build,
}


def draw(class_name: str, seed: int, size: int = 96) -> np.ndarray:
    """One picture, uint8 (size, size, 3): a pure function of its arguments. The same seed at another size
    is the same scene. Raises BlendnetError for an unknown class, a negative seed or a size under 16 px."""
    if class_name not in _BUILD:
        raise errors.unknown("class", class_name, CLASSES)
    if seed < 0:
        raise errors.BlendnetError(f"seed {seed} is negative: give a seed of 0 or more")
    if size < 16:
        raise errors.BlendnetError(f"size {size} px is too small to show anything: give at least 16")
    number = CLASSES.index(class_name)
    # One generator a room, so that a change in one leaves the random numbers of the others alone.
    shape, look, scene, lens = (np.random.default_rng((number, seed, room)) for room in range(4))
    model = _BUILD[class_name](shape)
    colour, cover, light = render.render(model, look, size)
    return camera.photograph(colour, cover, light, background.background(scene, size), lens)


@dataclass(frozen=True)
class Drawing:
    """The `read` of a procedural Photo; `stamp` names its content for the cache of decoded pixels."""

    class_name: str
    seed: int
    size: int

    def __call__(self) -> np.ndarray:
        """uint8 (size, size, 3)."""
        return draw(self.class_name, self.seed, self.size)

    def stamp(self) -> str:
        """The arguments and the version of the drawing code, on which the pixels depend."""
        code = keys.code_version("blendnet/data/sources/procedural.py", "blendnet/data/sources/_procedural")
        return f"{self.class_name}-{self.seed}-{self.size}-{code}"


def index(root: Path | None = None, n_per_class: int = 200, size: int = 96, seed: int = 0) -> list[Photo]:
    """n_per_class pictures of each class, drawn when read; identities are 'procedural/boat/0007'. root is
    ignored: nothing is on disk. Another seed gives other pictures under the same names. Raises
    BlendnetError for n_per_class under 1 or over 1,000,000."""
    if not 1 <= n_per_class <= 1_000_000:
        raise errors.BlendnetError(f"n_per_class {n_per_class} is out of range: give 1 to 1,000,000")
    if seed < 0:
        raise errors.BlendnetError(f"seed {seed} is negative: give a seed of 0 or more")
    return [
        Photo(
            image_id=f"procedural/{name}/{i:04d}",
            class_name=name,
            collection="procedural",
            read=Drawing(name, seed * 1_000_000 + i, size),
        )
        for name in CLASSES
        for i in range(n_per_class)
    ]
