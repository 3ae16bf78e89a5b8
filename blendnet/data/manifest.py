"""Fixed lists of blends for validation and test: every pair of classes, balanced, at every alpha the same pairs."""

import hashlib
from collections.abc import Iterator, Sequence
from math import lcm
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from blendnet import tabular  # enters no number
from blendnet.data.classes import class_pairs
from blendnet.data.mixing import SPACES, blend
from blendnet.data.photoset import PhotoSet
from blendnet.data.splits import SPLITS
from blendnet.errors import BlendnetError, unknown
from blendnet.files import write_text

COLUMNS = ("blend_id", "image_a", "image_b", "class_a", "class_b", "alpha", "space", "split")


def manifest(
    photoset: PhotoSet,
    split: str,
    *,
    n_per_pair: int,
    alphas: Sequence[float] = (0.5,),
    seed: int = 0,
    space: str = "pixel",
) -> pd.DataFrame:
    """The blends of a split: one a row, columns COLUMNS, pair of classes by pair of classes, then by alpha.

    n_per_pair: pairs of photographs for each unordered pair of classes, all different, each photograph of a class
    used equally often up to one; alphas: weights of image_a, all with the same pairs of photographs, so that a sweep
    over alpha is a paired comparison. Which class comes first alternates by a seeded coin in every two pairs. Raises
    BlendnetError where a pair of classes has too few photographs, and for an alpha that is not in [0, 1].
    """
    if space not in SPACES:
        raise unknown("blend space", space, SPACES)
    alphas = [round(float(alpha), 6) for alpha in alphas]  # so that 0.1 * 3 is written 0.3
    for alpha in alphas:
        if not 0 <= alpha <= 1:
            raise BlendnetError(f"alpha {alpha} is outside 0 to 1")
    if n_per_pair < 1 or not len(alphas) or len(set(alphas)) < len(alphas):
        raise BlendnetError(f"{n_per_pair} blends a pair at alphas {list(alphas)}: give at least one, each alpha once")
    here = photoset.indices(split)
    labels = photoset.labels.numpy()
    rows = []
    for number, (name_a, name_b) in enumerate(class_pairs(photoset.classes)):
        rng = np.random.default_rng([seed, SPLITS.index(split), number])
        sides = [rng.permutation(here[labels[here] == photoset.classes.index(c)]) for c in (name_a, name_b)]
        for k, (i, j) in enumerate(_pairs(sides[0], sides[1], photoset.identity, n_per_pair)):
            if k % 2 == 0:
                coin = bool(rng.integers(2))
            a, b = (j, i) if coin != bool(k % 2) else (i, j)
            rows += [
                (
                    f"{split}/{name_a}+{name_b}/{k:04d}/{alpha:g}",
                    photoset.image_ids[a], photoset.image_ids[b],
                    photoset.classes[labels[a]], photoset.classes[labels[b]],
                    alpha, space, split,
                )
                for alpha in alphas
            ]  # fmt: skip
        if len(rows) < (number + 1) * n_per_pair * len(alphas):
            there = len(rows) // len(alphas) - number * n_per_pair
            raise BlendnetError(
                f"{split} has {there} different pairs of {name_a} ({len(sides[0])} photographs) and {name_b} "
                f"({len(sides[1])}), fewer than {n_per_pair}; lower n_per_pair or add photographs"
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _pairs(first: np.ndarray, second: np.ndarray, identity: np.ndarray, n: int) -> Iterator[tuple[int, int]]:
    """n different pairs (i of first, j of second), each image used equally often up to one.

    Walks the diagonal of the table first x second, which by the Chinese remainder theorem meets lcm(f, s) different
    cells, then the diagonal beside it, until all f * s are met. Fewer than n where the table has no more.
    """
    f, s = len(first), len(second)
    for k in range(f * s):
        i, j = first[k % f], second[(k + k // lcm(f, s)) % s]
        if identity[i] != identity[j]:
            yield int(i), int(j)
            n -= 1
            if n == 0:
                return


def save_manifest(rows: pd.DataFrame, path: Path | str) -> str:
    """Write a manifest as CSV, atomically; returns the hex sha256 of the file, for load_manifest."""
    text = rows.to_csv(index=False, lineterminator="\n")
    write_text(path, text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def load_manifest(path: Path | str, photoset: PhotoSet, *, sha256: str | None = None) -> pd.DataFrame:
    """Read and check a manifest; attrs['sha256'] of the result is the file's.

    Raises BlendnetError, one line with file, row (the header is row 1) and value, for another hash than `sha256`,
    wrong columns, an image that is not in the photo set or not in the row's split or class, an alpha outside [0, 1],
    an unknown space, a repeated blend_id, and two photographs of one identity.
    """
    path = Path(path)
    try:
        tabular.read(path, "delete it, the predict step makes it again")  # enters no number
        content = path.read_bytes()
        # Read as text first, so that a wrong number can be shown as it stands.
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing; make it with the predict step") from error
    except (OSError, ValueError) as error:
        raise BlendnetError(
            f"{path} is not a CSV file ({error}); delete it, the predict step makes it again"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise BlendnetError(
            f"{path} has sha256 {digest[:12]}, not {sha256[:12]}: it was changed; delete it to remake it"
        )
    if tuple(rows.columns) != COLUMNS:
        raise BlendnetError(f"{path} has columns {','.join(rows.columns)}, not {','.join(COLUMNS)}")
    seen: set[str] = set()
    for number, row in enumerate(rows.itertuples(index=False), start=2):
        problem = _problem(row, photoset) or (f"blend_id {row.blend_id!r} occurs twice" if row.blend_id in seen else "")
        if problem:
            raise BlendnetError(f"{path}, row {number}: {problem}; delete the file to remake it")
        seen.add(row.blend_id)
    rows["alpha"] = rows["alpha"].astype(float)
    rows.attrs["sha256"] = digest
    return rows


def _problem(row: object, photoset: PhotoSet) -> str:
    """What is wrong with a row of text, '' if nothing."""
    get = lambda name: getattr(row, name)  # noqa: E731
    try:
        alpha = float(get("alpha"))
    except ValueError:
        return f"alpha {get('alpha')!r} is not a number"
    if not 0 <= alpha <= 1:
        return f"alpha {get('alpha')} is outside 0 to 1"
    if get("space") not in SPACES:
        return f"space {get('space')!r} is not one of {', '.join(SPACES)}"
    for side in ("a", "b"):
        image, name = get(f"image_{side}"), get(f"class_{side}")
        if image not in photoset.position:
            return f"image {image!r} is not in the photo set"
        at = photoset.position[image]
        if photoset.split[at] != get("split"):
            return f"image {image!r} is in split {photoset.split[at]}, not {get('split')!r}"
        if photoset.classes[int(photoset.labels[at])] != name:
            return f"image {image!r} is a {photoset.classes[int(photoset.labels[at])]}, not a {name!r}"
    a, b = photoset.position[get("image_a")], photoset.position[get("image_b")]
    if photoset.identity[a] == photoset.identity[b]:
        return f"images {get('image_a')!r} and {get('image_b')!r} are the same photograph"
    return ""


def positions(photoset: PhotoSet, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Positions (image_a, image_b) of the rows in the photo set; two int64 arrays (n,)."""
    place = photoset.position
    return (
        np.array([place[name] for name in rows["image_a"]], np.int64),
        np.array([place[name] for name in rows["image_b"]], np.int64),
    )


def render(photoset: PhotoSet, rows: pd.DataFrame, *, device: torch.device | str = "cpu") -> torch.Tensor:
    """The blends of these rows, float32 in [0, 1], shape (n, 3, size, size), in their order."""
    a, b = (torch.from_numpy(p).to(photoset.images.device) for p in positions(photoset, rows))
    alpha = torch.tensor(rows["alpha"].to_numpy(dtype=np.float32), device=device)
    spaces = rows["space"].to_numpy()
    out = torch.empty(len(rows), *photoset.images.shape[1:], device=device)
    for space in np.unique(spaces):
        these = torch.from_numpy(np.flatnonzero(spaces == space))
        x, y = photoset.images[a[these.to(a.device)]], photoset.images[b[these.to(b.device)]]
        these = these.to(device)
        out[these] = blend(x.to(device), y.to(device), alpha[these], space=str(space))
    return out


def targets(photoset: PhotoSet, rows: pd.DataFrame) -> torch.Tensor:
    """Multi-hot labels of these rows, float32, shape (n, n_classes): two ones a row."""
    out = torch.zeros(len(rows), len(photoset.classes))
    at = torch.arange(len(rows))
    for side in positions(photoset, rows):
        out[at, photoset.labels.cpu()[torch.from_numpy(side)]] = 1
    return out


def batches(
    photoset: PhotoSet, rows: pd.DataFrame, batch_size: int, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(render, targets) of consecutive rows, batch_size at a time, all of them."""
    for start in range(0, len(rows), batch_size):
        part = rows.iloc[start : start + batch_size]
        yield render(photoset, part, device=device), targets(photoset, part).to(device)
