"""How well a network names the two objects of a blend, with n, interval and chance.

The measure is that of Portscher et al. 2022 (doi 10.1109/IPAS55744.2022.10052853): the two highest outputs
against the two labels, so a blend is 'both', 'one' or 'none' correct; an image of one object is top-1.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis import tables
from blendnet.data.classes import HYPERCLASS
from blendnet.errors import BlendnetError
from blendnet.run import Run

OUTCOMES = ("none", "one", "both")  # the index is the number of correct names
_BLENDED = ("blend_id", "class_a", "class_b", "alpha", "collection_a", "collection_b")
_REGULAR = ("image_id", "class_name", "collection")


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices (n, k) of the k highest of scores (n, n_classes), highest first.

    Ties go to the class that comes first in class order, so a network that gives the same output to all
    classes names the first k. Raises BlendnetError where an output is not finite.
    """
    scores = np.asarray(scores, dtype=float)
    if not np.isfinite(scores).all():
        row = int(np.argmax(~np.isfinite(scores).all(axis=1)))
        raise BlendnetError(f"prediction {row + 1} holds a value that is not finite; train the network again")
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def outcome(scores: np.ndarray, label_sets: np.ndarray) -> np.ndarray:
    """'both', 'one' or 'none' for each blend; shape (n,).

    scores: outputs (n, n_classes), larger = more likely; label_sets: binary (n, n_classes) with exactly two
    ones a row. Ties as in `top`. Raises BlendnetError where a label set has not two labels.
    """
    label_sets = np.asarray(label_sets).astype(bool)
    _same_shape(scores, label_sets)
    if (label_sets.sum(axis=1) != 2).any():
        row = int(np.argmax(label_sets.sum(axis=1) != 2))
        raise BlendnetError(f"blend {row + 1} has {label_sets[row].sum()} labels, not 2; make the manifest again")
    hits = np.take_along_axis(label_sets, top(scores, 2), axis=1).sum(axis=1)
    return np.array(OUTCOMES)[hits]


def top1(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """True where the highest of scores (n, n_classes) is the label (n,) of a one-object image."""
    return top(scores, 1)[:, 0] == np.asarray(labels)


def which_found(scores: np.ndarray, class_a: np.ndarray, class_b: np.ndarray) -> np.ndarray:
    """The class index (n,) that was named where exactly one of the two was, -1 where both or none were.

    scores: (n, n_classes); class_a, class_b: class indices (n,).
    """
    named = top(scores, 2)
    a = (named == np.asarray(class_a)[:, None]).any(axis=1)
    b = (named == np.asarray(class_b)[:, None]).any(axis=1)
    return np.where(a & ~b, class_a, np.where(b & ~a, class_b, -1))


def wilson(k: np.ndarray | int, n: np.ndarray | int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Score interval (lo, hi) of a rate k/n; NaN where n is 0.

    (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), Wilson 1927, doi 10.1080/01621459.1927.10502953.
    It takes the n images as independent draws; blends that share a photograph are a little less than that.
    """
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    z = norm.ppf(0.5 + level / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = p + z**2 / (2 * n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        lo, hi = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    # The ends are exact there; rounding would leave 1e-17.
    return np.where(k == 0, np.abs(0 * lo), lo), np.where(k == n, 1 + 0 * hi, hi)


def chance(n_classes: int) -> dict[str, float]:
    """Rates of guessing two different classes (blends) or one (top1) uniformly; for 8: both 1/28, one
    12/28."""
    pairs = comb(n_classes, 2)
    both, one = 1 / pairs, 2 * (n_classes - 2) / pairs
    return {"both": both, "one": one, "none": 1 - both - one, "top1": 1 / n_classes, "found": 0.5}


def classes_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """The classes of a predictions table, in the order of its z_<class> columns."""
    found = tuple(str(c)[2:] for c in predictions.columns if str(c).startswith("z_"))
    if len(found) < 2:
        raise BlendnetError("the predictions have no z_<class> columns; run `blendnet predict --force`")
    return found


def aggregate(
    predictions: pd.DataFrame | Iterable[pd.DataFrame],
    run: Run | Mapping[str, Any],
    *,
    parameters: int | None = None,
    flops: int | None = None,
    hyperclass: Mapping[str, str] = HYPERCLASS,
    alpha: float = 0.5,
) -> pd.DataFrame:
    """The accuracy rows of one run, from the outputs for each test image.

    predictions: a table, or several, of blends (blend_id, image_a, image_b, class_a, class_b, alpha,
    collection_a, collection_b, z_<class>...) or of one-object images (image_id, class_name, collection,
    z_<class>...); a column `held_out` (True where the pair was kept out of training) gives rows of its own.
    run: the Run, or its columns (run, network, attention, heads, training, seed). Everything but by='alpha'
    rests on the blends at `alpha`. Rows: see results/README.md. Classes without a hyperclass are in no
    hyperpair row. Raises BlendnetError for missing columns, unknown classes, no blend at `alpha`.
    """
    parts = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    rows: list[dict[str, Any]] = []
    for part in parts:
        blended = "blend_id" in part.columns
        _require(part, _BLENDED if blended else _REGULAR)
        rows += _blended(part, hyperclass, alpha) if blended else _regular(part)
    frame = pd.DataFrame(rows)
    frame["rate"] = frame["k"] / frame["n"]
    frame["lo"], frame["hi"] = wilson(frame["k"].to_numpy(), frame["n"].to_numpy())
    columns = about(run) if isinstance(run, Run) else dict(run)
    for key, value in (columns | {"parameters": parameters, "flops": flops}).items():
        frame[key] = value
    return tables.check(frame, "accuracy")


def about(run: Run) -> dict[str, Any]:
    """The columns that say which run a row is of."""
    return {"run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
            "training": run.training, "seed": run.seed}  # fmt: skip


def _regular(frame: pd.DataFrame) -> list[dict[str, Any]]:
    classes = classes_of(frame)
    correct = top1(outputs(frame, classes), index(frame["class_name"], classes))
    by = {
        "all": np.full(len(frame), "", dtype=object),
        "class": frame["class_name"].to_numpy(dtype=object),
        "collection": frame["collection"].to_numpy(dtype=object),
    }
    base = {"test": "regular", "outcome": "top1", "chance": chance(len(classes))["top1"]}
    return [base | {"by": name, "group": g, "n": int(m.sum()), "k": int(correct[m].sum())}
            for name, groups in by.items() for g, m in _groups(groups)]  # fmt: skip


def _blended(frame: pd.DataFrame, hyperclass: Mapping[str, str], alpha: float) -> list[dict[str, Any]]:
    classes = classes_of(frame)
    scores = outputs(frame, classes)
    a, b = index(frame["class_a"], classes), index(frame["class_b"], classes)
    labels = np.zeros(scores.shape, dtype=bool)
    labels[np.arange(len(frame)), a] = labels[np.arange(len(frame)), b] = True
    result, found = outcome(scores, labels), which_found(scores, a, b)
    weights = frame["alpha"].to_numpy(dtype=float)
    middle = np.isclose(weights, alpha)
    if not middle.any():
        raise BlendnetError(f"no blend has alpha {alpha:g}; add it to the alphas of the test in pipelines/sheet.py")
    first, second = np.minimum(a, b), np.maximum(a, b)
    names = np.array(classes, dtype=object)
    pair = names[first] + "+" + names[second]
    kinds = [hyperclass.get(c) for c in classes]
    hyper = np.array([_joined(kinds[i], kinds[j], "-") for i, j in zip(a, b)], dtype=object)
    both_from = np.array(
        [_joined(x, y, "+") for x, y in zip(frame["collection_a"], frame["collection_b"])], dtype=object
    )

    by = {
        "all": np.full(len(frame), "", dtype=object),
        "pair": pair,
        "hyperpair": hyper,
        "collection": both_from,
    }
    if "held_out" in frame.columns:
        held = frame["held_out"].astype(str).eq("True").to_numpy()
        by["held_out"] = np.where(held, "held out", "trained").astype(object)
    level = chance(len(classes))
    rows = []
    selections = [(name, groups, middle) for name, groups in by.items()]
    selections.append(
        ("alpha", np.array([f"{w:g}" for w in np.round(weights, 6)], dtype=object), np.full(len(a), True))
    )
    for name, groups, chosen in selections:
        for g, members in _groups(groups):
            mask = members & chosen
            if not mask.any():
                continue
            base = {"test": "blended", "by": name, "group": g, "n": int(mask.sum())}
            for o in reversed(OUTCOMES):
                rows.append(base | {"outcome": o, "k": int((result[mask] == o).sum()), "chance": level[o]})
    one = middle & (found >= 0)
    rows += _which(a, b, one, found, hyper, kinds, "first_found", level["found"])
    rows += _which(a, b, one, found, pair, list(classes), "first_found_class", level["found"])
    return rows


def _which(
    a: np.ndarray,
    b: np.ndarray,
    one: np.ndarray,
    found: np.ndarray,
    groups: np.ndarray,
    kinds: Sequence[str | None],
    by: str,
    level: float,
) -> list[dict[str, Any]]:
    """Of the blends with exactly one object named, how often it was this one; both objects of a pair get a
    row."""
    rows = []
    for group, members in _groups(groups):
        mask = members & one
        i = int(np.argmax(members))
        sides = sorted((str(kinds[a[i]]), str(kinds[b[i]])))
        if sides[0] == sides[1] or not mask.any():
            continue  # two objects of one hyperclass: which was found says nothing here
        named = np.array([kinds[j] for j in found[mask]], dtype=object)
        base = {"test": "blended", "by": by, "outcome": "found", "n": int(mask.sum()), "chance": level}
        rows += [base | {"group": f"{group}:{side}", "k": int((named == side).sum())} for side in sides]
    return rows


def _joined(x: str | None, y: str | None, sign: str) -> str | None:
    return None if x is None or y is None else sign.join(sorted((str(x), str(y))))


def _groups(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Name and mask of each group, by name; a value of None is in no group."""
    codes, names = pd.factorize(values, sort=True)
    return [(str(name), codes == i) for i, name in enumerate(names)]


def outputs(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """The outputs (n, n_classes) of a predictions table."""
    return frame[[f"z_{c}" for c in classes]].to_numpy(dtype=float)


def index(names: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """The place (n,) of each name among the classes; raises BlendnetError for a name that is none of them."""
    known = {c: i for i, c in enumerate(classes)}
    strange = sorted(set(map(str, names)) - set(known))
    if strange:
        raise BlendnetError(f"class {strange[0]!r} has no output z_{strange[0]}; run `blendnet predict --force`")
    return np.array([known[str(n)] for n in names], dtype=int)


def _same_shape(scores: np.ndarray, labels: np.ndarray) -> None:
    if np.shape(scores) != np.shape(labels):
        raise BlendnetError(f"outputs of shape {np.shape(scores)} do not go with labels of shape {np.shape(labels)}")


def _require(frame: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise BlendnetError(f"the predictions have no column {name!r}; run `blendnet predict --force`")
    if not len(frame):
        raise BlendnetError("the predictions are empty; run `blendnet predict --force`")
