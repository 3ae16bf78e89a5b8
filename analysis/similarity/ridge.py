"""Ridge regression from features to neuroids, the penalty chosen inside the training stimuli for each neuroid.

Hoerl, Kennard 1970 (doi 10.1080/00401706.1970.10488634). With `fixed_alpha=1.0` it is Brain-Score's `ridge`.

The errors at stimuli that were left out, by which the penalty is chosen, come from one decomposition without a refit:
in the features, a split at a time, where these are clearly fewer than stimuli (_ridge_primal), else in the stimuli,
for all splits at once (_ridge_dual). They are exact, not generalised cross-validation. One penalty for all
(_ridge_fixed) needs a Cholesky decomposition only.

Arrays are numpy's, or torch tensors; then everything runs on the tensor's device.
"""

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from analysis.similarity import _ridge_dual, _ridge_fixed, _ridge_primal
from analysis.similarity._backend import Array
from analysis.similarity._regression import MAX_BYTES, Predict, Target, predictions
from analysis.similarity._regression import score_many as _score_many
from analysis.similarity._splits import Splits
from blendnet.errors import BlendnetError

# In units of the mean eigenvalue of K, so that the scale of a layer's activations does not matter.
ALPHAS = tuple(np.logspace(-4, 4, 9))


def score(
    x: Array,
    y: Array,
    splits: Splits,
    *,
    alphas: tuple[float, ...] = ALPHAS,
    fixed_alpha: float | None = None,
    groups: np.ndarray | None = None,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> np.ndarray:
    """Pearson r between predicted and recorded responses to held-out stimuli.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids); splits: [(train, test), ...].
    alphas: penalties to choose from, as multiples of trace(K) / n_stimuli (the scale of the features; no
    response enters it); each neuroid gets the one with the least squared error in leave-one-out within the
    training stimuli of the split, or in leave-one-group-out where n_stimuli labels `groups` are given
    (near-identical frames of a clip would choose too small a penalty). fixed_alpha: one penalty in the units
    of the features instead, no choice. Returns float64 (n_splits, n_neuroids), NaN where a neuroid is
    constant in training or test.

    max_bytes: bound on the working memory of the size of x or of the training responses (at least a neuroid's is
    held); beside it there are up to four matrices of the shared size, min(n_stimuli, n_features) squared numbers
    (min(n_stimuli, 2 n_features) squared where a penalty is chosen), the smaller part of a split or the largest group,
    and what the test responses take. dtype:
    precision of the products; 'float32' halves memory and, on a GPU, time, and changes r by up to 1e-4 with a fixed
    penalty and 1e-2 where one is chosen (the smallest of the penalties are lost in rounding). Raises BlendnetError
    as pls.score, and for penalties that are not positive.
    """
    run = _predictor(alphas, fixed_alpha, groups)
    return _score_many({"": x}, y, splits, run, dtype, max_bytes)[""]  # type: ignore[return-value]


def score_many(
    xs: Mapping[str, Array],
    ys: Array | Mapping[str, Array],
    splits: Splits | Mapping[str, Splits],
    *,
    alphas: tuple[float, ...] = ALPHAS,
    fixed_alpha: float | None = None,
    groups: np.ndarray | None = None,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> dict[str, np.ndarray] | dict[str, dict[str, np.ndarray]]:
    """`score` of several layers and regions in one call: the regions share each layer's decomposition.

    xs: {layer: features (n_stimuli, n_features)}; ys: responses (n_stimuli, n_neuroids) of one region, or
    {region: responses} to the same stimuli; splits: of all regions, or {region: splits}. Returns {layer: r} for
    one region, {layer: {region: r}} for several, r as `score` gives it. Options and errors as there; errors name
    layer and region. Layers go side by side, and are read, as in pls.score_many.
    """
    return _score_many(xs, ys, splits, _predictor(alphas, fixed_alpha, groups), dtype, max_bytes)


def predict(
    x: Array,
    y: Array,
    splits: Splits,
    *,
    alphas: tuple[float, ...] = ALPHAS,
    fixed_alpha: float | None = None,
    groups: np.ndarray | None = None,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> list[np.ndarray]:
    """Responses predicted for the test stimuli of each split; a list of float64 (n_test, n_neuroids)."""
    return predictions(x, y, splits, _predictor(alphas, fixed_alpha, groups), dtype, max_bytes)


def _predictor(alphas: tuple[float, ...], fixed_alpha: float | None, groups: np.ndarray | None) -> Predict:
    def run(xp: ModuleType, x: Array, targets: list[Target], like: Array, max_bytes: int) -> list[list[np.ndarray]]:
        if groups is not None and np.shape(groups) != (len(x),):
            raise BlendnetError(
                f"groups has shape {np.shape(groups)}, but there are {len(x)} stimuli; give one label each"
            )
        wanted = np.asarray([fixed_alpha] if fixed_alpha is not None else alphas, dtype=np.float64)
        if not len(wanted) or not (wanted > 0).all():
            raise BlendnetError(f"the penalties {wanted.tolist()} must all be positive numbers")
        if fixed_alpha is not None:
            return _ridge_fixed.predict(xp, x, targets, like, fixed_alpha, max_bytes)
        labels = None if groups is None else np.unique(groups, return_inverse=True)[1]
        if labels is not None and labels.max() + 1 == len(x):
            labels = None  # groups of one stimulus each: plain leave-one-out, without a system to solve for each
        # A split of its own decomposition in the features costs less than one in the stimuli for all from here on.
        side = _ridge_primal if x.shape[1] < 0.5 * len(x) else _ridge_dual
        return side.predict(xp, x, targets, like, wanted, labels, max_bytes)

    return run
