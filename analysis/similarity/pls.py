"""Partial least squares regression from features to neuroids: Brain-Score's `pls`, at the speed of a few products.

Brain-Score (Schrimpf et al. 2018, doi 10.1101/407007) fits scikit-learn's PLSRegression(n_components=25,
scale=False) anew in every split. The algorithm is NIPALS (Wegelin 2000): each component is the dominant pair
of singular vectors of X'Y, found by power iteration and stopped early (squared change of the weights below
1e-6, or 500 iterations); then X and Y are deflated. Here the same numbers come from one matrix for all splits,
the smaller of X'X and XX' of all stimuli (_pls_primal, _pls_dual):

- The weights are X'Yc, so the power iteration on c runs in M = Y'XX'Y (n_neuroids, n_neuroids), from the same
  start with the same stopping rule (_pls_power). It is kept because on flat spectra the stopped weights are not
  the singular vectors, and scores would differ from Brain-Score's in the third decimal. Each component is a
  rank-two update of M.
- A split only leaves rows out, which is a correction by the few stimuli left out.
- All splits of all regions advance together, one product with the shared matrix a component.

Arrays are numpy's, or torch tensors; then everything runs on the tensor's device.
"""

from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np

from analysis.similarity import _pls_dual, _pls_primal
from analysis.similarity._arrays import moved
from analysis.similarity._backend import Array
from analysis.similarity._pls_power import Job
from analysis.similarity._regression import MAX_BYTES, Predict, Target, predictions
from analysis.similarity._regression import score_many as _score_many
from analysis.similarity._splits import Splits


def score(
    x: Array,
    y: Array,
    splits: Splits,
    *,
    n_components: int = 25,
    tol: float = 1e-6,
    max_iter: int = 500,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> np.ndarray:
    """Pearson r between predicted and recorded responses to held-out stimuli.

    x: features (n_stimuli, n_features); y: responses (n_stimuli, n_neuroids); splits: [(train, test), ...].
    Returns float64 (n_splits, n_neuroids), NaN where a neuroid is constant in training or test (or its
    prediction is), so that r does not exist. Brain-Score's aggregate of it is `np.nanmedian(r,
    axis=1).mean()`.

    max_bytes: bound on the working memory beside x, y and the shared matrix of min(n_stimuli, n_features)
    squared numbers; regressions that do not fit into it together run one after the other (at least one is
    held). dtype: precision of the products; 'float32' halves memory and, on a GPU, time, and changes r by some
    1e-4 (1e-3 for single neuroids on flat spectra, where the early stop falls elsewhere). Raises BlendnetError
    for NaN, infinity, unequal numbers of stimuli and impossible splits.
    """
    return _one(_score_many({"": x}, y, splits, _predictor(n_components, tol, max_iter), dtype, max_bytes))


def score_many(
    xs: Mapping[str, Array],
    ys: Array | Mapping[str, Array],
    splits: Splits | Mapping[str, Splits],
    *,
    n_components: int = 25,
    tol: float = 1e-6,
    max_iter: int = 500,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> dict[str, np.ndarray] | dict[str, dict[str, np.ndarray]]:
    """`score` of several layers and regions in one call: what the regions can share is computed once a layer.

    xs: {layer: features (n_stimuli, n_features)}; ys: responses (n_stimuli, n_neuroids) of one region, or
    {region: responses} to the same stimuli; splits: of all regions, or {region: splits}. Returns {layer: r} for
    one region, {layer: {region: r}} for several, r as `score` gives it. Options and errors as there; errors name
    layer and region.

    Layers in numpy go side by side, as many as the linear algebra has threads (OMP_NUM_THREADS), each on one of them;
    they share max_bytes, and each holds a shared matrix. xs may read its layers when asked for them: a layer is read
    when a worker is free, and no more are held than go side by side.
    """
    return _score_many(xs, ys, splits, _predictor(n_components, tol, max_iter), dtype, max_bytes)


def predict(
    x: Array,
    y: Array,
    splits: Splits,
    *,
    n_components: int = 25,
    tol: float = 1e-6,
    max_iter: int = 500,
    max_bytes: int = MAX_BYTES,
    dtype: str = "float64",
) -> list[np.ndarray]:
    """Responses predicted for the test stimuli of each split; a list of float64 (n_test, n_neuroids).

    At most min(n_components, n_features, n_train - 1) components are used, and fewer once either the features
    or the responses are exhausted (scikit-learn goes on and fits rounding errors). Shapes, options and errors
    as in `score`.
    """
    return predictions(x, y, splits, _predictor(n_components, tol, max_iter), dtype, max_bytes)


def _one(found: dict) -> np.ndarray:
    return found[""]


def _predictor(n_components: int, tol: float, max_iter: int) -> Predict:
    def run(xp: ModuleType, x: Array, targets: list[Target], like: Array, max_bytes: int) -> list[list[np.ndarray]]:
        side = _pls_primal if x.shape[1] < len(x) else _pls_dual
        shared = side.prepare(xp, x, [moved(xp, t.centred, like) for t in targets], like)
        components = min(n_components, x.shape[1])
        out: list[list[np.ndarray]] = [[np.empty(0)] * len(t.splits) for t in targets]
        size = like.dtype.itemsize
        for part in _parts(targets, lambda q: size * side.numbers(shared, q, components), max_bytes):
            found = side.fit(xp, shared, [job for _, job in part], components, tol, max_iter)
            for (f, job), predicted in zip(part, found):
                out[job.region][f] = predicted + targets[job.region].mean
        return out

    return run


def _parts(targets: list[Target], cost, max_bytes: int) -> Iterator[list[tuple[int, Job]]]:
    """Regressions that run together, with the place of each in its target's splits: of regions of similar size, since
    all are held in the width of the largest, and as many as fit into max_bytes."""
    by_size = sorted(range(len(targets)), key=lambda i: -targets[i].y.shape[1])
    part: list[tuple[int, Job]] = []
    width = 0
    for i in by_size:
        t = targets[i]
        for f, (train, test) in enumerate(t.splits):
            q = t.y.shape[1]
            if part and ((len(part) + 1) * cost(width) > max_bytes or q < 0.7 * width):
                yield part
                part = []
            width = q if not part else width
            part.append((f, Job(i, t.numbers[f], train, test, t.trained_mean[f], t.trained_square[f])))
    yield part
