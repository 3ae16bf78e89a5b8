"""What a network answered for every test image (results/PROFILE/predictions/RUN/*.csv), checked when it is read."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from blendnet import tabular
from blendnet.errors import BlendnetError

AGAIN = "run `blendnet predict --force`"
_NAMES = {"blend_id": ("class_a", "class_b", "alpha"), "image_id": ("class_name",)}


def read(path: Path | str, *, ids: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """The table as `blendnet predict` wrote it: one image a row, one output (logit) a class in columns z_<class>.

    ids: the images (blend_id or image_id) that it must hold, in their order; classes: those whose outputs it must
    hold. Raises BlendnetError, one line with file, row (1 is the first below the header), column and value, for a
    missing column, an output that is no finite number, an alpha outside 0 to 1, a class without an output, and other
    images than `ids`.
    """
    path = Path(path)
    try:
        content = tabular.read(path, AGAIN)
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; {AGAIN}") from error
    text = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    key = next((name for name in _NAMES if name in text.columns), None)
    if key is None:
        raise BlendnetError(f"{path} has neither a column blend_id nor image_id; {AGAIN}")
    outputs = [c for c in text.columns if c.startswith("z_")]
    wanted = [*_NAMES[key], *(f"z_{c}" for c in classes or ())]
    absent = [c for c in wanted if c not in text.columns]
    if absent or len(outputs) < 2:
        raise BlendnetError(f"{path} has no column {(absent or ['z_<class>'])[0]!r}; {AGAIN}")
    for column in (*outputs, *(("alpha",) if key == "blend_id" else ())):
        numbers = pd.to_numeric(text[column], errors="coerce").to_numpy(dtype=float)
        good = np.isfinite(numbers) if column != "alpha" else (numbers >= 0) & (numbers <= 1)
        what = "is not a finite number" if column != "alpha" else "is not within 0 to 1"
        _all(path, text[column], good, column, what)
    known = [c.removeprefix("z_") for c in outputs]
    for column in (c for c in _NAMES[key] if c.startswith("class")):
        _all(path, text[column], text[column].isin(known).to_numpy(), column, f"is none of {', '.join(known)}")
    if ids is not None and list(text[key]) != list(ids):
        odd = next((i for i, (a, b) in enumerate(zip(text[key], ids)) if a != b), min(len(text), len(ids)))
        raise BlendnetError(
            f"{path} has {len(text)} rows and the test {len(ids)} images, which differ from row {odd + 1} on; {AGAIN}"
        )
    # Read once more, and not made from the text: the same numbers, to the last bit, as ever.
    return pd.read_csv(io.BytesIO(content), keep_default_na=False)


def _all(path: Path, values: pd.Series, good: np.ndarray, column: str, what: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise BlendnetError(f"{path}, row {row + 1}: {column} {tabular.short(values[row])} {what}; {AGAIN}")
