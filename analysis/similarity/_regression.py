"""What one call of a regression metric is about: layers, regions and the splits of each, checked."""

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np

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


# Predictions (n_test, n_neuroids) for each split of each target, from the library, x, the targets and an array that
# holds precision and device of the sums.
Predict = Callable[[ModuleType, Array, list[Target], Array], list[list[np.ndarray]]]


def score_many(
    xs: Mapping[str, Array],
    ys: Array | Mapping[str, Array],
    splits: Splits | Mapping[str, Splits],
    predict: Predict,
    dtype: str,
) -> dict[str, np.ndarray] | dict[str, dict[str, np.ndarray]]:
    """r (n_splits, n_neuroids) of each layer: {layer: r} for one array of responses, {layer: {region: r}} for many."""
    found = {}
    for layer, targets, predictions in predictions_of(xs, ys, splits, predict, dtype):
        found[layer] = {t.region: held_out_r(p, t.y, t.splits, t.constant) for t, p in zip(targets, predictions)}
    return found if isinstance(ys, Mapping) else {layer: r[""] for layer, r in found.items()}


def predictions_of(
    xs: Mapping[str, Array],
    ys: Array | Mapping[str, Array],
    splits: Splits | Mapping[str, Splits],
    predict: Predict,
    dtype: str,
) -> Iterator[tuple[str, list[Target], list[list[np.ndarray]]]]:
    """Layer by layer: its name, the targets and the predictions for them.

    Raises BlendnetError (with the layer's or region's name, where it has one) for what `_backend.checked` refuses,
    for no layer or region, a region without splits and another dtype than DTYPES.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if not xs:
        raise BlendnetError("there are no layers to score; extract activations first")
    targets: list[Target] = []
    regions = ys if isinstance(ys, Mapping) else {"": ys}
    if not regions:
        raise BlendnetError("there are no regions to predict; give the responses of one")
    known: dict[tuple[bytes, bytes], int] = {}
    for number, (layer, x) in enumerate(xs.items()):
        for region, y in regions.items():
            if number and targets and region != targets[0].region:
                continue  # the responses were checked beside the first layer
            own = splits.get(region) if isinstance(splits, Mapping) else splits
            if own is None:
                raise BlendnetError(f"region {region!r} has no splits; give one list for all regions, or one for each")
            name = ", ".join([f"layer {layer!r}"] * bool(layer) + [f"region {region!r}"] * bool(region))
            xp, checked_x, checked_y = _checked(name, x, y, own)
            if not number:
                targets.append(_target(region, host(checked_y), own, known))
        like = checked_y[:0, :0] if dtype == "float64" else _single(xp, checked_y)
        yield layer, targets, predict(xp, checked_x, targets, like)


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


def _checked(name: str, x: Array, y: Array, splits: Splits) -> tuple[ModuleType, Array, Array]:
    try:
        return checked(x, y, splits)
    except BlendnetError as error:
        raise BlendnetError(f"{name}: {error}" if name else str(error)) from error


def _single(xp: ModuleType, y: Array) -> Array:
    return y[:0, :0].astype(np.float32) if xp is np else y[:0, :0].to(xp.float32)
