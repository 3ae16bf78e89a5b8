"""What one call of a regression metric is about: layers, regions and the splits of each, checked."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from types import ModuleType
from typing import NamedTuple

import numpy as np

from analysis.similarity import _workers
from analysis.similarity._arrays import constant, held_out_r
from analysis.similarity._backend import Array, checked, host
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError, unknown

DTYPES = ("float64", "float32")
# Working memory of one call beside its arguments and the matrix that all splits share.
MAX_BYTES = 2**30


class Target(NamedTuple):
    """What is predicted: responses y of a region, float64 in numpy (n_stimuli, n_neuroids), the mean of each neuroid
    and y minus it; the splits, with a number that equal splits of other regions share; of the training stimuli of
    each split the means (of centred y), the sums of squares about them, and which neuroids are constant there
    (their sum of squares is set to 0): all (n_splits, n_neuroids)."""

    region: str
    y: np.ndarray
    mean: np.ndarray
    centred: np.ndarray
    splits: Splits
    numbers: list[int]
    trained_mean: np.ndarray
    trained_square: np.ndarray
    constant: np.ndarray


# Predictions (n_test, n_neuroids) for each split of each target, from the library, x, the targets, an array that
# holds precision and device of the sums, and the bound on the working memory.
Predict = Callable[[ModuleType, Array, list[Target], Array, int], list[list[np.ndarray]]]


def score_many(
    xs: Mapping[str, Array],
    ys: Array | Mapping[str, Array],
    splits: Splits | Mapping[str, Splits],
    predict: Predict,
    dtype: str,
    max_bytes: int,
) -> dict[str, np.ndarray] | dict[str, dict[str, np.ndarray]]:
    """r (n_splits, n_neuroids) of each layer: {layer: r} for one array of responses, {layer: {region: r}} for many.

    Layers in numpy go side by side (_workers), with max_bytes divided among them; torch keeps its device busy alone.
    Raises BlendnetError (with the layer's or region's name, where it has one) for what `_backend.checked` refuses,
    for no layer or region, a region without splits and another dtype than DTYPES.
    """
    _known(dtype)
    if not xs:
        raise BlendnetError("there are no layers to score; extract activations first")
    regions = ys if isinstance(ys, Mapping) else {"": ys}
    if not regions:
        raise BlendnetError("there are no regions to predict; give the responses of one")
    for region in regions:
        if isinstance(splits, Mapping) and region not in splits:
            raise BlendnetError(f"region {region!r} has no splits; give one list for all regions, or one for each")
    targets: list[Target] = []

    def layers() -> Iterator[tuple[str, Array]]:
        for layer in xs:
            x = xs[layer]
            if not targets:
                targets.extend(_targets(layer, x, regions, splits))
            yield layer, x
            del x  # before the next is read

    def scored(layer: str, x: Array) -> dict[str, np.ndarray]:
        first = targets[0]
        xp, x, y = _checked(_name(layer, first.region), x, regions[first.region], first.splits)
        with nullcontext() if xp is np else turn:
            found = predict(xp, x, targets, _like(xp, y, dtype), max_bytes // workers)
        return {t.region: held_out_r(p, t.y, t.splits, t.constant) for t, p in zip(targets, found)}

    turn = threading.Lock()
    torch = sys.modules.get("torch")
    on_torch = torch is not None and any(isinstance(y, torch.Tensor) for y in regions.values())
    workers = 1 if on_torch else _workers.count(len(xs))
    all_found = _workers.ordered(layers(), scored, workers)
    return all_found if isinstance(ys, Mapping) else {layer: r[""] for layer, r in all_found.items()}


def predictions(x: Array, y: Array, splits: Splits, predict: Predict, dtype: str, max_bytes: int) -> list[np.ndarray]:
    """Predictions (n_test, n_neuroids) for each split of one layer and region; errors as in `score_many`."""
    _known(dtype)
    xp, x, checked_y = _checked("", x, y, splits)
    return predict(xp, x, [_target("", host(checked_y), splits, {})], _like(xp, checked_y, dtype), max_bytes)[0]


def over_splits(
    targets: list[Target], fit: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> list[list[np.ndarray]]:
    """Predictions for each split of each target, from a fit that serves all targets with the same split.

    fit: (training stimuli, test stimuli, columns) -> (n_test, n_columns), where columns are places among the centred
    responses of all targets side by side. The means that centred them are added.
    """
    ends = np.cumsum([0] + [t.y.shape[1] for t in targets])
    out: list[list[np.ndarray]] = [[np.empty(0)] * len(t.splits) for t in targets]
    for number in sorted({n for t in targets for n in t.numbers}):
        those = [(i, t.numbers.index(number)) for i, t in enumerate(targets) if number in t.numbers]
        train, test = targets[those[0][0]].splits[those[0][1]]
        columns = np.concatenate([np.arange(ends[i], ends[i + 1]) for i, _ in those])
        parts = np.split(fit(train, test, columns), np.cumsum([targets[i].y.shape[1] for i, _ in those])[:-1], axis=1)
        for (i, _), part in zip(those, parts):
            for f in np.flatnonzero(np.asarray(targets[i].numbers) == number):
                out[i][f] = part + targets[i].mean
    return out


def _known(dtype: str) -> None:
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)


def _targets(layer: str, x: Array, regions: Mapping[str, Array], splits: Splits | Mapping[str, Splits]) -> list[Target]:
    """What all layers predict; the responses are checked beside the first layer."""
    known: dict[tuple[bytes, bytes], int] = {}
    targets = []
    for region, y in regions.items():
        own = splits[region] if isinstance(splits, Mapping) else splits
        targets.append(_target(region, host(_checked(_name(layer, region), x, y, own)[2]), own, known))
    return targets


def _target(region: str, y: np.ndarray, splits: Splits, known: dict[tuple[bytes, bytes], int]) -> Target:
    numbers = [known.setdefault((train.tobytes(), test.tobytes()), len(known)) for train, test in splits]
    mean = y.mean(axis=0)
    centred = y - mean
    means, squares, fixed = (np.empty((len(splits), y.shape[1]), dtype) for dtype in (float, float, bool))
    for f, (train, _) in enumerate(splits):
        trained = y[train]
        fixed[f] = constant(trained)
        trained -= mean
        means[f] = trained.mean(axis=0)
        trained -= means[f]
        squares[f] = np.where(fixed[f], 0.0, np.einsum("nq,nq->q", trained, trained))
    return Target(region, y, mean, centred, splits, numbers, means, squares, fixed)


def _name(layer: str, region: str) -> str:
    return ", ".join([f"layer {layer!r}"] * bool(layer) + [f"region {region!r}"] * bool(region))


def _checked(name: str, x: Array, y: Array, splits: Splits) -> tuple[ModuleType, Array, Array]:
    try:
        return checked(x, y, splits)
    except BlendnetError as error:
        raise BlendnetError(f"{name}: {error}" if name else str(error)) from error


def _like(xp: ModuleType, y: Array, dtype: str) -> Array:
    """Nothing, in the precision of the sums and on their device."""
    if dtype == "float64":
        return y[:0, :0]
    return y[:0, :0].astype(np.float32) if xp is np else y[:0, :0].to(xp.float32)
