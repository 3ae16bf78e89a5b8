"""Blends that a dataset brings ready-made (blendeduibk), as one more test beside our own blends."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from blendnet.data import sources
from pipelines.context import Context

_IMAGES: dict[tuple[Path, int, str], torch.Tensor] = {}


def load(context: Context, size: int) -> tuple[torch.Tensor, pd.DataFrame] | None:
    """The test blends, uint8 (n, 3, size, size), and their rows; None where no source of the profile has any.

    Their photographs and weights are not published: alpha 0.5 is a placeholder, and no rows by alpha are made of it.
    """
    profile = context.profile
    makers = [getattr(sources.load(name), "ready_made_blends", None) for name in profile.sources]
    blends = [b for maker in makers if maker for b in maker(context.data) if b.split == "test"]
    if not blends:
        return None
    key = (context.data, size, profile.colour)
    if key not in _IMAGES:
        _IMAGES[key] = torch.stack([_pixels(b.read(), size, profile.colour) for b in blends])
    rows = pd.DataFrame({
        "blend_id": [b.blend_id for b in blends], "image_a": "", "image_b": "",
        "class_a": [b.classes[0] for b in blends], "class_b": [b.classes[1] for b in blends],
        "alpha": 0.5, "space": "", "split": "test", "collection_a": "", "collection_b": "",
    })  # fmt: skip
    return _IMAGES[key], rows


def _pixels(image: np.ndarray, size: int, colour: str) -> torch.Tensor:
    """uint8 (3, size, size), resized and made grey as the photographs are."""
    picture = Image.fromarray(image)
    if colour == "grey":
        picture = picture.convert("L").convert("RGB")
    return torch.from_numpy(np.array(picture.resize((size, size), Image.Resampling.BILINEAR))).permute(2, 0, 1)
