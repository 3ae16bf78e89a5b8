"""A page of blends to look at, before anything is trained on them."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont

from blendnet.data.manifest import positions, render
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import atomic

_CELL, _GAP, _LINE = 160, 12, 18  # pixels


def contact_sheet(photoset: PhotoSet, rows: pd.DataFrame, path: Path | str, n: int = 24, columns: int = 4) -> Path:
    """Write a PNG with n of these blends, spread evenly over the rows, each beside its two photographs.

    rows: a manifest of the photo set. Every cell is photograph a, blend, photograph b, 160 pixels each, with the
    names and alpha of both above. Returns the path. Raises BlendnetError for no rows and where writing fails.
    """
    if not len(rows) or n < 1:
        raise BlendnetError(
            f"no blends to show: {len(rows)} rows, n = {n}; give a manifest with rows and n of at least 1"
        )
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))]
    triples = zip(*(photoset.images[torch.from_numpy(p)] for p in positions(photoset, chosen)))
    blends = (render(photoset, chosen) * 255).round().to(torch.uint8)
    columns = min(columns, len(chosen))
    width, height = 3 * _CELL + _GAP, _CELL + _LINE + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, -(-len(chosen) // columns) * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for k, ((a, b), mixed, row) in enumerate(zip(triples, blends, chosen.itertuples())):
        x, y = _GAP + k % columns * width, _GAP + k // columns * height
        text = f"{row.alpha:g} {row.class_a}  +  {1 - row.alpha:.3g} {row.class_b}"
        draw.text((x, y), text, fill="black", font=font)
        for at, pixels in enumerate((a, mixed, b)):
            picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
            # Small photographs are shown as their pixels, not smoothed to look better than they are.
            how = Image.Resampling.NEAREST if picture.width < _CELL else Image.Resampling.BILINEAR
            sheet.paste(picture.resize((_CELL, _CELL), how), (x + at * _CELL, y + _LINE))
    with atomic(path) as partial:
        sheet.save(partial, format="PNG")
    return Path(path)
