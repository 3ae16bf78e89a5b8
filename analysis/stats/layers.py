"""Which layer goes with a region, chosen on one half of the stimuli and scored on the other.

A layer that is chosen and scored on the same stimuli scores too high, the more so the more layers there are
(Kriegeskorte et al. 2009, doi 10.1038/nn.2303). The layer is therefore committed on half A and reported on
half B, where the score is itself cross-validated; what the naive way, choosing on half B too, would have
added is kept as `optimism`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.similarity import pls, ridge, rsa
from analysis.similarity._arrays import constant, pearson, weighted_pearson
from analysis.similarity._splits import Splits, shuffle_splits
from blendnet.errors import BlendnetError, unknown

REGRESSIONS = ("pls", "ridge")
METRICS = (*REGRESSIONS, "rsa", "rsa_whitened")
_RSA = {"rsa": "spearman", "rsa_whitened": "whitened"}
# Which resampled things make an interval.
OVER = ("neuroids", "stimuli")


@dataclass(frozen=True)
class LayerScore:
    """Score of one layer on some stimuli.

    score: median over neuroids, mean over splits (regressions, see `aggregate`), or mean similarity over subjects
    (RSA); lo, hi: 95 % interval, NaN where none was asked for; values: float64 (n_neuroids,) or
    (n_subjects,).
    """

    score: float
    lo: float
    hi: float
    values: np.ndarray
    n_stimuli: int


@dataclass(frozen=True)
class Commitment:
    """A layer committed on half A and its score on half B.

    values: float64 (n_neuroids,) or (n_subjects,), the score of each on half B; lo, hi: 95 % interval of
    score; naive_layer, naive_score: the best layer of half B and its score there; optimism: naive_score -
    score, never negative; profile_a, profile_b: score of every layer on each half; n_commit, n_report:
    stimuli of the halves.
    """

    metric: str
    layer: str
    score: float
    lo: float
    hi: float
    values: np.ndarray
    naive_layer: str
    naive_score: float
    optimism: float
    profile_a: dict[str, float]
    profile_b: dict[str, float]
    n_commit: int
    n_report: int


def commit(scores: Mapping[str, float]) -> str:
    """The layer with the highest score; the earlier one of equals; BlendnetError where no layer has a score."""
    known = {layer: value for layer, value in scores.items() if np.isfinite(value)}
    if not known:
        raise BlendnetError(f"none of the {len(scores)} layers has a score; check the responses for constant neuroids")
    return max(known, key=lambda layer: known[layer])


def nested_commitment(
    xs: Mapping[str, np.ndarray],
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    metric: str = "pls",
    halves: tuple[np.ndarray, np.ndarray],
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    n_splits: int = 10,
    test_size: float = 0.1,
    seed: int = 1,
    n_boot: int = 1000,
    over: tuple[str, ...] = OVER,
) -> Commitment:
    """Commit a layer on half A, report its score on half B.

    xs: {layer: features (n_stimuli, n_features)} in the order of the layers; exactly one of y: responses
    (n_stimuli, n_neuroids) and rdms: (n_subjects, n_pairs), RSA only; metric: 'pls', 'ridge', 'rsa'
    (Spearman) or 'rsa_whitened'; halves: (A, B) of _splits.halves; groups: n_stimuli labels never divided
    (clips); stratify: n_stimuli categories; n_splits, test_size, seed: of the cross-validation within each
    half; n_boot, over: see `layer_score`. Raises BlendnetError for halves that overlap and for layers of
    unequal numbers of stimuli.
    """
    a, b = (np.asarray(half) for half in halves)
    _check(xs, y, rdms, metric)
    shared = np.intersect1d(a, b)
    if len(shared):
        raise BlendnetError(
            f"{len(shared)} stimuli are in both halves, the first is {shared[0]}; make them with halves()"
        )

    def on(half: np.ndarray, layer: str, boot: int) -> LayerScore:
        return layer_score(
            np.asarray(xs[layer])[half],
            y=None if y is None else np.asarray(y)[half],
            rdms=None if rdms is None else rsa.subset(np.atleast_2d(rdms), half),
            metric=metric,
            groups=None if groups is None else np.asarray(groups)[half],
            stratify=None if stratify is None else np.asarray(stratify)[half],
            n_splits=n_splits,
            test_size=test_size,
            seed=seed,
            n_boot=boot,
            over=over,
        )

    profile_a = {layer: on(a, layer, 0).score for layer in xs}
    layer = commit(profile_a)
    scores_b = {other: on(b, other, n_boot if other == layer else 0) for other in xs}
    reported = scores_b[layer]
    profile_b = {other: value.score for other, value in scores_b.items()}
    naive = commit(profile_b)
    return Commitment(
        metric=metric,
        layer=layer,
        score=reported.score,
        lo=reported.lo,
        hi=reported.hi,
        values=reported.values,
        naive_layer=naive,
        naive_score=profile_b[naive],
        optimism=profile_b[naive] - reported.score,
        profile_a=profile_a,
        profile_b=profile_b,
        n_commit=len(a),
        n_report=len(b),
    )


def profile(
    xs: Mapping[str, np.ndarray],
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    metric: str = "pls",
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    n_splits: int = 10,
    test_size: float = 0.1,
    seed: int = 1,
    n_boot: int = 1000,
    over: tuple[str, ...] = OVER,
) -> dict[str, LayerScore]:
    """Score of every layer over all stimuli: for maps. The best of it is not to be reported (see nested_commitment).

    Arguments as in nested_commitment; the order of the layers is kept.
    """
    _check(xs, y, rdms, metric)
    return {
        layer: layer_score(
            x,
            y=y,
            rdms=rdms,
            metric=metric,
            groups=groups,
            stratify=stratify,
            n_splits=n_splits,
            test_size=test_size,
            seed=seed,
            n_boot=n_boot,
            over=over,
        )
        for layer, x in xs.items()
    }


def layer_score(
    x: np.ndarray,
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    metric: str = "pls",
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    n_splits: int = 10,
    test_size: float = 0.1,
    seed: int = 1,
    n_boot: int = 1000,
    over: tuple[str, ...] = OVER,
) -> LayerScore:
    """Score of one layer on all the stimuli given, with a 95 % interval (none for n_boot = 0).

    over: what is resampled. 'neuroids' says how the score would vary with other neuroids, 'stimuli' with
    other test stimuli: the same resample for all neuroids, whose errors go together, and for all splits, the
    fitted regressions kept. Neuroids alone give intervals that are too short wherever neuroids are
    correlated. Clips are resampled whole. RSA resamples stimuli, and subjects where there are several.
    """
    _check({"layer": x}, y, rdms, metric)
    x = np.asarray(x)
    if metric not in REGRESSIONS:
        target = rdms if rdms is not None else rsa.rdm(np.asarray(y))
        # A layer that answers some stimulus with one number everywhere has no correlation distances; it is passed
        # over by `commit`, as a layer whose regression has no score is, and does not end a long scoring.
        if constant(x.T).any():
            nothing = np.full(len(np.atleast_2d(np.asarray(target))), np.nan)
            return LayerScore(float("nan"), float("nan"), float("nan"), nothing, len(x))
        return _rsa_score(rsa.rdm(x), np.atleast_2d(np.asarray(target)), _RSA[metric], groups, n_boot, seed)
    responses = np.asarray(y, dtype=np.float64)
    splits = shuffle_splits(len(x), n_splits=n_splits, test_size=test_size, seed=seed, groups=groups, stratify=stratify)
    if metric == "pls":
        predictions = pls.predict(x, responses, splits)
    else:
        predictions = ridge.predict(x, responses, splits, groups=groups)
    r = np.stack([pearson(p, responses[test]) for p, (_, test) in zip(predictions, splits)])
    for row, (train, _) in zip(r, splits):
        row[constant(responses[train])] = np.nan
    values = _nanmean(r)
    lo, hi = float("nan"), float("nan")
    if n_boot and np.isfinite(values).any():
        lo, hi = _interval(r, predictions, responses, splits, groups, n_boot, seed, over)
    return LayerScore(aggregate(r), lo, hi, values, len(x))


def aggregate(r: np.ndarray) -> float:
    """One number of r (n_splits, n_neuroids): median over neuroids within each split, then the mean over splits.

    Brain-Score's order (Schrimpf et al. 2018, doi 10.1101/407007). The other order, the median of the neuroids' means,
    gives other numbers (.218 for .227 on pixels against cowley2023-210325), so it matters that it is the same one.
    """
    medians = np.array([_median(row) for row in r])
    known = medians[np.isfinite(medians)]
    return float(known.mean()) if len(known) else float("nan")


def _rsa_score(
    model: np.ndarray, brain: np.ndarray, method: str, groups: np.ndarray | None, n_boot: int, seed: int
) -> LayerScore:
    values = rsa.compare(model, brain, method)
    lo, hi = float("nan"), float("nan")
    if n_boot:
        boot = rsa.bootstrap(model, brain, method=method, n=n_boot, seed=seed, groups=groups)
        lo, hi = float(boot.lo[0]), float(boot.hi[0])
    return LayerScore(float(values.mean()), lo, hi, values, rsa.n_stimuli(model))


def _interval(
    r: np.ndarray,
    predictions: list[np.ndarray],
    y: np.ndarray,
    splits: Splits,
    groups: np.ndarray | None,
    n_boot: int,
    seed: int,
    over: tuple[str, ...],
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `aggregate`."""
    for name in over:
        if name not in OVER:
            raise unknown("thing to resample", name, OVER)
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(np.isfinite(r).any(axis=0))
    shape = (n_boot, len(known))
    weights = None
    if "stimuli" in over:
        labels = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
        n_groups = int(labels.max()) + 1
        weights = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=n_boot)[:, labels]
    drawn = rng.integers(len(known), size=shape) if "neuroids" in over else None
    medians = np.full((len(splits), n_boot), np.nan)
    for out, row, predicted, (_, test) in zip(medians, r, predictions, splits):
        values = np.broadcast_to(row[known], shape)
        if weights is not None:
            values = weighted_pearson(predicted[:, known], y[test][:, known], weights[:, test])
            values[:, ~np.isfinite(row[known])] = np.nan
        if drawn is not None:
            values = np.take_along_axis(values, drawn, axis=1)
        some = np.isfinite(values).any(axis=1)
        out[some] = np.nanmedian(values[some], axis=1)
    means = _nanmean(medians)
    lo, hi = np.nanquantile(means, [0.025, 0.975])
    return float(lo), float(hi)


def _check(xs: Mapping[str, np.ndarray], y: np.ndarray | None, rdms: np.ndarray | None, metric: str) -> None:
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if (y is None) == (rdms is None):
        raise BlendnetError("a layer is scored against responses y or against rdms; give exactly one of them")
    if y is None and metric in REGRESSIONS:
        raise BlendnetError(f"metric {metric!r} needs responses, but this recording has RDMs only; use 'rsa'")
    if not xs:
        raise BlendnetError("there are no layers to score; extract activations first")
    n = len(np.asarray(y)) if y is not None else rsa.n_stimuli(np.asarray(rdms))
    for layer, x in xs.items():
        if len(x) != n:
            raise BlendnetError(f"layer {layer!r} has {len(x)} stimuli, the recording {n}; align them by stimulus_id")


def _nanmean(r: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known, NaN where nothing is."""
    there = np.isfinite(r)
    return np.where(there.any(axis=0), np.where(there, r, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
